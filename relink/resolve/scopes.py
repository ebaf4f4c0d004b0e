"""Scopes: which images a reference is looked up in, and in what order.

An image's references are looked up in the global scope and then in the search list of the load that brought it
in; lists of later loads that need it as well come after that (glibc's l_scope). A search list is breadth-first
over DT_NEEDED, as the gABI has it ("Shared Object Dependencies"); what a filter stands for comes right before the
filter itself (DT_FILTER, DT_AUXILIARY; glibc elf/dl-deps.c).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from relink.elf.constants import DynamicFlag1

if TYPE_CHECKING:
    from relink.image import Image


@dataclass(eq=False, slots=True)
class Group:
    """The search list of one load."""

    root: Image
    members: list[Image]


def breadth_first(first: Sequence[Image]) -> list[Image]:
    """The search list that begins with `first`."""
    order = list(dict.fromkeys(first))
    position = 0
    while position < len(order):
        image = order[position]
        if filtees := [filtee for filtee in dict.fromkeys(image.filtees) if filtee not in order]:
            order[position:position] = filtees
            continue
        order += [child for child in dict.fromkeys(image.dependencies) if child not in order]
        position += 1
    return order


def search_list(first: Sequence[Image]) -> list[Image]:
    """The search list of a load: of a program's libraries, interposers come first (DF_1_INTERPOSE)."""
    order = breadth_first(first)
    if not order[0].decoded.is_executable:
        return order
    return sorted(order, key=lambda i: i not in first and not i.decoded.flags_1 & DynamicFlag1.INTERPOSE)


def lookup_scope(image: Image, global_scope: Iterable[Image]) -> list[Image]:
    """Where the references of `image` are looked up, in order (RTLD_DEFAULT, seen from there)."""
    own = chain.from_iterable(group.members for group in image.groups)
    lists = (own, global_scope) if image.deep_bind else (global_scope, own)
    return [member for member in dict.fromkeys(chain.from_iterable(lists)) if not member.closed]


def scope_after(image: Image) -> list[Image]:
    """What comes after `image` in the search list of the load that brought it in (RTLD_NEXT)."""
    if not image.groups:
        return []
    members = image.groups[0].members
    return [member for member in members[members.index(image) + 1 :] if not member.closed]


def join_group(group: Group, new: Collection[Image]) -> None:
    """Give the search list of a load to its new images; those that were there before have it after their own."""
    for image in group.members:
        if image in new or all(known.root is not group.root for known in image.groups):
            image.groups.append(group)


def leave_groups(images: Iterable[Image], roots: Collection[Image], failed: Group | None = None) -> None:
    """Take the search lists of loads whose root is gone, and of one that failed, from images that stay."""
    for image in images:
        image.groups[:] = [group for group in image.groups if group is not failed and group.root not in roots]


def join_global(global_scope: list[Image], images: Iterable[Image]) -> None:
    """Add images to the global scope, a program at its head (of several, the first to come)."""
    global_scope += images
    program = next((image for image in global_scope if image.decoded.is_executable), None)
    if program is not None:
        global_scope.remove(program)
        global_scope.insert(0, program)

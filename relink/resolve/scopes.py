"""Scopes: which images a reference is looked up in, and in what order.

An image's references are looked up in the global scope and then in the search list of the load that brought it
in; lists of later loads that need it as well come after that (glibc's l_scope). A search list is breadth-first
over DT_NEEDED, as the gABI has it ("Shared Object Dependencies"); what a filter stands for comes right before the
filter itself (DT_FILTER, DT_AUXILIARY; glibc elf/dl-deps.c).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Generic, Protocol, Self, TypeVar

from relink.elf import Decoded
from relink.elf.constants import DynamicFlag1
from relink.module import Module
from relink.records import dataclass, field
from relink.resolve.sources import Lookup, SymbolSource

Member = TypeVar("Member", bound="Scoped")


@dataclass(eq=False, slots=True)
class Group(Generic[Member]):
    """The search list of one load."""

    root: Member
    members: list[Member]


@dataclass(eq=False, slots=True)
class ScopeRecord(Generic[Member]):
    """What an image refers to and what is asked for its references."""

    search_list: list[Member]  #: the image and its dependencies, breadth-first
    dependencies: list[Member] = field(default_factory=list)  #: direct, in DT_NEEDED order
    filtees: list[Member] = field(default_factory=list)  #: what it is a filter for: searched right before it
    groups: list[Group[Member]] = field(default_factory=list)  #: the search lists of the loads it is part of
    deep_bind: bool = False  #: its own search lists come before the global scope (RTLD_DEEPBIND)
    #: Asked before everything else for this image's references, and after all images.
    sources: tuple[SymbolSource | Lookup, ...] = ()
    late_sources: tuple[SymbolSource | Lookup, ...] = ()


class Scoped(Protocol):
    """An image, as far as scopes are concerned."""

    @property
    def decoded(self) -> Decoded: ...

    @property
    def closed(self) -> bool: ...

    @property
    def scopes(self) -> ScopeRecord[Self]: ...


@dataclass(frozen=True, slots=True)
class LookupScope:
    """Where the references of one image are looked up: sources, images in order, sources."""

    images: Sequence[Module]
    before: Sequence[SymbolSource | Lookup] = ()
    after: Sequence[SymbolSource | Lookup] = ()


def breadth_first(first: Sequence[Member]) -> list[Member]:
    """The search list that begins with `first`."""
    order = list(dict.fromkeys(first))
    position = 0
    while position < len(order):
        record = order[position].scopes
        if filtees := [filtee for filtee in dict.fromkeys(record.filtees) if filtee not in order]:
            order[position:position] = filtees
            continue
        order += [child for child in dict.fromkeys(record.dependencies) if child not in order]
        position += 1
    return order


def search_list(first: Sequence[Member]) -> list[Member]:
    """The search list of a load: of a program's libraries, interposers come first (DF_1_INTERPOSE)."""
    order = breadth_first(first)
    if not order[0].decoded.is_executable:
        return order
    return sorted(order, key=lambda i: i not in first and not i.decoded.flags_1 & DynamicFlag1.INTERPOSE)


def lookup_order(image: Member, global_scope: Iterable[Member]) -> list[Member]:
    """The images in which the references of `image` are looked up, in order (RTLD_DEFAULT, seen from there)."""
    own = chain.from_iterable(group.members for group in image.scopes.groups)
    lists = (own, global_scope) if image.scopes.deep_bind else (global_scope, own)
    return [member for member in dict.fromkeys(chain.from_iterable(lists)) if not member.closed]


def scope_after(image: Member) -> list[Member]:
    """What comes after `image` in the search list of the load that brought it in (RTLD_NEXT)."""
    if not image.scopes.groups:
        return []
    members = image.scopes.groups[0].members
    return [member for member in members[members.index(image) + 1 :] if not member.closed]


def join_group(group: Group[Member], new: Collection[Member]) -> None:
    """Give the search list of a load to its new images; those that were there before have it after their own."""
    for image in group.members:
        groups = image.scopes.groups
        if image in new or all(known.root is not group.root for known in groups):
            groups.append(group)


def leave_groups(images: Iterable[Member], roots: Collection[Member], failed: Group[Member] | None = None) -> None:
    """Take the search lists of loads whose root is gone, and of one that failed, from images that stay."""
    for image in images:
        groups = image.scopes.groups
        groups[:] = [group for group in groups if group is not failed and group.root not in roots]


def join_global(global_scope: list[Member], images: Iterable[Member]) -> None:
    """Add images to the global scope, a program at its head (of several, the first to come)."""
    global_scope += images
    program = next((image for image in global_scope if image.decoded.is_executable), None)
    if program is not None:
        global_scope.remove(program)
        global_scope.insert(0, program)

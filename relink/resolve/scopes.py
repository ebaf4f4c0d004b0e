"""Scopes: the images in which a reference is looked up, and their order.

An image's references are looked up in (glibc's l_scope):

1. the global scope;
2. the search list of the load that added the image;
3. the search lists of later loads that need the image too, unless it was loaded with a program.

A search list is breadth-first over DT_NEEDED (gABI, "Shared Object Dependencies"). The filtees of a filter come
directly before the filter (DT_FILTER, DT_AUXILIARY; glibc elf/dl-deps.c).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Generic, Protocol, Self, TypeVar

from relink.elf import Decoded
from relink.module import Module, Stage
from relink.records import Assigned, dataclass, field
from relink.resolve.sources import Lookup, SymbolSource

_CLOSED = Stage.CLOSED
Member = TypeVar("Member", bound="Scoped")


@dataclass(eq=False)
class Group(Assigned, Generic[Member]):
    """The search list of one load."""

    root: Member
    members: list[Member]


@dataclass(eq=False)
class ScopeRecord(Assigned, Generic[Member]):
    """The part of an image that determines where its references are looked up."""

    #: the image and its dependencies, breadth-first; None until `Image.scope` is used
    search_list: list[Member] | None = None
    dependencies: list[Member] = field(default_factory=list)  #: direct, in DT_NEEDED order
    filtees: list[Member] = field(default_factory=list)  #: filtees, searched directly before it
    groups: list[Group[Member]] = field(default_factory=list)  #: the search lists of the loads it is part of
    deep_bind: bool = False  #: its own search lists come before the global scope (RTLD_DEEPBIND)
    #: Sources searched for this image's references before all others, and after all images.
    sources: tuple[SymbolSource | Lookup, ...] = ()
    late_sources: tuple[SymbolSource | Lookup, ...] = ()


class Scoped(Protocol):
    """The part of an image's interface that scopes use."""

    @property
    def decoded(self) -> Decoded: ...

    @property
    def closed(self) -> bool: ...

    stage: Stage

    @property
    def scopes(self) -> ScopeRecord[Self]: ...


@dataclass(frozen=True, slots=True)
class LookupScope:
    """The providers for one image's references, in order: sources, images, sources."""

    images: Sequence[Module]
    before: Sequence[SymbolSource | Lookup] = ()
    after: Sequence[SymbolSource | Lookup] = ()


def breadth_first(first: Sequence[Member]) -> list[Member]:
    """The search list that begins with `first`."""
    if first and not first[1:] and not (first[0].scopes.dependencies or first[0].scopes.filtees):
        return [first[0]]
    order = list(dict.fromkeys(first))
    present = set(order)
    position = 0
    while position < len(order):
        record = order[position].scopes
        filtees = record.filtees and [each for each in dict.fromkeys(record.filtees) if each not in present]
        if filtees:
            order[position:position] = filtees
            present.update(filtees)
            continue
        children = [child for child in dict.fromkeys(record.dependencies) if child not in present]
        order += children
        present.update(children)
        position += 1
    return order


def lookup_order(image: Member, global_scope: Sequence[Member]) -> list[Member]:
    """The images in which the references of `image` are looked up, in order (its RTLD_DEFAULT)."""
    groups, deep_bind = image.scopes.groups, image.scopes.deep_bind
    if len(groups) == 1:
        members = groups[0].members
        # All of them are in the global scope: at its end, unless others have been loaded since.
        if members == global_scope or (not deep_bind and global_scope[-len(members) :] == members):
            return [*global_scope]  # which images leave before they are closed
    own = chain.from_iterable(group.members for group in groups)
    lists = (own, global_scope) if deep_bind else (global_scope, own)
    return [member for member in dict.fromkeys(chain.from_iterable(lists)) if member.stage is not _CLOSED]


def came_with_program(image: Member) -> bool:
    """Whether the load of a program added the image (glibc's lt_executable and lt_library)."""
    groups = image.scopes.groups
    return bool(groups) and groups[0].root.decoded.is_executable


def scope_after(image: Member, global_scope: Sequence[Member]) -> list[Member]:
    """The images after `image` in the search list of the load that added it (RTLD_NEXT). That of a program is the
    global scope: with glibc, what is opened with RTLD_GLOBAL is appended to it.
    """
    if not image.scopes.groups:
        return []
    in_global = came_with_program(image) and image in global_scope
    members = global_scope if in_global else image.scopes.groups[0].members
    return [member for member in members[members.index(image) + 1 :] if not member.closed]


def join_group(group: Group[Member], new: Collection[Member]) -> None:
    """Add the search list of a load to its images; images of earlier loads get it after their own lists, except
    those that a program was loaded with.
    """
    for image in group.members:
        groups = image.scopes.groups
        if image in new or not (any(known.root is group.root for known in groups) or came_with_program(image)):
            groups += [group]


def leave_groups(images: Iterable[Member], roots: Collection[Member], failed: Group[Member] | None = None) -> None:
    """Remove the search lists of unloaded roots, and that of a failed load, from the remaining images."""
    for image in images:
        groups = image.scopes.groups
        for one in groups:
            if one.root in roots or one is failed:
                groups[:] = [group for group in groups if group is not failed and group.root not in roots]
                break


def join_global(global_scope: list[Member], images: Collection[Member]) -> None:
    """Add images to the global scope; a program goes to its head (the first one, if there are several)."""
    candidates = (*global_scope[:1], *images)
    global_scope += images
    for image in candidates:
        if image.decoded.is_executable:
            if image is not global_scope[0]:
                global_scope.remove(image)
                global_scope.insert(0, image)
            return


def without(global_scope: Sequence[Member], gone: Collection[Member]) -> list[Member]:
    """The global scope when these images have left it."""
    remaining = [image for image in global_scope if image not in gone]
    if remaining and remaining[0] is not global_scope[0] and global_scope[0].decoded.is_executable:
        others, remaining = remaining, []
        join_global(remaining, others)
    return remaining

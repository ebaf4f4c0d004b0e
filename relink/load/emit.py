"""Emitting events: one function per stage of a load; without observers they do nothing.

The event classes are in `relink.events`, which is slow to import (a few milliseconds), so it is imported for the
first observer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relink.events import Observer
    from relink.image import Image
    from relink.relocate.deferred import Rebound
    from relink.relocate.lazy import SlotBinding
    from relink.search.graph import Node


def opened(observers: Sequence[Observer], nodes: Sequence[Node]) -> None:
    """Emit ImageOpened for every new file of a load."""
    if not observers:
        return
    from relink.events import ImageOpened, emit

    for node in nodes:
        if node.decoded is not None:
            needed_by = node.parent.name if node.parent else None
            emit(observers, ImageOpened(node.decoded.name, node.decoded, node.rule, needed_by))


def mapped(observers: Sequence[Observer], image: Image) -> None:
    """Emit SegmentMapped for each segment of an image that has its region, then ImageMapped."""
    if not observers:
        return
    from relink.events import ImageMapped, SegmentMapped, emit
    from relink.memory.address_space import Protection

    for segment in image.decoded.segments:
        address, protection = image.address_of(segment.vaddr), Protection(segment.flags & 7)
        emit(observers, SegmentMapped(image.name, image, segment, address, segment.memsz, protection))
    emit(observers, ImageMapped(image.name, image))


def tls_assigned(observers: Sequence[Observer], images: Sequence[Image]) -> None:
    """Emit TlsAssigned for each of the images that has thread-local storage."""
    if not observers:
        return
    from relink.events import TlsAssigned, emit

    for image in images:
        if image.tls is not None:
            emit(observers, TlsAssigned(image.name, image, image.tls))


def relocations_applied(observers: Sequence[Observer], image: Image) -> None:
    """Emit RelocationsApplied for each relocation type of each table of an image."""
    if not observers:
        return
    from relink.events import RelocationsApplied, emit

    entries, claimed = image.relocated.entries, image.relocated.claimed
    for key in dict.fromkeys([*entries, *claimed]):
        emit(observers, RelocationsApplied(image.name, image, *key, entries.get(key, 0), claimed.get(key, 0)))


def relocated(observers: Sequence[Observer], image: Image) -> None:
    """Emit SymbolsBound and ImageRelocated for an image whose relocations have been applied."""
    if not observers:
        return
    from relink.events import ImageRelocated, SymbolsBound, emit

    emit(observers, SymbolsBound(image.name, image, len(image.relocated.symbols)))
    emit(observers, ImageRelocated(image.name, image))


def ifunc_resolved(observers: Sequence[Observer], image: Image, resolver: int, answer: int, places: int) -> None:
    """Emit IfuncResolved: a resolver was called, and `places` words get its answer."""
    if not observers:
        return
    from relink.events import IfuncResolved, emit

    emit(observers, IfuncResolved(image.name, image, resolver, answer, places))


@contextmanager
def running(
    observers: Sequence[Observer], image: Image, which: str, address: int, *, destructor: bool
) -> Iterator[None]:
    """Emit an event before a constructor or destructor runs, and one after it has returned."""
    if not observers:
        yield
        return
    from relink import events

    starting, done = (
        (events.DestructorStarting, events.DestructorDone)
        if destructor
        else (events.InitialiserStarting, events.InitialiserDone)
    )
    events.emit(observers, starting(image.name, image, which, address))
    yield
    events.emit(observers, done(image.name, image, which, address))


def loaded(observers: Sequence[Observer], images: Sequence[Image]) -> None:
    """Emit ImageLoaded for images that are ready."""
    if not observers:
        return
    from relink.events import ImageLoaded, emit

    for image in images:
        emit(observers, ImageLoaded(image.name, image))


def failed(observers: Sequence[Observer], what: str, error: BaseException) -> None:
    """Emit LoadFailed after a rollback; an exception of an observer becomes a note on the error."""
    if not observers:
        return
    from relink.events import LoadFailed, emit_all

    try:
        emit_all(observers, [LoadFailed(what, error)])
    except Exception as own:
        error.add_note(f"an observer of the failed load raised {own!r}")


def slot_bound(observers: Sequence[Observer], image: Image, binding: SlotBinding, address: int) -> None:
    """Emit SymbolBound for a jump slot bound at its first call."""
    if not observers:
        return
    from relink.events import SymbolBound, emit

    provider = binding.provider.name if binding.provider is not None else None
    emit(observers, SymbolBound(image.name, image, binding.name, binding.version, provider, address))


def rebound(observers: Sequence[Observer], found: Sequence[Rebound]) -> None:
    """Emit SymbolBound for each symbol of an earlier image that a load has brought."""
    if not observers:
        return
    from relink.events import SymbolBound, emit
    from relink.image import image_of

    for each in found:
        image = image_of(each.image)
        for bound in image.bindings():
            if bound.symbol in each.names:
                what = bound.symbol, bound.version, bound.provider, bound.address
                emit(observers, SymbolBound(image.name, image, *what))


def closed(observers: Sequence[Observer], gone: list[tuple[Image, int, int]]) -> None:
    """Emit ImageClosed for released images, with their former address and size, and empty the list: no observer is
    told twice.
    """
    if not observers:
        return
    from relink.events import ImageClosed, emit_all

    events = [ImageClosed(image.name, image, base, size) for image, base, size in gone]
    gone[:] = ()
    emit_all(observers, events)

"""Telling the observers: one verb for each stage, which costs nothing where nobody listens.

What they are told, and in what order, is `relink.events`, whose many classes are made for the first observer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relink.events import Observer
    from relink.image import Image
    from relink.relocate.lazy import SlotBinding
    from relink.search.graph import Node


def opened(observers: Sequence[Observer], nodes: Sequence[Node]) -> None:
    """Of every file that is new."""
    if not observers:
        return
    from relink.events import ImageOpened, tell

    for node in nodes:
        if node.decoded is not None:
            needed_by = node.parent.name if node.parent else None
            tell(observers, ImageOpened(node.decoded.name, node.decoded, node.rule, needed_by))


def mapped(observers: Sequence[Observer], image: Image) -> None:
    """Of an image that has got its region."""
    if not observers:
        return
    from relink.events import ImageMapped, SegmentMapped, tell
    from relink.memory.address_space import Protection

    for segment in image.decoded.segments:
        address, protection = image.address_of(segment.vaddr), Protection(segment.flags & 7)
        tell(observers, SegmentMapped(image.name, image, segment, address, segment.memsz, protection))
    tell(observers, ImageMapped(image.name, image))


def given_tls(observers: Sequence[Observer], images: Sequence[Image]) -> None:
    """Of the images that have thread-local storage."""
    if not observers:
        return
    from relink.events import TlsAssigned, tell

    for image in images:
        if image.tls is not None:
            tell(observers, TlsAssigned(image.name, image, image.tls))


def applied(observers: Sequence[Observer], image: Image) -> None:
    """Of one image's relocation types, each of each table."""
    if not observers:
        return
    from relink.events import RelocationsApplied, tell

    entries, claimed = image.relocated.entries, image.relocated.claimed
    for key in dict.fromkeys([*entries, *claimed]):
        tell(observers, RelocationsApplied(image.name, image, *key, entries.get(key, 0), claimed.get(key, 0)))


def relocated(observers: Sequence[Observer], image: Image) -> None:
    """Of an image whose relocations have been applied."""
    if not observers:
        return
    from relink.events import ImageRelocated, SymbolsBound, tell

    tell(observers, SymbolsBound(image.name, image, len(image.relocated.symbols)))
    tell(observers, ImageRelocated(image.name, image))


def resolved(observers: Sequence[Observer], image: Image, resolver: int, answer: int, places: int) -> None:
    """Of an ifunc resolver that has answered."""
    if not observers:
        return
    from relink.events import IfuncResolved, tell

    tell(observers, IfuncResolved(image.name, image, resolver, answer, places))


@contextmanager
def running(
    observers: Sequence[Observer], image: Image, which: str, address: int, *, destructor: bool
) -> Iterator[None]:
    """Around the run of a constructor or destructor; the end is told only of one that returned."""
    if not observers:
        yield
        return
    from relink import events as observe

    starting, done = (
        (observe.DestructorStarting, observe.DestructorDone)
        if destructor
        else (observe.InitialiserStarting, observe.InitialiserDone)
    )
    observe.tell(observers, starting(image.name, image, which, address))
    yield
    observe.tell(observers, done(image.name, image, which, address))


def loaded(observers: Sequence[Observer], images: Sequence[Image]) -> None:
    """Of images that are ready."""
    if not observers:
        return
    from relink.events import ImageLoaded, tell

    for image in images:
        tell(observers, ImageLoaded(image.name, image))


def failed(observers: Sequence[Observer], name: str | None, source: object, error: BaseException) -> None:
    """Of a load that has been undone; what an observer raises becomes a note on the error."""
    if not observers:
        return
    from relink.events import LoadFailed, tell_all

    what = name or (str(source) if isinstance(source, str | os.PathLike) else f"<{type(source).__name__}>")
    try:
        tell_all(observers, [LoadFailed(what, error)])
    except Exception as own:
        error.add_note(f"an observer of the failed load raised {own!r}")


def bound(observers: Sequence[Observer], image: Image, answer: SlotBinding, address: int) -> None:
    """Of a slot that its first call has bound."""
    if not observers:
        return
    from relink.events import SymbolBound, tell

    provider = answer.provider.name if answer.provider is not None else None
    tell(observers, SymbolBound(image.name, image, answer.name, answer.version, provider, address))


def closed(observers: Sequence[Observer], gone: Sequence[tuple[Image, int, int]]) -> None:
    """Of images that are gone, with where they were and how many bytes they had."""
    if not observers:
        return
    from relink.events import ImageClosed, tell_all

    tell_all(observers, [ImageClosed(image.name, image, base, size) for image, base, size in gone])

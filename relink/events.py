"""Events: what observers of a linker hear, stage by stage.

    linker.observers.append(print)
    linker.observers.append(on(SegmentMapped, lambda event: print(hex(event.address))))

An observer is any callable that takes an event. Each hears every event, in the order of the list, at once and in
the thread of whoever loads; with no observer there are no events, and nothing is spent on making them.

An exception raised by an observer aborts the load: it is rolled back and the exception propagates. Where there is
nothing to roll back (`ImageClosed`, `LoadFailed`), the other observers are called first; then the exception
propagates out of the unload, or becomes a note on the error that made the load fail.

Of one load, in order: `ImageOpened` of each image, `SegmentMapped` of each segment and `ImageMapped`,
`TlsAssigned`, then for each image that is relocated here, dependencies first, `RelocationsApplied` of each type,
`SymbolsBound`, and `ImageRelocated`; what a machine does follows: `IfuncResolved`, `InitialiserStarting` and
`InitialiserDone`; at last `ImageLoaded` of each. A load that fails ends with `LoadFailed` instead, after the
rollback. `SymbolBound` follows whenever a slot that is bound lazily is first called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from relink.memory.address_space import Protection
from relink.records import dataclass

if TYPE_CHECKING:
    from relink.elf import Decoded, ProgramHeader
    from relink.image import BoundSymbol, Image
    from relink.module import TlsModule

__all__ = [
    "DestructorDone",
    "DestructorStarting",
    "Event",
    "IfuncResolved",
    "ImageClosed",
    "ImageLoaded",
    "ImageMapped",
    "ImageOpened",
    "ImageRelocated",
    "InitialiserDone",
    "InitialiserStarting",
    "LoadFailed",
    "Observer",
    "RelocationsApplied",
    "SegmentMapped",
    "SymbolBound",
    "SymbolsBound",
    "TlsAssigned",
    "emit",
    "emit_all",
    "on",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the image of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class _OfImage(Event):
    image: Image


@dataclass(frozen=True, slots=True)
class ImageOpened(Event):
    """A file that this load brings in has been found and decoded."""

    decoded: Decoded
    rule: str  #: by which rule it was found
    needed_by: str | None  #: the image that needs it; None for what the user asked for


@dataclass(frozen=True, slots=True)
class SegmentMapped(_OfImage):
    """A segment has its place. The guest sees it once all is linked."""

    segment: ProgramHeader
    address: int  #: guest address of its first byte
    size: int  #: bytes, p_memsz
    protection: Protection  #: as its p_flags say; RELRO comes later


@dataclass(frozen=True, slots=True)
class ImageMapped(_OfImage):
    """All segments have their place: the image has addresses, and its bytes lie in `image.region.buffer`."""


@dataclass(frozen=True, slots=True)
class TlsAssigned(_OfImage):
    """An image with a TLS segment has a module id and a place in the static area."""

    module: TlsModule


@dataclass(frozen=True, slots=True)
class RelocationsApplied(_OfImage):
    """All entries of one type of one table are done."""

    section: str  #: the table: ".rela.dyn", …
    type: str  #: the psABI's full name; "RELR" for packed relative ones
    count: int  #: entries the linker itself did
    claimed: int = 0  #: entries a relocation handler took over


@dataclass(frozen=True, slots=True)
class SymbolsBound(_OfImage):
    """Every symbol an image refers to has been bound. Iterating makes one `BoundSymbol` after the other."""

    count: int

    def __iter__(self) -> Iterator[BoundSymbol]:
        return self.image.bindings()


@dataclass(frozen=True, slots=True)
class SymbolBound(_OfImage):
    """A reference left for later has been bound: a jump slot by its first call, or by a load that brought what
    the image had deferred."""

    symbol: str
    version: str | None
    provider: str | None  #: the defining image's name; None for the host
    address: int  #: guest address of the definition


@dataclass(frozen=True, slots=True)
class ImageRelocated(_OfImage):
    """Relocation of an image is done, but for what ifunc resolvers have to answer."""


@dataclass(frozen=True, slots=True)
class IfuncResolved(_OfImage):
    """A resolver function of the guest has chosen; `image` refers to it."""

    resolver: int  #: guest addresses
    answer: int
    places: int  #: how many words take the answer


@dataclass(frozen=True, slots=True)
class InitialiserStarting(_OfImage):
    """A constructor is about to run."""

    which: str  #: "DT_INIT", "init_array[2]", …
    address: int  #: guest address


@dataclass(frozen=True, slots=True)
class InitialiserDone(InitialiserStarting):
    """A constructor has returned."""


@dataclass(frozen=True, slots=True)
class DestructorStarting(_OfImage):
    """A destructor is about to run."""

    which: str  #: "fini_array[0]", "DT_FINI", …
    address: int  #: guest address


@dataclass(frozen=True, slots=True)
class DestructorDone(DestructorStarting):
    """A destructor has returned."""


@dataclass(frozen=True, slots=True)
class ImageLoaded(_OfImage):
    """An image is ready for use: its load has come to its end."""


@dataclass(frozen=True, slots=True)
class ImageClosed(_OfImage):
    """An image has been unloaded: its handles raise UseAfterUnload, its memory is free."""

    base: int  #: where it was
    size: int  #: bytes


@dataclass(frozen=True, slots=True)
class LoadFailed(Event):
    """A load has been rolled back. `name` is what was to be loaded."""

    error: BaseException


Observer: TypeAlias = Callable[[Event], object]
_Kind = TypeVar("_Kind", bound=Event)


def on(kind: type[_Kind], function: Callable[[_Kind], object]) -> Observer:
    """An observer that hears only events of one kind (and of kinds derived from it)."""

    def observer(event: Event) -> None:
        if isinstance(event, kind):
            function(event)

    return observer


def emit(observers: Sequence[Observer], event: Event) -> None:
    """Call each observer with an event; the first that raises ends it."""
    for observer in tuple(observers):
        observer(event)


def emit_all(observers: Sequence[Observer], events: Sequence[Event]) -> None:
    """Call each observer with each event, whoever raises; raise the first error at the end."""
    first: BaseException | None = None
    for event in events:
        for observer in tuple(observers):
            try:
                observer(event)
            except BaseException as error:
                first = first or error
    if first is not None:
        raise first

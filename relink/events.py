"""Events: notifications to a linker's observers about each stage of a load.

    linker.observers.append(print)
    linker.observers.append(on(SegmentMapped, lambda event: print(hex(event.address))))

An observer is any callable that takes an event. Every observer gets every event, in the order of the list,
synchronously in the thread of the load. Without observers no events are created.

An exception raised by an observer aborts the load: it is rolled back and the exception propagates. For
`ImageClosed` and `LoadFailed`, where nothing can be rolled back, the other observers are called first. Then the
exception propagates out of the unload, or becomes a note on the error of the failed load.

The events of one load, in order:

1. `ImageOpened` for each image;
2. `SegmentMapped` for each segment, then `ImageMapped`;
3. `TlsAssigned`;
4. for each relocated image, dependencies first: `RelocationsApplied` for each type, `SymbolsBound`,
   `ImageRelocated`;
5. on a machine: `IfuncResolved`, `InitialiserStarting`, `InitialiserDone`;
6. `ImageLoaded` for each image.

A failed load ends with `LoadFailed`, after the rollback. `SymbolBound` is emitted when a lazily bound slot is
first called.
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
    """Base class of events: something happened to the image `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class _OfImage(Event):
    image: Image


@dataclass(frozen=True, slots=True)
class ImageOpened(Event):
    """A new file of this load has been found and decoded."""

    decoded: Decoded
    rule: str  #: the search rule that found it
    needed_by: str | None  #: the image that needs it; None for the root


@dataclass(frozen=True, slots=True)
class SegmentMapped(_OfImage):
    """A segment has its address. It is mapped in the guest after linking."""

    segment: ProgramHeader
    address: int  #: guest address of its first byte
    size: int  #: bytes, p_memsz
    protection: Protection  #: permissions of its p_flags; RELRO is applied later


@dataclass(frozen=True, slots=True)
class ImageMapped(_OfImage):
    """All segments have their addresses, and the image's bytes are in `image.region.buffer`."""


@dataclass(frozen=True, slots=True)
class TlsAssigned(_OfImage):
    """An image with a TLS segment has a module id and, if static, a block in the static area."""

    module: TlsModule


@dataclass(frozen=True, slots=True)
class RelocationsApplied(_OfImage):
    """All entries of one type of one table have been applied."""

    section: str  #: the table: ".rela.dyn", …
    type: str  #: the psABI's full name; "RELR" for packed relative entries
    count: int  #: entries applied by the linker
    claimed: int = 0  #: entries claimed by a relocation handler


@dataclass(frozen=True, slots=True)
class SymbolsBound(_OfImage):
    """Every symbol that an image refers to has been bound. Iterate over it to get each `BoundSymbol`."""

    count: int

    def __iter__(self) -> Iterator[BoundSymbol]:
        return self.image.bindings()


@dataclass(frozen=True, slots=True)
class SymbolBound(_OfImage):
    """A reference has been bound after its image's load: a jump slot at its first call, or a deferred symbol by
    the load that defines it.
    """

    symbol: str
    version: str | None
    provider: str | None  #: the defining image's name; None for the host
    address: int  #: guest address of the definition


@dataclass(frozen=True, slots=True)
class ImageRelocated(_OfImage):
    """An image has been relocated, except for the answers of ifunc resolvers."""


@dataclass(frozen=True, slots=True)
class IfuncResolved(_OfImage):
    """A guest ifunc resolver has returned its answer; `image` refers to the symbol."""

    resolver: int  #: guest addresses
    answer: int
    places: int  #: number of words that get the answer


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
    """An image is ready for use: its load is complete, unless an observer or a signal handler raises now. Then
    LoadFailed follows.
    """


@dataclass(frozen=True, slots=True)
class ImageClosed(_OfImage):
    """An image has been unloaded: its handles raise UseAfterUnload and its memory is released."""

    base: int  #: its former guest address
    size: int  #: bytes


@dataclass(frozen=True, slots=True)
class LoadFailed(Event):
    """A load has been rolled back. `name` is that of the root."""

    error: BaseException


Observer: TypeAlias = Callable[[Event], object]
_Kind = TypeVar("_Kind", bound=Event)


def on(kind: type[_Kind], function: Callable[[_Kind], object]) -> Observer:
    """An observer that gets only events of one class (and its subclasses)."""

    def observer(event: Event) -> None:
        if isinstance(event, kind):
            function(event)

    return observer


def emit(observers: Sequence[Observer], event: Event) -> None:
    """Call each observer with an event, up to the first exception."""
    for observer in tuple(observers):
        observer(event)


def emit_all(observers: Sequence[Observer], events: Sequence[Event]) -> None:
    """Call each observer with each event despite exceptions; raise the first exception at the end."""
    first: BaseException | None = None
    for event in events:
        for observer in tuple(observers):
            try:
                observer(event)
            except BaseException as error:
                first = first or error
    if first is not None:
        raise first

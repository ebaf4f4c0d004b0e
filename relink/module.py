"""`Module`: a decoded file and its memory, the part of an image that binding and relocation use.

An `Image` (`relink.image`) is a module with records of its scope, lifetime and relocation. The phases of a link
(`relink.resolve`, `relink.relocate`, `relink.tls`) take modules.
"""

from __future__ import annotations

import enum

import numpy as np

from relink.arch import Architecture
from relink.arrays import U8
from relink.elf import Decoded
from relink.errors import UseAfterUnload
from relink.memory import placement as place
from relink.memory.address_space import Region
from relink.records import Assigned, cached_property, dataclass


class Stage(enum.IntEnum):
    """The stage of an image's load. Stages only increase."""

    OPENED = 0
    MAPPED = 1
    RELOCATED = 2
    INITIALISED = 3
    CLOSED = 4


_OPENED, _MAPPED, _CLOSED = Stage.OPENED, Stage.MAPPED, Stage.CLOSED  # members of enums are found slowly
_WHOLE = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class TlsModule:
    """One image's thread-local storage. Allocated by `relink.tls`."""

    id: int  #: the value of DTPMOD, from 1
    offset: int  #: offset of a static block from the thread pointer (T): negative in variant II; 0 if dynamic
    size: int  #: size in bytes, p_memsz
    static: bool = True  #: whether the block has the same offset in every thread


@dataclass(frozen=True)
class Adopted:
    """An image that was in memory before it was linked (see `relink.load.adopt`)."""

    region: Region  #: its memory; the buffer is a copy
    relocated: bool  #: whether it has been relocated and initialised there
    tls: TlsModule | None = None  #: for a relocated image: the TLS block that its words refer to
    before: U8 | None = None  #: the original buffer


class Module(Assigned):
    """A decoded file and its memory in the guest. `bias` (the load bias, B) is added to link-time addresses,
    modulo the word size.
    """

    def __init__(self, decoded: Decoded, architecture: Architecture) -> None:
        self.decoded = decoded
        self.architecture = architecture
        self.name = decoded.name
        self.stage = _OPENED
        self.tls: TlsModule | None = None
        self.adopted: Adopted | None = None  #: set for an adopted image
        self.runs = place.contiguous(decoded)  #: where addresses are in the region's buffer
        self.low = self.runs.runs[0].start  #: link-time address of the region's first byte
        self.bias = 0  #: the load bias, modulo the address width
        self.whole_bias = 0  #: the load bias modulo 2^64
        self._region: Region | None = None

    # To make a scalar of numpy takes as long as ten calls: small images are linked without.

    @cached_property
    def address_mask(self) -> np.uint64:
        """The highest address, for arithmetic on arrays."""
        return np.uint64(self.architecture.address_mask)

    @cached_property
    def bias_word(self) -> np.uint64:
        """The load bias modulo 2^64, for arithmetic on arrays. To be asked for once the image has its place."""
        return np.uint64(self.whole_bias)

    @property
    def short_name(self) -> str:
        """The name without its folder."""
        return self.name.rpartition("/")[2]

    def place(self, region: Region) -> None:
        """Set the module's region, and with it its addresses."""
        self._region = region
        if region.parts:
            self.runs = place.clustered(self.decoded)
        bias = region.address - self.low
        self.bias, self.whole_bias = bias & self.architecture.address_mask, bias & _WHOLE
        self.stage = _MAPPED

    def close(self) -> None:
        """Forget the region. Called by the linker, which also frees it."""
        self.stage = _CLOSED
        self._region = None

    def outlive(self) -> None:
        """Close the module: the machine has returned to a snapshot in which it was not loaded."""
        self.close()

    @property
    def region(self) -> Region:
        """The module's region: guest addresses and host buffer. Raises UseAfterUnload once the module is
        closed.
        """
        if self._region is None:
            raise UseAfterUnload(self.name)
        return self._region

    @property
    def base(self) -> int:
        """Guest address of the region's first byte."""
        return self.region.address

    def address_of(self, vaddr: int) -> int:
        """The guest address of a link-time address."""
        return (vaddr + self.bias) & self.architecture.address_mask

    def contains(self, address: int) -> bool:
        """Whether a guest address is in the region."""
        return self._region is not None and self._region.contains(address)

    @property
    def closed(self) -> bool:
        """Whether it has been unloaded."""
        return self.stage is _CLOSED

    def check_open(self, symbol: str | None = None) -> None:
        """Raise UseAfterUnload, naming `symbol` if given, once the module is closed."""
        if self.stage is _CLOSED:
            raise UseAfterUnload(self.name, symbol)

"""Module: a decoded file and its place in memory, which is all that binding and relocation need of an image.

An `Image` (`relink.image`) is a module with records of its scope, lifetime and relocation, for its user.
The phases of a link (`relink.resolve`, `relink.relocate`, `relink.tls`) take modules.
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
from relink.records import dataclass


class Stage(enum.IntEnum):
    """How far an image has come. Stages only grow."""

    OPENED = 0
    MAPPED = 1
    RELOCATED = 2
    INITIALISED = 3
    CLOSED = 4


@dataclass(frozen=True, slots=True)
class TlsModule:
    """One image's block of thread-local storage. `relink.tls` hands them out."""

    id: int  #: what DTPMOD stores; 1 is the first
    offset: int  #: of a static block from the thread pointer (T): negative in variant II; 0 if dynamic
    size: int  #: bytes, p_memsz
    static: bool = True  #: whether the block has the same place in every thread


@dataclass(frozen=True)
class Adopted:
    """An image that lay in memory before the linker knew it (see `relink.load.adopt`)."""

    region: Region  #: its place; the buffer is a copy
    relocated: bool  #: whether it has been relocated and initialised there
    tls: TlsModule | None = None  #: of a relocated image: the block its words lead to
    before: U8 | None = None  #: the buffer as it was


class Module:
    """A decoded file and its place in guest memory.

    `bias` (the load bias, B) is added to link-time addresses, modulo the word size.
    """

    def __init__(self, decoded: Decoded, architecture: Architecture) -> None:
        self.decoded = decoded
        self.architecture = architecture
        self.name = decoded.name
        self.stage = Stage.OPENED
        self.tls: TlsModule | None = None
        self.adopted: Adopted | None = None  #: set for an image that lay in memory already
        self.low = np.uint64(place.first_vaddr(decoded))  #: link-time address of the region's first byte
        self.address_mask = np.uint64(architecture.address_mask)
        self.bias_word = np.uint64(0)  #: the load bias modulo 2^64, for arithmetic on arrays
        self._region: Region | None = None

    @property
    def short_name(self) -> str:
        """The name without its folder."""
        return self.name.rpartition("/")[2]

    def place(self, region: Region) -> None:
        """Give the module its region; from here on it has addresses."""
        self._region = region
        self.bias_word = np.uint64((region.address - int(self.low)) % (1 << 64))
        self.stage = Stage.MAPPED

    def close(self) -> None:
        """Forget the region. Called by the linker, which also frees it."""
        self.stage = Stage.CLOSED
        self._region = None

    @property
    def region(self) -> Region:
        """Guest addresses and the host buffer behind them. Raises UseAfterUnload once the module is closed."""
        if self._region is None:
            raise UseAfterUnload(self.name)
        return self._region

    @property
    def base(self) -> int:
        """Guest address of the region's first byte."""
        return self.region.address

    @property
    def bias(self) -> int:
        """The load bias, modulo the address width."""
        return int(self.bias_word) & self.architecture.address_mask

    def address_of(self, vaddr: int) -> int:
        """The guest address of a link-time address."""
        return (vaddr + self.bias) & self.architecture.address_mask

    def contains(self, address: int) -> bool:
        """Whether a guest address lies in the region."""
        return self._region is not None and self._region.contains(address)

    @property
    def closed(self) -> bool:
        """Whether it has been unloaded."""
        return self.stage is Stage.CLOSED

    def check_open(self, symbol: str | None = None) -> None:
        """Raise UseAfterUnload, naming `symbol` if given, once the module is closed."""
        if self.closed:
            raise UseAfterUnload(self.name, symbol)

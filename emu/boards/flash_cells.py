"""The cells of a flash device: geometry, contents, wear, and states of all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import compress
from operator import attrgetter, is_not

import numpy as np

from emu.boards.flash_state import FlashState, SectorState, digest_of, sector_state
from emu.boards.flash_types import (
    FlashError,
    FlashGeometryError,
    FlashStatus,
    SectorMap,
    check_numbers,
    check_whole,
    data_of,
)
from relink.arrays import U8, U64
from relink.memory.address_space import page_ceil
from relink.memory.host_pages import host_pages


class FlashCells:
    """The part of a device that keeps something; `emu.boards.flash_device` adds what changes it."""

    #: Whether programming replaces the old content without an erase (EEPROM).
    overwrites = False

    def __init__(
        self,
        sectors: SectorMap | Iterable[tuple[int, int]],
        *,
        name: str,
        base: int = 0,
        erased: int = 0xFF,
        write_size: int = 1,
        max_programs: int | None = None,
        page_size: int | None = None,
        endurance: int | None = None,
        read_only: Iterable[int] = (),
        read_disturb: int | None = None,
        strict: bool = True,
    ) -> None:
        self.name, self.base, self.erased, self.strict = name, base, erased, strict
        check_whole(
            name, base=base, erased=erased, page_size=page_size, endurance=endurance, read_disturb=read_disturb,
            write_size=write_size, max_programs=max_programs,
        )  # fmt: skip
        if not isinstance(sectors, Iterable):
            raise FlashGeometryError(name, f"sectors {sectors!r}: give a list of pairs (number, size in bytes)")
        self.sectors = sectors if isinstance(sectors, SectorMap) else SectorMap.of(*sectors, device=name)
        self.write_size = write_size  #: the unit of writing, in bytes
        self.page_size = page_size  #: the most one program writes, in a page of this size; None: any
        self.max_programs = max_programs  #: programs of one unit between two erases; None: any number
        self.endurance = endurance  #: erases of one sector; None: any number
        self.read_disturb = read_disturb  #: reads of a sector since its erase that flip one bit; None: never
        self.read_only = set(read_only)  #: sectors that cannot be changed
        self.locked: set[int] = set()  #: sectors that cannot be changed until they are unlocked, or power is lost
        self.bad: set[int] = set()  #: bad blocks
        self.operations = 0  #: number of operations so far
        self.status = FlashStatus.OK  #: of the last operation
        self._check_geometry()
        count, size = len(self.sectors), self.sectors.size
        self.pages: U8 = host_pages(page_ceil(size))  #: the host memory behind `contents`, page-aligned
        self.pages[:size] = erased
        self.wear: U64 = np.zeros(count, np.uint64)  #: erases of each sector
        self.reads: U64 = np.zeros(count, np.uint64)  #: reads of each sector since its erase
        units = size // write_size if max_programs is not None else 0
        self._programs: U8 = np.zeros(units, np.uint8)  # programs of each unit since its erase
        self._sectors: tuple[SectorState, ...] = (sector_state(b"", b""),) * count  # but for those in `_dirty`
        self._dirty = set(range(count))
        self._digested: tuple[object, bytes] | None = None
        #: Called with the address and size of what has changed in `contents`, for whatever reason.
        self.changed: list[Callable[[int, int], object]] = []
        self._saved: FlashState | None = None  # the last state that `save_state` returned

    def _check_geometry(self) -> None:
        problem = ""
        if self.erased not in (0, 0xFF):
            problem = f"an erased value of {self.erased:#x}; bits are erased to 0 or to 1"
        elif self.write_size < 1 or any(size % self.write_size for size in self.sectors.sizes):
            problem = f"sectors are no multiple of the unit of writing, {self.write_size} bytes"
        elif self.page_size is not None and (self.page_size < 1 or self.page_size % self.write_size):
            problem = f"a page of {self.page_size} bytes, no multiple of the unit of writing"
        elif self.base < 0:
            problem = f"a base of {self.base:#x}"
        elif odd := [number for number in self.read_only if not 0 <= number < len(self.sectors)]:
            problem = f"there is no sector {odd[0]} to make read-only"
        elif self.max_programs is not None and not 0 < self.max_programs < 256:
            problem = f"{self.max_programs} programs of a unit, not 1 to 255"
        elif self.endurance is not None and self.endurance < 0:
            problem = f"an endurance of {self.endurance} erases"
        elif self.read_disturb is not None and self.read_disturb < 1:
            problem = f"read disturb after {self.read_disturb} reads"
        if problem:
            raise FlashGeometryError(self.name, problem)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.size:#x} bytes at {self.base:#x}>"

    # ------------------------------------------------------------ contents

    @property
    def size(self) -> int:
        """The size of the device in bytes."""
        return self.sectors.size

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.base + self.size

    @property
    def contents(self) -> U8:
        """All bytes, uint8[size]: a read-only view that shows later operations."""
        view = self.pages[: self.size]
        view.flags.writeable = False
        return view

    def read(self, address: int, size: int) -> bytes:
        """Read bytes, from one or several sectors. Raises FlashError for addresses outside, strict or not."""
        offset = self._offset(address, size, "read")
        if self.read_disturb is not None:
            self._disturb(offset, size, self.read_disturb)
        return self.pages[offset : offset + size].tobytes()

    def preset(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Set bytes as a factory does: no operation, no rule, no wear. Raises FlashError for addresses outside."""
        data = data_of(self.name, data)
        offset = self._offset(address, len(data), "program")
        self.pages[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
        self._changed(offset, len(data))

    def sector_of(self, address: int) -> int:
        """The number of the sector at an address. Raises FlashError."""
        return self.sectors.index(self._offset(address, 1, "read"))

    def _offset(self, address: int, size: int, operation: str) -> int:
        if type(address) is not int or type(size) is not int:
            check_numbers(self.name, address=address, size=size)
        offset = address - self.base
        if size < 0 or offset < 0 or offset + size > self.size:
            raise FlashError(self.name, operation, address, size, FlashStatus.OUTSIDE)
        return offset

    def _changed(self, offset: int, size: int) -> None:
        self._dirty.update(self.sectors.touched(offset, size))
        self._tell(offset, size)

    def _tell(self, offset: int, size: int) -> None:
        for listener in self.changed if size else ():
            listener(self.base + offset, size)

    def flip(self, address: int, bit: int) -> None:
        """Flip one bit of a byte, as radiation or wear does. Raises FlashError for addresses outside, and
        FlashGeometryError for what is no bit of a byte.
        """
        check_numbers(self.name, bit=bit)
        if not 0 <= bit < 8:
            raise FlashGeometryError(self.name, f"a byte has no bit {bit}")
        offset = self._offset(address, 1, "read")
        self.pages[offset] ^= np.uint8(1 << bit)
        self._changed(offset, 1)

    def _disturb(self, offset: int, size: int, limit: int) -> None:
        """Count reads; each `limit` of a sector flip one of its bits."""
        for number in self.sectors.touched(offset, size):
            self.reads[number] += np.uint64(1)
            count = int(self.reads[number])
            if count % limit == 0:
                start, end = self.sectors.bounds(number)
                place = int.from_bytes(digest_of(self.name, number, int(self.wear[number]), count)[:8], "little")
                self.flip(self.base + start + place // 8 % (end - start), place % 8)

    # ------------------------------------------------------------ state

    def state(self) -> FlashState:
        """Everything that operations change. It shares the bytes of sectors that did not change since the last
        state, so it costs what was written in between.
        """
        return FlashState(
            self.name,
            self.sectors.sizes,
            len(self._programs),
            self._known_sectors(),
            self.wear.tobytes(),
            self.reads.tobytes(),
            frozenset(self.locked),
            frozenset(self.bad),
            self.operations,
        )

    def restore(self, state: FlashState) -> None:
        """Return to a state of this device, or of one with the same sectors. Raises FlashGeometryError."""
        if state.sizes != self.sectors.sizes or state.units != len(self._programs):
            raise FlashGeometryError(self.name, f"a state of {state.device}, which has other sectors")
        differing = compress(range(len(state.sectors)), map(is_not, state.sectors, self._sectors))
        changed = sorted(self._dirty.union(differing))
        for number in changed:
            sector, (start, end) = state.sectors[number], self.sectors.bounds(number)
            self.pages[start:end] = np.frombuffer(sector.content, np.uint8)
            if len(self._programs):
                units_of = slice(start // self.write_size, end // self.write_size)
                self._programs[units_of] = np.frombuffer(sector.programs, np.uint8)
        self._sectors = state.sectors
        self._dirty.clear()
        for start, end in self.sectors.runs(changed):
            self._tell(start, end - start)
        self.wear[:] = np.frombuffer(state.wear, np.uint64)
        self.reads[:] = np.frombuffer(state.reads, np.uint64)
        self.locked, self.bad, self.operations = set(state.locked), set(state.bad), state.operations

    def save_state(self) -> FlashState:
        """The state, for snapshots of a machine (`emu.ports.Saved`): the last one when nothing has changed."""
        state = self.state()
        if state != self._saved:
            self._saved = state
        return self._saved or state

    def restore_state(self, state: object) -> None:
        """Return to what `save_state` returned."""
        assert isinstance(state, FlashState)
        self.restore(state)

    def digest(self) -> bytes:
        """A hash (16 bytes) of what the device keeps without power: contents, programmed units and bad blocks, but
        not wear. Equal for equal contents of devices with the same sectors; costs what was written since the last.
        """
        known = self._known_sectors(), frozenset(self.bad)
        if self._digested is None or self._digested[0] != known:
            hashes = b"".join(map(attrgetter("digest"), known[0]))
            self._digested = known, digest_of(hashes, *sorted(self.bad))
        return self._digested[1]

    def _known_sectors(self) -> tuple[SectorState, ...]:
        """The states of all sectors; those that did not change are the same objects as before."""
        if self._dirty:
            sectors = list(self._sectors)
            for number in self._dirty:
                start, end = self.sectors.bounds(number)
                programs = self._programs[start // self.write_size : end // self.write_size]
                sectors[number] = sector_state(self.pages[start:end].tobytes(), programs.tobytes())
            self._sectors = tuple(sectors)
            self._dirty.clear()
        return self._sectors

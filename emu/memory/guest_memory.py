"""The machine's memory: the linker's regions, mapped in the CPU.

Until `publish` a region is host memory only. `publish` maps it in the CPU: an engine that shares memory maps the
linker's buffer, other engines copy it. Reads and writes go through the engine, which invalidates translated code.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from emu.cpu.protocol import Cpu
from emu.memory.limit import MemoryLimit
from emu.memory.page_ranges import spans_of, split
from relink.arch import Architecture
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, HostMemory, Pages, Protection, Region, overlapping, page_ceil
from relink.memory.rollback import Rollback, Step

_CHUNK = 256  #: bytes read at a time when looking for the end of a string
#: The machine's regions that every call needs; changes made by the guest are repaired before the next call.
_OWN = frozenset({"[stack]", "[tls]", "[heap]", "[libc]", "[ld.so]", "[ifunc]", "[unwind]", "[_dl_debug_state]"})
_ALWAYS_WRITABLE = frozenset({"[stack]", "[tls]"})
#: Limit for a guest's mappings and page ranges, like Linux's vm.max_map_count; each uses a mapping of the host.
MOST_MAPPINGS = 16_384
_BLOCK = 1 << 20  #: bytes written at a time
_WORTH_REMAPPING = 1 << 20  #: size in bytes from which replacing pages is faster than writing zeros


class GuestMemory(HostMemory):
    """Guest memory: the linker's `AddressSpace`, with reads, writes and mappings for other parts."""

    def __init__(self, arch: Architecture, cpu: Cpu, limit: MemoryLimit | None = None) -> None:
        super().__init__(arch)
        self._cpu = cpu
        #: Calls the guest function at an address: (address, prototype, *arguments); set by who can.
        self.caller: Callable[..., Any] | None = None
        self.limit = limit or MemoryLimit()  #: the account to which pages are charged
        self._anonymous: dict[int, Region] = {}
        self._committed: dict[Region, bytearray] = {}  #: by region: 1 for each page that is charged
        self.damaged: set[Region] = set()  #: the machine's regions that a guest has changed, for `repair`
        self._mirrors: dict[Region, list[Region]] = {}  #: by region: regions that map the same memory
        self.written: list[Callable[[int, int], object]] = []  #: called with address and size after each `write`

    # ------------------------------------------------------------ for the linker

    def publish(self, region: Region, pages: Iterable[Pages], *, zeroed: bool = False) -> None:
        mapped: list[Pages] = []
        try:
            for run in pages:
                try:
                    self._map(region, run, zeroed=zeroed)
                except BaseException:
                    if self._has(region, run):
                        mapped.append(run)  # a signal handler raised right after that
                    raise
                mapped.append(run)
        finally:  # without a call, of which an exception of a signal handler could come
            self.changes += 1
            region.pages = (*mapped,)

    def publish_all(self, regions: Sequence[tuple[Region, tuple[Pages, ...]]]) -> None:
        charged: dict[Region, bytearray] = {}
        size, known, together = 0, False, []
        for region, runs in regions:
            known = known or region.foreign or region in self._committed
            together += [(region.address, region.buffer, runs)]
            committed = bytearray(region.size // PAGE)
            for offset, length, protection in runs:
                if protection:
                    size += length
                    committed[offset // PAGE : (offset + length) // PAGE] = b"\1" * (length // PAGE)
            charged[region] = committed
        if known or not self.limit.take(self._cpu.page_cost * (size // PAGE)):
            super().publish_all(regions)  # tells which one exceeds the limit
            return
        self._committed |= charged
        self.changes += 1
        try:
            self._cpu.map_all(together)
            for region, runs in regions:
                region.pages = runs
        except BaseException:
            for region, runs in regions:
                region.pages = tuple([run for run in runs if self._has(region, run)])
            raise

    def close(self) -> None:
        """Let the next machine have the host memory of this one's stack and threads; the CPU has been closed."""
        for region in self._anonymous.values():
            if region.name in _ALWAYS_WRITABLE:
                self._give_back(region, region.size)

    def _has(self, region: Region, run: Pages) -> bool:
        """Whether the CPU has mapped a page range."""
        return bool(self._cpu.extent(region.address + run.offset, Protection.NONE))

    def release(self, region: Region) -> None:
        if self.region_at(region.address) is not region:
            raise AddressSpaceError("no such region", address=region.address, size=region.size)
        charged = self._cpu.page_cost * self._committed.get(region, b"").count(1)
        steps: list[Step] = [(self._remove, (region, True))]
        for start, size in reversed(spans_of(region.pages)):
            steps += [(self._unmap, (region.address + start, size, []))]
        steps += [(self._committed.pop, (region, None))]
        if region.address in self._anonymous:
            steps += [(self._anonymous.pop, (region.address, None))]
        rest = Rollback(steps)
        try:  # whatever a signal handler raises before leaves everything, afterwards nothing
            region.pages, self.limit.used = (), self.limit.used - charged
            rest.close()
        finally:
            if rest.calls:
                rest.close()
        if self.damaged:
            self.damaged.discard(region)
        self._give_back(region)

    def _unmap(self, address: int, size: int, begun: list[int]) -> None:
        """Unmap consecutive pages in the CPU; if that has `begun`, what a signal handler has left."""
        if not begun:
            begun += [address]
            self._cpu.unmap(address, size)
            return
        position, end = address, address + size
        while position < end:
            mapped = min(self._cpu.extent(position, Protection.NONE), end - position)
            if mapped:
                self._cpu.unmap(position, mapped)
            position += mapped or PAGE

    def _map(self, region: Region, run: Pages, *, zeroed: bool = False) -> None:
        """Map a page range of a region in the CPU. Raises AddressSpaceError beyond the memory limit."""
        self.changes += 1
        offset, size, protection = run
        if protection:
            self._commit(region, offset, size)
        part = region.buffer[offset : offset + size]
        self._cpu.map(region.address + offset, size, protection, part, zeroed=zeroed)

    def _commit(self, region: Region, offset: int, size: int) -> None:
        """Charge pages that become accessible, once: they keep their contents when permissions are removed."""
        if region.foreign:
            return
        committed = self._committed.get(region)
        if committed is None:
            committed = self._committed[region] = bytearray(region.size // PAGE)
        first, end = offset // PAGE, (offset + size) // PAGE
        new = self._cpu.page_cost * committed.count(0, first, end)
        if not self.limit.take(new):
            problem = f"exceeds the machine's memory limit of {self.limit.limit:#x} bytes"
            raise AddressSpaceError(problem, address=region.address + offset, size=size)
        committed[first:end] = b"\1" * (end - first)

    def _drop(self, region: Region, offset: int, size: int) -> None:
        """Discard the contents of unmapped pages. Pages of the machine's regions stay charged: they will be mapped
        again.
        """
        self.changes += 1
        if region.foreign:
            return
        region.discard(offset, size)
        if region.name in _OWN:
            self.damaged.add(region)
        elif (committed := self._committed.get(region)) is not None:
            first, end = offset // PAGE, (offset + size) // PAGE
            self.limit.give(self._cpu.page_cost * committed.count(1, first, end))
            committed[first:end] = bytes(end - first)

    def repair(self) -> None:
        """Map pages of the machine's regions again, zeroed, that a guest has unmapped; make its stack writable."""
        for region in sorted(self.damaged, key=lambda region: region.address):
            position, pages = 0, []
            for run in (*region.pages, Pages(region.size, 0, Protection.NONE)):
                if position < run.offset:
                    gap = Pages(position, run.offset - position, Protection.R | Protection.W)
                    self._map(region, gap)
                    pages.append(gap)
                if run.size:
                    pages.append(run)
                position = run.offset + run.size
            region.pages = tuple(pages)
            usable = Protection.R | Protection.W
            for run in pages:
                if region.name in _ALWAYS_WRITABLE and run.protection & usable != usable:
                    self.protect_pages(region.address + run.offset, run.size, run.protection | usable)
        self.damaged.clear()

    def read(self, address: int, size: int) -> bytes:
        return self._cpu.read(address, size)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._cpu.write(address, data)
        for listener in self.written:
            listener(address, len(data))

    # ------------------------------------------------------------ for everyone else

    def map_anonymous(
        self,
        size: int,
        protection: Protection = Protection.R | Protection.W,
        *,
        name: str = "",
        at: int | None = None,
    ) -> int:
        """Map `size` bytes (rounded up to pages) of zeroed memory and return its address.

        Raises AddressSpaceError if no address range is free, the memory limit is exceeded, or `at` is in use.
        """
        if len(self._regions) >= MOST_MAPPINGS:
            raise AddressSpaceError(f"more than {MOST_MAPPINGS} mappings", address=at, size=size)
        region = self.reserve(size, at=at, name=name)
        try:
            self.publish(region, [Pages(0, region.size, protection)], zeroed=True)
            self._anonymous[region.address] = region
        except BaseException:
            self.release(region)
            raise
        return region.address

    def unmap(self, address: int) -> None:
        """Unmap a mapping of `map_anonymous`. Raises AddressSpaceError for any other address."""
        region = self._anonymous.get(address)
        if region is None:
            raise AddressSpaceError("not the start of an anonymous mapping", address=address)
        self.release(region)

    def mirror(self, address: int, low: int, high: int) -> int | None:
        """Map the region at `address` a second time within [low, high) and return the new address.

        None when the engine does not share memory, or no range is free.
        """
        region = self.region_at(address)
        if region is None or not self._cpu.shares_memory:
            return None
        mirrors = self._mirrors.setdefault(region, [])
        found = next((m for m in mirrors if low <= m.address and m.end <= high), None)
        if found is None:
            found = self.reserve_between(low, high, region.size, region.name)
            if found is None:
                return None
            found.buffer, found.foreign = region.buffer, True
            mirrors += [found]  # no call before, of which an exception of a signal handler could come
            try:
                self.publish(found, region.pages)
            except BaseException:
                mirrors.remove(found)
                self.release(found)
                raise
        return found.address + address - region.address

    def reserve_between(self, low: int, high: int, size: int, name: str) -> Region | None:
        """Reserve `size` bytes of address space within [low, high); None when none is free."""
        gap = self._first_gap(low, high, size, PAGE)
        return None if gap is None else self.reserve(size, at=gap, name=name)

    # ------------------------------------------------------------ page by page, as a kernel does

    def map_over(self, address: int, size: int, protection: Protection, *, name: str = "") -> None:
        """Map zeroed memory at [address, address + size), replacing existing mappings (mmap's MAP_FIXED).

        Raises AddressSpaceError if the range is not page-aligned and within the address space, or exceeds a limit.
        """
        size = page_ceil(size)
        self.check_range(address, size)
        if size > self.limit.left + self._mapped(address, size):
            raise AddressSpaceError("exceeds the machine's memory limit", address=address, size=size)
        self.unmap_pages(address, size)
        position, end = address, address + size
        for region in self._within(address, size):
            if position < region.address:
                self.map_anonymous(region.address - position, protection, name=name, at=position)
            position = min(region.end, end)
            offset = max(address, region.address) - region.address
            run = Pages(offset, position - region.address - offset, protection)
            region.discard(run.offset, run.size)
            self._map(region, run)
            region.pages = tuple(sorted((*region.pages, run)))
        if position < end:
            self.map_anonymous(end - position, protection, name=name, at=position)

    def unmap_pages(self, address: int, size: int) -> None:
        """Unmap all pages in [address, address + size) (munmap).

        A region of `map_anonymous` without pages is released; the address range of an image stays reserved.
        """
        for region in self._within(address, size):
            low, high, pages = address - region.address, address + size - region.address, region.pages
            affected, kept = overlapping(pages, low, high), []
            for run in pages[affected]:
                for piece, inside in split(run, low, high):
                    if inside:
                        self._cpu.unmap(region.address + piece.offset, piece.size)
                        self._drop(region, piece.offset, piece.size)
                    else:
                        kept.append(piece)
            region.pages = (*pages[: affected.start], *kept, *pages[affected.stop :])
            own = region.name in _OWN
            if not region.pages and not own and self._anonymous.get(region.address) is region:
                self.unmap(region.address)

    def protect_pages(self, address: int, size: int, protection: Protection) -> None:
        """Change permissions (mprotect). Raises AddressSpaceError, without changes, for unmapped pages."""
        if not self.is_mapped(address, size):
            raise AddressSpaceError("not mapped", address=address, size=size)
        self.changes += 1
        for region in self._within(address, size):
            low, high, pages = address - region.address, address + size - region.address, region.pages
            if len(pages) >= MOST_MAPPINGS:
                raise AddressSpaceError(f"more than {MOST_MAPPINGS} runs of pages", address=address, size=size)
            if region.name in _OWN:
                self.damaged.add(region)
            affected, changed = overlapping(pages, low, high), []
            for run in pages[affected]:
                for piece, inside in split(run, low, high):
                    if inside:
                        if protection:
                            self._commit(region, piece.offset, piece.size)
                        self._cpu.protect(region.address + piece.offset, piece.size, protection)
                    changed.append(piece._replace(protection=protection) if inside else piece)
            region.pages = (*pages[: affected.start], *changed, *pages[affected.stop :])

    def is_free(self, address: int, size: int) -> bool:
        """Whether nothing is mapped in [address, address + size)."""
        return self._mapped(address, size) == 0

    def is_mapped(self, address: int, size: int) -> bool:
        """Whether all of [address, address + size) is mapped."""
        return self._mapped(address, size) == size

    def _mapped(self, address: int, size: int) -> int:
        """The number of mapped bytes in [address, address + size), in whole pages."""
        mapped = 0
        for region in self._within(address, size):
            low, high = address - region.address, address + size - region.address
            for run in region.pages[overlapping(region.pages, low, high)]:
                mapped += min(run.offset + run.size, high) - max(run.offset, low)
        return mapped

    def check_range(self, address: int, size: int) -> None:
        """Raise AddressSpaceError unless [address, address + size) consists of whole pages that a guest may
        map.
        """
        if address % PAGE or size % PAGE or size <= 0 or address + size > self.architecture.address_mask + 1:
            raise AddressSpaceError("not a range of pages", address=address, size=size)

    def _within(self, address: int, size: int) -> list[Region]:
        """The regions that overlap [address, address + size)."""
        while True:
            changes = self.changes
            first, last = bisect_right(self._starts, address), bisect_left(self._starts, address + size)
            if changes == self.changes:  # or a signal handler has loaded meanwhile
                found = self._regions[first - 1 if first else 0 : last]
                return [region for region in found if address < region.end]

    def zero(self, address: int, size: int) -> None:
        """Fill mapped memory with zeros; whole pages that an engine shares are replaced instead of written.

        Raises AddressSpaceError, without changes, when part of the range is unmapped.
        """
        whole = range(page_ceil(address), (address + size) // PAGE * PAGE) if self._cpu.shares_memory else range(0)
        if not self._cpu.shares_memory or len(whole) < _WORTH_REMAPPING:
            for offset in range(0, size, _BLOCK):
                self._cpu.write(address + offset, bytes(min(_BLOCK, size - offset)))
            return
        if not self.is_mapped(whole.start, len(whole)):
            raise AddressSpaceError("not mapped", address=address, size=size)
        self._cpu.write(address, bytes(whole.start - address))
        self._cpu.write(whole.stop, bytes(address + size - whole.stop))
        for region in self._within(whole.start, len(whole)):
            low, high = max(whole.start, region.address), min(whole.stop, region.end)
            region.discard(low - region.address, high - low)

    def read_uint(self, address: int, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self._cpu.read(address, size), "little")

    def write_uint(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`, little-endian."""
        self.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def read_cstring(self, address: int, limit: int = 1 << 24) -> bytes:
        """The bytes from `address` up to a NUL (excluded); pages after the NUL are not accessed.

        Raises AddressSpaceError if mapped memory ends first, or if there is no NUL within `limit` bytes.
        """
        pieces = []
        start = address
        while address - start < limit:
            size = min(_CHUNK, PAGE - address % PAGE, limit - (address - start))
            piece = self._cpu.read(address, size)
            end = piece.find(0)
            if end >= 0:
                pieces.append(piece[:end])
                return b"".join(pieces)
            pieces.append(piece)
            address += size
        raise AddressSpaceError(f"no NUL within {limit} bytes", address=start)

"""Where an image goes: its region, its load bias, its bytes, and the permissions of its pages."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from relink.arrays import U8, U64, Bools
from relink.elf import Decoded, ProgramHeader
from relink.elf.constants import FileType
from relink.elf.source import is_mapped
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, AddressSpace, Pages, Protection, Region, page_ceil, page_floor
from relink.memory.sparse import clusters, reserve_parts


def region_size(decoded: Decoded) -> int:
    """Bytes of address space an image takes, whole pages."""
    return page_ceil(decoded.min_vaddr + decoded.span) - first_vaddr(decoded)


def reserve(memory: AddressSpace, decoded: Decoded, base: int | None) -> Region:
    """Address space for all segments of an image, in one region.

    `base` is the guest address of the image's first page; None lets the address space choose. An ET_EXEC lies
    where it was linked for. Raises AddressSpaceError, also for a base that some segment's p_align forbids.
    """
    align = alignment(decoded)
    size = region_size(decoded)
    if decoded.header.type == FileType.EXEC:
        low = first_vaddr(decoded)
        if base not in (None, low):
            raise AddressSpaceError(f"{decoded.name} is linked for {low:#x} and no other base", address=base)
        runs = clusters(decoded)
        if len(runs) > 1:
            return reserve_parts(memory, decoded.name, low, size, runs)
        return memory.reserve(size, at=low, name=decoded.name)
    if base is not None and base % PAGE == 0 and base % align:
        raise AddressSpaceError(f"{decoded.name} wants a base aligned to {align:#x}", address=base, size=size)
    below = None
    if decoded.low_bits < memory.architecture.bits:
        below = 1 << decoded.low_bits
    region = memory.reserve(size, at=base, align=align, below=below, name=decoded.name)
    runs = clusters(decoded)
    if len(runs) == 1:
        return region
    memory.release(region)
    move = region.address - first_vaddr(decoded)
    runs = [(start + move, end + move) for start, end in runs]
    return reserve_parts(memory, decoded.name, region.address, size, runs)


def chosen(
    places: Mapping[str, int] | Callable[[Decoded], int | None] | None, decoded: Decoded, base: int | None
) -> int | None:
    """The base a user wants for an image: `base`, or else what `places` says (see `LoadOptions.place`)."""
    if base is not None or places is None:
        return base
    if callable(places):
        return places(decoded)
    names = (decoded.soname, decoded.name, decoded.name.rpartition("/")[2])
    return next((places[name] for name in names if name is not None and name in places), None)


def first_vaddr(decoded: Decoded) -> int:
    """The link-time address of a region's first byte: that of the first page, rounded down to the greatest
    p_align, so that an aligned region makes for an aligned load bias (gABI, "Program Header", p_align)."""
    if decoded.header.type == FileType.EXEC:
        return decoded.min_vaddr  # whose load bias is 0 whatever lies below
    return decoded.min_vaddr & -alignment(decoded)


def alignment(decoded: Decoded) -> int:
    """What the region's address must be a multiple of."""
    return max([PAGE, *(segment.align for segment in decoded.segments)])


def inside(decoded: Decoded, vaddr: U64, size: int) -> Bools | None:
    """Which places of `size` bytes lie whole in one segment, bool[n]; `vaddr` are link-time addresses, uint64[n].

    None when all do: the usual case, told by two compares.
    """
    if not len(vaddr):
        return None
    low, high = int(vaddr.min()), int(vaddr.max()) + size
    if any(s.vaddr <= low and high <= s.vaddr + s.memsz for s in decoded.segments):
        return None
    starts = np.array([s.vaddr for s in decoded.segments], np.uint64)
    # Of segments that overlap the one that ends last counts.
    ends = np.maximum.accumulate(np.array([s.vaddr + s.memsz for s in decoded.segments], np.uint64))
    segment = np.searchsorted(starts, vaddr, side="right") - 1
    end = np.where(segment >= 0, ends[segment], 0)
    found: Bools = (vaddr < end) & (end - vaddr >= np.uint64(size))
    return None if bool(found.all()) else found


def fill(region: Region, decoded: Decoded) -> None:
    """Lay the file's segments into the region: mapped where the host can, copied where not; bss is zero.

    Either way the guest sees what a mapping shows: the rest of a segment's first and last page comes from the file
    too, where no other segment has bytes there, and past the file-backed bytes of one with bss it is zero.
    """
    low, order = first_vaddr(decoded), decoded.mapping_order
    filled = np.zeros(len(region.buffer) // PAGE, np.bool_)  # pages that hold bytes of a segment
    room = _Room(decoded.segments)
    for segment in order:
        first, end = page_floor(segment.vaddr) - low, page_ceil(segment.vaddr + segment.filesz) - low
        pages = slice(first // PAGE, end // PAGE)
        shared = bool(filled[pages].any())  # mapping it would take another segment's bytes away
        mapped = not shared and _map(region, decoded, segment, low)
        if not mapped and segment.filesz:
            _copy(region, decoded, segment, low, filled, room)
        filled[pages] = True
        if segment.memsz > segment.filesz:
            end = segment.vaddr + segment.filesz
            last = min(page_ceil(end), room.after(segment.vaddr + segment.memsz))
            region.buffer[end - low : last - low] = 0
            if room.overlaps:
                _zero(region, last - low, segment.vaddr + segment.memsz - low, filled)


def _zero(region: Region, begin: int, end: int, filled: Bools) -> None:
    """Zero a range where earlier segments have put bytes; the rest is zero, and nothing of it is to be touched."""
    for page in (np.flatnonzero(filled[begin // PAGE : page_ceil(end) // PAGE]) + begin // PAGE).tolist():
        region.buffer[max(begin, page * PAGE) : min(end, (page + 1) * PAGE)] = 0


def _map(region: Region, decoded: Decoded, segment: ProgramHeader, low: int) -> bool:
    """Map a segment's pages from the file; False where that cannot be."""
    lead = segment.vaddr % PAGE
    return (
        decoded.path is not None
        and is_mapped(decoded.data)
        and segment.filesz > 0
        and segment.offset % PAGE == lead
        and region.map_file(segment.vaddr - lead - low, decoded.path, segment.offset - lead, segment.filesz + lead)
    )


def _copy(region: Region, decoded: Decoded, segment: ProgramHeader, low: int, filled: Bools, room: _Room) -> None:
    """Copy a segment's bytes, and what of the file a mapping would show around them."""
    start, end = segment.vaddr, segment.vaddr + segment.filesz
    if decoded.address is not None:
        region.buffer[start - low : end - low] = decoded.bytes_at(start, segment.filesz)
        return
    first, last = start, end
    if (segment.vaddr - segment.offset) % PAGE == 0:
        if not filled[(start - low) // PAGE]:
            first = max(page_floor(start), room.before(start))
        if not filled[(end - 1 - low) // PAGE]:
            last = min(page_ceil(end), room.after(end))
    shift = segment.offset - segment.vaddr
    content = decoded.data[first + shift : last + shift]
    region.buffer[first - low : first - low + len(content)] = content


class _Room:
    """The addresses between segments, that their neighbours' pages may reach into."""

    def __init__(self, segments: Sequence[ProgramHeader]) -> None:
        self._starts = [segment.vaddr for segment in segments]
        self._ends = list(accumulate((segment.vaddr + segment.memsz for segment in segments), max))
        self.overlaps = any(end > start for end, start in zip(self._ends, self._starts[1:], strict=False))

    def before(self, address: int) -> int:
        """Where what lies before a segment that starts at `address` ends; `address` if something covers it."""
        index = bisect_left(self._starts, address) - 1
        return min(self._ends[index], address) if index >= 0 else 0

    def after(self, address: int) -> int:
        """Where the next segment at or after `address` starts."""
        index = bisect_left(self._starts, address)
        return self._starts[index] if index < len(self._starts) else 1 << 64


def pages(decoded: Decoded, *, relro: bool = True) -> tuple[Pages, ...]:
    """The final permissions: as the segments say, less writing where PT_GNU_RELRO covers whole pages (`relro`).

    Where two segments share a page the later one decides, as it does when ld.so maps them in order; where no
    loader could map them so, both have what they ask for.
    """
    low = first_vaddr(decoded)
    count = (page_ceil(decoded.min_vaddr + decoded.span) - low) // PAGE
    mapped = np.zeros(count, np.uint8)
    flags = np.zeros(count, np.uint8)
    for segment in decoded.mapping_order:
        covered = _page_slice(segment, low)
        known = flags[covered] * (not mappable(segment))
        mapped[covered] = 1
        flags[covered] = segment.flags & 7 | known
    for protected in decoded.relro if relro else ():
        first = page_floor(protected.vaddr) - low
        last = page_floor(protected.vaddr + protected.memsz) - low
        flags[max(first, 0) // PAGE : max(last, 0) // PAGE] &= 7 & ~int(Protection.W)
    return tuple(_runs(mapped, flags))


def mappable(segment: ProgramHeader) -> bool:
    """Whether pages of the file can lie where the segment wants its bytes."""
    return (segment.vaddr - segment.offset) % PAGE == 0 or not segment.filesz


def _page_slice(segment: ProgramHeader, low: int) -> slice:
    first = page_floor(segment.vaddr) - low
    last = page_ceil(segment.vaddr + segment.memsz) - low
    return slice(first // PAGE, last // PAGE)


def _runs(mapped: U8, flags: U8) -> Sequence[Pages]:
    """Runs of equal permissions among the mapped pages."""
    key = mapped * 8 + flags
    edges = np.flatnonzero(np.diff(key)) + 1
    starts = [0, *edges.tolist()]
    ends = [*edges.tolist(), len(key)]
    return [
        Pages(start * PAGE, (end - start) * PAGE, Protection(int(flags[start])))
        for start, end in zip(starts, ends, strict=True)
        if end > start and mapped[start]
    ]

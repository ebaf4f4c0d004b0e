"""Where an image goes: its region, its load bias, its bytes, and the permissions of its pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from relink.arrays import U8, U64, Bools
from relink.elf import Decoded, ProgramHeader
from relink.elf.constants import FileType
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, AddressSpace, Pages, Protection, Region, page_ceil, page_floor
from relink.objects.combined import CombinedObjects


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
        return memory.reserve(size, at=low, name=decoded.name)
    if base is not None and base % PAGE == 0 and base % align:
        raise AddressSpaceError(f"{decoded.name} wants a base aligned to {align:#x}", address=base, size=size)
    below = None
    if isinstance(decoded, CombinedObjects) and decoded.low_bits < memory.architecture.bits:
        below = 1 << decoded.low_bits
    return memory.reserve(size, at=base, align=align, below=below, name=decoded.name)


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
    """Which places of `size` bytes at these link-time addresses lie whole in one segment.

    None when all do: the usual case, told by two compares.
    """
    if not len(vaddr):
        return None
    low, high = int(vaddr.min()), int(vaddr.max()) + size
    if any(s.vaddr <= low and high <= s.vaddr + s.memsz for s in decoded.segments):
        return None
    starts = np.array([s.vaddr for s in decoded.segments], np.uint64)
    ends = np.array([s.vaddr + s.memsz for s in decoded.segments], np.uint64)
    segment = np.searchsorted(starts, vaddr, side="right") - 1
    end = np.where(segment >= 0, ends[segment], 0)
    found: Bools = (vaddr < end) & (end - vaddr >= np.uint64(size))
    return None if bool(found.all()) else found


def fill(region: Region, decoded: Decoded) -> None:
    """Lay the file's segments into the region: mapped where the host can, copied where not; bss is zero."""
    low = first_vaddr(decoded)
    taken = -1  # the last page an earlier segment has bytes in
    for segment in decoded.segments:
        shares_page = page_floor(segment.vaddr) == taken
        taken = page_floor(segment.vaddr + max(segment.memsz, 1) - 1)
        start = segment.vaddr - low
        end = start + segment.filesz
        lead = segment.vaddr % PAGE
        mapped = (
            decoded.path is not None
            and segment.filesz > 0
            and not shares_page  # mapping it would take the earlier segment's bytes away
            and segment.offset >= lead
            and region.map_file(start - lead, decoded.path, segment.offset - lead, segment.filesz + lead)
        )
        if not mapped:
            if decoded.address is None:
                region.buffer[start:end] = decoded.data[segment.offset : segment.offset + segment.filesz]
            else:
                region.buffer[start:end] = decoded.bytes_at(segment.vaddr, segment.filesz)
        if segment.memsz > segment.filesz and (mapped or shares_page):
            region.buffer[end : page_ceil(end)] = 0  # what the mapping brought there


def pages(decoded: Decoded, *, relro: bool = True) -> tuple[Pages, ...]:
    """The final permissions: as the segments say, less writing where PT_GNU_RELRO covers whole pages (`relro`).

    Where two segments share a page the later one decides, as it does when ld.so maps them in order.
    """
    low = first_vaddr(decoded)
    count = (page_ceil(decoded.min_vaddr + decoded.span) - low) // PAGE
    mapped = np.zeros(count, np.uint8)
    flags = np.zeros(count, np.uint8)
    for segment in decoded.segments:
        covered = _page_slice(segment, low)
        mapped[covered] = 1
        flags[covered] = segment.flags & 7
    if relro and decoded.relro is not None:
        first = page_floor(decoded.relro.vaddr) - low
        last = page_floor(decoded.relro.vaddr + decoded.relro.memsz) - low
        flags[max(first, 0) // PAGE : max(last, 0) // PAGE] &= 7 & ~int(Protection.W)
    return tuple(_runs(mapped, flags))


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

"""The segments of a file that is mapped, where they share no pages, as linkers write them: what is mapped where
follows from the file and is kept with it. Segments side by side, in the file too, are mapped together.
"""

from __future__ import annotations

from relink.elf import Decoded, ProgramHeader
from relink.errors import ElfError
from relink.memory.address_space import PAGE, Protection, Region, page_ceil
from relink.memory.once import once_per_file
from relink.records.tuples import NamedTuple, maker

#: Bytes of a segment that is read and not mapped, if there are so many relocations a page of it.
_LEAST_READ, _MOST_READ, _ENTRIES_A_PAGE = 1 << 20, 64 << 20, 16


class _Range(NamedTuple):
    """Whole pages up to the end of a segment's file-backed bytes."""

    vaddr: int
    offset: int  #: in the file
    size: int
    read: bool  #: whether they are read, not mapped
    after: tuple[int, int] | None  #: vaddr and offset of a range that can be mapped together with this one


_RANGE = maker(_Range)


class _Ranges(NamedTuple):
    mapped: tuple[_Range, ...]
    cleared: tuple[tuple[int, int], ...]  #: the rest of the last page before bss: link-time addresses


def map_apart(region: Region, decoded: Decoded, low: int, descriptor: int) -> bool:
    """Map all segments into a region whose first byte has the link-time address `low`. False where some share a
    page, or the host cannot: they are then to be put into place one by one.
    """
    ranges = None if region.parts else _ranges(decoded)
    if ranges is None:
        return False
    for vaddr, offset, size, read, _ in ranges.mapped:
        if not region.map_file(vaddr - low, descriptor, offset, size, read=read):
            return False
    for start, end in ranges.cleared:
        region.buffer[start - low : end - low] = 0
    return True


@once_per_file
def _ranges(decoded: Decoded) -> _Ranges | None:
    """None for segments that share a page, or whose offset in the file is not that in a page."""
    mapped: list[_Range] = []
    cleared, free = list[tuple[int, int]](), 0
    for segment in () if decoded.layers else decoded.segments:
        vaddr, lead, end = segment.vaddr & -PAGE, segment.vaddr % PAGE, segment.vaddr + segment.filesz
        if vaddr < free or segment.offset % PAGE != lead or not segment.filesz:
            return None
        free, start, offset = page_ceil(segment.vaddr + segment.memsz), vaddr, segment.offset - lead
        read, has_bss = is_written(decoded, segment), segment.memsz > segment.filesz
        if has_bss:
            cleared.append((end, page_ceil(end)))
        after = None if read or has_bss else (free, offset + free - vaddr)
        if mapped and mapped[-1].after == (vaddr, offset) and not read:
            start, offset = mapped[-1].vaddr, mapped[-1].offset
            mapped.pop()
        mapped.append(_RANGE((start, offset, end - start, read, after)))
    return _Ranges(tuple(mapped), tuple(cleared)) if mapped else None


def is_written(decoded: Decoded, segment: ProgramHeader) -> bool:
    """Whether relocation will write to most pages of a segment of some size: judged by the number of entries."""
    if not (segment.flags & int(Protection.W) and _LEAST_READ <= segment.filesz <= _MOST_READ):
        return False
    try:
        entries = sum(map(len, decoded.relocations)) + len(decoded.relr)
    except ElfError:
        return False  # relocation reports it
    return entries * PAGE >= segment.filesz * _ENTRIES_A_PAGE

"""Placing an image: its region, load bias, bytes and page permissions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import or_

import numpy as np

from relink.arrays import I64, U8, U64, Bools, everywhere, highest, indices_where, lowest
from relink.elf import Decoded, ProgramHeader, RelocationTable
from relink.elf.constants import FileType
from relink.elf.contents import frozen
from relink.errors import AddressSpaceError, UnsupportedElf
from relink.memory.address_space import PAGE, AddressSpace, Pages, Protection, Region, page_ceil, page_floor
from relink.memory.gaps import Room
from relink.memory.host_pages import opened
from relink.memory.mapped_segments import is_written, map_apart
from relink.memory.once import name_of, once_per_file
from relink.memory.runs import Run, Runs
from relink.memory.sparse import clusters, reserve_parts
from relink.records.tuples import maker

#: Limit of the host's address space that one image takes, in bytes; gaps take no memory.
_MOST = 64 << 30
#: Bytes of an image that is not mapped from its file, up to which its content is put together once for all loads.
_SMALL = 1 << 16
#: Bytes of an image, with the gaps between segments, up to which it lies in memory with others.
_MODERATE = 1 << 22
_FEW_PAGES = 64  #: pages that are looked at one by one
_MAPPED = 8  #: a mark beside a page's permissions
_READ_ONLY = bytes(flags & ~int(Protection.W) for flags in range(256))
_PROTECTIONS, _RUN = tuple(map(Protection, range(8))), maker(Pages)


@once_per_file
def region_size(decoded: Decoded) -> int:
    """The size in bytes of an image's address range, in whole pages."""
    return _measured(decoded)[0]


def reserve(memory: AddressSpace, decoded: Decoded, base: int | None, limit: int | None = None) -> Region:
    """Reserve one region for all segments of an image.

    `base` is the guest address of the image's first page; with None the address space chooses it. An ET_EXEC is
    placed at its link-time address; `limit` is an address that any other image ends below. Raises
    AddressSpaceError, also when the base violates a segment's p_align.
    """
    align, size, runs, plain = extent(decoded)
    if plain and base is None and limit is None and decoded.low_bits >= memory.architecture.bits:
        return memory.reserve(size, align=align, name=decoded.name)
    if runs.size > _MOST:
        problem = f"the segments of {decoded.name} and the gaps they keep exceed the limit of {_MOST:#x} bytes"
        raise AddressSpaceError(problem, size=runs.size)
    if decoded.is_fixed:
        low = first_vaddr(decoded)
        if base not in (None, low):
            kind = "is an ET_EXEC" if decoded.header.type == FileType.EXEC else "was placed by a link script"
            raise AddressSpaceError(f"{decoded.name} {kind}: its base must be {low:#x}", address=base)
        if len(runs.runs) > 1:
            return reserve_parts(memory, decoded.name, low, size, runs, 0)
        return memory.reserve(size, at=low, name=decoded.name)
    if base is not None and base % align:
        raise AddressSpaceError(f"{decoded.name} needs a base aligned to {align:#x}", address=base, size=size)
    if len(runs.runs) > 1 and base is None and size > _MOST:  # no gap has its size: where it was linked for
        return reserve_parts(memory, decoded.name, first_vaddr(decoded), size, runs, 0)
    if len(runs.runs) > 1 and base is not None:
        return reserve_parts(memory, decoded.name, base, size, runs, base - first_vaddr(decoded))
    below = limit
    if decoded.low_bits < memory.architecture.bits:
        below = min(1 << decoded.low_bits, limit or 1 << decoded.low_bits)
    if len(runs.runs) == 1:
        return memory.reserve(size, at=base, align=align, below=below, name=decoded.name)
    region = memory.reserve(size, at=base, align=align, below=below, name=decoded.name)
    try:
        memory.release(region)
    except BaseException:  # of a signal handler, before or after that
        with suppress(AddressSpaceError):
            memory.release(region)
        raise
    return reserve_parts(memory, decoded.name, region.address, size, runs, region.address - first_vaddr(decoded))


@once_per_file
def extent(decoded: Decoded) -> tuple[int, int, Runs, bool]:
    """Alignment, size, and runs of an image, and whether it is one range that may be anywhere."""
    return _measured(decoded)[5]


def check_contiguous(decoded: Decoded) -> None:
    """Raise UnsupportedElf for an image in memory whose segments are too far apart to be copied as one range."""
    if region_size(decoded) > _MOST:
        problem = f"its segments span {region_size(decoded):#x} bytes: too far apart for an image in memory"
        raise UnsupportedElf(decoded.name, problem)


@once_per_file
def contiguous(decoded: Decoded) -> Runs:
    """The runs of an image whose buffer has all of its addresses."""
    return _measured(decoded)[3]


@once_per_file
def clustered(decoded: Decoded) -> Runs:
    """The runs of an image whose buffer has only its clusters of segments."""
    return _measured(decoded)[4]


def runs_in(region: Region, decoded: Decoded) -> Runs:
    """Where the image's addresses are in the buffer of its region."""
    return clustered(decoded) if region.parts else contiguous(decoded)


def chosen(
    places: Mapping[str, int] | Callable[[Decoded], int | None] | None, decoded: Decoded, base: int | None
) -> int | None:
    """The base that the user chose for an image: `base`, else the result of `places` (see `LoadOptions.place`)."""
    if base is not None or places is None:
        return base
    if callable(places):
        return places(decoded)
    names = (decoded.soname, decoded.name, decoded.name.rpartition("/")[2])
    return next((places[name] for name in names if name is not None and name in places), None)


@once_per_file
def first_vaddr(decoded: Decoded) -> int:
    """The link-time address of a region's first byte: the image's first page, rounded down to the largest p_align.

    With this an aligned region gives an aligned load bias (gABI, "Program Header", p_align).
    """
    return _measured(decoded)[1]


@once_per_file
def alignment(decoded: Decoded) -> int:
    """The alignment of the region's address in bytes."""
    return _measured(decoded)[2]


def _measured(decoded: Decoded) -> tuple[int, int, int, Runs, Runs, tuple[int, int, Runs, bool], bool, bool]:
    """The result of each of `_MEASURES`, kept with the file: each load asks for all of them."""
    align, first = max([PAGE, *[segment.align for segment in decoded.segments]]), decoded.min_vaddr
    low = first if decoded.is_fixed else first & -align  # the load bias of a fixed one is 0
    size = page_ceil(first + decoded.span) - low
    found, whole = clusters(decoded), Runs((Run(low, size),))
    runs = whole if found == whole.runs else Runs(found)
    plain = len(found) == 1 and runs.size <= _MOST and not decoded.is_fixed
    copied = len(found) == 1 and size <= _MODERATE and decoded.address is None and decoded.mapping is None
    answers = size, low, align, whole, runs, (align, size, runs, plain), copied, copied and size <= _SMALL
    decoded.results.update(zip(_MEASURES, answers, strict=True))
    return answers


def inside(decoded: Decoded, vaddr: U64, size: int) -> Bools | None:
    """Which places of `size` bytes lie completely in one segment, bool[n]; `vaddr` are link-time addresses,
    uint64[n].

    None when all do, which in the usual case is known from the lowest and the highest address.
    """
    if not len(vaddr) or in_one(decoded, int(lowest(vaddr)), int(highest(vaddr)) + size):
        return None
    starts = np.array([s.vaddr for s in decoded.segments], np.uint64)
    # Of overlapping segments, the one that ends last counts.
    lasts = np.maximum.accumulate(np.array([s.vaddr + s.memsz - 1 for s in decoded.segments], np.uint64))
    segment = np.searchsorted(starts, vaddr, side="right") - 1
    last = lasts[segment]
    found: Bools = (segment >= 0) & (vaddr <= last) & (last - vaddr >= np.uint64(size - 1))
    return None if everywhere(found) else found


def in_one(decoded: Decoded, low: int, high: int) -> bool:
    """Whether one segment has all addresses from `low` up to `high`."""
    for _, _, _, vaddr, _, _, size, _ in decoded.segments:  # noqa: SIM110 - a generator takes twice as long
        if vaddr <= low and high <= vaddr + size:
            return True
    return False


def entries_inside(decoded: Decoded, entries: slice | I64, size: int, table: RelocationTable) -> Bools | None:
    """`inside` of a table's entries; of a slice of the file's own table it is asked once."""
    if not isinstance(entries, slice):
        return inside(decoded, table.offset[entries], size)
    known, key = _all_inside(decoded), (id(table), entries.start, entries.stop, size)
    if key in known or entries.start == entries.stop:
        return None
    low, high = table.bounds(entries)
    found = None if in_one(decoded, low, high + size) else inside(decoded, table.offset[entries], size)
    if found is None and any(table is own for own in decoded.relocations):
        known.add(key)
    return found


@once_per_file
def _all_inside(decoded: Decoded) -> set[tuple[int, int, int, int]]:
    """Tables, by identity, and slices of them, whose places all lie in one segment each."""
    return set()


def fill(region: Region, decoded: Decoded) -> None:
    """Fill the region with the file's segments, by mapping them where the host can, else by copying; bss is zero.

    The result is that of a mapping in either case: the rest of a segment's first and last page comes from the
    file, except where another segment has bytes; after the file-backed bytes of a segment with bss it is zero.
    """
    if region.parts or (known := copied_pieces(decoded)) is None:
        _fill(region, decoded)
        return
    for start, piece in known:
        region.buffer[start : start + len(piece)] = piece


@once_per_file
def copied_pieces(decoded: Decoded) -> tuple[tuple[int, U8], ...] | None:
    """The pages of a copied image that hold bytes of its file: runs, with their index in the region's buffer. None
    if there are many.
    """
    if is_small(decoded):
        return ((0, content(decoded)),)
    backed = [segment for segment in decoded.segments if segment.filesz]
    bounds = [(page_floor(each.vaddr), page_ceil(each.vaddr + each.filesz)) for each in backed]
    if not is_copied(decoded) or sum(end - start for start, end in bounds) > _SMALL:
        return None
    whole = np.zeros(region_size(decoded), np.uint8)
    _fill(Region(first_vaddr(decoded), len(whole), whole, decoded.name), decoded)
    low = first_vaddr(decoded)
    return tuple((start - low, frozen(whole[start - low : end - low].copy())) for start, end in bounds)


@once_per_file
def is_copied(decoded: Decoded) -> bool:
    """Whether the image's region is one range of no great size, and nothing in it is mapped from the file."""
    return _measured(decoded)[6]


@once_per_file
def is_small(decoded: Decoded) -> bool:
    """Whether the content of the image's region is put together once for all loads (`content`)."""
    return _measured(decoded)[7]


_MEASURES = tuple(
    map(name_of, (region_size, first_vaddr, alignment, contiguous, clustered, extent, is_copied, is_small))
)


@once_per_file
def content(decoded: Decoded) -> U8:
    """The initial content of the region of a small image."""
    buffer = np.zeros(region_size(decoded), np.uint8)
    _fill(Region(first_vaddr(decoded), len(buffer), buffer, decoded.name), decoded)
    return frozen(buffer)


def _fill(region: Region, decoded: Decoded) -> None:
    if decoded.mapping is None and _copy_apart(region, decoded):
        return
    descriptor = opened(decoded.mapping)
    try:
        if descriptor is None or not map_apart(region, decoded, first_vaddr(decoded), descriptor):
            _fill_from(region, decoded, descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _copy_apart(region: Region, decoded: Decoded) -> bool:
    """Copy segments that share no pages, with the rest of these; False, with nothing done, for others."""
    if decoded.address is not None or decoded.layers or region.parts:
        return False
    end, low = 0, first_vaddr(decoded)
    for _, _, offset, vaddr, _, filesz, memsz, _ in decoded.segments:
        if vaddr & -PAGE < end or (vaddr - offset) % PAGE or not filesz:
            return False
        end = page_ceil(vaddr + memsz)
    for _, _, offset, vaddr, _, filesz, memsz, _ in decoded.segments:
        lead, rest = vaddr % PAGE, 0 if memsz > filesz else -(vaddr + filesz) % PAGE  # bss is zero already
        content, begin = decoded.data[offset - lead : offset + filesz + rest], vaddr - lead - low
        region.buffer[begin : begin + len(content)] = content
    return True


def _fill_from(region: Region, decoded: Decoded, descriptor: int | None) -> None:
    """Fill a region from the decoded file, and by mapping it if there is a `descriptor` of it."""
    runs = runs_in(region, decoded)
    filled = bytearray(len(region.buffer) // PAGE)  # 1 for each page that holds bytes of a segment
    room = Room(decoded.segments)
    for segment in decoded.mapping_order:
        move = runs.index(segment.vaddr) - segment.vaddr  # from addresses to indices in the buffer
        first, end = page_floor(segment.vaddr) + move, page_ceil(segment.vaddr + segment.filesz) + move
        pages = slice(first // PAGE, end // PAGE)
        shared = 1 in filled[pages]  # mapping it would overwrite another segment's bytes
        mapped = descriptor is not None and not shared and _map(region, decoded, descriptor, segment, move)
        if not mapped and segment.filesz:
            _copy(region, decoded, segment, move, filled, room)
        filled[pages] = b"\1" * len(filled[pages])
        if segment.memsz > segment.filesz:
            end = segment.vaddr + segment.filesz
            last = min(page_ceil(end), room.after(segment.vaddr + segment.memsz))
            region.buffer[end + move : last + move] = 0
            if room.overlaps:
                _zero(region, last + move, segment.vaddr + segment.memsz + move, filled)


def _zero(region: Region, begin: int, end: int, filled: bytearray) -> None:
    """Zero the parts of a range that earlier segments have filled; the rest is already zero and is not touched, so
    that no memory is allocated for it.
    """
    page = begin // PAGE - 1
    while (page := filled.find(1, page + 1, page_ceil(end) // PAGE)) >= 0:
        region.buffer[max(begin, page * PAGE) : min(end, (page + 1) * PAGE)] = 0


def _map(region: Region, decoded: Decoded, descriptor: int, segment: ProgramHeader, move: int) -> bool:
    """Map a segment's pages from the file; False when that is impossible."""
    lead = segment.vaddr % PAGE
    if segment.filesz <= 0 or segment.offset % PAGE != lead:
        return False
    start, size = segment.vaddr - lead + move, segment.filesz + lead
    read = is_written(decoded, segment)
    return region.map_file(start, descriptor, segment.offset - lead, size, read=read)


def _copy(
    region: Region, decoded: Decoded, segment: ProgramHeader, move: int, filled: bytearray, room: Room
) -> None:
    """Copy a segment's bytes, and the bytes before and after them that a mapping would show."""
    start, end = segment.vaddr, segment.vaddr + segment.filesz
    if decoded.address is not None:
        region.buffer[start + move : end + move] = decoded.bytes_at(start, segment.filesz)
        return
    first, last = start, end
    if (segment.vaddr - segment.offset) % PAGE == 0:
        if not filled[(start + move) // PAGE]:
            first = max(page_floor(start), room.before(start))
        if not filled[(end - 1 + move) // PAGE]:
            last = min(page_ceil(end), room.after(end))
    shift = segment.offset - segment.vaddr
    content = decoded.data[first + shift : last + shift]
    region.buffer[first + move : first + move + len(content)] = content


def pages(decoded: Decoded, region: Region | None = None, *, relro: bool = True) -> tuple[Pages, ...]:
    """The final page permissions: those of the segments, with `relro` without write permission where PT_GNU_RELRO
    covers whole pages. Offsets are in the buffer of `region` (None: one that has all addresses).

    When two segments share a page the later one counts, as when ld.so maps them in order. When the later cannot be
    mapped, or is not aligned to pages (`--nmagic`, firmware), the page has the permissions of both.
    """
    if region is not None and region.parts:
        return _pages(decoded, clustered(decoded), relro=relro)
    return usual_pages(decoded) if relro else _pages(decoded, contiguous(decoded), relro=False)


@once_per_file
def usual_pages(decoded: Decoded) -> tuple[Pages, ...]:
    return _pages(decoded, contiguous(decoded), relro=True)


def _pages(decoded: Decoded, runs: Runs, *, relro: bool) -> tuple[Pages, ...]:
    flags = bytearray(runs.size // PAGE)  # of each page; 0: it is not mapped
    for segment in decoded.mapping_order:
        start = runs.index(segment.vaddr)
        covered = slice(start // PAGE, -(-(start + segment.memsz) // PAGE))
        before = flags[covered]
        flags[covered] = bytes([segment.flags & 7 | _MAPPED]) * len(before)
        if segment.align < PAGE or not mappable(segment):
            flags[covered] = bytes(map(or_, before, flags[covered]))
    for protected in decoded.relro if relro else ():
        for run, offset in zip(runs.runs, runs.offsets, strict=False):
            first = max(page_floor(protected.vaddr) - run.start, 0)
            last = min(page_floor(protected.vaddr + protected.memsz) - run.start, run.size)
            covered = slice((first + offset) // PAGE, (max(last, first) + offset) // PAGE)
            flags[covered] = flags[covered].translate(_READ_ONLY)
    return tuple(_runs(flags, [offset // PAGE for offset in runs.offsets[:-1]]))


def mappable(segment: ProgramHeader) -> bool:
    """Whether the segment's file offset and address allow mapping pages of the file."""
    return (segment.vaddr - segment.offset) % PAGE == 0 or not segment.filesz


def _runs(flags: bytearray, borders: Sequence[int]) -> Sequence[Pages]:
    """Runs of equal permissions among the mapped pages, cut at `borders`."""
    if len(flags) <= _FEW_PAGES:  # without the cost of arrays
        changes = [at for at in range(1, len(flags)) if flags[at] != flags[at - 1]]
    else:
        each = np.frombuffer(flags, np.uint8)
        changes = (indices_where(each[1:] != each[:-1]) + 1).tolist()
    starts = sorted({0, *borders, *changes})
    return [
        _RUN((start * PAGE, (end - start) * PAGE, _PROTECTIONS[flags[start] & 7]))
        for start, end in zip(starts, [*starts[1:], len(flags)], strict=True)
        if end > start and flags[start]
    ]

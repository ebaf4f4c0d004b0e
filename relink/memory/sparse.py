"""Images whose segments are far apart: firmware with flash at 0x08000000 and RAM at 0x20000000 or 0xC0000000.

Such an image has a separate region for each cluster of segments, so that the addresses between them stay free. The
linker works on one region that spans them, whose buffer has the clusters one after the other
(`relink.memory.runs`). Its `parts` are the regions that the address space has reserved.
"""

from __future__ import annotations

from collections.abc import Sequence

from relink.elf import Decoded
from relink.memory.address_space import PAGE, AddressSpace, Pages, Region
from relink.memory.host_pages import host_pages
from relink.memory.runs import Run, Runs

#: Segments with a larger gap (bytes) between them get separate regions. ld.so reserves the gaps in a shared
#: object, and linkers leave gaps of up to 2 MiB; the kernel does not reserve gaps in an ET_EXEC.
_GAP_FIXED, _GAP = 1 << 20, 64 << 20


def clusters(decoded: Decoded) -> tuple[Run, ...]:
    """The clusters of segments; most images have one."""
    gap = _GAP_FIXED if decoded.is_fixed else _GAP
    runs: list[list[int]] = []
    for segment in decoded.segments:
        start, end = segment.vaddr & -PAGE, (segment.vaddr + segment.memsz + PAGE - 1) & -PAGE
        if runs and start - runs[-1][1] < gap:
            if end > runs[-1][1]:
                runs[-1][1] = end
        else:
            runs.append([start, end])
    return tuple([Run(start, end - start) for start, end in runs])


def reserve_parts(memory: AddressSpace, name: str, address: int, size: int, runs: Runs, bias: int) -> Region:
    """A region of `size` bytes at `address`, of which only `runs` are reserved, at their link-time addresses plus
    `bias`.

    Raises AddressSpaceError when one of them cannot be reserved; the others are then released.
    """
    whole = Region(address, size, host_pages(runs.size), name, mappable=True)
    parts: list[Region] = []
    try:
        for run, offset in zip(runs.runs, runs.offsets, strict=False):
            parts.append(memory.reserve(run.size, at=run.start + bias, name=name))
            parts[-1].buffer = whole.buffer[offset : offset + run.size]
        whole.parts = tuple(parts)
    except BaseException:
        for part in parts:
            memory.release(part)
        raise
    return whole


def release(memory: AddressSpace, region: Region) -> None:
    """Release an image's region with all its parts; what is left, where a signal handler has interrupted that."""
    for part in region.parts or (region,):
        if not part.released:
            memory.release(part)


def published(region: Region, pages: Sequence[Pages]) -> list[tuple[Region, tuple[Pages, ...]]]:
    """The regions to publish for a region: its parts, each with its pages, whose offsets are in the buffer."""
    if not region.parts:
        return [(region, tuple(pages))]
    found, start = [], 0
    for part in region.parts:
        inside = [run for run in pages if start <= run.offset < start + part.size]
        found.append((part, tuple(run._replace(offset=run.offset - start) for run in inside)))
        start += part.size
    return found

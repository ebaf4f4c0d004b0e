"""Whether the words of an image that lies in memory have been relocated for where it lies."""

from __future__ import annotations

import numpy as np

from relink.arch import Architecture, Role
from relink.arrays import U64
from relink.elf import Decoded
from relink.elf.constants import REBASED_TAGS
from relink.errors import LinkError
from relink.memory import placement as place
from relink.memory.address_space import Region
from relink.memory.buffers import read_words


def header_vaddr(decoded: Decoded) -> int:
    """The link-time address of the ELF header; of the first page where no segment holds it."""
    return next((s.vaddr for s in decoded.segments if s.offset == 0), decoded.min_vaddr)


def check_movable(decoded: Decoded, arch: Architecture) -> None:
    """Raise LinkError for an image read from memory whose words cannot be relocated again elsewhere.

    Addends of their own (RELA) can be applied any number of times; those kept in place (REL, RELR) are gone.
    """
    if not len(decoded.relr) and all(table.addend is not None for table in decoded.relocations):
        return
    assert decoded.address is not None
    low = place.first_vaddr(decoded)
    buffer = np.zeros(place.region_size(decoded), np.uint8)
    for segment in decoded.segments:
        content = decoded.bytes_at(segment.vaddr, segment.filesz)
        buffer[segment.vaddr - low : segment.vaddr - low + segment.filesz] = content
    address = (decoded.address - header_vaddr(decoded) + low) & arch.address_mask
    check_relocated(decoded, arch, Region(address, len(buffer), buffer, decoded.name), relocated=False)


def check_relocated(decoded: Decoded, arch: Architecture, region: Region, *, relocated: bool) -> None:
    """Raise LinkError where most words that are to be rebased speak against `relocated`.

    A running program may have changed some of them, so it takes most.
    """
    _check_dynamic(decoded)
    low = place.first_vaddr(decoded)
    bias = (region.address - low) & arch.address_mask
    words = _relative_words(decoded, arch, region)
    words = words[words != 0]
    if not bias or not len(words):
        return
    start, end = np.uint64(region.address), np.uint64(region.end)
    here = int(((words >= start) & (words <= end)).sum())
    linked = int(((words >= np.uint64(low)) & (words <= np.uint64(low + region.size))).sum())
    if relocated and 2 * here < len(words):
        why = "has not been relocated" if 2 * linked > len(words) else "was relocated for another address"
        raise LinkError(decoded.name, f"{why}: {len(words) - here} of {len(words)} pointers lead elsewhere")
    if not relocated and 2 * here > len(words):
        raise LinkError(decoded.name, f"has been relocated: {here} of {len(words)} pointers lead to where it lies")


def _relative_words(decoded: Decoded, arch: Architecture, region: Region) -> U64:
    """The words that relative relocations are about, as they are now."""
    offsets = [decoded.relr]
    for table in decoded.relocations:
        for number in np.unique(table.type).tolist():
            row = arch.relocations.get(number)
            if row is not None and row.role is Role.RELATIVE:
                offsets.append(table.offset[table.type == number])
    where = np.concatenate(offsets) - np.uint64(place.first_vaddr(decoded))
    where = where[where <= np.uint64(region.size - arch.word_size)]
    return read_words(region.buffer, where.astype(np.int64), arch.word_size)


def _check_dynamic(decoded: Decoded) -> None:
    """Raise LinkError where PT_DYNAMIC in memory leads elsewhere: its loader has rebased it for another place."""
    if decoded.address is None:
        return
    low, high = decoded.min_vaddr, decoded.min_vaddr + decoded.span
    for tag in REBASED_TAGS:
        value = decoded.dynamic.value(tag)
        if value and not low <= value < high:
            problem = f"was relocated for another address: DT_{tag.name} leads to {value:#x}"
            raise LinkError(decoded.name, problem)

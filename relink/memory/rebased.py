"""Checks whether an image in memory has been relocated, and for which address."""

from __future__ import annotations

import numpy as np

from relink.arch import Architecture, Role
from relink.arrays import U64, distinct
from relink.elf import Decoded
from relink.elf.constants import REBASED_TAGS
from relink.errors import LinkError
from relink.memory import placement as place
from relink.memory.address_space import Region
from relink.memory.buffers import read_words


def header_vaddr(decoded: Decoded) -> int:
    """The link-time address of the ELF header; of the first page when no segment contains the header."""
    return next((s.vaddr for s in decoded.segments if s.offset == 0), decoded.min_vaddr)


def check_movable(decoded: Decoded, arch: Architecture) -> None:
    """Raise LinkError for an image read from memory that cannot be relocated for another address.

    RELA relocations can be applied repeatedly; for REL and RELR the first relocation overwrote the addends.
    """
    if not len(decoded.relr) and all(table.addend is not None for table in decoded.relocations):
        return
    assert decoded.address is not None
    place.check_contiguous(decoded)
    low = place.first_vaddr(decoded)
    buffer = np.zeros(place.region_size(decoded), np.uint8)
    for segment in decoded.segments:
        content = decoded.bytes_at(segment.vaddr, segment.filesz)
        buffer[segment.vaddr - low : segment.vaddr - low + segment.filesz] = content
    address = (decoded.address - header_vaddr(decoded) + low) & arch.address_mask
    check_relocated(decoded, arch, Region(address, len(buffer), buffer, decoded.name), relocated=False)


def check_relocated(decoded: Decoded, arch: Architecture, region: Region, *, relocated: bool) -> None:
    """Raise LinkError when most of the words with RELATIVE relocations contradict `relocated`.

    Not all words are required, because a running program may have changed some.
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
        raise LinkError(decoded.name, f"{why}: {len(words) - here} of {len(words)} pointers point elsewhere")
    if not relocated and 2 * here > len(words):
        raise LinkError(decoded.name, f"has been relocated: {here} of {len(words)} pointers point into it")


def _relative_words(decoded: Decoded, arch: Architecture, region: Region) -> U64:
    """The current values of the words with RELATIVE relocations."""
    offsets = [decoded.relr]
    for table in decoded.relocations:
        for number in distinct(table.type).tolist():
            row = arch.relocations.get(number)
            if row is not None and row.role is Role.RELATIVE:
                offsets.append(table.offset[table.type == number])
    where = np.concatenate(offsets) - np.uint64(place.first_vaddr(decoded))
    where = where[where <= np.uint64(region.size - arch.word_size)]
    return read_words(region.buffer, where.astype(np.int64), arch.word_size)


def _check_dynamic(decoded: Decoded) -> None:
    """Raise LinkError when addresses in PT_DYNAMIC are outside the image: the loader rebased them for another
    address.
    """
    if decoded.address is None:
        return
    low, high = decoded.min_vaddr, decoded.min_vaddr + decoded.span
    for tag in REBASED_TAGS:
        value = decoded.dynamic.value(tag)
        if value and not low <= value < high:
            problem = f"was relocated for another address: DT_{tag.name} is {value:#x}"
            raise LinkError(decoded.name, problem)

"""The dynamic section in memory: its addresses are rebased, as by glibc's ld.so.

glibc adds the load bias to the addresses in it (elf/get-dynamic-info.h, ADJUST_DYN_INFO), except when the section
is read-only and on RISC-V (DL_RO_DYN_SECTION). Code relies on that: D's runtime, unwinders, and code that walks
`struct link_map`. musl does not rebase them; the hosted C library follows glibc.
"""

from __future__ import annotations

from itertools import compress, count

from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import REBASED_TAGS
from relink.memory import placement as place
from relink.memory.address_space import Protection
from relink.memory.buffers import WORDS
from relink.memory.once import once_per_file
from relink.memory.runs import Runs
from relink.module import Module

_REBASED = frozenset(map(int, REBASED_TAGS))
_WRITABLE = int(Protection.W)


def rebase_dynamic_section(image: Module) -> None:
    """Add the load bias to the addresses that glibc rebases, in the image's buffer."""
    if not image.bias or image.decoded.dynamic_segment is None:
        return
    places = rebased_places(image.decoded, image.architecture, image.runs)
    if not places:
        return
    word = WORDS[image.architecture.word_size]
    read, write, buffer = word.unpack_from, word.pack_into, image.region.buffer.data
    bias, mask = image.bias, image.architecture.address_mask
    for at in places:
        write(buffer, at, read(buffer, at)[0] + bias & mask)


def rebased_places(decoded: Decoded, architecture: Architecture, runs: Runs) -> list[int]:
    """Where the words that glibc rebases are in a buffer that has these `runs` of an image."""
    if runs is place.contiguous(decoded):
        known = _known(decoded)
        for made_for, places in known:
            if made_for is architecture:
                return places
        places = _places(decoded, architecture, runs)
        known.append((architecture, places))
        return places
    return _places(decoded, architecture, runs)


@once_per_file
def _known(decoded: Decoded) -> list[tuple[Architecture, list[int]]]:
    """The places in the buffer that has all addresses, by architecture, as far as they have been asked for."""
    return []


def _places(decoded: Decoded, architecture: Architecture, runs: Runs) -> list[int]:
    header = decoded.dynamic_segment
    if not architecture.rebases_dynamic_section or header is None or not header.flags & _WRITABLE:
        return []
    size = architecture.word_size
    start, last = runs.index(header.vaddr), runs.size - size
    rebased = compress(count(start + size, 2 * size), map(_REBASED.__contains__, decoded.dynamic.tags))
    return [at for at in rebased if 0 <= at <= last]

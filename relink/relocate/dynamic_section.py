"""The dynamic section in memory: its addresses are rebased, as by glibc's ld.so.

glibc adds the load bias to the addresses in it (elf/get-dynamic-info.h, ADJUST_DYN_INFO), except when the section
is read-only and on RISC-V (DL_RO_DYN_SECTION). Code relies on that: D's runtime, unwinders, and code that walks
`struct link_map`. musl does not rebase them; the hosted C library follows glibc.
"""

from __future__ import annotations

from relink.elf import Decoded
from relink.elf.constants import REBASED_TAGS
from relink.memory.address_space import Protection
from relink.memory.buffers import WORDS
from relink.memory.once import once_per_file
from relink.module import Module

_REBASED = frozenset(map(int, REBASED_TAGS))
_WRITABLE = int(Protection.W)


def rebase_dynamic_section(image: Module) -> None:
    """Add the load bias to the addresses that glibc rebases, in the image's buffer."""
    if not image.architecture.rebases_dynamic_section or not image.bias or not len(image.decoded.dynamic):
        return
    header = image.decoded.dynamic_segment
    if header is None or not header.flags & _WRITABLE:
        return
    word = WORDS[image.architecture.word_size]
    read, write, size = word.unpack_from, word.pack_into, word.size
    start, buffer = image.runs.index(header.vaddr), image.region.buffer.data
    bias, mask, last = image.bias, image.architecture.address_mask, image.runs.size - size
    for number in _rebased(image.decoded):
        at = start + size * (2 * number + 1)
        if 0 <= at <= last:
            write(buffer, at, read(buffer, at)[0] + bias & mask)


@once_per_file
def _rebased(decoded: Decoded) -> tuple[int, ...]:
    """The numbers of the entries that glibc rebases."""
    return tuple(number for number, tag in enumerate(decoded.dynamic.tags.tolist()) if tag in _REBASED)

"""The dynamic section in memory: its addresses are rebased, as by glibc's ld.so.

glibc adds the load bias to the addresses in it (elf/get-dynamic-info.h, ADJUST_DYN_INFO), except when the section
is read-only and on RISC-V (DL_RO_DYN_SECTION). Code relies on that: D's runtime, unwinders, and code that walks
`struct link_map`. musl does not rebase them; the hosted C library follows glibc.
"""

from __future__ import annotations

import numpy as np

from relink.elf.constants import REBASED_TAGS
from relink.memory.address_space import Protection
from relink.memory.buffers import read_words, write_words
from relink.module import Module

_REBASED = frozenset(map(int, REBASED_TAGS))


def rebase_dynamic_section(image: Module) -> None:
    """Add the load bias to the addresses that glibc rebases, in the image's buffer."""
    if not image.architecture.rebases_dynamic_section or not image.bias or not len(image.decoded.dynamic):
        return
    header = image.decoded.dynamic_segment
    if header is None or not header.flags & Protection.W:
        return
    word = image.architecture.word_size
    tags = image.decoded.dynamic.tags.tolist()
    where = np.array([number for number, tag in enumerate(tags) if tag in _REBASED], np.int64)
    places = image.runs.index(header.vaddr) + word * (2 * where + 1)
    places = places[(places >= 0) & (places <= image.runs.size - word)].astype(np.int64)
    values = read_words(image.region.buffer, places, word)
    write_words(image.region.buffer, places, word, (values + image.bias_word) & image.address_mask)

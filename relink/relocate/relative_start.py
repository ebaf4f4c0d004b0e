"""The relative entries at the start of a file's first table, applied while the table is read for the first time.

Linkers put relative entries first, and a large library has hundreds of thousands of them: more than the caches of
a CPU hold. The engine would read them twice: to see that they are alike and that their places are in a segment,
and to apply them. Here each piece is applied as soon as it has been seen, as far as there is nothing to report;
the engine goes on from there. A later load of the file, whose entries are known, leaves all to the engine.
"""

from __future__ import annotations

import numpy as np

from relink.arch import Role
from relink.arrays import U8
from relink.elf.constants import DynamicTag
from relink.memory import placement as place
from relink.memory.buffers import write_words
from relink.module import Module

#: A table with fewer entries (of 24 bytes each) stays in the cache.
_WORTH = 1 << 15
_SIZE = 8  #: bytes of the words
_PACKED = frozenset({DynamicTag.RELR, DynamicTag.ANDROID_RELR})


def apply_start(image: Module, buffer: U8) -> int:
    """Apply entries from the first on; return how many. 0 where the engine has to begin."""
    decoded, relocations = image.decoded, image.architecture.relocations
    table = next(iter(decoded.relocations), None)
    if table is None or len(table) < _WORTH or table.addend is None or table.is_known:
        return 0
    if decoded.dynamic.has_any(_PACKED):  # these are applied before
        return 0
    reloc_type = relocations.get(int(table.type[0]))
    if reloc_type is None or reloc_type.role is not Role.RELATIVE or image.architecture.word_size != _SIZE:
        return 0
    word, formula = reloc_type.word, reloc_type.formula
    if word is None or word.size != _SIZE or word.keeps_raw or formula is None or formula.text != "B + A":
        return 0
    done = 0
    for part, low, high in table.alike_parts():
        if not place.in_one(decoded, low, high + _SIZE):
            break
        value = table.addend[part].view(np.uint64) + image.bias_word
        write_words(buffer, image.runs.indices(table.offset[part]), _SIZE, value)
        done = part.stop
    return done

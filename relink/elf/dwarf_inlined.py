"""The functions that callers contain copies of, by DWARF's entries of inlined subroutines (DWARF 5, 3.3.8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from relink.elf.debug_files import debug_sections
from relink.elf.dwarf_info import DebugInformation
from relink.elf.dwarf_text import Writer

if TYPE_CHECKING:
    from relink.elf.decoded import Decoded

_KNOWN: WeakKeyDictionary[Decoded, frozenset[str]] = WeakKeyDictionary()


def inlined_functions(decoded: Decoded) -> frozenset[str]:
    """The names of functions that were inlined somewhere in an image, as far as its debug information can be read.
    Reads all entries, once.
    """
    if decoded not in _KNOWN:
        _KNOWN[decoded] = frozenset(_names(DebugInformation(debug_sections(decoded))))
    return _KNOWN[decoded]


def _names(information: DebugInformation) -> Iterator[str]:
    writer = Writer(information)
    for unit in information.units():
        try:
            for die in unit.top.cu.iter_DIEs():
                if (
                    die.tag == "DW_TAG_inlined_subroutine"
                    and (name := writer.string(die, "DW_AT_name")) is not None
                ):
                    yield name
        except Exception as error:  # damaged DWARF makes pyelftools raise arbitrary exceptions
            information.damaged(error)

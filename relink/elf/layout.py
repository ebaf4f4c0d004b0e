"""The record formats of ELF32 and ELF64: one `Layout` each, selected by the file's class.

All formats are little-endian; big-endian files are refused earlier.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

import numpy as np

from relink.records import dataclass


@dataclass(frozen=True)
class Layout:
    """Record formats of one ELF class: `struct` formats for single records, numpy dtypes for tables."""

    bits: int
    header: struct.Struct  #: e_type … e_shstrndx, after the 16 bytes of e_ident
    header_record: np.dtype[Any]  #: the whole ELF header as a dtype
    program_header: struct.Struct
    program_header_fields: tuple[str, ...]
    section_header: struct.Struct
    compression_header: struct.Struct  #: ch_type, ch_size, ch_addralign (and ELF64's ch_reserved)
    section_record: np.dtype[Any]  #: the format of `section_header` as a dtype
    word: np.dtype[Any]
    symbol: np.dtype[Any]
    rel: np.dtype[Any]
    rela: np.dtype[Any]

    @property
    def word_size(self) -> int:
        """Size of an address in bytes."""
        return self.bits // 8

    @property
    def address_limit(self) -> int:
        """One past the last address."""
        return 1 << self.bits


def _header_record(word: str) -> np.dtype[Any]:
    ident = [("magic", "S4"), ("class", "u1"), ("order", "u1"), ("ident_version", "u1"), ("os_abi", "u1"),
             ("abi_version", "u1"), ("padding", "V7")]  # fmt: skip
    return np.dtype([*ident, ("type", "<u2"), ("machine", "<u2"), ("version", "<u4"), ("entry", word),
                     ("phoff", word), ("shoff", word), ("flags", "<u4"), ("ehsize", "<u2"), ("phentsize", "<u2"),
                     ("phnum", "<u2"), ("shentsize", "<u2"), ("shnum", "<u2"), ("shstrndx", "<u2")])  # fmt: skip


ELF32 = Layout(
    bits=32,
    header=struct.Struct("<HHIIIIIHHHHHH"),
    header_record=_header_record("<u4"),
    program_header=struct.Struct("<8I"),
    program_header_fields=("type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align"),
    section_header=struct.Struct("<10I"),
    compression_header=struct.Struct("<III"),
    section_record=np.dtype([("name", "<u4"), ("type", "<u4"), ("flags", "<u4"), ("addr", "<u4"),
                             ("offset", "<u4"), ("size", "<u4"), ("link", "<u4"), ("info", "<u4"),
                             ("addralign", "<u4"), ("entsize", "<u4")]),
    word=np.dtype("<u4"),
    symbol=np.dtype([("name", "<u4"), ("value", "<u4"), ("size", "<u4"),
                     ("info", "u1"), ("other", "u1"), ("shndx", "<u2")]),
    rel=np.dtype([("offset", "<u4"), ("info", "<u4")]),
    rela=np.dtype([("offset", "<u4"), ("info", "<u4"), ("addend", "<i4")]),
)  # fmt: skip

ELF64 = Layout(
    bits=64,
    header=struct.Struct("<HHIQQQIHHHHHH"),
    header_record=_header_record("<u8"),
    program_header=struct.Struct("<IIQQQQQQ"),
    program_header_fields=("type", "flags", "offset", "vaddr", "paddr", "filesz", "memsz", "align"),
    section_header=struct.Struct("<IIQQQQIIQQ"),
    compression_header=struct.Struct("<IIQQ"),
    section_record=np.dtype([("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("addr", "<u8"),
                             ("offset", "<u8"), ("size", "<u8"), ("link", "<u4"), ("info", "<u4"),
                             ("addralign", "<u8"), ("entsize", "<u8")]),
    word=np.dtype("<u8"),
    symbol=np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"),
                     ("value", "<u8"), ("size", "<u8")]),
    # The halves of r_info are separate fields, so that type and symbol are views of the file.
    rel=np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4")]),
    rela=np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")]),
)  # fmt: skip

#: By class: the format of a symbol, what puts the values of `_FIELDS` in the order of the record, its dtype.
SYMBOL_RECORDS: Final = {
    32: (struct.Struct("<IIIBBH"), itemgetter(0, 1, 2, 3, 4, 5), ELF32.symbol),
    64: (struct.Struct("<IBBHQQ"), itemgetter(0, 3, 4, 5, 1, 2), ELF64.symbol),
}
_FIELDS: Final = ("name", "value", "size", "info", "other", "shndx")
#: The names of a symbol's fields as they are stored -> what takes such a row's values in the order of `_FIELDS`.
SYMBOL_FIELDS: Final[Mapping[tuple[str, ...] | None, itemgetter[tuple[int, ...]]]] = {
    stored: itemgetter(*map(stored.index, _FIELDS))
    for stored in (layout.symbol.names or () for layout in (ELF32, ELF64))
}

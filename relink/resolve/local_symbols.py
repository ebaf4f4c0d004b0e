"""Symbols that no other image can bind to: static and hidden ones, and those only in `.symtab`.

Linking never uses them. They are for users who name a function of an object, or of a firmware image without a
dynamic symbol table.
"""

from __future__ import annotations

import contextlib
import re

import numpy as np

from relink.arrays import AnyArray
from relink.elf import Decoded
from relink.elf.constants import SectionType, SymbolType
from relink.errors import ElfError
from relink.records import dataclass

_DEFINED_TYPES = (SymbolType.NOTYPE, SymbolType.OBJECT, SymbolType.FUNC, SymbolType.GNU_IFUNC)
#: The types of functions and variables.
_KINDS = (*_DEFINED_TYPES, SymbolType.TLS, SymbolType.COMMON)
_ABSOLUTE, _RESERVED = 0xFFF1, 0xFF00


@dataclass(frozen=True)
class LocalSymbol:
    """A definition: `value` is its link-time address, `row` its index in `decoded.symbols` if it is there."""

    name: str
    value: int
    size: int  #: bytes
    type: int  #: STT_*
    row: int
    #: From `local_symbols`: whether only its own unit can name it (not so a hidden symbol that is local now).
    static: bool = False


def local_symbols(decoded: Decoded, name: str) -> tuple[LocalSymbol, ...]:
    """The definitions of `name` that other images cannot bind to, one per address. Never raises."""
    found = (*_of_own_table(decoded, name), *_of_symtab(decoded, name))
    return tuple({symbol.value: symbol for symbol in reversed(found)}.values())


def clones_of(decoded: Decoded, name: str) -> tuple[str, ...]:
    """The names of the clones that GCC made of a function, such as `name.isra.0`. Never raises."""
    names = _symtab(decoded)[0].decode("utf-8", "surrogateescape").split("\0")
    with contextlib.suppress(ElfError):
        names += decoded.symbols.names.texts()
    clone = re.compile(re.escape(name) + r"\.(?:isra|constprop|part|sra)\.\d+")
    return tuple(dict.fromkeys(each for each in names if clone.fullmatch(each)))


def _of_own_table(decoded: Decoded, name: str) -> list[LocalSymbol]:
    """Those in the table that relocations use; for linked objects it includes static symbols."""
    try:
        table = decoded.symbols
        rows = [row for row, text in enumerate(table.names.texts()) if text == name]
    except ElfError:
        return []
    return [
        LocalSymbol(
            name,
            int(table.value[row]),
            int(table.size[row]),
            int(table.type[row]),
            row,
            not table.bind[row] and not table.visibility[row],
        )
        for row in rows
        if table.section[row] != 0 and int(table.type[row]) in _DEFINED_TYPES
    ]


def all_symbols(decoded: Decoded) -> list[LocalSymbol]:
    """All definitions of functions and variables, exported, hidden and static, one per name and address. Never
    raises.
    """
    found: dict[tuple[str, int], tuple[int, LocalSymbol]] = {}
    try:
        table = decoded.symbols
        names, sections = table.names.texts(), table.section.tolist()
        columns = zip(names, table.value.tolist(), table.size.tolist(), table.type.tolist(), strict=True)
        for row, (facts, section) in enumerate(zip(columns, sections, strict=True)):
            found[facts[:2]] = section, LocalSymbol(*facts, row)
    except ElfError:
        pass
    strings, rows = _symtab(decoded)
    for value, size, info, section, offset in zip(
        *(rows[field].tolist() for field in ("value", "size", "info", "shndx", "name")), strict=True
    ):
        name = strings[offset : strings.find(b"\0", offset)].decode("utf-8", "surrogateescape")
        found.setdefault((name, value), (section, LocalSymbol(name, value, size, info & 15, -1)))
    return [symbol for section, symbol in found.values() if 0 < section < _RESERVED and symbol.type in _KINDS]


def function_at(decoded: Decoded, vaddr: int, mask: int) -> tuple[str, int] | None:
    """The name of the function in `.symtab` that covers a link-time address, and the address's offset in it; None
    without one. `mask` removes from a symbol's value what is no address (Thumb). Never raises.
    """
    strings, rows = _symtab(decoded)
    rows = rows[(rows["info"] & 15 == SymbolType.FUNC) & (rows["shndx"] != 0)]
    starts = rows["value"].astype(np.uint64) & np.uint64(mask)
    inside = np.flatnonzero((starts <= np.uint64(vaddr)) & (np.uint64(vaddr) - starts < rows["size"]))
    if not len(inside):
        return None
    at = int(rows["name"][inside[0]])
    name = strings[at : strings.find(b"\0", at)].decode("utf-8", "surrogateescape")
    return (name, vaddr - int(starts[inside[0]])) if name else None


def _of_symtab(decoded: Decoded, name: str) -> list[LocalSymbol]:
    """Those in `.symtab`, which is not loaded."""
    strings, rows = _symtab(decoded)
    wanted = _offsets(strings, name.encode("utf-8", "surrogateescape"))
    return [
        LocalSymbol(
            name,
            int(row["value"]),
            int(row["size"]),
            int(row["info"]) & 15,
            -1,
            not (int(row["info"]) >> 4 or int(row["other"]) & 3),
        )
        for row in rows[np.isin(rows["name"], wanted)]
        if row["shndx"] != 0
        and (row["shndx"] < _RESERVED or row["shndx"] == _ABSOLUTE)
        and int(row["info"]) & 15 in _DEFINED_TYPES
    ]


def _symtab(decoded: Decoded) -> tuple[bytes, AnyArray]:
    """The string table and the rows of `.symtab`; empty where there is none that can be read."""
    record = decoded.header.layout.symbol
    nothing = b"", np.zeros(0, record)
    section = next((each for each in decoded.sections if each.type == SectionType.SYMTAB), None)
    if section is None or not 0 < section.link < len(decoded.sections):
        return nothing
    try:
        strings = decoded.section_bytes(decoded.sections[section.link]).tobytes()
        raw = decoded.section_bytes(section)
    except ElfError:
        return nothing
    return strings, raw[: len(raw) // record.itemsize * record.itemsize].view(record)


def _offsets(strings: bytes, name: bytes) -> list[int]:
    """The offsets of `name` in a string table, also as the tail of a longer string."""
    found, at = [], strings.find(name + b"\0")
    while at >= 0:
        found.append(at)
        at = strings.find(name + b"\0", at + 1)
    return found

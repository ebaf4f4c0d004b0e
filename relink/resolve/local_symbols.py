"""Symbols that no other image can bind to: static and hidden ones, and those only in `.symtab`.

Linking never uses them. They are for users who name a function of an object, or of a firmware image without a
dynamic symbol table.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from weakref import WeakKeyDictionary

import numpy as np

from relink.arrays import I64, U8, AnyArray
from relink.elf import Decoded
from relink.elf.constants import SectionType, SymbolType
from relink.elf.intervals import Intervals
from relink.elf.names import NO_NAMES
from relink.elf.strings import StringTable
from relink.errors import ElfError
from relink.memory.once import once_per_file
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
    return tuple(_clones(decoded).get(name, ()))


_CLONE = re.compile(r"(.*)\.(?:isra|constprop|part|sra)\.\d+", re.DOTALL)


@once_per_file
def _clones(decoded: Decoded) -> dict[str, dict[str, None]]:
    """By the name of a function, the names of its clones."""
    names = _symtab(decoded).names.texts()
    with contextlib.suppress(ElfError):
        names += decoded.symbols.names.texts()
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        if "." in name and (clone := _CLONE.fullmatch(name)):
            found[clone[1]][name] = None
    return dict(found)


def _of_own_table(decoded: Decoded, name: str) -> list[LocalSymbol]:
    """The local symbols of a name in the table that relocations use; for linked objects it has static ones too."""
    try:
        table = decoded.symbols
        rows = table.names.rows_of(name)
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
    symtab = _symtab(decoded)
    fields = (symtab.rows[field].tolist() for field in ("value", "size", "info", "shndx"))
    for name, value, size, info, section in zip(symtab.names.texts(), *fields, strict=True):
        found.setdefault((name, value), (section, LocalSymbol(name, value, size, info & 15, -1)))
    return [symbol for section, symbol in found.values() if 0 < section < _RESERVED and symbol.type in _KINDS]


def function_at(decoded: Decoded, vaddr: int, mask: int) -> tuple[str, int] | None:
    """The name of the function in `.symtab` that covers a link-time address, and the address's offset in it; None
    without one. `mask` removes from a symbol's value what is no address (Thumb). Never raises.
    """
    symtab = _symtab(decoded)
    places, rows = symtab.functions(mask)
    number = places.at(vaddr)
    if number is None:
        return None
    row = int(rows[number])
    name = symtab.names.text(row)
    return (name, vaddr - (int(symtab.rows["value"][row]) & mask)) if name else None


def _of_symtab(decoded: Decoded, name: str) -> list[LocalSymbol]:
    """The local symbols of a name in `.symtab`."""
    symtab = _symtab(decoded)
    return [
        LocalSymbol(
            name,
            int(row["value"]),
            int(row["size"]),
            int(row["info"]) & 15,
            -1,
            not (int(row["info"]) >> 4 or int(row["other"]) & 3),
        )
        for row in symtab.rows[symtab.names.rows_of(name)]
        if row["shndx"] != 0
        and (row["shndx"] < _RESERVED or row["shndx"] == _ABSOLUTE)
        and int(row["info"]) & 15 in _DEFINED_TYPES
    ]


class _Symtab:
    """The rows of `.symtab` whose names are in its string table, and these names."""

    def __init__(self, name: str, strings: U8, rows: AnyArray) -> None:
        nuls = np.flatnonzero(strings == 0)
        strings = strings[: nuls[-1] + 1 if len(nuls) else 0]
        self.rows = rows[rows["name"] < len(strings)]
        try:
            self.names = StringTable(name, strings).names(self.rows["name"], ".symtab")
        except ElfError:  # strings that overlap as no linker lets them
            self.rows, self.names = rows[:0], NO_NAMES
        self._functions: dict[int, tuple[Intervals, I64]] = {}

    def functions(self, mask: int) -> tuple[Intervals, I64]:
        """The places of the functions, and their rows; see `function_at` for `mask`."""
        found = self._functions.get(mask)
        if found is None:
            rows = self.rows
            chosen = np.flatnonzero((rows["info"] & 15 == SymbolType.FUNC) & (rows["shndx"] != 0))
            starts = rows["value"][chosen].astype(np.uint64) & np.uint64(mask)
            found = self._functions[mask] = Intervals(starts, rows["size"][chosen]), chosen
        return found


_KNOWN: WeakKeyDictionary[Decoded, _Symtab] = WeakKeyDictionary()


def _symtab(decoded: Decoded) -> _Symtab:
    """`.symtab`, which is not loaded; empty where there is none that can be read."""
    found = _KNOWN.get(decoded)
    if found is None:
        found = _KNOWN[decoded] = _Symtab(decoded.name, *_read_symtab(decoded))
    return found


def _read_symtab(decoded: Decoded) -> tuple[U8, AnyArray]:
    """The string table and the rows."""
    record = decoded.header.layout.symbol
    nothing = np.zeros(0, np.uint8), np.zeros(0, record)
    section = next((each for each in decoded.sections if each.type == SectionType.SYMTAB), None)
    if section is None or not 0 < section.link < len(decoded.sections):
        return nothing
    try:
        strings = decoded.section_bytes(decoded.sections[section.link])
        raw = decoded.section_bytes(section)
    except ElfError:
        return nothing
    return strings, raw[: len(raw) // record.itemsize * record.itemsize].view(record)

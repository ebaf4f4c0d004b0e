"""Relocating an image with few entries: each by itself, without the cost of arrays.

The engine (`relink.relocate.engine`) applies the entries of a type together, in some hundred array operations an
image however few entries it has. What the file says of few entries is kept with it (`Entries`), and for each load
only the symbols are bound and the words stored. The result is that of the engine. It remains for images with any
entry out of the ordinary (other formulas than S + A and B + A, narrow fields, places outside the segments, unknown
types), for users' handlers, lazy binding and ifuncs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Architecture, Reloc, Role
from relink.arrays import I64
from relink.elf import Decoded, RelocationTable
from relink.elf.constants import SymbolType
from relink.elf.contents import frozen
from relink.errors import ElfError
from relink.memory import placement as place
from relink.memory.buffers import WORDS
from relink.memory.once import once_per_file
from relink.module import Module
from relink.relocate.batch import by_type, indices_of, start_first
from relink.relocate.bind import use_of
from relink.relocate.references import Entry
from relink.relocate.result import Relocated
from relink.resolve.bindings import Bindings
from relink.resolve.few_references import Few
from relink.resolve.resolver import Use

if TYPE_CHECKING:
    from relink.relocate.columns import Columns

#: An image with more entries is left to the engine: there arrays are quicker.
MOST = 64
_IFUNC = int(SymbolType.GNU_IFUNC)
_NO_ELEMENTS: tuple[I64, I64, I64] = (frozen(np.zeros(1, np.int64)),) * 3
_FORMULAS = {Role.DATA: ("S", "S + A"), Role.JUMP_SLOT: ("S", "S + A"), Role.RELATIVE: ("B + A",)}


class Entries:
    """All entries of an image, in the order in which the engine applies them."""

    def __init__(self, decoded: Decoded, arch: Architecture) -> None:
        self.architecture = arch
        self._columns: list[Columns | None] = []  # made on first use
        self.counts: dict[str, int] = {}  # as in `Relocated`
        self.entries: dict[tuple[str, str], int] = {}
        self.words: list[Entry] = []
        self.packed = decoded.relr.tolist()
        uses: dict[int, set[Use]] = {}
        rows = [
            (table, number, row, indices_of(table, chosen))
            for table in decoded.relocations
            for number, chosen in start_first(by_type(np.ascontiguousarray(table.type)))
            if (row := arch.relocations[number])
        ]
        for table, _, row, chosen in rows:
            for symbol in table.symbol[chosen].tolist() if "S" in _letters(row) else ():
                uses.setdefault(symbol, set()).add(use_of(row))
        uses.pop(0, None)
        symbols = sorted(uses)
        self.few = Few(decoded, symbols, [Use.ADDRESS not in uses[symbol] for symbol in symbols])
        self.symbols = self.few.asked[1:]
        furthest = max((int(table.symbol.max()) for table in decoded.relocations if len(table)), default=0)
        self.binding_of = self._numbered(symbols, furthest + 1)
        elements = {0: 0, **{symbol: element for element, symbol in enumerate(symbols, 1)}}
        if self.packed:
            self.counts["RELR"] = self.entries[".relr.dyn", "RELR"] = len(self.packed)
        for table, number, row, chosen in rows:
            self._add(table, number, row, chosen, elements)

    def columns_of(self, decoded: Decoded) -> Columns | None:
        """The entries as columns, given the file; None where their order, or more than the names of the file's
        references, matters.
        """
        if not self._columns:
            from relink.relocate.columns import columns_of

            self._columns.append(columns_of(decoded, self.architecture, self.few, self.packed, self.words))
        return self._columns[0]

    def note(self, bindings: Bindings, result: Relocated) -> None:
        """Note in a new result that all references are bound and all entries applied."""
        dict.update(result.counts, self.counts)
        result.entries.update(self.entries)
        result.bindings, result.symbols = bindings, self.symbols

    def apply(self, image: Module, bindings: Bindings, result: Relocated) -> bool:
        """Store all words, and count the entries; False, with nothing stored, where the engine has to do it."""
        if self.words or self.packed:
            if _IFUNC in bindings.type.tolist():
                return False
            _store(image, self, bindings)
        dict.update(result.counts, self.counts)
        result.entries.update(self.entries)
        return True

    @staticmethod
    def _numbered(symbols: list[int], count: int) -> tuple[I64, I64, I64]:
        if count == 1:
            return _NO_ELEMENTS
        by_address = np.zeros(count, np.int64)
        by_address[symbols] = np.arange(1, len(symbols) + 1)
        return by_address, by_address, np.zeros_like(by_address)

    def _add(self, table: RelocationTable, number: int, row: Reloc, chosen: I64, elements: dict[int, int]) -> None:
        name = self.architecture.prefix + row.name
        key = table.section, self.architecture.relocation_name(number)
        self.entries[key] = self.entries.get(key, 0) + len(chosen)
        if row.role is Role.NONE:
            return
        self.counts[name] = self.counts.get(name, 0) + len(chosen)
        has_symbol, has_addend = "S" in _letters(row), "A" in _letters(row)
        has_addend &= table.addend is not None or row.role is not Role.JUMP_SLOT  # see `Relocation.addend`
        addends = table.addend[chosen].tolist() if table.addend is not None else [None] * len(chosen)
        for vaddr, symbol, addend in zip(
            table.offset[chosen].tolist(), table.symbol[chosen].tolist(), addends, strict=True
        ):
            element = elements[symbol] if has_symbol else None
            self.words.append(Entry(vaddr, element, addend if has_addend else 0))


def _letters(row: Reloc) -> frozenset[str]:
    return row.formula.letters if row.formula is not None else frozenset()


@once_per_file
def _known(decoded: Decoded) -> dict[int, tuple[Architecture, Entries | None]]:
    """The entries of a file by the identity of the architecture, as far as they have been asked for."""
    return {}


def entries_of(image: Module) -> Entries | None:
    """The entries of an image that has few and simple ones. Made once for each file and architecture."""
    decoded, arch, known = image.decoded, image.architecture, _known(image.decoded)
    found = known.get(id(arch))
    if found is None:
        try:
            made = Entries(decoded, arch) if _are_simple(decoded, arch) else None
        except ElfError:
            made = None  # the engine reports it
        known[id(arch)] = found = arch, made
    return found[1]


def _are_simple(decoded: Decoded, arch: Architecture) -> bool:
    if decoded.is_relocatable:
        return False
    tables = decoded.relocations
    if sum(map(len, tables)) + len(decoded.relr) > MOST:
        return False
    decoded.symbols.check_names()
    if not tables and not len(decoded.relr):
        return True
    places: list[int] = decoded.relr.tolist()
    for table in tables:
        types = table.type.tolist()
        rows = {number: arch.relocations.get(number) for number in set(types)}
        if any(row is None or not _is_simple(row, arch) for row in rows.values()):
            return False
        stored = {number for number, row in rows.items() if row is not None and row.role is not Role.NONE}
        offsets = zip(types, table.offset.tolist(), strict=True)
        places += [offset for number, offset in offsets if number in stored]
    places.sort()
    size = arch.word_size
    apart = all(after - before >= size for before, after in pairwise(places))
    return apart and place.inside(decoded, np.array(places, np.uint64), size) is None


def _is_simple(row: Reloc, arch: Architecture) -> bool:
    if row.static or (
        row.role is not Role.NONE and (row.word is None or row.formula is None or row.slot is not None)
    ):
        return False
    if row.word is None or row.formula is None:
        return True
    whole = row.word.size == arch.word_size and not row.word.keeps_raw
    fits = whole and row.word.fits(np.zeros(1, np.uint64)) is True
    return fits and row.formula.text in _FORMULAS.get(row.role, ())


def _store(image: Module, entries: Entries, bindings: Bindings) -> None:
    addresses, bias, mask = bindings.address.tolist(), image.bias, image.architecture.address_mask
    word = WORDS[image.architecture.word_size]
    read, write = word.unpack_from, word.pack_into
    buffer, index = image.region.buffer.data, image.runs.index
    for vaddr in entries.packed:
        at = index(vaddr)
        write(buffer, at, read(buffer, at)[0] + bias & mask)
    for vaddr, element, addend in entries.words:
        at = index(vaddr)
        base = bias if element is None else addresses[element]
        if addend is None:
            addend = read(buffer, at)[0]
        write(buffer, at, base + addend & mask)

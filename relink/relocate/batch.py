"""Batches: all entries of one relocation type, and the values of their formula.

A table is first split by type (`by_type`). Only the type of an entry matters, not its section or its position
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from relink.arch import Architecture, Reloc, Role
from relink.arrays import I64, U8, U32, U64, Bools, indices_where
from relink.elf import Decoded, RelocationTable
from relink.elf.contents import frozen
from relink.errors import LinkError
from relink.memory.once import once_per_file
from relink.module import Module

#: A selection of entries of a table: a slice, or indices.
Selection: TypeAlias = slice | I64
#: The entries of a table by type: (type number, entries) for each type.
Groups: TypeAlias = list[tuple[int, Selection]]
Tables: TypeAlias = list[tuple[RelocationTable, Groups]]

_NO_BOOLS: Bools = frozen(np.zeros(0, np.bool_))
#: A table with at most this many changes of type counts as sorted by type, as linkers write it.
FEW_RUNS = 64
#: Entries of a table that are listed one by one, up to which the lists are kept for the next load of the file.
_KEPT = 1 << 16


class Batch:
    """Entries of one type with their operands. Arrays have one element per entry; `keep` selects entries."""

    __slots__ = (
        "_binding_index", "binding_of", "buffer", "entries", "function", "letters", "reloc_type", "table", "where",
    )  # fmt: skip

    def __init__(
        self,
        table: RelocationTable,
        reloc_type: Reloc,
        entries: Selection,
        where: I64,
        binding_of: I64,
        buffer: U8,
    ) -> None:
        self.table, self.reloc_type = table, reloc_type
        self.entries = entries  #: the entries, as a selection of the table
        self.where = where  #: byte index of each place in the image's buffer
        self.binding_of = binding_of  #: symbol index -> index in the image's bindings
        self.buffer = buffer
        self.letters: dict[str, U64] = {}
        self.function = _NO_BOOLS  #: whether S is the address of a function
        self._binding_index: I64 | None = None

    @property
    def binding_index(self) -> I64:
        """The index of each entry's symbol in the bindings."""
        if self._binding_index is None:
            self._binding_index = self.binding_of.take(self.table.symbol[self.entries])
        return self._binding_index

    @property
    def indices(self) -> I64:
        """The entries as indices into the table."""
        return indices_of(self.table, self.entries)

    def keep(self, chosen: Bools) -> None:
        """Keep only the entries that are `chosen` (a mask)."""
        self.entries = self.indices[chosen]
        self.where, self._binding_index = self.where[chosen], None
        self.letters = {letter: values[chosen] for letter, values in self.letters.items()}


def indices_of(table: RelocationTable, entries: Selection) -> I64:
    """Entries as indices into their table."""
    return np.arange(len(table.offset))[entries] if isinstance(entries, slice) else entries


def count_of(table: RelocationTable, entries: Selection) -> int:
    """The number of entries."""
    return len(range(*entries.indices(len(table.offset)))) if isinstance(entries, slice) else len(entries)


def by_type(types: U32, alike: int = 1) -> Groups:
    """The entries of each type: a slice when they are adjacent, as linkers sort them, else indices. The first
    `alike` are known to be of one type.
    """
    if not len(types):
        return []
    rest = np.ascontiguousarray(types[alike - 1 :])
    edges = indices_where(rest[1:] != rest[:-1]) + alike
    if len(edges) < FEW_RUNS:
        starts = [0, *edges.tolist()]
        numbers = types[starts].tolist()
        if len(set(numbers)) == len(numbers):
            ends = [*starts[1:], len(types)]
            return [(n, slice(a, b)) for n, a, b in zip(numbers, starts, ends, strict=True)]
    # Linkers put the relative ones first, and sort the rest by symbol.
    first = int(edges[0])
    number, rest = int(types[0]), rest[first - alike + 1 :]
    groups: Groups = [(n, indices_where(rest == n) + first) for n in indices_where(np.bincount(rest)).tolist()]
    if any(n == number for n, _ in groups):
        return [(n, indices_where(types == n)) for n in indices_where(np.bincount(types)).tolist()]
    return sorted([(number, slice(0, first)), *groups], key=lambda group: group[0])


def start_first(groups: Groups) -> Groups:
    """The groups of a file for loaders, with the entries at the start of its table first: loaders apply them in
    this order, and so does `relink.relocate.relative_start`.
    """
    return sorted(groups, key=lambda group: not isinstance(group[1], slice) or group[1].start > 0)


#: The order of roles in objects: a sum is set before it is added to, a high part is computed before its low parts.
_PHASES = {Role.SET: 0, Role.ADD: 2, Role.ULEB: 2, Role.LOW: 2, Role.STACK: 3}


def phase_of(arch: Architecture, number: int) -> int:
    """The sort key of types in objects: lower phases are applied first."""
    reloc_type = arch.relocations.get(number)
    return 1 if reloc_type is None else _PHASES.get(reloc_type.role, 1)


@once_per_file
def _known_groups(decoded: Decoded) -> dict[int, Groups]:
    """The entries by type of the file's tables, by the number of the table, as far as they have been asked for."""
    return {}


def tables_of(
    decoded: Decoded, classify: Callable[[RelocationTable], Groups], errors: Sequence[LinkError]
) -> Tables:
    """The file's tables with their entries by type. They are kept for the next load of the file, unless `classify`
    has added to `errors`.
    """
    kept, tables = _known_groups(decoded), Tables()
    for number, table in enumerate(decoded.relocations):
        groups = kept.get(number)
        if groups is None:
            before = len(errors)
            groups = classify(table)
            listed = sum(len(chosen) for _, chosen in groups if not isinstance(chosen, slice))
            if len(errors) == before and listed <= _KEPT:
                kept[number] = groups
        tables.append((table, list(groups)))
    return tables


#: The usual formulas as functions of B and the other operands: to compile a text takes longer than to evaluate it.
_PLAIN: Mapping[str, Callable[[np.uint64, Mapping[str, Any]], U64]] = {
    "S": lambda bias, of: of["S"],
    "S + A": lambda bias, of: of["S"] + of["A"],
    "B + A": lambda bias, of: bias + of["A"],
}


def evaluate(reloc_type: Reloc, image: Module, **letters: U64 | np.uint64) -> U64:
    """The value of a type's formula, modulo 2^64. `letters` has the operands except B and DTV."""
    assert reloc_type.formula is not None
    plain = _PLAIN.get(reloc_type.formula.text)
    if plain is not None:
        return plain(image.bias_word, letters)
    tls = image.architecture.tls
    names = {"B": image.bias_word, "DTV": np.uint64(tls.dtv_bias), "Page": _page, **letters}
    value: U64 = eval(reloc_type.formula.code, {"__builtins__": {}}, names)
    return value


def _page(address: U64) -> U64:
    return address & np.uint64(~0xFFF & ((1 << 64) - 1))

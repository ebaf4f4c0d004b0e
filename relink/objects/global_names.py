"""The global names of all objects, and the definition of each: strong before common before weak before undefined
(gABI, "Symbol Table"); of several commons the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from relink.arrays import I64, U8, U64, Bools, indices_where
from relink.elf.constants import SymbolBind, SymbolType
from relink.elf.names import Names
from relink.elf.objects import ABSOLUTE, COMMON, UNDEFINED
from relink.elf.versioned_names import VersionedName
from relink.errors import DuplicateSymbol, LinkError
from relink.records import cached_property

#: Up to this number of names they are in a dictionary, otherwise in an array in the order of their hashes.
_FEW = 64
_WEAK_BIND = int(SymbolBind.WEAK)
_WEAK, _COMMON, _STRONG = 2, 3, 4  #: precedence of definitions; 1 is undefined, 0 weak and undefined


class Rows(Protocol):
    """The attributes of `relink.objects.symbols.Symbols` that are used here; see there."""

    name: str
    value: U64
    size: U64
    info: U8
    other: U8
    section: I64
    file: I64
    alias: I64
    versioned: dict[int, VersionedName]

    @property
    def bind(self) -> U8: ...

    def file_of(self, row: int) -> str: ...


class GlobalNames:
    """The different names, each with a number. `names` are the names of `rows`, ascending; `group`
    the number of each of them; `best[number]` is the row of the name's definition, once `choose` has been called.
    """

    def __init__(self, names: Names, rows: I64) -> None:
        self.rows = rows
        first, self.group = names.groups
        self.different = names.take(first)
        self.best: I64 = rows[first]
        self._gone: set[int] = set()  #: names that are now versions of another

    @classmethod
    def none(cls) -> GlobalNames:
        """Without names."""
        return cls(Names.of([]), np.zeros(0, np.int64))

    # ------------------------------------------------------------ the definition of each

    def choose(self, symbols: Rows) -> Iterator[tuple[tuple[int, int], LinkError]]:
        """Choose the definitions. Yields errors with their sort keys."""
        rank = _ranks(symbols)[self.rows]
        order = np.lexsort((-rank, self.group))  # stable: of equal ranks the first row
        first = np.searchsorted(self.group[order], np.arange(len(self.different)))
        self.best = self.rows[order[first]]
        several = np.bincount(self.group, rank >= _WEAK, len(self.different)) > 1
        yield from self._compare(symbols, indices_where(several[self.group]), rank)

    def _compare(self, symbols: Rows, positions: I64, rank: I64) -> Iterator[tuple[tuple[int, int], LinkError]]:
        """Choose among several definitions of a name, in link order."""
        chosen: dict[int, int] = {}  # name -> position
        for position, number in zip(positions.tolist(), self.group[positions].tolist(), strict=True):
            best = chosen.setdefault(number, position)
            if best == position:
                continue
            row, other, mine, theirs = int(self.rows[position]), int(self.rows[best]), rank[position], rank[best]
            error = _conflict(symbols, self.different.text(number), row, other, (int(mine), int(theirs)))
            if error is not None:
                yield (row, 1), error
            larger = mine == theirs == _COMMON and symbols.size[row] > symbols.size[other]
            if mine > theirs or larger:
                chosen[number] = position
        for number, position in chosen.items():
            self.best[number] = self.rows[position]

    def join_versions(self, symbols: Rows) -> None:
        """Bind references to N with a version to the definition of N whose default version that is."""
        now = np.arange(len(self.different))
        for row, found in symbols.versioned.items():
            number = self._number(found.base) if found.default else -1
            if number >= 0 and self.best[number] == row and (full := self._number(found.full)) >= 0:
                now[full] = number
                self._gone.add(full)
        if self._gone:
            self.group = now[self.group]

    def merge(self, symbols: Rows, exported: Iterable[str]) -> None:
        """Make all rows of a name aliases of its definition, with the most restrictive of their visibilities."""
        symbols.alias[self.rows] = self.best[self.group]
        visibility = symbols.other[self.rows] & np.uint8(3)
        least = np.full(len(self.different), 4, np.uint8)
        restricted = indices_where(visibility)
        np.minimum.at(least, self.group[restricted], visibility[restricted])
        public = [number for name in exported if (number := self._number(name)) >= 0]
        least[public] = 0  # objects of a static C library declare its functions hidden
        changed = indices_where(least < 4)
        best = self.best[changed]
        symbols.other[best] = symbols.other[best] & ~np.uint8(3) | least[changed]

    # ------------------------------------------------------------ asking

    def find(self, name: str) -> int | None:
        """The row of the definition of a name, or of a reference when it is not defined; None without either."""
        number = self._number(name)
        return None if number < 0 else int(self.best[number])

    def _number(self, name: str) -> int:
        text = name.encode("utf-8", "surrogateescape")
        number = self._of_few.get(text, -1) if len(self.different) <= _FEW else self._by_hash(text)
        return -1 if number in self._gone else number

    def _by_hash(self, text: bytes) -> int:
        wanted = Names.of([text]).gnu_hash[0]
        begin, end = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
        numbers = self._order[begin:end].tolist()
        return next((number for number in numbers if self.different.raw(number) == text), -1)

    @cached_property
    def _of_few(self) -> dict[bytes, int]:
        return {self.different.raw(number): number for number in range(len(self.different))}

    @cached_property
    def _order(self) -> I64:
        return np.argsort(self.different.gnu_hash, kind="stable")

    @cached_property
    def _hashes(self) -> I64:
        return self.different.gnu_hash[self._order].astype(np.int64)

    def all(self) -> Iterator[tuple[str, int]]:
        """Each name and the row of its definition or of a reference, in the order of first appearance."""
        yield from self._some(np.ones(len(self.different), np.bool_))

    def undefined(self, symbols: Rows) -> Iterator[tuple[str, int]]:
        """The names without a definition, with the row of a reference, in the order of first appearance."""
        which = symbols.section[self.best] == UNDEFINED
        if which.any():
            yield from self._some(which)

    def _some(self, which: Bools) -> Iterator[tuple[str, int]]:
        which[list(self._gone)] = False
        numbers = indices_where(which)
        first = np.full(len(self.different), len(self.rows))
        np.minimum.at(first, self.group, np.arange(len(self.rows)))
        numbers = numbers[np.argsort(first[numbers], kind="stable")]
        yield from zip(self.different.take(numbers).texts(), self.best[numbers].tolist(), strict=True)


def _ranks(symbols: Rows) -> I64:
    """The precedence of each row."""
    defined, weak = symbols.section != UNDEFINED, symbols.bind == _WEAK_BIND
    among_defined = np.where(symbols.section == COMMON, _COMMON, np.where(weak, _WEAK, _STRONG))
    return np.where(defined, among_defined, np.where(weak, 0, 1))


def _conflict(symbols: Rows, name: str, row: int, best: int, ranks: tuple[int, int]) -> LinkError | None:
    """The error when two definitions of a name exclude each other: of the row and of the best before it."""
    mine, other = symbols.file_of(row), symbols.file_of(best)
    here, there = (int(symbols.info[each]) & 15 == SymbolType.TLS for each in (row, best))
    if min(ranks) >= _WEAK and here != there:
        one, two = (other, mine) if there else (mine, other)
        return LinkError(symbols.name, f"{name} is thread-local in {one}, and is not in {two}")
    if ranks == (_STRONG, _STRONG) and _clash(symbols, row, best):
        return DuplicateSymbol(symbols.name, name, other, mine)
    return None


def _clash(symbols: Rows, row: int, best: int) -> bool:
    """Whether two strong definitions of a name conflict. They do not when `.symver f, f@@V` made both."""
    one, other = (
        (int(c.file[r]), int(c.section[r]), int(c.value[r])) for c, r in ((symbols, row), (symbols, best))
    )
    if one[1:] == other[1:] == (ABSOLUTE, one[2]):  # the same number, as of a header both assembled
        return False
    return one != other or not (row in symbols.versioned or best in symbols.versioned)

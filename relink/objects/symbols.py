"""The symbols of all objects in one table, and the definition of each name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from relink.arrays import I64, U8, U16, U64, AnyArray, Bools, indices_where, one_of
from relink.elf import Names, SymbolTable
from relink.elf.batch_symbols import BatchSymbols
from relink.elf.constants import SHN_ABS, VERSYM_HIDDEN, SymbolBind, SymbolType, Visibility
from relink.elf.layout import Layout
from relink.elf.objects import ABSOLUTE, UNDEFINED
from relink.elf.strings import StringTable
from relink.elf.versioned_names import VersionedName, versioned
from relink.elf.versions import VersionDef, VersionNeed, Versions
from relink.errors import LinkError, printable
from relink.objects.align import Realigned
from relink.objects.combined import Offered
from relink.objects.global_names import GlobalNames
from relink.objects.input_sections import TLS, InputSections
from relink.objects.options import Wrapped

# Numbers of the arrays' type: an operation of an array on an enum's member takes five times as long.
_LOCAL, _HIDDEN, _PROTECTED = (
    np.uint8(each) for each in (SymbolBind.LOCAL, Visibility.HIDDEN, Visibility.PROTECTED)
)
_BINDINGS = tuple(map(int, SymbolBind))
_FIRST_VERSION = 3  #: first index after the base version 2, which references without a version use


class Symbols:
    """Row 0 (no symbol), then every object's symbols; columns are arrays with one element per row.

    - `base[i]`: row of file i's first symbol (int64[files + 1]);
    - `alias`: row -> row with the definition of its name;
    - `names`: the row of the definition of each global name.

    Values are section offsets until `settle` is called.
    """

    def __init__(self, name: str, table: BatchSymbols, sections: InputSections) -> None:
        self.name, self.rows, self.sections = name, table, sections
        self.batch = table.batch
        self.base: I64 = table.first + 1
        records, count = table.records, len(table) + 1
        self.value: U64 = _after_zero(records["value"], np.uint64)
        self.size: U64 = _after_zero(records["size"], np.uint64)
        self.info: U8 = _after_zero(records["info"], np.uint8)
        self.other: U8 = _after_zero(records["other"], np.uint8)
        #: index in the object, or ABSOLUTE, COMMON, UNDEFINED
        self.section: I64 = _after_zero(table.section, np.int64)
        self.file: I64 = _after_zero(table.file, np.int64)
        self.alias: I64 = np.arange(count)
        self.names = GlobalNames.none()
        self.versioned: dict[int, VersionedName] = {}  #: rows whose name has a version
        self.renamed: dict[int, str] = {}  #: rows whose name differs from the one in the object
        self._stands_for: I64 | None = None  #: for overridden definitions: the rows that references use instead
        first = self.batch.first_section[self.file]
        place = sections.place[np.where(self.section > 0, first + self.section, -1)]
        self.kept: I64 = np.where(self.section > 0, place, -1)  #: number of a symbol's section; -1 for none
        gone = (self.section > 0) & (self.kept < 0)
        self.section[gone] = UNDEFINED
        self.dropped: Bools = gone & (self.bind == _LOCAL)  #: local symbols of discarded sections

    def __len__(self) -> int:
        return len(self.value)

    @property
    def bind(self) -> U8:
        """The binding of each symbol."""
        return self.info >> np.uint8(4)

    @property
    def type(self) -> U8:
        """The type of each symbol."""
        return self.info & np.uint8(15)

    def file_of(self, row: int) -> str:
        """The name of the object that a row comes from."""
        return self.batch.files[int(self.file[row])].name

    # ------------------------------------------------------------ names

    def resolve(self, exported: frozenset[str], wrapped: Wrapped) -> list[LinkError]:
        """Choose the definition of each global name (see `relink.objects.global_names`).

        Returns an error for each name with two strong definitions, and for unknown bindings. `exported` are names
        that other images may bind to regardless of visibility; `wrapped` renames undefined references.
        """
        table = self.rows
        table.check_names()
        rows = indices_where(table.is_global & (table.names.length > 0))
        names = self._known_as(table.names.take(rows).compact(), rows + 1, wrapped)
        self.names = GlobalNames(names, rows + 1)
        errors = [*self._unknown_bindings(), *self.names.choose(self)]
        self.names.join_versions(self)
        self.names.merge(self, exported)
        return [error for _, error in sorted(errors, key=lambda found: found[0])]

    def _known_as(self, names: Names, rows: I64, wrapped: Wrapped) -> Names:
        """The names under which rows are known: without default versions, and those that `wrapped` gives them."""
        marks = indices_where(names.blob == ord("@"))
        changed: dict[int, str] = {}
        for number in sorted(set((np.searchsorted(names.start, marks, "right") - 1).tolist())):
            row = int(rows[number])
            found = versioned(names.text(number))
            if found.version is not None:
                self.versioned[row] = found
                defined = found.default and self.section[row] != UNDEFINED
                changed[number] = found.base if defined else found.full
        if wrapped.names:
            for number in indices_where(self.section[rows] == UNDEFINED).tolist():
                name = names.text(number)
                if "@" not in name and wrapped.reference(name) != name:
                    changed[number] = self.renamed[int(rows[number])] = wrapped.reference(name)
        if not changed:
            return names
        which = np.arange(len(names))
        which[list(changed)] = len(names) + np.arange(len(changed))
        return Names.concat([names, Names.of(changed.values())]).take(which)

    def _unknown_bindings(self) -> Iterator[tuple[tuple[int, int], LinkError]]:
        """An error for the first symbol of each object that is neither local nor global, weak or unique."""
        odd = indices_where(~one_of(self.bind, _BINDINGS))
        if not len(odd):
            return
        for row in odd[np.unique(self.file[odd], return_index=True)[1]].tolist():
            file = self.batch.files[int(self.file[row])]
            name = printable(self.rows.names.text(row - 1))
            problem = f"{name} has the symbol binding {int(self.bind[row])}, which has no meaning on Linux"
            yield (int(self.base[self.file[row]]), 0), LinkError(file.name, problem)

    def find(self, name: str) -> int | None:
        """The row of the definition of a global name, or of a reference to one that is not defined; None when no
        object has it.
        """
        return self.names.find(name)

    def named(self, wanted: Callable[[str], bool]) -> dict[str, int]:
        """The undefined names that `wanted` chooses, with their rows."""
        return {name: row for name, row in self.names.undefined(self) if wanted(name)}

    def override(self, names: Iterable[str]) -> None:
        """Redirect references to these names to undefined symbols, even if the objects define the names."""
        own = [(name, row) for name in sorted(names) if (row := self._own(name)) is not None]
        if not own:
            return
        rows = np.array([row for _, row in own], np.int64)
        kinds = np.where(self.type[rows] == SymbolType.GNU_IFUNC, SymbolType.FUNC, self.type[rows])
        info = (SymbolBind.GLOBAL << 4 | kinds).astype(np.uint8)
        undefined = np.full(len(rows), UNDEFINED, np.int64)
        first = self._append(
            np.zeros(len(rows), np.uint64), info, undefined, np.full(len(rows), -1), self.file[rows]
        )
        self._stands_for = np.arange(len(self.value))
        for number, (name, row) in enumerate(own, first):
            self.renamed[number] = name
            self._stands_for[row] = number

    def _own(self, name: str) -> int | None:
        """The row of the objects' definition of a name; None if it is thread-local or not preemptible."""
        row = self.find(name)
        if row is None or self.section[row] == UNDEFINED or self.type[row] == SymbolType.TLS:
            return None
        return row if int(self.other[row]) & 3 == Visibility.DEFAULT else None

    def referred(self, rows: I64) -> I64:
        """The rows that references to `rows` resolve to."""
        meant = self.alias[rows]
        return meant if self._stands_for is None else self._stands_for[meant]

    # ------------------------------------------------------------ places

    def image_offsets(self, symbols: I64) -> U64:
        """The image offsets of symbols defined in sections, in the current layout."""
        kept, value = self.kept[symbols], self.value[symbols]
        for realigned, mine in self._realigned(kept):
            value[mine] = realigned.moved(value[mine])
        return value + self.sections.offset[kept].astype(np.uint64)

    def add_inside(self, symbols: I64, addends: I64) -> I64:
        """Add a local function symbol at symbol plus addend for each distinct pair; return the row of each
        pair.
        """
        pairs, inverse = np.unique(np.stack((symbols, addends)), axis=1, return_inverse=True)
        bases = pairs[0]
        function = np.full(len(bases), SymbolBind.LOCAL << 4 | SymbolType.FUNC, np.uint8)
        value = self.value[bases] + pairs[1].view(np.uint64)
        first = self._append(value, function, self.section[bases], self.kept[bases], self.file[bases])
        return first + inverse.reshape(-1)

    def _append(self, value: U64, info: U8, section: I64, kept: I64, file: I64) -> int:
        """Add rows that are in no object; return the first."""
        first, count = len(self.value), len(value)
        self.value = np.concatenate((self.value, value))
        self.section = np.concatenate((self.section, section))
        self.file = np.concatenate((self.file, file))
        self.kept = np.concatenate((self.kept, kept))
        self.info = np.concatenate((self.info, info))
        self.size = np.concatenate((self.size, np.zeros(count, np.uint64)))
        self.other = np.concatenate((self.other, np.zeros(count, np.uint8)))
        self.dropped = np.concatenate((self.dropped, np.zeros(count, np.bool_)))
        self.alias = np.concatenate((self.alias, np.arange(first, first + count)))
        return first

    def settle(self, commons: Mapping[int, int], tls_start: int) -> None:
        """Convert section offsets into image offsets (for TLS: offsets in the block), after layout.

        `commons` are the image offsets of the chosen common symbols.
        """
        self.shndx = np.zeros(len(self.value), np.uint16)
        self._move_over_cuts()
        placed = indices_where(self.section > 0)
        kept, thread_local = self.kept[placed], self.sections.kind == TLS
        offsets = self.sections.offset - np.where(thread_local, tls_start, 0)
        self.value[placed] += offsets[kept].astype(np.uint64)
        self.shndx[placed] = 1
        in_tls = placed[thread_local[kept]]
        self.info[in_tls] = self.info[in_tls] & np.uint8(0xF0) | np.uint8(SymbolType.TLS)
        self.shndx[self.section == ABSOLUTE] = SHN_ABS
        for row, offset in commons.items():
            self.value[row], self.shndx[row] = offset, 1
            self.info[row] = self.info[row] & np.uint8(0xF0) | np.uint8(SymbolType.OBJECT)

    def _move_over_cuts(self) -> None:
        """Adjust values and sizes in sections from which padding was removed."""
        rows = indices_where(self.section > 0)
        for realigned, places in self._realigned(self.kept[rows]):
            mine = rows[places]
            self.value[mine], self.size[mine] = realigned.moved_symbols(self.value[mine], self.size[mine])

    def _realigned(self, kept: I64) -> Iterator[tuple[Realigned, I64]]:
        """The places in `kept` of each section from which padding was removed."""
        if not self.sections.realigned or not len(kept):
            return
        order = np.argsort(kept, kind="stable")
        numbers, first = np.unique(kept[order], return_index=True)
        for number, mine in zip(numbers.tolist(), np.split(order, first[1:]), strict=True):
            if (realigned := self.sections.realigned.get(number)) is not None:
                yield realigned, mine

    def bind_to_own_image(self) -> None:
        """Undefine rows that were not chosen; bind the chosen rows to this image."""
        lost = self.alias != np.arange(len(self.alias))
        self.shndx[lost] = 0
        # Like other linkers: an undefined protected symbol does not bind to another image either.
        undefined = (self.shndx == 0) & ~lost & (self.other & 3 == _PROTECTED)
        self.other[undefined] = self.other[undefined] & ~np.uint8(3) | _HIDDEN
        winners = (self.shndx != 0) & (self.bind != _LOCAL) & ((self.other & 3) == 0)
        self.other[winners] |= _PROTECTED

    def offset_of(self, name: str) -> int | None:
        """The image offset of the function with that name; None when the objects do not define one."""
        row = self.find(name)
        return int(self.value[row]) if row is not None and self.section[row] > 0 else None

    def table(self, layout: Layout) -> SymbolTable:
        """The image's symbol table, after `settle`."""
        records = np.zeros(len(self.value), layout.symbol)
        records["name"][1 : len(self.rows) + 1] = self.rows.names.start
        blob, names = self.rows.pieces.blob, b""
        renamed = {row: found.base for row, found in self.versioned.items()} | self.renamed
        for row, name in renamed.items():
            records["name"][row] = len(blob) + len(names)
            names += name.encode("utf-8", "surrogateescape") + b"\0"
        if names:
            blob = np.concatenate((blob, np.frombuffer(names, np.uint8)))
        records["value"], records["size"] = self.value, self.size
        records["info"], records["other"], records["shndx"] = self.info, self.other, self.shndx
        offered = indices_where((self.shndx != 0) & (self.bind != _LOCAL))
        return SymbolTable(records, StringTable(self.name, blob), Offered(offered), self._versym())

    def versions(self) -> Versions:
        """The versions that the objects' symbol names define and require."""
        index = self._version_numbers()
        defining = {found.version for row, found in self.versioned.items() if self.section[row] != UNDEFINED}
        defined = tuple(VersionDef(n, name, 0, (), 0) for name, n in index.items() if name in defining)
        asked = tuple(VersionNeed("", n, name, 0, 0) for name, n in index.items() if name not in defining)
        return Versions(defined, (), asked)

    def _version_numbers(self) -> dict[str, int]:
        names = dict.fromkeys(found.version for found in self.versioned.values() if found.version is not None)
        return {name: number for number, name in enumerate(names, _FIRST_VERSION)}

    def _versym(self) -> U16 | None:
        """DT_VERSYM for the rows; None when no name has a version."""
        if not self.versioned:
            return None
        numbers = self._version_numbers()
        versym = np.ones(len(self.value), np.uint16)
        for row, found in self.versioned.items():
            hidden = not found.default and self.section[row] != UNDEFINED
            versym[row] = numbers[found.version or ""] | (VERSYM_HIDDEN if hidden else 0)
        return versym


def _after_zero(column: AnyArray, type_: type[Any]) -> AnyArray:
    """A column with a 0 before it."""
    found = np.zeros(len(column) + 1, type_)
    found[1:] = column
    return found

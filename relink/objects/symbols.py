"""The symbols of all objects in one table, and the definition of each name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from relink.arrays import I64, U8, U16, U64
from relink.elf import SymbolTable
from relink.elf.constants import SHN_ABS, VERSYM_HIDDEN, SymbolBind, SymbolType, Visibility
from relink.elf.layout import Layout
from relink.elf.objects import ABSOLUTE, COMMON, UNDEFINED, ObjectFile
from relink.elf.strings import StringTable
from relink.elf.versioned_names import VersionedName, versioned
from relink.elf.versions import VersionDef, VersionNeed, Versions
from relink.errors import DuplicateSymbol, LinkError, printable
from relink.objects.combined import TLS, InputSection, Offered
from relink.objects.options import Wrapped

_WORD = (1 << 64) - 1
_FIRST_VERSION = 3  #: first index after the base version 2, which references without a version use


class Symbols:
    """Row 0 (no symbol), then every object's symbols; columns are arrays with one element per row.

    - `base[i]`: row of file i's first symbol (int64[files + 1]);
    - `alias`: row -> row with the definition of its name;
    - `chosen`: global name -> row of its definition.

    Values are section offsets until `settle` is called.
    """

    def __init__(
        self, name: str, files: Sequence[ObjectFile], sections: Mapping[tuple[int, int], InputSection]
    ) -> None:
        self.name, self.files, self.sections = name, files, sections
        self.base: I64 = np.concatenate(([1], 1 + np.cumsum([len(f.symbols) for f in files]))).astype(np.int64)
        count = int(self.base[-1])
        self.value: U64 = np.zeros(count, np.uint64)
        self.size: U64 = np.zeros(count, np.uint64)
        self.info: U8 = np.zeros(count, np.uint8)
        self.other: U8 = np.zeros(count, np.uint8)
        self.section: I64 = np.zeros(count, np.int64)  #: index in the object, or ABSOLUTE, COMMON, UNDEFINED
        self.file: I64 = np.zeros(count, np.int64)
        self.alias: I64 = np.arange(count)
        self.chosen: dict[str, int] = {}
        self.versioned: dict[int, VersionedName] = {}  #: rows whose name has a version
        self.renamed: dict[int, str] = {}  #: rows whose name differs from the one in the object
        for number, file in enumerate(files):
            table, rows = file.symbols, self.rows_of(number)
            self.value[rows], self.size[rows] = table.value, table.size
            self.info[rows], self.other[rows] = table.info, table.other
            self.section[rows] = table.section
            self.file[rows] = number
        self._stands_for: I64 | None = None  #: for overridden definitions: the rows that references use instead
        self.kept = self._kept_sections()  #: index of a symbol's section in `sections`; -1 for none
        gone = (self.section > 0) & (self.kept < 0)
        self.section[gone] = UNDEFINED
        self.dropped = gone & (self.bind == SymbolBind.LOCAL)  #: local symbols of discarded sections

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

    def rows_of(self, number: int) -> slice:
        """The rows of file `number`."""
        return slice(int(self.base[number]), int(self.base[number + 1]))

    def file_of(self, row: int) -> str:
        """The name of the object that a row comes from."""
        return self.files[int(self.file[row])].name

    def _kept_sections(self) -> I64:
        first = np.concatenate(([0], np.cumsum([len(file.sections) for file in self.files])))
        place = np.full(int(first[-1]) + 1, -1, np.int64)
        for order, (number, index) in enumerate(self.sections):
            place[first[number] + index] = order
        return np.where(self.section > 0, place[first[self.file] + np.maximum(self.section, 0)], -1)

    # ------------------------------------------------------------ names

    def resolve(self, exported: frozenset[str], wrapped: Wrapped) -> list[LinkError]:
        """Choose the definition of each global name: strong before common before weak before undefined (gABI,
        "Symbol Table"); of several commons the largest.

        Returns an error for each name with two strong definitions, and for unknown bindings. `exported` are names
        that other images may bind to regardless of visibility; `wrapped` renames undefined references.
        """
        rank = self._ranks()
        members: dict[str, list[int]] = {}
        errors: list[LinkError] = []
        for number, file in enumerate(self.files):
            table = file.symbols
            rows = np.arange(table.first_global, len(table))
            base = int(self.base[number])
            if (error := _unknown_binding(file)) is not None:
                errors.append(error)
            for name, row in zip(table.names.take(rows).texts(), (rows + base).tolist(), strict=True):
                if not name:
                    continue
                if "@" in name:
                    name = self._versioned(name, row)
                elif wrapped.names and self.section[row] == UNDEFINED and wrapped.reference(name) != name:
                    name = self.renamed[row] = wrapped.reference(name)
                members.setdefault(name, []).append(row)
                best = self.chosen.setdefault(name, row)
                if best == row:
                    continue
                if min(rank[row], rank[best]) >= 2 and self._thread_local(row) != self._thread_local(best):
                    files = self.file_of(best), file.name
                    one, other = files if self._thread_local(best) else reversed(files)
                    errors.append(LinkError(self.name, f"{name} is thread-local in {one}, and is not in {other}"))
                elif rank[row] == rank[best] == 4 and self._clash(row, best):
                    errors.append(DuplicateSymbol(self.name, name, self.file_of(best), file.name))
                if rank[row] > rank[best] or (rank[row] == rank[best] == 3 and self.size[row] > self.size[best]):
                    self.chosen[name] = row
        self._join_versions(members)
        for name, members_ in members.items():
            self._merge(self.chosen[name], members_, exported=name in exported)
        return errors

    def _clash(self, row: int, best: int) -> bool:
        """Whether two strong definitions of a name conflict. They do not when `.symver f, f@@V` made both."""
        one, other = ((int(self.file[r]), int(self.section[r]), int(self.value[r])) for r in (row, best))
        if one[1:] == other[1:] == (ABSOLUTE, one[2]):  # the same number, as of a header both assembled
            return False
        return one != other or not (row in self.versioned or best in self.versioned)

    def _thread_local(self, row: int) -> bool:
        return int(self.info[row]) & 15 == SymbolType.TLS

    def _versioned(self, name: str, row: int) -> str:
        """Record the version in a name; return the name under which the row is known."""
        found = versioned(name)
        if found.version is None:
            return name
        self.versioned[row] = found
        return found.base if found.default and self.section[row] != UNDEFINED else found.full

    def _join_versions(self, members: dict[str, list[int]]) -> None:
        """Bind references to N with a version to the definition of N whose default version that is."""
        for row, found in list(self.versioned.items()):
            if found.default and self.chosen.get(found.base) == row and found.full in members:
                members[found.base] += members.pop(found.full)
                del self.chosen[found.full]

    def _ranks(self) -> list[int]:
        """The precedence of each row: 4 strong, 3 common, 2 weak, 1 undefined, 0 weak and undefined."""
        defined, weak = self.section != UNDEFINED, self.bind == SymbolBind.WEAK
        among_defined = np.where(self.section == COMMON, 3, np.where(weak, 2, 4))
        ranks: list[int] = np.where(defined, among_defined, np.where(weak, 0, 1)).tolist()
        return ranks

    def _merge(self, best: int, rows: list[int], *, exported: bool) -> None:
        """Make all rows of a name aliases of `best`, which gets the most restrictive visibility of them."""
        self.alias[rows] = best
        hidden = [int(self.other[row]) & 3 for row in rows if int(self.other[row]) & 3]
        if exported:  # objects of a static C library declare its functions hidden
            self.other[best] &= ~np.uint8(3)
        elif hidden:
            self.other[best] = self.other[best] & ~np.uint8(3) | np.uint8(min(hidden))

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
        row = self.chosen.get(name)
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
        rows, inverse = np.unique(symbols, return_inverse=True)
        offsets = np.zeros(len(rows), np.uint64)
        for number, row in enumerate(rows.tolist()):
            section = self.sections[int(self.file[row]), int(self.section[row])]
            value = int(self.value[row])
            if section.realigned is not None:
                value, _ = section.realigned.moved_symbol(value, 0)
            offsets[number] = (value + section.offset) & _WORD
        return offsets[inverse]

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
        placed = np.flatnonzero(self.section > 0)
        sections = list(self.sections.values())
        kept, thread_local = self.kept[placed], np.array([s.kind == TLS for s in sections], np.bool_)
        offsets = np.array([s.offset for s in sections], np.int64) - np.where(thread_local, tls_start, 0)
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
        rows = np.flatnonzero(self.section > 0)
        rows = rows[np.argsort(self.kept[rows], kind="stable")]
        edges = np.searchsorted(self.kept[rows], np.arange(len(self.sections) + 1))
        for order, section in enumerate(self.sections.values()):
            mine = rows[edges[order] : edges[order + 1]]
            if section.realigned is not None and len(mine):
                moved = section.realigned.moved_symbols(self.value[mine], self.size[mine])
                self.value[mine], self.size[mine] = moved

    def bind_to_own_image(self) -> None:
        """Undefine rows that were not chosen; bind the chosen rows to this image."""
        lost = self.alias != np.arange(len(self.alias))
        self.shndx[lost] = 0
        # Like other linkers: an undefined protected symbol does not bind to another image either.
        undefined = (self.shndx == 0) & ~lost & (self.other & 3 == Visibility.PROTECTED)
        self.other[undefined] = self.other[undefined] & ~np.uint8(3) | np.uint8(Visibility.HIDDEN)
        winners = (self.shndx != 0) & (self.bind != SymbolBind.LOCAL) & ((self.other & 3) == 0)
        self.other[winners] |= np.uint8(Visibility.PROTECTED)

    def offset_of(self, name: str) -> int | None:
        """The image offset of the function with that name; None when the objects do not define one."""
        row = self.chosen.get(name)
        return int(self.value[row]) if row is not None and self.section[row] > 0 else None

    def table(self, layout: Layout) -> SymbolTable:
        """The image's symbol table, after `settle`."""
        blobs = [np.zeros(1, np.uint8), *(file.symbols.strings.data for file in self.files)]
        starts = np.cumsum([len(blob) for blob in blobs])
        records = np.zeros(len(self.value), layout.symbol)
        for number, file in enumerate(self.files):
            records["name"][self.rows_of(number)] = file.symbols.records["name"] + starts[number]
        names = b""
        renamed = {row: found.base for row, found in self.versioned.items()} | self.renamed
        for row, name in renamed.items():
            records["name"][row] = int(starts[-1]) + len(names)
            names += name.encode("utf-8", "surrogateescape") + b"\0"
        blobs.append(np.frombuffer(names, np.uint8))
        records["value"], records["size"] = self.value, self.size
        records["info"], records["other"], records["shndx"] = self.info, self.other, self.shndx
        offered = np.flatnonzero((self.shndx != 0) & (self.bind != SymbolBind.LOCAL))
        return SymbolTable(
            records, StringTable(self.name, np.concatenate(blobs)), Offered(offered), self._versym()
        )

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


def _unknown_binding(file: ObjectFile) -> LinkError | None:
    """An error for a symbol that is neither local nor global, weak or unique."""
    table = file.symbols
    odd = np.flatnonzero(~np.isin(table.bind, list(SymbolBind)))
    if not len(odd):
        return None
    problem = f"{printable(table.names.text(int(odd[0])))} has the symbol binding {int(table.bind[odd[0]])}"
    return LinkError(file.name, f"{problem}, which has no meaning on Linux")

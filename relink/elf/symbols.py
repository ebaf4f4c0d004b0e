"""The dynamic symbol table as arrays, and lookup of many names at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from relink.arrays import I64, U8, U16, U32, U64, AnyArray, Bools, anywhere, everywhere, highest, indices_where
from relink.elf.constants import SHN_UNDEF, DynamicTag, SymbolBind
from relink.elf.contents import Contents, frozen
from relink.elf.dynamic import Dynamic
from relink.elf.hashes import GnuHash, HashTable, NoHash, SysvHash
from relink.elf.layout import ELF64, SYMBOL_FIELDS, Layout
from relink.elf.names import NO_NAMES, Names, flat_indices
from relink.elf.some_symbols import SomeSymbols
from relink.elf.strings import StringTable
from relink.errors import ElfError, MalformedElf
from relink.records import cached_property, dataclass
from relink.records.tuples import NamedTuple

_UNIQUE = np.uint8(SymbolBind.GNU_UNIQUE << 4)
_FEW = 64  #: symbols whose names are looked for one by one, in a third of the time that arrays take
#: Up to one symbol in this many has its name read separately; for more, the names of all symbols are read.
_PART = 16
#: Names kept with a table: single ones with their symbols; those of a question, and such questions.
_MOST_FOUND, _MOST_ASKED = 1 << 10, 4


class SymbolRow(NamedTuple):
    """One symbol, as `SymbolRows` has them all."""

    name_at: int  #: the offset of its name in the string table
    value: int
    size: int
    section: int
    bind: int
    type: int
    visibility: int


@dataclass(frozen=True, eq=False)
class SymbolRows:
    """The columns common to all symbol tables, as read-only arrays with one element per symbol.

    `records` are the rows as stored in the file or image (`Layout.symbol`), `strings` the string table of their
    names.
    """

    records: AnyArray
    strings: StringTable

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def value(self) -> U64:
        """st_value, uint64[n]."""
        return frozen(self.records["value"].astype(np.uint64))

    @cached_property
    def size(self) -> U64:
        """st_size in bytes, uint64[n]."""
        return frozen(self.records["size"].astype(np.uint64))

    @cached_property
    def info(self) -> U8:
        """st_info, uint8[n]."""
        return frozen(self.records["info"].copy())

    @cached_property
    def other(self) -> U8:
        """st_other, uint8[n]."""
        return frozen(self.records["other"].copy())

    @cached_property
    def bind(self) -> U8:
        """The `SymbolBind` of each symbol, uint8[n]."""
        return frozen(self.info >> np.uint8(4))

    @cached_property
    def type(self) -> U8:
        """The `SymbolType` of each symbol, uint8[n]."""
        return frozen(self.info & np.uint8(15))

    @cached_property
    def visibility(self) -> U8:
        """The `Visibility` of each symbol, uint8[n]."""
        return frozen(self.other & np.uint8(3))

    def row(self, symbol: int) -> SymbolRow:
        """One symbol as numbers. Rows are kept: quicker than arrays for the few that are asked for by name."""
        if symbol not in self._rows:
            name, value, size, info, other, section = self.numbers(symbol)
            self._rows[symbol] = SymbolRow(name, value, size, section, info >> 4, info & 15, other & 3)
        return self._rows[symbol]

    def numbers(self, symbol: int) -> tuple[int, ...]:
        """The name's offset, value, size, info, other and shndx of one symbol."""
        return tuple(SYMBOL_FIELDS[self.records.dtype.names](self.records.item(symbol)))

    @cached_property
    def _rows(self) -> dict[int, SymbolRow]:
        return {}

    @cached_property
    def names(self) -> Names:
        """The name of each symbol. Raises MalformedElf for one outside the string table or not terminated."""
        return self.strings.names(self.records["name"], "symbol names")


@dataclass(frozen=True, eq=False)
class SymbolTable(SymbolRows):
    """DT_SYMTAB: one row per symbol, row 0 the undefined symbol. Raw fields, link-time values.

    `records` are the rows as stored in the image (`Layout.symbol`), `strings` the string table of their names,
    `hash_table` the table for lookup by name, `versym` the raw DT_VERSYM entries (uint16[n]) or None.
    """

    hash_table: HashTable
    versym: U16 | None
    #: The symbols of each name that a look-up finds, where these have been listed.
    by_name: Mapping[bytes, Sequence[int]] | None = None

    @classmethod
    def empty(cls, name: str) -> SymbolTable:
        """A table without symbols."""
        strings = StringTable(name, frozen(np.empty(0, np.uint8)))
        return cls(frozen(np.empty(0, ELF64.symbol)), strings, NoHash(), None)

    @cached_property
    def section(self) -> U16:
        """st_shndx, uint16[n]; 0 means undefined."""
        return frozen(self.records["shndx"].copy())

    @property
    def has_versions(self) -> bool:
        """Whether the image has DT_VERSYM."""
        return self.versym is not None

    @cached_property
    def version(self) -> U16:
        """The raw versym entry (index and hidden bit) of each symbol, uint16[n]; all 1 without DT_VERSYM."""
        return frozen(np.ones(len(self), np.uint16)) if self.versym is None else self.versym

    def names_of(self, symbols: I64) -> Names:
        """The `names` of some symbols. For few symbols the other names are not read. Raises as `names` does."""
        if "names" in self.__dict__ or len(symbols) * _PART > len(self):
            if 2 * len(symbols) > len(self):
                _ = self.names.gnu_hash  # for this load, and the next of the same file
            return self.names.take(symbols)
        if (known := self._asked.get(key := symbols.tobytes())) is None:
            self.check_names()
            known = self.strings.names(self.records["name"][symbols], "symbol names", again=True)
            if len(symbols) <= _MOST_FOUND:
                if len(self._asked) >= _MOST_ASKED:
                    for oldest in [*self._asked][:1]:  # of a copy: other threads change it too
                        self._asked.pop(oldest, None)
                self._asked[key] = known
        return known

    @cached_property
    def _asked(self) -> dict[bytes, Names]:
        """Cache of `names_of`, with hashes: the next load of the same file looks up the same names."""
        return {}

    def check_names(self) -> None:
        """Check that all names can be read, without measuring them. Raises as `names` does."""
        _ = self._checked

    @cached_property
    def _checked(self) -> bool:
        """`check_names`, done once: the furthest name is terminated, and so all are."""
        if len(self.records):
            self.strings.check(self.furthest_name, "symbol names")
        return True

    @cached_property
    def furthest_name(self) -> int:
        """The highest offset of a name in the string table."""
        return int(self.records["name"].max())

    def candidates(self, names: Names) -> tuple[I64, I64]:
        """Every definition of any of `names`: (request, symbol), int64[m] each.

        `names[request[k]]` is the name of the symbol `symbol[k]`. The symbol is defined (st_shndx not 0), or is
        undefined with the address of its PLT entry (st_value not 0). Pairs are ordered by request, then by hash
        chain. A name given twice is answered twice. Raises MalformedElf when the table has an excessive number of
        hash collisions.
        """
        hashes = self.hash_table.hash_of(names)
        found = self._walked(hashes)
        request, symbol = self._searched(names, hashes) if found is None else found
        if not len(symbol):
            return request, symbol
        same = names.equal(request, self.names_of(symbol), np.arange(len(symbol)))
        return request[same], symbol[same]

    def _walked(self, hashes: U32) -> tuple[I64, I64] | None:
        """The definitions of few hashes, by walking their chains; None for many, or long chains."""
        if not isinstance(self.hash_table, GnuHash) or "_index" in self.__dict__:
            return None
        walked = None if len(hashes) * _PART > len(self) else self.hash_table.walk(hashes)
        if walked is None:
            return None
        request, symbol = walked
        rows = SomeSymbols(self.records, symbol)
        defined = (rows.section != SHN_UNDEF) | (rows.value != 0)
        return request[defined], symbol[defined]

    def _searched(self, names: Names, hashes: U32) -> tuple[I64, I64]:
        """The definitions of many hashes, by searching them all at once."""
        keys, symbols = self._index
        wanted = hashes >> np.uint32(self.hash_table.lost_bits)
        order = np.argsort(wanted)  # binary searches are several times faster in ascending order
        first, count = np.empty(len(names), np.int64), np.empty(len(names), np.int64)
        first[order] = np.searchsorted(keys, wanted[order], "left")
        count[order] = np.searchsorted(keys, wanted[order], "right") - first[order]
        if int(count.sum()) > 8 * (len(names) + len(self)) + 1024:
            raise MalformedElf(self.strings.name, f"{int(count.sum())} hash collisions over {len(self)} symbols")
        request = np.repeat(np.arange(len(names)), count)
        symbol = symbols[flat_indices(first, count)]
        met = indices_where(self.hash_table.reaches(hashes[request], symbol))
        return request[met], symbol[met]

    def candidates_of(self, name: bytes, gnu_hash: int) -> Sequence[int] | None:
        """`candidates` of one name without the cost of arrays; None where it has to be asked for as a batch."""
        known = self._found.get(name) if self.by_name is None else self.by_name.get(name, ())
        if known is not None:
            return known
        if not isinstance(self.hash_table, GnuHash):
            return None
        met = self.hash_table.met_by(gnu_hash)
        if not met:
            return met
        self.check_names()
        same = []
        for symbol, row in zip(met, map(self.row, met), strict=True):
            if (row.section != SHN_UNDEF or row.value != 0) and self.strings.holds(row.name_at, name):
                same.append(symbol)
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[name] = same
        return same

    @cached_property
    def _found(self) -> dict[bytes, Sequence[int]]:
        """Cache of look-ups of single names: the next load of the same file asks for the same."""
        return {}

    @property
    def name_hashes(self) -> U32:
        """Bits 1…31 of the GNU hashes of all names that a look-up may find here (of some more, it may be)."""
        if isinstance(self.hash_table, GnuHash):
            return self.hash_table.chain >> np.uint32(1)
        return self.names.take(self._index[1]).gnu_hash >> np.uint32(1)

    def has_hashes(self, words: U32) -> Bools | None:
        """Whether a look-up may find here a name of which only bits 1…31 of the GNU hash are known, bool[n]; None
        where the names had to be hashed for the answer.
        """
        if not isinstance(self.hash_table, GnuHash):
            return None
        found = np.zeros(len(words), np.bool_)
        for last in (0, 1):
            walked = self.hash_table.walk(words << np.uint32(1) | np.uint32(last))
            if walked is None:
                return None
            found[walked[0]] = True
        return found

    def chain_words(self, symbols: I64) -> U32:
        """Bits 1…31 of the GNU hashes of symbols that are in the chains of DT_GNU_HASH."""
        assert isinstance(self.hash_table, GnuHash)
        return self.hash_table.chain[symbols - self.hash_table.first] >> np.uint32(1)

    @cached_property
    def has_unique(self) -> bool:
        """Whether there is any STB_GNU_UNIQUE symbol."""
        info = self.records["info"]  # few files have one of this number or above
        return bool(int(highest(info, initial=0)) >= _UNIQUE and anywhere(info & np.uint8(0xF0) == _UNIQUE))

    def only_of_their_hash(self, symbols: I64) -> Bools:
        """Which of some symbols a look-up by DT_GNU_HASH finds, and no other with them, bool[m]."""
        only = np.zeros(len(symbols), np.bool_)
        if isinstance(self.hash_table, GnuHash):
            known = indices_where((symbols >= self.hash_table.first) & (symbols < self.hash_table.count))
            only[known] = self.hash_table.sole(symbols[known])
        return only

    def find(self, name: str | bytes) -> I64:
        """The indices of all definitions of one name, in chain order."""
        return self.candidates(Names.of([name]))[1]

    @cached_property
    def _index(self) -> tuple[U32, I64]:
        """Hashes of all defined entries in ascending order (without `lost_bits`), and their symbols."""
        by_words = isinstance(self.hash_table, GnuHash)  # then the names are not asked for
        hashes, symbols = self.hash_table.entries(NO_NAMES if by_words else self.names)
        defined = self.records["shndx"][symbols] != SHN_UNDEF
        if not everywhere(defined):
            defined |= self.records["value"][symbols] != 0
        keys = hashes[defined] >> np.uint32(self.hash_table.lost_bits)
        symbols = symbols[defined]
        # Key and position in one number: sorting it is stable, and several times faster than argsort.
        packed = (keys.astype(np.uint64) << np.uint64(32)) | np.arange(len(keys), dtype=np.uint64)
        packed.sort()
        order = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return (packed >> np.uint64(32)).astype(np.uint32), symbols[order]


# ---------------------------------------------------------------- read from the dynamic section

_STRING_TAGS = frozenset({
    DynamicTag.NEEDED, DynamicTag.SONAME, DynamicTag.RPATH, DynamicTag.RUNPATH, DynamicTag.FILTER,
    DynamicTag.AUXILIARY,
})  # fmt: skip


def read_strings(contents: Contents, dynamic: Dynamic) -> StringTable:
    """Read DT_STRTAB. Loaders ignore DT_STRSZ, so strings beyond it are read too, with a warning."""
    vaddr, size = dynamic.value(DynamicTag.STRTAB), dynamic.value(DynamicTag.STRSZ)
    if vaddr is None:
        return StringTable(contents.name, frozen(np.empty(0, np.uint8)))
    tail = contents.tail(vaddr, "the dynamic string table")
    furthest = max(compress(dynamic.vals, map(_STRING_TAGS.__contains__, dynamic.tags)), default=0)
    if size is None:
        contents.findings.warn("DT_STRTAB without DT_STRSZ")
        return StringTable(contents.name, tail)
    if size > len(tail):
        claim = f"the dynamic string table at {vaddr:#x} claims {size:#x} bytes"
        contents.findings.warn(f"{claim}, its segment holds {len(tail):#x} from there")
    elif size <= furthest:
        contents.findings.warn(f"a string is at {furthest:#x}, beyond DT_STRSZ {size:#x}")
        size = len(tail)
    return StringTable(contents.name, tail[:size])


def read_symbols(
    contents: Contents, layout: Layout, dynamic: Dynamic, strings: StringTable, referred: int
) -> SymbolTable:
    """Read DT_SYMTAB; relocations refer to symbols below `referred`.

    No tag gives its length. It is nchain of DT_HASH; with DT_GNU_HASH alone it is the end of the last chain, or
    `referred` when that is higher. Raises MalformedElf.
    """
    if (vaddr := dynamic.value(DynamicTag.SYMTAB)) is None:
        if referred > 1:
            problem = f"a relocation refers to symbol {referred - 1}, and there is no symbol table"
            raise MalformedElf(contents.name, problem)
        return SymbolTable.empty(contents.name)
    row = dynamic.value(DynamicTag.SYMENT, layout.symbol.itemsize)
    if row != layout.symbol.itemsize:
        contents.findings.warn(f"DT_SYMENT is {row}, not {layout.symbol.itemsize} as for this ELF class")
    hash_table, count = _hash_table(contents, layout, dynamic)
    if DynamicTag.HASH in dynamic and referred > count:
        contents.findings.warn(f"a relocation refers to symbol {referred - 1}, the table has {count} symbols")
    count = max(count, referred)
    records = contents.table(vaddr, count, layout.symbol, "the dynamic symbol table")
    at = dynamic.value(DynamicTag.VERSYM)
    versym = None if at is None else contents.table(at, count, np.dtype("<u2"), "DT_VERSYM")
    furthest = int(highest(records["name"])) if count > _FEW else max(records["name"].tolist(), default=0)
    table = SymbolTable(records, _names_of(furthest, strings, contents, dynamic), hash_table, versym)
    table.__dict__["furthest_name"] = furthest
    return table


def _names_of(furthest: int, strings: StringTable, contents: Contents, dynamic: Dynamic) -> StringTable:
    """The string table, extended beyond DT_STRSZ when names of symbols are there, up to offset `furthest`."""
    if furthest < len(strings.data) or (vaddr := dynamic.value(DynamicTag.STRTAB)) is None:
        return strings
    contents.findings.warn(f"a symbol's name is at {furthest:#x}, beyond DT_STRSZ {len(strings.data):#x}")
    tail = contents.tail(vaddr, "the dynamic string table")
    end = indices_where(tail[furthest:] == 0)
    return StringTable(contents.name, tail[: furthest + int(end[0]) + 1] if len(end) else tail)


def _hash_table(contents: Contents, layout: Layout, dynamic: Dynamic) -> tuple[HashTable, int]:
    """The hash table to use, and the number of symbols that the hash tables give.

    Loaders use DT_GNU_HASH when present and ignore DT_HASH. Here a damaged table is skipped when the other can be
    read.
    """
    gnu, sysv = dynamic.value(DynamicTag.GNU_HASH), dynamic.value(DynamicTag.HASH)
    if gnu is not None and sysv is None:
        return (alone := GnuHash.read(contents, layout, gnu)), alone.count
    found, problems = list[GnuHash | SysvHash](), list[ElfError]()
    for at, is_gnu in ((gnu, True), (sysv, False)):
        try:
            if at is not None:
                found.append(GnuHash.read(contents, layout, at) if is_gnu else SysvHash.read(contents, at))
        except MalformedElf as error:
            problems.append(error)
    if problems and not found:
        raise problems[0]
    for problem in problems:
        contents.findings.warn(f"{problem.problem}; the other hash table is used")
    return (found[0] if found else NoHash()), max((table.count for table in found), default=0)

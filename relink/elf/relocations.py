"""The dynamic relocation tables as arrays, without duplicate entries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relink.arrays import I64, U32, U64, AnyArray, highest, lowest
from relink.elf.constants import DynamicTag as Tag
from relink.elf.contents import Contents, frozen
from relink.elf.dynamic import Dynamic
from relink.elf.layout import Layout
from relink.errors import MalformedElf
from relink.records import cached_property, dataclass, field
from relink.records.tuples import NamedTuple

_SWEEP = 1 << 14  #: entries looked at in one array operation
# The tags of each kind of table, of which files have few; then those of each table, and whether rows have addends.
_PLAIN = frozenset({Tag.RELA, Tag.RELAENT, Tag.REL, Tag.RELENT})
_PLAIN_TABLES = ((Tag.RELA, Tag.RELASZ, Tag.RELAENT, True), (Tag.REL, Tag.RELSZ, Tag.RELENT, False))
_PACKED = frozenset({Tag.ANDROID_RELA, Tag.ANDROID_REL})
_PACKED_TABLES = ((Tag.ANDROID_RELA, Tag.ANDROID_RELASZ, True), (Tag.ANDROID_REL, Tag.ANDROID_RELSZ, False))
_RELR = frozenset({Tag.RELR, Tag.RELRENT, Tag.ANDROID_RELR, Tag.ANDROID_RELRENT})
_RELR_TABLES = (
    (Tag.RELR, Tag.RELRSZ, Tag.RELRENT),
    (Tag.ANDROID_RELR, Tag.ANDROID_RELRSZ, Tag.ANDROID_RELRENT),
)
_NO_WORDS: U64 = frozen(np.empty(0, np.uint64))


@dataclass(frozen=True, eq=False)
class RelocationTable:
    """One relocation table, rows in file order.

    - `section`: the section name that linkers use (".rela.dyn", ".rel.plt", …), derived from the dynamic tag;
    - `offset`: uint64[n], link-time address of the relocated field;
    - `type`, `symbol`: uint32[n], the halves of r_info;
    - `addend`: int64[n], or None for REL, where the addend is in the relocated field;
    - `info`: r_info as stored, or None where it is not.
    """

    section: str
    offset: U64
    type: U32
    symbol: U32
    addend: I64 | None
    info: AnyArray | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def alike(self) -> int:
        """The number of entries at the start with the same type and symbol. Linkers put relative ones first."""
        return self._start[0]

    def bounds(self, entries: slice) -> tuple[int, int]:
        """The lowest and the highest offset of some entries, at least one."""
        count, low, high = self._start
        if (entries.start, entries.stop) == (0, count):
            return low, high
        offsets = self.offset[entries]
        return int(lowest(offsets)), int(highest(offsets))

    @property
    def is_known(self) -> bool:
        """Whether the entries at the start have been looked at."""
        return "_start" in self.__dict__

    @cached_property
    def _start(self) -> tuple[int, int, int]:
        """How many entries at the start are alike, and their lowest and highest offset."""
        for _ in self.alike_parts():
            pass
        found: tuple[int, int, int] = self.__dict__["_start"]
        return found

    def alike_parts(self) -> Iterator[tuple[slice, int, int]]:
        """The entries at the start that are `alike`, in pieces, with the lowest and highest offset of each: all is
        found while the piece is in the cache of the CPU, and kept after the last piece.
        """
        count, least, most, size = 0, 1 << 64, 0, len(self.offset)
        for part in pieces(0, size, _SWEEP):
            start, stop = part.start, part.stop
            if self.info is not None:
                same = self.info[part] == self.info[0]
            else:
                same = (self.type[part] == self.type[0]) & (self.symbol[part] == self.symbol[0])
            first = int(same.argmin())
            count = stop if same[first] else start + first
            if start < count:
                offsets = np.ascontiguousarray(self.offset[start:count])
                low, high = int(lowest(offsets)), int(highest(offsets))
                least, most = min(low, least), max(high, most)
                yield slice(start, count), low, high
            if count < stop:
                break
        self.__dict__["_start"] = count, least, most

    @property
    def last_symbol(self) -> int:
        """The highest symbol that an entry refers to; -1 without entries."""
        return int(highest(self.symbol[self.alike - 1 :])) if len(self) else -1

    def origin(self, index: int) -> tuple[str, int]:
        """(section, offset in it) of an entry, for messages."""
        return self.section, int(self.offset[index])


def pieces(start: int, stop: int, size: int) -> Iterator[slice]:
    """The range in pieces of `size` elements; the last one has up to half as many more, instead of a short one
    after it.
    """
    while start < stop:
        end = stop if stop - start <= size + size // 2 else start + size
        yield slice(start, end)
        start = end


class _Range(NamedTuple):
    """The location of a table: link-time address, size in bytes, and whether its rows have addends."""

    vaddr: int
    size: int
    explicit: bool


def read_relocations(contents: Contents, layout: Layout, dynamic: Dynamic) -> tuple[RelocationTable, ...]:
    """Read every REL, RELA, JMPREL and APS2 table of the dynamic section. Raises MalformedElf.

    DT_JMPREL may lie inside DT_REL[A] (handled by glibc's elf/dynamic-link.h); its entries are then left out of
    the latter.
    """
    tables: list[RelocationTable] = []
    plt = _plt_range(contents, dynamic)
    for tag, size_tag, entry_tag, explicit in _PLAIN_TABLES if dynamic.has_any(_PLAIN) else ():
        found = _range(contents, dynamic, tag, size_tag, explicit)
        dtype = layout.rela if explicit else layout.rel
        _check_entry_size(contents, dynamic, entry_tag, dtype.itemsize)
        if found is None:
            continue
        section = ".rela.dyn" if explicit else ".rel.dyn"
        parts = [found] if plt is None or plt.explicit != explicit else _without(found, plt)
        tables += [_read(contents, layout, section, part) for part in parts if part.size]
    for tag, size_tag, explicit in _PACKED_TABLES if dynamic.has_any(_PACKED) else ():
        found = _range(contents, dynamic, tag, size_tag, explicit)
        if found is not None:
            tables.append(_unpack(contents, layout, found))
    if plt is not None and plt.size:
        tables.append(_read(contents, layout, ".rela.plt" if plt.explicit else ".rel.plt", plt))
    return tuple(tables)


def read_relr(contents: Contents, layout: Layout, dynamic: Dynamic) -> U64:
    """The link-time addresses of the words in DT_RELR and DT_ANDROID_RELR, uint64[n]. Raises MalformedElf."""
    if not dynamic.has_any(_RELR):
        return _NO_WORDS
    found: list[U64] = []
    most = contents.backed_size // layout.word_size
    for tag, size_tag, entry_tag in _RELR_TABLES:
        _check_entry_size(contents, dynamic, entry_tag, layout.word_size)
        table = _range(contents, dynamic, tag, size_tag, False)
        if table is not None:
            count = _row_count(contents, table, layout.word_size, "DT_RELR")
            words = contents.table(table.vaddr, count, layout.word, "DT_RELR").astype(np.uint64)
            from relink.elf.packed import decode_relr

            found.append(decode_relr(contents.name, words, layout.word_size, most))
    if len(found) == 1:
        return found[0]
    return frozen(np.concatenate([_NO_WORDS, *found]))


def _range(contents: Contents, dynamic: Dynamic, tag: Tag, size_tag: Tag, explicit: bool) -> _Range | None:
    vaddr = dynamic.value(tag)
    if vaddr is None:
        return None
    size = dynamic.value(size_tag)
    if size is None:
        raise MalformedElf(contents.name, f"DT_{tag.name} without DT_{size_tag.name}")
    return _Range(vaddr, size, explicit)


def _plt_range(contents: Contents, dynamic: Dynamic) -> _Range | None:
    if Tag.JMPREL not in dynamic:
        return None
    kind = dynamic.value(Tag.PLTREL)
    if kind not in (Tag.REL, Tag.RELA):
        raise MalformedElf(contents.name, f"DT_JMPREL with DT_PLTREL {kind}, which is neither DT_REL nor DT_RELA")
    return _range(contents, dynamic, Tag.JMPREL, Tag.PLTRELSZ, kind == Tag.RELA)


def _without(table: _Range, taken: _Range) -> list[_Range]:
    """The parts of `table` before and after its overlap with `taken`."""
    end, taken_end = table.vaddr + table.size, taken.vaddr + taken.size
    if taken_end <= table.vaddr or end <= taken.vaddr:
        return [table]
    behind = max(table.vaddr, taken_end)
    return [
        _Range(table.vaddr, max(taken.vaddr - table.vaddr, 0), table.explicit),
        _Range(behind, max(end - behind, 0), table.explicit),
    ]


def _check_entry_size(contents: Contents, dynamic: Dynamic, tag: Tag, size: int) -> None:
    declared = dynamic.value(tag, size)
    if declared != size:  # musl ignores it and uses the entry size of the class
        contents.findings.warn(f"DT_{tag.name} is {declared}, not {size} as for this ELF class")


def _row_count(contents: Contents, table: _Range, row_size: int, what: str) -> int:
    count, rest = divmod(table.size, row_size)
    if rest:
        raise MalformedElf(
            contents.name, f"{what}: {table.size:#x} bytes are not a multiple of the entry size {row_size}"
        )
    return count


def _read(contents: Contents, layout: Layout, section: str, table: _Range) -> RelocationTable:
    dtype = layout.rela if table.explicit else layout.rel
    rows = contents.table(table.vaddr, _row_count(contents, table, dtype.itemsize, section), dtype, section)
    return _columns(layout, section, rows, explicit=table.explicit)


def _columns(layout: Layout, section: str, rows: AnyArray, *, explicit: bool) -> RelocationTable:
    addend = rows["addend"].astype(np.int64, copy=False) if explicit else None
    if layout.bits == 64:
        words = rows.view(layout.word).reshape(-1, rows.dtype.itemsize // layout.word_size)
        return RelocationTable(section, rows["offset"], rows["type"], rows["symbol"], addend, info=words[:, 1])
    info = rows["info"]
    return RelocationTable(
        section,
        frozen(rows["offset"].astype(np.uint64)),
        frozen(info & np.uint32(0xFF)),
        frozen(info >> np.uint32(8)),
        None if addend is None else frozen(addend),
        info=info,
    )


def _unpack(contents: Contents, layout: Layout, table: _Range) -> RelocationTable:
    section = ".android.rela.dyn" if table.explicit else ".android.rel.dyn"
    data = contents.at(table.vaddr, table.size, section)
    # Every entry relocates at least four bytes; entries for .bss (COPY) are rare.
    from relink.elf.packed import decode_aps2

    packed = decode_aps2(contents.name, data, layout.bits, table.explicit, contents.backed_size // 4)
    shift, mask = (32, 0xFFFFFFFF) if layout.bits == 64 else (8, 0xFF)
    return RelocationTable(
        section,
        packed.offset,
        frozen((packed.info & np.uint64(mask)).astype(np.uint32)),
        frozen((packed.info >> np.uint64(shift)).astype(np.uint32)),
        packed.addend,
    )

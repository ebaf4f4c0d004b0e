"""The dynamic relocation tables as arrays, without duplicate entries."""

from __future__ import annotations

import numpy as np

from relink.arrays import I64, U32, U64, AnyArray
from relink.elf.constants import DynamicTag as Tag
from relink.elf.contents import Contents, frozen
from relink.elf.dynamic import Dynamic
from relink.elf.layout import Layout
from relink.errors import MalformedElf
from relink.records import cached_property, dataclass

_SWEEP = 1 << 14  #: entries looked at in one array operation


@dataclass(frozen=True, eq=False)
class RelocationTable:
    """One relocation table, rows in file order.

    - `section`: the section name that linkers use (".rela.dyn", ".rel.plt", …), derived from the dynamic tag;
    - `offset`: uint64[n], link-time address of the relocated field;
    - `type`, `symbol`: uint32[n], the halves of r_info;
    - `addend`: int64[n], or None for REL, where the addend is in the relocated field.
    """

    section: str
    offset: U64
    type: U32
    symbol: U32
    addend: I64 | None

    def __len__(self) -> int:
        return len(self.offset)

    @cached_property
    def alike(self) -> int:
        """The number of entries at the start with the same type and symbol. Linkers put relative ones first."""
        for start in range(0, len(self), _SWEEP):
            part = slice(start, start + _SWEEP)
            same = (self.type[part] == self.type[0]) & (self.symbol[part] == self.symbol[0])
            if not same.all():
                return start + int(same.argmin())
        return len(self)

    @property
    def last_symbol(self) -> int:
        """The highest symbol that an entry refers to; -1 without entries."""
        return int(self.symbol[self.alike - 1 :].max()) if len(self) else -1

    def origin(self, index: int) -> tuple[str, int]:
        """(section, offset in it) of an entry, for messages."""
        return self.section, int(self.offset[index])


@dataclass(frozen=True)
class _Range:
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
    for tag, size_tag, entry_tag, explicit in (
        (Tag.RELA, Tag.RELASZ, Tag.RELAENT, True),
        (Tag.REL, Tag.RELSZ, Tag.RELENT, False),
    ):
        found = _range(contents, dynamic, tag, size_tag, explicit)
        dtype = layout.rela if explicit else layout.rel
        _check_entry_size(contents, dynamic, entry_tag, dtype.itemsize)
        if found is None:
            continue
        section = ".rela.dyn" if explicit else ".rel.dyn"
        parts = [found] if plt is None or plt.explicit != explicit else _without(found, plt)
        tables += [_read(contents, layout, section, part) for part in parts if part.size]
    for tag, size_tag, explicit in (
        (Tag.ANDROID_RELA, Tag.ANDROID_RELASZ, True),
        (Tag.ANDROID_REL, Tag.ANDROID_RELSZ, False),
    ):
        found = _range(contents, dynamic, tag, size_tag, explicit)
        if found is not None:
            tables.append(_unpack(contents, layout, found))
    if plt is not None and plt.size:
        tables.append(_read(contents, layout, ".rela.plt" if plt.explicit else ".rel.plt", plt))
    return tuple(tables)


def read_relr(contents: Contents, layout: Layout, dynamic: Dynamic) -> U64:
    """The link-time addresses of the words in DT_RELR and DT_ANDROID_RELR, uint64[n]. Raises MalformedElf."""
    found: list[U64] = []
    most = contents.backed_size // layout.word_size
    for tag, size_tag, entry_tag in (
        (Tag.RELR, Tag.RELRSZ, Tag.RELRENT),
        (Tag.ANDROID_RELR, Tag.ANDROID_RELRSZ, Tag.ANDROID_RELRENT),
    ):
        _check_entry_size(contents, dynamic, entry_tag, layout.word_size)
        table = _range(contents, dynamic, tag, size_tag, False)
        if table is not None:
            count = _row_count(contents, table, layout.word_size, "DT_RELR")
            words = contents.table(table.vaddr, count, layout.word, "DT_RELR").astype(np.uint64)
            from relink.elf.packed import decode_relr

            found.append(decode_relr(contents.name, words, layout.word_size, most))
    if len(found) == 1:
        return found[0]
    return frozen(np.concatenate([np.empty(0, np.uint64), *found]))


def _range(contents: Contents, dynamic: Dynamic, tag: Tag, size_tag: Tag, explicit: bool) -> _Range | None:
    vaddr = dynamic.value(tag)
    if vaddr is None:
        return None
    size = dynamic.value(size_tag)
    if size is None:
        raise MalformedElf(contents.name, f"DT_{tag.name} without DT_{size_tag.name}")
    return _Range(vaddr, size, explicit)


def _plt_range(contents: Contents, dynamic: Dynamic) -> _Range | None:
    kind = dynamic.value(Tag.PLTREL)
    if Tag.JMPREL in dynamic and kind not in (Tag.REL, Tag.RELA):
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
        return RelocationTable(section, rows["offset"], rows["type"], rows["symbol"], addend)
    info = rows["info"]
    return RelocationTable(
        section,
        frozen(rows["offset"].astype(np.uint64)),
        frozen(info & np.uint32(0xFF)),
        frozen(info >> np.uint32(8)),
        None if addend is None else frozen(addend),
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

"""The relocation sections of a relocatable object as arrays: SHT_REL, SHT_RELA, SHT_CREL and Android's.

gABI chapter 4, "Relocation".
"""

from __future__ import annotations

import numpy as np

from relink.arrays import I64, U8, U32, U64
from relink.elf.constants import SectionType
from relink.elf.contents import frozen
from relink.elf.headers import Section
from relink.elf.layout import Layout
from relink.elf.packed import decode_aps2, decode_crel
from relink.errors import MalformedElf
from relink.records import dataclass

RELOCATION_SECTIONS = frozenset(
    {
        SectionType.REL,
        SectionType.RELA,
        SectionType.CREL,
        SectionType.ANDROID_REL,
        SectionType.ANDROID_RELA,
    }
)
_R_NONE = 0  # on every target


@dataclass(frozen=True, eq=False)
class ObjectRelocations:
    """One relocation section: rows in file order, arrays read-only.

    - `section`: index of the section that the rows patch;
    - `index`, `name`: index and name (".rela.text") of the relocation section itself;
    - `offset`: uint64[n], bytes from the start of the patched section;
    - `type`, `symbol`: uint32[n];
    - `addend`: int64[n], or None when the addends are in the patched fields (REL).

    Every `symbol` is within the symbol table. Every `offset` is within the section, except that rows of type 0
    (NONE) may be at its end. The size of the patched field is not checked here: it depends on the psABI.
    """

    section: int
    index: int
    name: str
    offset: U64
    type: U32
    symbol: U32
    addend: I64 | None

    def __len__(self) -> int:
        return len(self.offset)


def read_object_relocations(
    name: str,
    layout: Layout,
    index: int,
    section: Section,
    data: U8,
    target_size: int,
    symbol_count: int,
) -> ObjectRelocations:
    """Read relocation section `index` with the bytes `data`, which patches a section of `target_size` bytes.

    Raises MalformedElf for a symbol or offset out of range (see `ObjectRelocations`), and when the section's size
    is not a multiple of the entry size.
    """
    columns = _columns(f"{name}: {section.name}", layout, section, data, target_size)
    table = ObjectRelocations(section.info, index, section.name, *columns)
    if not len(table):
        return table
    most = int(table.symbol.max())
    if most >= max(symbol_count, 1):
        row = int(table.symbol.argmax())
        raise MalformedElf(
            name, f"{section.name}: relocation {row} names symbol {most}, the table has {symbol_count}"
        )
    # This comparison is enough in most cases: no offset is at or past the end.
    if int(table.offset.max()) >= target_size:
        outside = (table.offset > target_size) | ((table.offset == target_size) & (table.type != _R_NONE))
        if outside.any():
            row = int(outside.argmax())
            raise MalformedElf(
                name,
                f"{section.name}: relocation {row} is at offset {int(table.offset[row]):#x} "
                f"of section {section.info}, which has {target_size:#x} bytes",
            )
    return table


def _columns(
    where: str,
    layout: Layout,
    section: Section,
    data: U8,
    target_size: int,
) -> tuple[U64, U32, U32, I64 | None]:
    """The columns offset, type, symbol and addend of the section."""
    if section.type == SectionType.CREL:
        compact = decode_crel(where, data, layout.bits)
        return compact.offset, compact.type, compact.symbol, compact.addend
    if section.type in (SectionType.ANDROID_REL, SectionType.ANDROID_RELA):
        explicit = section.type == SectionType.ANDROID_RELA
        # RISC-V and LoongArch have up to three relocations per place. In APS2 a group of entries may take no
        # bytes, but each entry with a separate symbol takes some.
        packed = decode_aps2(where, data, layout.bits, explicit, min(4 * target_size, 2 * len(data)))
        shift, mask = (32, 0xFFFFFFFF) if layout.bits == 64 else (8, 0xFF)
        type_ = (packed.info & np.uint64(mask)).astype(np.uint32)
        symbol = (packed.info >> np.uint64(shift)).astype(np.uint32)
        return packed.offset, frozen(type_), frozen(symbol), packed.addend
    explicit = section.type == SectionType.RELA
    dtype = layout.rela if explicit else layout.rel
    if section.entsize != dtype.itemsize:
        raise MalformedElf(where, f"sh_entsize is {section.entsize}, an entry of this class has {dtype.itemsize}")
    if len(data) % dtype.itemsize:
        raise MalformedElf(where, f"{len(data):#x} bytes are not a multiple of the entry size {dtype.itemsize}")
    rows = data.view(dtype)
    addend = frozen(rows["addend"].astype(np.int64)) if explicit else None
    offset = frozen(rows["offset"].astype(np.uint64))
    if layout.bits == 64:
        return offset, frozen(rows["type"].copy()), frozen(rows["symbol"].copy()), addend
    info = rows["info"]
    return offset, frozen(info & np.uint32(0xFF)), frozen(info >> np.uint32(8)), addend

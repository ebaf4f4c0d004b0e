"""R_RISCV_ALIGN and R_LARCH_ALIGN: removing excess alignment padding.

For code that may be relaxed the assembler cannot know how much padding an alignment needs. It inserts the maximum
and a relocation that tells the linker to keep as much as is needed (RISC-V psABI, "Alignment"; laelf,
R_LARCH_ALIGN). This linker does not relax code, but must remove the excess: the code after the padding would
otherwise be misaligned. Everything after it moves down; `Realigned` maps offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from relink.arch import Architecture, Role, architecture
from relink.arrays import I64, U8, U64, indices_where, one_of
from relink.elf.objects import ObjectFile, ObjectRelocations
from relink.errors import MalformedElf
from relink.records import dataclass


@dataclass(frozen=True)
class Realigned:
    """A section after realignment. `cuts` are offsets in the old section, `removed` the bytes removed up to
    each.
    """

    content: U8
    cuts: I64
    removed: I64

    def moved(self, offsets: U64) -> U64:
        """New offsets of places (uint64[n])."""
        gone = np.concatenate(([0], self.removed))
        before = np.searchsorted(self.cuts, offsets.astype(np.int64), side="right")
        return offsets - gone[before].astype(np.uint64)

    def moved_symbols(self, values: U64, sizes: U64) -> tuple[U64, U64]:
        """New values and sizes of symbols: the ends of symbols move too."""
        start, end = self.moved(values), self.moved(values + sizes)
        return start, np.where(end > start, end - start, np.uint64(0))


def realign(arch: Architecture, file: ObjectFile, table: ObjectRelocations) -> Realigned | None:
    """The section that `table` patches without its excess padding; None when `table` has no alignment entries.

    Raises MalformedElf for padding outside the section, or too little padding for the alignment.
    """
    if arch.alignment is None:
        return None
    entries = indices_where(one_of(table.type, align_types(arch.name)))
    if not len(entries):
        return None
    if table.addend is None:
        problem = "entries have no addends (SHT_REL), so the alignment is not known"
        raise MalformedElf(f"{file.name}: {table.name}", problem)
    entries = entries[np.argsort(table.offset[entries], kind="stable")]
    content = file.section_bytes(table.section).copy()
    keep = np.ones(len(content), np.bool_)
    cuts, removed, gone = [], [], 0
    columns = (table.offset[entries].tolist(), table.addend[entries].tolist(), table.symbol[entries].tolist())
    for offset, padding, needed, align in paddings(arch, zip(*columns, strict=True), len(content)):
        if needed < 0:
            raise MalformedElf(
                f"{file.name}: {table.name}",
                f"{padding} bytes of padding at {offset:#x} are too few for an alignment of {align}",
            )
        content[offset : offset + needed] = np.frombuffer(arch.fill(needed), np.uint8)
        keep[offset + needed : offset + padding] = False
        gone += padding - needed
        cuts.append(offset + padding)
        removed.append(gone)
    return Realigned(content[keep], np.array(cuts, np.int64), np.array(removed, np.int64))


def paddings(
    arch: Architecture, asked: Iterable[tuple[int, int, int]], size: int
) -> Iterator[tuple[int, int, int, int]]:
    """(offset, bytes of padding, bytes that are needed, alignment) of alignment entries, which are (offset,
    addend, symbol) by their offsets, in a section of `size` bytes. -1 are needed where the padding is too little,
    or not in the section.
    """
    assert arch.alignment is not None
    gone, last, unit = 0, 0, len(arch.nops[-1])
    for offset, addend, symbol in asked:
        align, padding, most = arch.alignment.request(addend, symbol)
        needed = -(offset - gone) % max(align, 1)
        if needed > most:
            needed = 0
        room = last <= offset <= offset + padding <= size
        last = offset + padding
        if needed > padding or not room or align & (align - 1) or (needed | padding) % unit:
            needed = -1
        yield offset, padding, needed, align
        gone += padding - needed


@cache
def align_types(arch: str) -> tuple[int, ...]:
    """The numbers of an architecture's relocation types that ask for an alignment of code (Role.ALIGN)."""
    return tuple(number for number, row in architecture(arch).relocations.items() if row.role is Role.ALIGN)

"""R_RISCV_ALIGN and R_LARCH_ALIGN: taking out the padding a relaxing assembler left in.

For code that may be relaxed the assembler cannot know how much padding an alignment needs, so it inserts the
most that could be, and an entry that tells the linker to keep what is needed (RISC-V psABI, "Alignment";
laelf, R_LARCH_ALIGN). This linker shortens nothing else, but that much it must do: what follows the padding
would otherwise not be aligned. Everything behind moves down; `Shrinkage` says by how much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from relink.arch import Architecture, Role, architecture
from relink.arrays import I64, U8, U64
from relink.elf.objects import ObjectFile, ObjectRelocations
from relink.errors import MalformedElf

_NOP = {
    "riscv64": (b"\x01\x00", b"\x13\x00\x00\x00"),
    "riscv32": (b"\x01\x00", b"\x13\x00\x00\x00"),
    "loongarch64": (b"", b"\x00\x00\x40\x03"),
}
_NOP_UNIT = {arch: len(short or long) for arch, (short, long) in _NOP.items()}


@dataclass(frozen=True)
class Shrinkage:
    """A section after shrinking. `cuts` are offsets in the old section, `removed` the bytes gone up to each."""

    content: U8
    cuts: I64
    removed: I64

    def moved(self, offsets: U64) -> U64:
        """New offsets of places (uint64[n])."""
        gone = np.concatenate(([0], self.removed))
        before = np.searchsorted(self.cuts, offsets.astype(np.int64), side="right")
        return offsets - gone[before].astype(np.uint64)

    def moved_symbols(self, values: U64, sizes: U64) -> tuple[U64, U64]:
        """New values and sizes of symbols: their ends move too."""
        start, end = self.moved(values), self.moved(values + sizes)
        return start, np.where(end > start, end - start, np.uint64(0))

    def moved_symbol(self, value: int, size: int) -> tuple[int, int]:
        """New value and size of a symbol: its end moves too."""
        start, end = self.moved(np.array([value, value + size & (1 << 64) - 1], np.uint64)).tolist()
        return start, max(end - start, 0)


def shrink(arch: Architecture, file: ObjectFile, table: ObjectRelocations) -> Shrinkage | None:
    """The section `table` patches without the padding that is too much; None where there is no such entry.

    Raises MalformedElf for padding that lies outside the section or cannot reach its alignment.
    """
    kinds = _kinds(arch.name)
    entries = np.flatnonzero(np.isin(table.type, kinds)) if kinds else np.zeros(0, np.int64)
    if not len(entries):
        return None
    if table.addend is None:
        problem = "entries without addends (SHT_REL) do not say how to align"
        raise MalformedElf(f"{file.name}: {table.name}", problem)
    entries = entries[np.argsort(table.offset[entries], kind="stable")]
    content = file.section_bytes(table.section).copy()
    request = _REQUESTS[arch.name]
    keep = np.ones(len(content), np.bool_)
    cuts, removed, gone, last = [], [], 0, 0
    for index in entries.tolist():
        offset = int(table.offset[index])
        align, padding, most = request(int(table.addend[index]), int(table.symbol[index]))
        needed = -(offset - gone) % max(align, 1)
        if needed > most:
            needed = 0
        room = last <= offset <= offset + padding <= len(content)
        last = offset + padding
        if needed > padding or not room or align & (align - 1) or (needed | padding) % _NOP_UNIT[arch.name]:
            raise MalformedElf(
                f"{file.name}: {table.name}",
                f"{padding} bytes of padding at {offset:#x} cannot align what follows to {align}",
            )
        content[offset : offset + needed] = np.frombuffer(_nops(arch.name, needed), np.uint8)
        keep[offset + needed : offset + padding] = False
        gone += padding - needed
        cuts.append(offset + padding)
        removed.append(gone)
    return Shrinkage(content[keep], np.array(cuts, np.int64), np.array(removed, np.int64))


@cache
def _kinds(arch: str) -> tuple[int, ...]:
    """The types that align, of an architecture."""
    return tuple(number for number, row in architecture(arch).relocations.items() if row.role is Role.ALIGN)


def _nops(arch: str, size: int) -> bytes:
    short, long = _NOP[arch]
    return long * (size // 4) + short * (size % 4 // 2)


def _riscv(addend: int, symbol: int) -> tuple[int, int, int]:
    """(alignment, padding, most padding worth it): the addend is the padding."""
    return 1 << (addend + 1).bit_length(), addend, addend


def _loongarch(addend: int, symbol: int) -> tuple[int, int, int]:
    """With a symbol the addend holds log2 of the alignment and, above its low byte, the most padding allowed."""
    if symbol == 0:
        return addend + 4, addend, addend
    align = 1 << (addend & 0xFF)
    return align, align - 4, addend >> 8 or align


_REQUESTS: dict[str, Callable[[int, int], tuple[int, int, int]]] = {
    "riscv64": _riscv,
    "riscv32": _riscv,
    "loongarch64": _loongarch,
}

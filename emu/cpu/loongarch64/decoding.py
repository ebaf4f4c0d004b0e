"""Branches, loads and stores of LoongArch64, decoded (LoongArch Reference Manual, volume 1, appendix B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Branch(NamedTuple):
    """A branch instruction."""

    target: int | None  #: None: by register
    falls_through: bool  #: whether the next instruction may run after it: conditional, or a call


class DataAccess(NamedTuple):
    """A load, store or atomic instruction."""

    address: int | None  #: None: only its fault has it
    size: int
    reads: bool
    writes: bool


def _signed(value: int, bits: int) -> int:
    return value - (value >> bits - 1 << bits)


def branch(word: int, pc: int) -> Branch | None:
    """The branch that an instruction at `pc` is, or None."""
    opcode, wide = word >> 26, word >> 10 & 0xFFFF
    if opcode in (0x10, 0x11, 0x12):  # beqz, bnez, bceqz and bcnez: 21 bits
        return Branch(pc + 4 * _signed(wide | (word & 0x1F) << 16, 21), falls_through=True)
    if opcode == 0x13:  # jirl
        return Branch(None, falls_through=bool(word & 0x1F))
    if opcode in (0x14, 0x15):  # b, bl: 26 bits
        return Branch(pc + 4 * _signed(wide | (word & 0x3FF) << 16, 26), falls_through=opcode == 0x15)
    if 0x16 <= opcode <= 0x1B:  # beq to bgeu: 16 bits
        return Branch(pc + 4 * _signed(wide, 16), falls_through=True)
    return None


def data_access(word: int, register: Callable[[int], int]) -> DataAccess | None:
    """An instruction's access to memory, or None; `register` gives the value of an integer register."""
    base, top = word >> 5 & 31, word >> 22
    if 0xA0 <= top <= 0xB1 and top != 0xAB:  # ld, st, fld, fst, vld, vst: 12 bits; not preld
        size, writes = _BY_TOP[top]
        return DataAccess(register(base) + _signed(word >> 10 & 0xFFF, 12), size, not writes, writes)
    if 0x20 <= word >> 24 <= 0x27:  # ll, sc, ldptr, stptr: 14 bits, in words
        size, writes = 8 if word >> 25 & 1 else 4, bool(word >> 24 & 1)
        return DataAccess(register(base) + 4 * _signed(word >> 10 & 0x3FFF, 14), size, not writes, writes)
    if word >> 15 in _INDEXED:
        size, writes = _INDEXED[word >> 15]
        return DataAccess(register(base) + register(word >> 10 & 31), size, not writes, writes)
    if 0x3857_8000 <= word < 0x3857_9000:  # llacq, screl
        writes = bool(word >> 10 & 1)
        return DataAccess(register(base), 8 if word >> 11 & 1 else 4, not writes, writes)
    if 0x3858_0000 <= word < 0x385C_0000:  # amcas.b to amcas.d, with and without a barrier
        return DataAccess(register(base), 1 << (word >> 15 & 3), reads=True, writes=True)
    if 0x385C_0000 <= word < 0x3860_0000:  # amswap and amadd, .b and .h
        return DataAccess(register(base), 1 << (word >> 15 & 1), reads=True, writes=True)
    if 0x3860_0000 <= word < 0x3872_0000:  # am*.w, am*.d
        return DataAccess(register(base), 8 if word >> 15 & 1 else 4, reads=True, writes=True)
    if 0x3874_0000 <= word < 0x3878_0000:  # fldgt, fldle, fstgt, fstle
        writes = word >= 0x3876_0000
        return DataAccess(register(base), 8 if word >> 15 & 1 else 4, not writes, writes)
    if 0x3878_0000 <= word < 0x3880_0000:  # ldgt, ldle, stgt, stle
        writes = word >= 0x387C_0000
        return DataAccess(register(base), 1 << (word >> 15 & 3), not writes, writes)
    if word >> 24 in (0x30, 0x31):  # vldrepl, vstelm
        element = next((8 >> bit for bit in range(4) if word >> 20 + bit & 1), 1)
        return DataAccess(None, element, word >> 24 == 0x30, word >> 24 == 0x31)
    return None


#: Bits 31 to 22 -> (size, whether it stores).
_BY_TOP = {
    0xA0: (1, False), 0xA1: (2, False), 0xA2: (4, False), 0xA3: (8, False),
    0xA4: (1, True), 0xA5: (2, True), 0xA6: (4, True), 0xA7: (8, True),
    0xA8: (1, False), 0xA9: (2, False), 0xAA: (4, False), 0xAC: (4, False), 0xAD: (4, True),
    0xAE: (8, False), 0xAF: (8, True), 0xB0: (16, False), 0xB1: (16, True),
}  # fmt: skip
#: Bits 31 to 15 -> (size, whether it stores): ldx, stx, fldx, fstx, vldx, vstx; not preldx.
_INDEXED = {
    0x7000: (1, False), 0x7008: (2, False), 0x7010: (4, False), 0x7018: (8, False),
    0x7020: (1, True), 0x7028: (2, True), 0x7030: (4, True), 0x7038: (8, True),
    0x7040: (1, False), 0x7048: (2, False), 0x7050: (4, False),
    0x7060: (4, False), 0x7068: (8, False), 0x7070: (4, True), 0x7078: (8, True),
    0x7080: (16, False), 0x7088: (16, True),
}  # fmt: skip

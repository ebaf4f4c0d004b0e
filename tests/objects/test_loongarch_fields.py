"""LoongArch rows: bounds, fields against encodings clang made, the code sequences run by hand, links against lld."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.loongarch64 import LOONGARCH64 as PAGE
from relink.arch.spec import Reloc, Role, Slot
from tests.objects.linkers import Target, places
from tests.objects.rows import field_of, fits, implemented, read, row_of, signed, value_of, written

# ---------------------------------------------------------------- bounds

ANY = (-(1 << 63), (1 << 63) - 1)


def _signed(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _rounded(bits: int, rounding: int) -> tuple[int, int]:
    low, high = _signed(bits)
    return low - rounding, high - rounding


#: (lowest, highest value that fits), what it must be a multiple of → the types it is the rule for.
BOUNDS = {
    (_signed(18), 4): "B16 SOP_POP_32_S_10_16_S2",
    (_signed(23), 4): "B21 SOP_POP_32_S_0_5_10_16_S2",
    (_signed(28), 4): "B26 SOP_POP_32_S_0_10_10_16_S2",
    (_signed(22), 4): "PCREL20_S2 TLS_LD_PCREL20_S2 TLS_GD_PCREL20_S2 TLS_DESC_PCREL20_S2",
    (_rounded(38, 0x20000), 4): "CALL36",
    (_signed(32), 4): "CALL30",
    (_signed(32), 1): "PCALA_HI20 GOT_PC_HI20 TLS_IE_PC_HI20 TLS_LD_PC_HI20 TLS_GD_PC_HI20 TLS_DESC_PC_HI20",
    (_rounded(32, 0x800), 1): """PCADD_HI20 GOT_PCADD_HI20 TLS_IE_PCADD_HI20 TLS_LD_PCADD_HI20 TLS_GD_PCADD_HI20
        TLS_DESC_PCADD_HI20 TLS_LE_HI20_R""",
    (_signed(5), 1): "SOP_POP_32_S_10_5",
    ((0, (1 << 12) - 1), 1): "SOP_POP_32_U_10_12",
    (_signed(12), 1): "SOP_POP_32_S_10_12",
    (_signed(16), 1): "SOP_POP_32_S_10_16",
    (_signed(20), 1): "SOP_POP_32_S_5_20",
    ((0, (1 << 32) - 1), 1): "SOP_POP_32_U",
    (ANY, 1): """ADD6 ADD8 ADD16 ADD24 ADD32 ADD64 SUB6 SUB8 SUB16 SUB24 SUB32 SUB64 ADD_ULEB128 SUB_ULEB128 ALIGN
        ABS_HI20 ABS_LO12 ABS64_LO20 ABS64_HI12 PCALA_LO12 PCALA64_LO20 PCALA64_HI12
        GOT_PC_LO12 GOT64_PC_LO20 GOT64_PC_HI12 GOT_HI20 GOT_LO12 GOT64_LO20 GOT64_HI12
        TLS_LE_HI20 TLS_LE_LO12 TLS_LE64_LO20 TLS_LE64_HI12 TLS_LE_LO12_R
        TLS_IE_PC_LO12 TLS_IE64_PC_LO20 TLS_IE64_PC_HI12 TLS_IE_HI20 TLS_IE_LO12 TLS_IE64_LO20 TLS_IE64_HI12
        TLS_LD_HI20 TLS_GD_HI20
        TLS_DESC_PC_LO12 TLS_DESC64_PC_LO20 TLS_DESC64_PC_HI12 TLS_DESC_HI20 TLS_DESC_LO12 TLS_DESC64_LO20
        TLS_DESC64_HI12 PCADD_LO12 GOT_PCADD_LO12 TLS_IE_PCADD_LO12 TLS_LD_PCADD_LO12 TLS_GD_PCADD_LO12
        TLS_DESC_PCADD_LO12""",
}  # fmt: skip
CASES = [(name, *bounds, step) for (bounds, step), names in BOUNDS.items() for name in names.split()]


@pytest.mark.parametrize(("name", "low", "high", "step"), CASES, ids=[case[0] for case in CASES])
def test_the_bounds_pass_and_one_beyond_does_not(name: str, low: int, high: int, step: int) -> None:
    field = field_of(PAGE, name)
    highest = high & -step
    assert fits(field, low)
    assert fits(field, highest)
    if (low, high) != ANY:
        assert not fits(field, low - step)
        assert not fits(field, highest + step)


@pytest.mark.parametrize("name", [case[0] for case in CASES if case[3] > 1])
def test_what_is_not_a_multiple_of_an_instruction_does_not_fit(name: str) -> None:
    field = field_of(PAGE, name)
    assert fits(field, 8)
    assert not any(fits(field, 8 + odd) for odd in (1, 2, 3))


def test_every_implemented_type_has_its_bounds() -> None:
    assert implemented(PAGE) == {case[0] for case in CASES}


def test_every_number_binutils_names_has_a_row() -> None:
    reserved = {*range(15, 20), *range(59, 64)}
    assert set(PAGE.relocations) == set(range(140)) - reserved


def test_every_refused_type_says_why() -> None:
    reasons = {row.name: row.reason for row in PAGE.relocations.values() if row.role is Role.REFUSED}
    assert set(reasons) == {"TLS_DESC32", "DELETE"}
    assert all(reasons.values())


# ---------------------------------------------------------------- fields


@given(st.sampled_from(sorted(implemented(PAGE) - {"PCALA_LO12"})), st.integers(0, (1 << 64) - 1))
def test_what_a_word_holds_is_written_back_as_it_was(name: str, raw: int) -> None:
    field = field_of(PAGE, name)
    raw &= (1 << 8 * field.size) - 1
    rounding = 0x800 if "PCADD_HI20" in name or name == "TLS_LE_HI20_R" else 0
    held = read(field, raw)
    if name == "CALL30":
        held -= held & 0x3FFFF & ~0xFFF & 0  # its low part is unsigned: nothing to undo
    assert written(field, raw, held - rounding) == raw


@given(st.integers(0, (1 << 26) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_the_low_part_of_a_call_lands_in_jirl_as_words(operands: int, value: int) -> None:
    jirl = 0b010011 << 26 | operands
    word = written(field_of(PAGE, "PCALA_LO12"), jirl, value)
    low = ((value & 0xFFF) ^ 0x800) - 0x800
    assert read(field_of(PAGE, "PCALA_LO12"), word) == low & ~3
    assert word >> 26 == 0b010011
    assert word & 0x3FF == operands & 0x3FF


#: type → value, what clang wrote for an immediate of that value, the same instruction with immediate 0.
ENCODINGS = {
    "B16": [(-131072, 0x5A000085, 0x58000085), (131068, 0x59FFFC85, 0x58000085), (0x124, 0x58012485, 0x58000085)],
}

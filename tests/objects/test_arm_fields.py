"""Arm's fields, A32 and T32: bounds, encodings against keystone, properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.arm import ARM
from relink.arch.fields import Word
from relink.arch.spec import Role
from tests.assembler import assembled_int
from tests.grouping import each
from tests.objects.rows import assert_bounds, field_of, fits, implemented, narrowed, read, written

A32, T32 = "arm", "thumb"


# ---------------------------------------------------------------- bounds

#: (lowest, highest, step) of what fits → the types it is the rule for. Odd values are Thumb targets.
BOUNDS = {
    (-(1 << 25), (1 << 25) - 4, 4): "JUMP24",
    (-(1 << 24) + 1, (1 << 24) - 1, 2): "THM_JUMP24",
    (-(1 << 20) + 1, (1 << 20) - 1, 2): "THM_JUMP19",
    (-(1 << 11) + 1, (1 << 11) - 1, 2): "THM_JUMP11",
    (-(1 << 8) + 1, (1 << 8) - 1, 2): "THM_JUMP8",
    (1, 127, 2): "THM_JUMP6",
    (-4095, 4095, 1): """LDR_PC_G0 ABS12 THM_PC12 THM_ALU_PREL_11_0 LDR_SB_G0 GOT_BREL12 GOTOFF12 TLS_LDO12
        TLS_LE12 TLS_IE12GP""",
    (-255, 255, 1): "LDRS_PC_G0 LDRS_SB_G0",
    (-1020, 1020, 4): "LDC_PC_G0 LDC_SB_G0",
    (0, 124, 4): "THM_ABS5",
    (0, 1020, 4): "THM_PC8",
    (0, 4095, 1): "THM_GOT_BREL12",
    (0, 65535, 1): "MOVW_BREL THM_MOVW_BREL",
    (-(1 << 30), (1 << 30) - 1, 1): "PREL31 SBREL31",
}
BOUNDED = [(name, *bounds) for bounds, names in BOUNDS.items() for name in names.split()]
CALLS = {"CALL": 25, "PC24": 25, "PLT32": 25, "THM_CALL": 24}
#: Of what no bound is checked: _NC, whole words, hints that become NOP.
_FREE = """
    ABS32 SBREL32 GOTOFF32 BASE_PREL GOT_BREL BASE_ABS TARGET1 TARGET2 MOVW_ABS_NC MOVT_ABS MOVW_PREL_NC
    MOVT_PREL THM_MOVW_ABS_NC THM_MOVT_ABS THM_MOVW_PREL_NC THM_MOVT_PREL ALU_PC_G0_NC ALU_PC_G1_NC ALU_SB_G0_NC
    ALU_SB_G1_NC MOVW_BREL_NC MOVT_BREL THM_MOVW_BREL_NC THM_MOVT_BREL TLS_GOTDESC PLT32_ABS GOT_ABS GOT_PREL
    TLS_GD32 TLS_LDM32 TLS_LDO32 TLS_IE32 TLS_LE32 THM_ALU_ABS_G0_NC THM_ALU_ABS_G1_NC THM_ALU_ABS_G2_NC
    THM_ALU_ABS_G3 THM_BF16 THM_BF12 THM_BF18
"""
FREE = _FREE.split()
REWRITTEN = ["TLS_CALL", "TLS_DESCSEQ", "THM_TLS_CALL", "THM_TLS_DESCSEQ16", "THM_TLS_DESCSEQ32"]
#: A value only that many groups, or fewer, can make; what one instruction more would need.
GROUPS = {
    "ALU_{}_G0": (0x00FF_0000, 0x00FF_0001),
    "ALU_{}_G1": (0x00FF_FF00, 0x00FF_FF01),
    "ALU_{}_G2": (0x00FF_FFFF, 0x01FF_FFFF),
    "LDR_{}_G1": (0x000F_FFFF, 0x0010_3FFF),
    "LDR_{}_G2": (0x0FFF_FFFF, 0x1FFF_FFFF),
    "LDRS_{}_G1": (0xFFFF, 0x1_01FF),
    "LDRS_{}_G2": (0x00FF_FFFF, 0x01FF_FFFF),
    "LDC_{}_G1": (0x3_FFFC, 0x3_FFFE),
    "LDC_{}_G2": (0x03FF_FFFC, 0x03FF_FFFE),
}
GROUPED = [(name.format(base), *values) for name, values in GROUPS.items() for base in ("PC", "SB")]


@each(("name", "low", "high", "step"), BOUNDED)
def test_the_bounds_pass_and_one_beyond_does_not(name: str, low: int, high: int, step: int) -> None:
    field = field_of(ARM, name)
    assert_bounds(field, low, high, step)
    if step > 1:
        assert not any(fits(field, low + part) for part in range(1, step))


@pytest.mark.parametrize(("name", "bits"), CALLS.items())
def test_a_call_reaches_as_far_in_either_state(name: str, bits: int) -> None:
    field, half = field_of(ARM, name), 1 << bits
    assert all(fits(field, value) for value in (-half, half - 4, -half + 1, half - 1))
    assert not any(fits(field, value) for value in (-half - 4, half, -half - 1, half + 1, 2, -2))


@each(("name", "fitting", "beyond"), GROUPED)
def test_a_group_sequence_ends_where_its_last_instruction_does(name: str, fitting: int, beyond: int) -> None:
    field = field_of(ARM, name)
    assert all(fits(field, value) for value in (0, fitting, -fitting))
    assert not fits(field, beyond)
    assert not fits(field, -beyond)


@each("name", FREE)
def test_nothing_is_too_large_for_what_is_not_checked(name: str) -> None:
    field = field_of(ARM, name)
    assert all(fits(field, value) for value in (0, 1, -1, (1 << 31) - 1, -(1 << 31), 0x1234_5679))


def test_every_type_has_its_bounds() -> None:
    named = {name for name, *_ in BOUNDED + GROUPED} | set(CALLS) | set(FREE) | set(REWRITTEN)
    assert implemented(ARM) <= named


def test_every_number_below_the_reserved_ones_has_a_row() -> None:
    """AAELF32's table ends at 138; 161 to 176 are private, 249 to 255 what old tools used."""
    assert set(range(139)) | set(range(160, 177)) | set(range(249, 256)) == set(ARM.relocations)
    assert all(row.reason for row in ARM.relocations.values() if row.role is Role.REFUSED)


def test_a_word_of_data_is_a_whole_word() -> None:
    words = {name for name in implemented(ARM) if isinstance(field_of(ARM, name), Word)}
    assert words <= set(FREE)


# ---------------------------------------------------------------- encodings

#: Type → assembler, the instruction with a value of x, values. A branch is shown its target, `x` plus the PC's
#: bias, but for B<c>.W, of which keystone wants the offset.
ENCODINGS = {
    "CALL": (A32, "bl #{target}", 8, (0x100, 0x1FF_FFF8)),
    "PC24": (A32, "blx #{target}", 8, (0x102, 0x1FF_FFF6)),
    "JUMP24": (A32, "bne #{target}", 8, (0, 0x1FF_FFF4)),
    "THM_CALL": (T32, "bl #{target}", 4, (0x100, 0xFF_FFF6, 0x5A_5A5A)),
    "THM_JUMP24": (T32, "b.w #{target}", 4, (0x1100, 0xFF_FFF6, 0x5A_5A5A, 0xA5_A5A4)),
    "THM_JUMP19": (T32, "bne.w #{x}", 0, (0x1100, 0xF_FFF6, 0x5_A5A4, 0xA_5A5A)),
    "THM_JUMP6": (T32, "cbnz r1, #{target}", 4, (0, 0x5A, 0x7A)),
    "THM_JUMP11": (T32, "b #{target}", 4, (0x10, 0x3FE)),
    "THM_JUMP8": (T32, "bne #{target}", 4, (0x10, 0xFA)),
    "LDR_PC_G0": (A32, "ldr r1, [pc, #{x}]", 0, (4095, 1, -1, -4095)),
    "ABS12": (A32, "strb r1, [r2, #{x}]", 0, (4095, -4095)),
    "LDRS_PC_G0": (A32, "ldrh r1, [pc, #{x}]", 0, (255, 0x5A, -0xA5)),
    "LDRS_SB_G0": (A32, "strd r2, r3, [r9, #{x}]", 0, (255, -255)),
    "LDC_PC_G0": (A32, "ldc p1, c2, [r3, #{x}]", 0, (1020, 4, -4, -1020)),
    "ALU_PC_G0": (A32, "{add} r1, pc, #{magnitude}", 0, (0xFF, 0x3FC, 0xFF000, -0xFF, -1020, 0x3FC0_0000)),
    "MOVW_ABS_NC": (A32, "movw r1, #{low}", 0, (0x1234, 0xFFFF, 0x9876_5432)),
    "MOVT_ABS": (A32, "movt r1, #{high}", 0, (0x1234, 0xFFFF_0000, 0x9876_5432)),
    "THM_MOVW_ABS_NC": (T32, "movw r1, #{low}", 0, (0x1234, 0xFFFF, 0x9876_5432, 0x0800)),
    "THM_MOVT_ABS": (T32, "movt r1, #{high}", 0, (0x1234, 0xFFFF_0000, 0x9876_5432, 0x0800_0000)),
    "THM_ALU_PREL_11_0": (T32, "{addw} r1, pc, #{magnitude}", 0, (4095, 0x5A5, -0xA5A, -4095)),
    "THM_PC12": (T32, "ldr.w r1, [pc, #{x}]", 0, (4095, 0x5A5, -0xA5A, -4095)),
    "THM_PC8": (T32, "ldr r1, [pc, #{x}]", 0, (0, 4, 1020)),
    "THM_ABS5": (T32, "ldr r1, [r2, #{x}]", 0, (0, 4, 124)),
    "THM_GOT_BREL12": (T32, "ldr.w r1, [r2, #{x}]", 0, (1, 0xA5A, 4095)),
    "THM_ALU_ABS_G0_NC": (T32, "movs r1, #{byte0}", 0, (0x1234_5678,)),
    "THM_ALU_ABS_G1_NC": (T32, "adds r1, #{byte1}", 0, (0x1234_5678,)),
    "THM_ALU_ABS_G2_NC": (T32, "adds r1, #{byte2}", 0, (0x1234_5678,)),
    "THM_ALU_ABS_G3": (T32, "adds r1, #{byte3}", 0, (0x9234_5678,)),
}
ENCODED = [(name, x) for name, case in ENCODINGS.items() for x in case[3]]
#: Whose value has bit 0 set where the instruction stays in, or goes to, Thumb state.
TO_THUMB = {"PC24", "THM_CALL", "THM_JUMP24", "THM_JUMP19", "THM_JUMP6", "THM_JUMP11", "THM_JUMP8"}


def instruction(name: str, x: int) -> int:
    """What keystone makes of the case's text with the value `x`."""
    state, text, bias, _ = ENCODINGS[name]
    words = {f"byte{n}": x >> 8 * n & 0xFF for n in range(4)}
    words |= {"target": x + bias, "magnitude": abs(x), "low": x & 0xFFFF, "high": x >> 16 & 0xFFFF}
    add = "sub" if x < 0 else "add"
    return assembled_int(state, text.format(x=x, add=add, addw=add + "w", **words))


def emptied(name: str) -> int:
    """The same instruction with a value of 0, or what encodes shortly like it."""
    return written(field_of(ARM, name), instruction(name, ENCODINGS[name][3][0]), name in TO_THUMB)


@each(("name", "x"), ENCODED)
def test_a_field_writes_what_keystone_assembles(name: str, x: int) -> None:
    value = x | (name in TO_THUMB)
    field = field_of(ARM, name)
    assert hex(written(field, emptied(name), narrowed(ARM, value))) == hex(instruction(name, x))


SHIFTED = [name for name in ENCODINGS if "MOV" in name or "ALU_ABS" in name]


@each(("name", "x"), [case for case in ENCODED if case[0] not in SHIFTED])
def test_a_field_reads_what_keystone_assembled(name: str, x: int) -> None:
    highest = 1 << {"THM_JUMP6": 7, "THM_PC8": 10}.get(name, 40)
    expected = x - highest if x >= highest - 4 else x  # the -4 these two can hold
    assert read(field_of(ARM, name), instruction(name, x)) == expected


@pytest.mark.parametrize(
    ("name", "word", "addend"),
    [
        ("ALU_PC_G0", 0xE2410FFF, -1020),
        ("LDR_PC_G2", 0xE59F0010, 16),
        ("THM_CALL", 0xFFFE_F7FF, -4),
        ("ABS8", 0xF0, -16),
        ("MOVW_ABS_NC", 0xE30F_0FFC, -4),
        ("MOVT_ABS", 0xE34F_0FFC, -4),
        ("THM_PC8", 0x48FF, -4),
        ("THM_JUMP6", 0xBBF0, -4),
        ("THM_JUMP6", 0xB910, 4),
        ("CALL", 0xEBFF_FFFE, -8),
        ("CALL", 0xFBFF_FFFE, -6),
        ("ALU_PC_G0", 0xE28F_F10F, 0xC000_0003 - (1 << 32)),
    ],
)
def test_addends_are_read_as_the_document_s_examples_say(name: str, word: int, addend: int) -> None:
    assert narrowed(ARM, read(field_of(ARM, name), word)) == addend


# ---------------------------------------------------------------- properties

BRANCHES = ("CALL", "JUMP24", "THM_CALL", "THM_JUMP24", "THM_JUMP19")
offsets = st.integers(-(1 << 24), (1 << 24) - 1)


@pytest.mark.parametrize("name", BRANCHES)
@given(offset=offsets)
def test_a_branch_reads_back_what_was_written(name: str, offset: int) -> None:
    field = field_of(ARM, name)
    for value in (offset, offset & ~3, offset | 1):
        if fits(field, value):
            assert read(field, written(field, emptied(name), value)) == value & ~1


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name not in SHIFTED])
@given(value=st.integers(-4096, 4096))
def test_what_fits_is_read_back_as_it_was_written(name: str, value: int) -> None:
    field = field_of(ARM, name)
    if fits(field, value):
        back = read(field, written(field, emptied(name), value))
        expected = value & ~1 if name in TO_THUMB or name in CALLS else value
        assert back in (expected, expected - (1 << 7), expected - (1 << 10))
        assert written(field, emptied(name), back | (value & 1)) == written(field, emptied(name), value)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if "MOV" in name])
@given(value=st.integers(-(1 << 31), (1 << 31) - 1))
def test_a_move_takes_its_half_and_gives_it_back_signed(name: str, value: int) -> None:
    field = field_of(ARM, name)
    half = value >> (16 if "MOVT" in name else 0) & 0xFFFF
    back = read(field, written(field, instruction(name, 0), value))
    assert back == half - (half >> 15 << 16)


@given(value=st.integers(-(1 << 31), (1 << 31) - 1))
def test_three_groups_and_a_load_add_up_to_the_value(value: int) -> None:
    """What ADD or SUB G0, ADD or SUB G1 and LDR G2 leave in an address is the whole distance, where it fits."""
    parts = [
        read(field, written(field, raw, value))
        for field, raw in (
            (field_of(ARM, "ALU_PC_G0_NC"), 0xE28F_1000),
            (field_of(ARM, "ALU_PC_G1_NC"), 0xE281_1000),
            (field_of(ARM, "LDR_PC_G2"), 0xE591_1000),
        )
    ]
    assert (sum(parts) == value) == fits(field_of(ARM, "LDR_PC_G2"), value)

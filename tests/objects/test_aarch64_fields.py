"""AArch64 rows: bounds, encodings against keystone, whole links against lld and GNU ld."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.aarch64 import AARCH64, SignedMove
from relink.arch.fields import Bits
from relink.arch.spec import Slot
from tests.assembler import assembled_int
from tests.grouping import each
from tests.objects.linkers import Target, places
from tests.objects.rows import assert_bounds, field_of, fits, implemented, read, row_of, value_of, written

ANY_LOW, ANY_HIGH = -(1 << 63), (1 << 63) - 1


def between(bits: int, step: int = 1) -> tuple[int, int, int]:
    """-2^bits … 2^bits - step."""
    return -(1 << bits), (1 << bits) - step, step


def below(bits: int, step: int = 1) -> tuple[int, int, int]:
    """0 … 2^bits - step."""
    return 0, (1 << bits) - step, step


def anything(step: int = 1) -> tuple[int, int, int]:
    """No overflow check, but one of alignment where `step` is not 1."""
    return ANY_LOW, ANY_HIGH - (step - 1), step


#: (lowest, highest, step) of the values that fit → the types of AAELF64 it is the rule for.
BOUNDS = {
    anything(): """ABS64 PREL64 GOTREL64 MOVW_UABS_G0_NC MOVW_UABS_G1_NC MOVW_UABS_G2_NC MOVW_UABS_G3
        MOVW_PREL_G0_NC MOVW_PREL_G1_NC MOVW_PREL_G2_NC MOVW_PREL_G3 MOVW_GOTOFF_G0_NC MOVW_GOTOFF_G1_NC
        MOVW_GOTOFF_G2_NC MOVW_GOTOFF_G3 ADD_ABS_LO12_NC LDST8_ABS_LO12_NC TLSGD_ADD_LO12_NC TLSGD_MOVW_G0_NC
        TLSLD_ADD_LO12_NC TLSLD_MOVW_G0_NC TLSLD_MOVW_DTPREL_G1_NC TLSLD_MOVW_DTPREL_G0_NC
        TLSLD_ADD_DTPREL_LO12_NC TLSLD_LDST8_DTPREL_LO12_NC TLSIE_MOVW_GOTTPREL_G0_NC TLSLE_MOVW_TPREL_G1_NC
        TLSLE_MOVW_TPREL_G0_NC TLSLE_ADD_TPREL_LO12_NC TLSLE_LDST8_TPREL_LO12_NC TLSDESC_ADD_LO12
        TLSDESC_OFF_G0_NC""",
    anything(2): "LDST16_ABS_LO12_NC TLSLD_LDST16_DTPREL_LO12_NC TLSLE_LDST16_TPREL_LO12_NC",
    anything(4): "LDST32_ABS_LO12_NC TLSLD_LDST32_DTPREL_LO12_NC TLSLE_LDST32_TPREL_LO12_NC",
    anything(8): """LDST64_ABS_LO12_NC LD64_GOT_LO12_NC TLSLD_LDST64_DTPREL_LO12_NC TLSIE_LD64_GOTTPREL_LO12_NC
        TLSLE_LDST64_TPREL_LO12_NC TLSDESC_LD64_LO12""",
    anything(16): "LDST128_ABS_LO12_NC TLSLD_LDST128_DTPREL_LO12_NC TLSLE_LDST128_TPREL_LO12_NC",
    anything(4096): "ADR_PREL_PG_HI21_NC",
    below(12): """TLSLD_ADD_DTPREL_LO12 TLSLD_LDST8_DTPREL_LO12 TLSLE_ADD_TPREL_LO12 TLSLE_LDST8_TPREL_LO12""",
    below(12, 2): "TLSLD_LDST16_DTPREL_LO12 TLSLE_LDST16_TPREL_LO12",
    below(12, 4): "TLSLD_LDST32_DTPREL_LO12 TLSLE_LDST32_TPREL_LO12",
    below(12, 8): "TLSLD_LDST64_DTPREL_LO12 TLSLE_LDST64_TPREL_LO12",
    below(12, 16): "TLSLD_LDST128_DTPREL_LO12 TLSLE_LDST128_TPREL_LO12",
    below(15, 8): "LD64_GOTOFF_LO15 LD64_GOTPAGE_LO15",
    below(16): "MOVW_UABS_G0",
    below(24): "TLSLD_ADD_DTPREL_HI12 TLSLE_ADD_TPREL_HI12",
    below(32): "MOVW_UABS_G1 PATCHINST",
    below(48): "MOVW_UABS_G2",
    between(15, 4): "TSTBR14",
    between(16): "MOVW_SABS_G0 MOVW_PREL_G0 MOVW_GOTOFF_G0 TLSLD_MOVW_DTPREL_G0 TLSLE_MOVW_TPREL_G0",
    between(20): "ADR_PREL_LO21 TLSGD_ADR_PREL21 TLSLD_ADR_PREL21 TLSDESC_ADR_PREL21",
    between(20, 4): """LD_PREL_LO19 CONDBR19 GOT_LD_PREL19 TLSLD_LD_PREL19 TLSIE_LD_GOTTPREL_PREL19
        TLSDESC_LD_PREL19""",
    between(27, 4): "JUMP26 CALL26",
    between(31): "GOTREL32 PLT32 GOTPCREL32",
    between(32): """MOVW_SABS_G1 MOVW_PREL_G1 MOVW_GOTOFF_G1 TLSGD_MOVW_G1 TLSLD_MOVW_G1 TLSLD_MOVW_DTPREL_G1
        TLSIE_MOVW_GOTTPREL_G1 TLSLE_MOVW_TPREL_G1 TLSDESC_OFF_G1""",
    between(32, 4096): """ADR_PREL_PG_HI21 ADR_GOT_PAGE TLSGD_ADR_PAGE21 TLSLD_ADR_PAGE21
        TLSIE_ADR_GOTTPREL_PAGE21 TLSDESC_ADR_PAGE21""",
    between(48): "MOVW_SABS_G2 MOVW_PREL_G2 MOVW_GOTOFF_G2 TLSLD_MOVW_DTPREL_G2 TLSLE_MOVW_TPREL_G2",
}
CASES = [(name, *bounds) for bounds, names in BOUNDS.items() for name in names.split()]
BY_NAME = {name: (low, high, step) for name, low, high, step in CASES}


@each(("name", "low", "high", "step"), CASES, ids=[case[0] for case in CASES])
def test_the_bounds_pass_and_one_beyond_does_not(name: str, low: int, high: int, step: int) -> None:
    field = field_of(AARCH64, name)
    assert_bounds(field, low, high, step, bounded=low != ANY_LOW)
    if step > 1:
        assert not any(fits(field, low + odd) for odd in (1, step // 2, step - 1))


def test_every_type_of_objects_has_its_bounds() -> None:
    assert implemented(AARCH64) <= set(BY_NAME)
    assert len(CASES) == len(BY_NAME)


def test_no_number_of_the_document_is_missing() -> None:
    """Tables of sections 5.7.3 to 5.7.16; 281 and 294 to 298 are not given out."""
    static = {*range(256, 318), *range(512, 574), *range(580, 598)} - {281, *range(294, 299)}
    assert set(AARCH64.relocations) == {0, *static, *range(1024, 1033), *range(1041, 1045)}


def test_signed_pointers_are_refused_with_the_reason() -> None:
    rows = [row for row in AARCH64.relocations.values() if row.name.startswith("AUTH_")]
    assert len(rows) == 22
    assert all("pointer authentication" in row.reason for row in rows)


# ---------------------------------------------------------------- fields

FIELDS = {name: field for name in BY_NAME if isinstance(field := field_of(AARCH64, name), Bits | SignedMove)}


@given(st.sampled_from(sorted(FIELDS)), st.integers(0, (1 << 32) - 1), st.data())
def test_what_was_written_is_read_back(name: str, raw: int, data: st.DataObject) -> None:
    field, (low, high, step) = FIELDS[name], BY_NAME[name]
    value = data.draw(st.integers(low // step, high // step)) * step
    word = written(field, raw, value)
    assert word < 1 << 32
    assert written(field, word, read(field, word)) == word
    if isinstance(field, Bits):
        kept = ~field.mask
        lowest = min(piece[2] for piece in field.pieces)
        held = ((1 << field.top) - 1) & -(1 << lowest)
    else:
        kept = ~(0xFFFF << 5 | 1 << 30)
        held = (1 << 16 * field.group + 16) - (1 << 16 * field.group)
    assert word & kept == raw & kept
    assert read(field, word) & held == value & held


#: (type, value, the instruction with it, the instruction it is written into)
ENCODINGS = [
    ("CALL26", -4, "bl #-4", "bl #0"),
    ("CALL26", -(1 << 27), "bl #-0x8000000", "bl #0"),
    ("JUMP26", (1 << 27) - 4, "b #0x7fffffc", "b #0"),
    ("CONDBR19", -(1 << 20), "b.ne #-0x100000", "b.ne #0"),
    ("CONDBR19", 0xFFFFC, "cbnz x7, #0xffffc", "cbnz x7, #0"),
    ("TSTBR14", -(1 << 15), "tbz x1, #3, #-0x8000", "tbz x1, #3, #0"),
    ("TSTBR14", 0x7FFC, "tbnz x9, #63, #0x7ffc", "tbnz x9, #63, #0"),
    ("LD_PREL_LO19", -8, "ldr x1, #-8", "ldr x1, #0"),
    ("GOT_LD_PREL19", 0xFFFFC, "ldr x30, #0xffffc", "ldr x30, #0"),
    ("ADR_PREL_LO21", -3, "adr x0, #-3", "adr x0, #0"),
    ("ADR_PREL_LO21", 0xFFFFF, "adr x29, #0xfffff", "adr x29, #0"),
    ("ADR_PREL_PG_HI21", -(1 << 32), "adrp x4, #-0x100000000", "adrp x4, #0"),
    ("ADR_GOT_PAGE", 0x7FFF_F000, "adrp x4, #0x7ffff000", "adrp x4, #0"),
    ("ADD_ABS_LO12_NC", 0x12ABC, "add x0, x1, #0xabc", "add x0, x1, #0"),
    ("TLSLE_ADD_TPREL_HI12", 0xABC123, "add x0, x1, #0xabc, lsl #12", "add x0, x1, #0, lsl #12"),
    ("TLSLE_ADD_TPREL_LO12", 0xFFF, "add x0, x1, #0xfff", "add x0, x1, #0"),
    ("LDST8_ABS_LO12_NC", 0x1FFF, "ldrb w1, [x2, #0xfff]", "ldrb w1, [x2]"),
    ("LDST16_ABS_LO12_NC", 0x1FFE, "strh w1, [x2, #0xffe]", "strh w1, [x2]"),
    ("LDST32_ABS_LO12_NC", 0x1ABC, "ldr w1, [x2, #0xabc]", "ldr w1, [x2]"),
    ("LDST64_ABS_LO12_NC", 0x1AB8, "ldr x1, [x2, #0xab8]", "ldr x1, [x2]"),
    ("LDST128_ABS_LO12_NC", 0x1AB0, "str q1, [x2, #0xab0]", "str q1, [x2]"),
    ("LD64_GOTPAGE_LO15", 0x7FF8, "ldr x1, [x2, #0x7ff8]", "ldr x1, [x2]"),
    ("MOVW_UABS_G0", 0xFFFF, "movz x1, #0xffff", "movz x1, #0"),
    ("MOVW_UABS_G1", 0x1234_5678, "movz x1, #0x1234, lsl #16", "movz x1, #0, lsl #16"),
    ("MOVW_UABS_G2_NC", 0x9ABC_1234_5678, "movk x1, #0x9abc, lsl #32", "movk x1, #0, lsl #32"),
    ("MOVW_UABS_G3", -1, "movk x1, #0xffff, lsl #48", "movk x1, #0, lsl #48"),
    ("MOVW_SABS_G0", -2, "movn x1, #1", "movz x1, #0"),
    ("MOVW_SABS_G0", 0x1234, "movz x1, #0x1234", "movn x1, #0"),
    ("MOVW_PREL_G1", -0x1_2345, "movn x1, #1, lsl #16", "movz x1, #0, lsl #16"),
    ("MOVW_PREL_G1", -(1 << 32), "movn x1, #0xffff, lsl #16", "movz x1, #0, lsl #16"),
    ("MOVW_GOTOFF_G2", (1 << 48) - 1, "movz x1, #0xffff, lsl #32", "movn x1, #0, lsl #32"),
    ("MOVW_PREL_G3", -1, "movn x1, #0, lsl #48", "movz x1, #0, lsl #48"),
    ("MOVW_PREL_G0_NC", -2, "movk x1, #0xfffe", "movk x1, #0"),
    ("PATCHINST", 0xD503201F, "nop", "bl #0"),
]


@each(("name", "value", "text", "before"), ENCODINGS, ids=[e[2] for e in ENCODINGS])
def test_the_field_is_where_keystone_puts_it(name: str, value: int, text: str, before: str) -> None:
    field = field_of(AARCH64, name)
    assert fits(field, value)
    assert written(field, assembled(before), value) == assembled(text)


def assembled(text: str) -> int:
    return assembled_int("aarch64", text)


def test_the_veneer_jumps_to_the_address_it_carries() -> None:
    stub = AARCH64.stub
    assert stub is not None
    assert stub.code[:4] == assembled("ldr x16, #8").to_bytes(4, "little")
    assert stub.code[4:8] == assembled("br x16").to_bytes(4, "little")
    assert (stub.address_at, len(stub.code)) == (8, 16)


# ---------------------------------------------------------------- formulas a letter cannot say

PLACE = 0x40_0000_1234


@pytest.mark.parametrize("name", ["LD_PREL_LO19", "ADR_PREL_LO21", "MOVW_PREL_G0", "MOVW_PREL_G3"])
def test_an_undefined_weak_symbol_lies_at_the_place(name: str) -> None:
    assert value_of(row_of(AARCH64, name), bytes(4), 0, S=0, A=8, P=PLACE) == 8
    assert value_of(row_of(AARCH64, name), bytes(4), 0, S=PLACE + 12, A=8, P=PLACE) == 20


@pytest.mark.parametrize("name", ["TSTBR14", "CONDBR19", "JUMP26", "CALL26"])
def test_a_branch_to_an_undefined_weak_symbol_goes_to_the_next_instruction(name: str) -> None:
    assert value_of(row_of(AARCH64, name), bytes(4), 0, S=0, A=0, P=PLACE) == 4
    assert value_of(row_of(AARCH64, name), bytes(4), 0, S=PLACE + 12, A=0, P=PLACE) == 12


def test_an_undefined_weak_symbol_lies_on_the_page_of_the_place() -> None:
    row = row_of(AARCH64, "ADR_PREL_PG_HI21")
    assert value_of(row, bytes(4), 0, S=0, A=0, P=PLACE) == 0
    assert value_of(row, bytes(4), 0, S=0, A=0xE00, P=PLACE) == 0x1000
    assert value_of(row, bytes(4), 0, S=PLACE - 0x1000, A=0, P=PLACE) == -0x1000


#: The few that no linker at hand knows, against the document's operations: (type, letters, X).
UNCHECKED = [
    ("GOTREL64", {"S": 0x5000, "A": 4, "GOT": 0x9000}, -0x3FFC),
    ("GOTREL32", {"S": 0x5000, "A": 4, "GOT": 0x9000}, -0x3FFC),
    ("MOVW_GOTOFF_G0", {"G": 0x10}, 0x10),
    ("MOVW_GOTOFF_G1_NC", {"G": 0x10}, 0x10),
    ("MOVW_GOTOFF_G2", {"G": 0x10}, 0x10),
    ("MOVW_GOTOFF_G2_NC", {"G": 0x10}, 0x10),
    ("MOVW_GOTOFF_G3", {"G": 0x10}, 0x10),
    ("TLSLD_MOVW_G1", {"G": 0x10}, 0x10),
    ("TLSLD_MOVW_G0_NC", {"G": 0x10}, 0x10),
    ("TLSLD_LD_PREL19", {"G": 0x10, "GOT": 0x9000, "P": 0x8000}, 0x1010),
    ("TLSLD_LDST128_DTPREL_LO12", {"S": 0x20, "A": 16, "DTV": 0}, 0x30),
    ("TLSLD_LDST128_DTPREL_LO12_NC", {"S": 0x20, "A": 16, "DTV": 0}, 0x30),
    ("TLSLE_LDST128_TPREL_LO12", {"S": 0x20, "A": 16, "T": 16}, 0x40),
]


@pytest.mark.parametrize(("name", "letters", "value"), UNCHECKED, ids=[row[0] for row in UNCHECKED])
def test_the_document_s_operation(name: str, letters: dict[str, int], value: int) -> None:
    assert value_of(row_of(AARCH64, name), bytes(8), 0, **letters) == value


def test_every_type_is_checked_against_a_linker_or_the_document() -> None:
    linked = {row.split()[0] for linker, rows, _ in LINKS for row in rows if row.split()[0] not in UNKNOWN[linker]}
    assert implemented(AARCH64) == (linked | {name for name, _, _ in UNCHECKED}) & implemented(AARCH64)


def test_patchinst_leaves_the_instruction_alone_unless_the_symbol_is_defined() -> None:
    code = bytes(4) + assembled("bl #64").to_bytes(4, "little")
    row = row_of(AARCH64, "PATCHINST")
    assert value_of(row, code, 4, S=0, A=0) == assembled("bl #64")
    assert value_of(row, code, 4, S=assembled("nop"), A=0) == assembled("nop")


# ---------------------------------------------------------------- whole links

SLOTS = {
    Slot.ADDRESS: "GLOB_DAT",
    Slot.TLS_GD: "TLS_DTPMOD64",
    Slot.TLS_LD: "TLS_DTPMOD64",
    Slot.TLS_IE: "TLS_TPREL64",
    Slot.TLS_DESC: "TLSDESC",
}
TARGET = Target(AARCH64, "aarch64-linux-gnu", ("aarch64-linux-gnu-ld",), SLOTS, (".got", ".got"))

DATA = """
    .section .data, "aw"
    .globl far, near
    .weak nobody
    .hidden near
    .type far, @object
    .type near, @object
    .balign 16
    .skip 0x560
far: .skip 32
near: .skip 32
    .section .tdata, "awT"
    .globl tfar, texec, tdesc, tnear
    .hidden tnear
    .irp name, tfar, texec, tdesc, tnear
    .type \\name, @tls_object
    .endr
    .balign 16
    .skip 48
tfar: .skip 16
texec: .skip 16
tdesc: .skip 16
tnear: .skip 16
    .text
    .globl _start
_start: nop
"""


def code(*rows: str) -> str:
    """Assembly: for each "TYPE symbol+addend instruction" the instruction with that relocation."""
    lines = []
    for row in rows:
        name, symbol, instruction = row.split(maxsplit=2)
        lines.append(f".reloc ., R_AARCH64_{name}, {symbol}; {instruction}")
    return "\n".join(lines) + "\n"


def offsets(prefix: str, suffix: str) -> list[str]:
    """The family of types that put an offset of thread-local storage into instructions."""
    loads = {8: "ldrb w1, [x2]", 16: "ldrh w1, [x2]", 32: "ldr w1, [x2]", 64: "ldr x1, [x2]", 128: "ldr q1, [x2]"}
    return [
        *(f"{prefix}_MOVW_{suffix}_G{n} tnear+4 movz x1, #0, lsl #{16 * n}" for n in range(3)),
        *(f"{prefix}_MOVW_{suffix}_G{n}_NC tnear+4 movk x1, #0, lsl #{16 * n}" for n in range(2)),
        f"{prefix}_ADD_{suffix}_HI12 tnear+4 add x1, x2, #0, lsl #12",
        f"{prefix}_ADD_{suffix}_LO12 tnear+4 add x1, x2, #0",
        f"{prefix}_ADD_{suffix}_LO12_NC tnear+4 add x1, x2, #0",
        *(f"{prefix}_LDST{size}_{suffix}_LO12 tnear {text}" for size, text in loads.items()),
        *(f"{prefix}_LDST{size}_{suffix}_LO12_NC tnear {text}" for size, text in loads.items()),
    ]


# The assembler already writes what it knows, so `far` (global, another section) stands for every symbol.
ABSOLUTE = [
    "ABS32 far+4 .word 0", "PREL32 far-8 .word 0", "PLT32 _start .word 0", "ABS64 far+4 .xword 0",
    "PREL64 far+4 .xword 0", "ABS16 small .hword 0", "PREL16 _start .hword 0",
    "LD_PREL_LO19 far+4 ldr x1, .", "ADR_PREL_LO21 far+3 adr x1, .", "ADR_PREL_PG_HI21 far adrp x1, #0",
    "ADR_PREL_PG_HI21_NC far adrp x1, #0", "ADD_ABS_LO12_NC far+5 add x1, x2, #0",
    "LDST8_ABS_LO12_NC far+5 ldrb w1, [x2]", "LDST16_ABS_LO12_NC far+6 ldrh w1, [x2]",
    "LDST32_ABS_LO12_NC far+4 ldr w1, [x2]", "LDST64_ABS_LO12_NC far+8 ldr x1, [x2]",
    "LDST128_ABS_LO12_NC far+16 ldr q1, [x2]",
    "TSTBR14 _start tbz x1, #3, .", "CONDBR19 _start cbz x1, .", "JUMP26 _start b .", "CALL26 _start+4 bl .",
    *(f"MOVW_UABS_G{n} far movz x1, #0, lsl #{16 * n}" for n in (1, 2, 3)),
    *(f"MOVW_UABS_G{n}_NC far+5 movk x1, #0, lsl #{16 * n}" for n in (0, 1, 2)),
    "MOVW_UABS_G0 small movz x1, #0", "MOVW_SABS_G0 small movz x1, #0", "MOVW_SABS_G0 small-0x100 movz x1, #0",
    *(f"MOVW_SABS_G{n} far movz x1, #0, lsl #{16 * n}" for n in (1, 2)),
    *(f"MOVW_PREL_G{n} {symbol} movz x1, #0, lsl #{16 * n}" for n in (1, 2) for symbol in ("far", "_start-4")),
    "MOVW_PREL_G3 far movn x1, #0, lsl #48",
    *(f"MOVW_PREL_G{n}_NC far+5 movk x1, #0, lsl #{16 * n}" for n in (0, 1, 2)), "MOVW_PREL_G0 _start movz x1, #0",
    *offsets("TLSLE", "TPREL"),
]  # fmt: skip
# Of a negative number lld's G3 keeps MOVZ, with the same value once the lower groups' MOVKs have run.
NEGATIVE_G3 = "MOVW_PREL_G3 _start-4 movz x1, #0, lsl #48"
SLOTTED = [
    "ADR_GOT_PAGE far adrp x1, #0", "LD64_GOT_LO12_NC far ldr x1, [x1]", "LD64_GOTPAGE_LO15 far ldr x1, [x1]",
    "GOT_LD_PREL19 far ldr x1, .", "TLSIE_ADR_GOTTPREL_PAGE21 texec adrp x1, #0",
    "TLSIE_LD64_GOTTPREL_LO12_NC texec ldr x1, [x1]", "TLSDESC_ADR_PAGE21 tdesc adrp x0, #0",
    "TLSDESC_LD64_LO12 tdesc ldr x1, [x0]", "TLSDESC_ADD_LO12 tdesc add x0, x0, #0",
    "TLSDESC_CALL tdesc blr x1",
]  # fmt: skip
ONLY_LLD = [*SLOTTED, "GOTPCREL32 far+4 .word 0"]
UNDEFINED = [
    "PREL32 nobody+4 .word 0", "PREL64 nobody .xword 0", "LD_PREL_LO19 nobody+8 ldr x1, .",
    "ADR_PREL_LO21 nobody+3 adr x1, .", "ADR_PREL_PG_HI21 nobody adrp x1, #0",
    "ADD_ABS_LO12_NC nobody+1 add x1, x1, #0",
    "MOVW_UABS_G0 nobody+2 movz x1, #0", "ABS64 nobody+2 .xword 0", "PATCHINST nobody nop", "PATCHINST small nop",
]  # fmt: skip
ONLY_GNU = [
    "MOVW_GOTOFF_G1 far movz x1, #0, lsl #16", "MOVW_GOTOFF_G0_NC far movk x1, #0",
    "LD64_GOTOFF_LO15 far ldr x1, [x1]",
    "TLSGD_ADR_PREL21 tfar adr x0, .", "TLSGD_ADR_PAGE21 tfar adrp x0, #0",
    "TLSGD_ADD_LO12_NC tfar add x0, x0, #0",
    "TLSGD_MOVW_G1 tfar movz x0, #0, lsl #16", "TLSGD_MOVW_G0_NC tfar movk x0, #0",
    "TLSLD_ADR_PREL21 tnear adr x0, .", "TLSLD_ADR_PAGE21 tnear adrp x0, #0",
    "TLSLD_ADD_LO12_NC tnear add x0, x0, #0",
    "TLSIE_MOVW_GOTTPREL_G1 texec movz x0, #0, lsl #16", "TLSIE_MOVW_GOTTPREL_G0_NC texec movk x0, #0",
    "TLSIE_LD_GOTTPREL_PREL19 texec ldr x0, .",
    "TLSDESC_LD_PREL19 tdesc ldr x0, .", "TLSDESC_ADR_PREL21 tdesc adr x0, .",
    "TLSDESC_OFF_G1 tdesc movz x0, #0, lsl #16", "TLSDESC_OFF_G0_NC tdesc movk x0, #0",
    *offsets("TLSLD", "DTPREL"),
]  # fmt: skip
#: What the linkers of clang 22 and binutils 2.40 do not know.
UNKNOWN = {
    "lld": {"TLSLE_ADD_TPREL_LO12", *(f"TLSLE_LDST{size}_TPREL_LO12" for size in (8, 16, 32, 64, 128))},
    "gnu": {
        "PLT32",
        "TLSLE_LDST128_TPREL_LO12",
        "TLSLE_LDST128_TPREL_LO12_NC",
        "TLSLD_LDST128_DTPREL_LO12",
        "TLSLD_LDST128_DTPREL_LO12_NC",
    },
}
LINKS = [
    ("lld", ABSOLUTE, "-static"),
    ("gnu", [*ABSOLUTE, NEGATIVE_G3], "-static"),
    ("lld", ONLY_LLD, "-shared"),
    ("lld", UNDEFINED, "-static"),
    ("gnu", SLOTTED, "-shared"),
    ("gnu", ONLY_GNU, "-shared"),
]
PLACED = ("-Ttext=0x410000", "-Tdata=0x430000", "-z", "norelro", "--defsym=small=0x4b")


@pytest.mark.parametrize(("linker", "rows", "flags"), LINKS)
def test_another_linker_writes_the_same(linker: str, rows: list[str], flags: str) -> None:
    rows = [row for row in rows if row.split()[0] not in UNKNOWN[linker]]
    compared = places(TARGET, linker, DATA + code(*rows), flags, *PLACED)
    assert [place for place in compared if place.ours != place.theirs] == []
    assert {place.name for place in compared} == {row.split()[0] for row in rows} - {"TLSDESC_CALL"}

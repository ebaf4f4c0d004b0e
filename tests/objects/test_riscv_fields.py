"""RISC-V rows in both widths: bounds, encodings clang made, pairs worked by hand, whole links against lld."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch import Architecture
from relink.arch.riscv import RISCV32, RISCV64
from relink.arch.spec import Role, Slot
from tests.grouping import each
from tests.objects.linkers import Target, places
from tests.objects.rows import (
    assert_bounds,
    field_of,
    fits,
    implemented,
    narrowed,
    read,
    row_of,
    value_of,
    written,
)

PAGES = {page.name: page for page in (RISCV64, RISCV32)}
both = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)

# ---------------------------------------------------------------- bounds

ANY = (-(1 << 63), (1 << 63) - 1)
HIGH = (-(1 << 31) - 0x800, (1 << 31) - 0x801)
SIGNED_32 = (-(1 << 31), (1 << 31) - 1)
#: (lowest, highest value that fits), what it must be a multiple of → the types it is the rule for, on RV64.
BOUNDS = {
    ((-(1 << 12), (1 << 12) - 1), 2): "BRANCH",
    ((-(1 << 20), (1 << 20) - 1), 2): "JAL",
    ((-(1 << 8), (1 << 8) - 1), 2): "RVC_BRANCH",
    ((-(1 << 11), (1 << 11) - 1), 2): "RVC_JUMP",
    (HIGH, 1): """CALL CALL_PLT GOT_HI20 TLS_GOT_HI20 TLS_GD_HI20 PCREL_HI20 HI20 TPREL_HI20 TLSDESC_HI20""",
    (SIGNED_32, 1): "GOT32_PCREL PLT32",
    (ANY, 1): """PCREL_LO12_I PCREL_LO12_S LO12_I LO12_S TPREL_LO12_I TPREL_LO12_S
        TLSDESC_LOAD_LO12 TLSDESC_ADD_LO12 ADD8 ADD16 ADD32 ADD64 SUB8 SUB16 SUB32 SUB64 SUB6 SET6 SET8 SET16 SET32
        SET_ULEB128 SUB_ULEB128 ALIGN""",
}
CASES = [(name, *bounds, step) for (bounds, step), names in BOUNDS.items() for name in names.split()]


@each(("name", "low", "high", "step"), CASES, ids=[case[0] for case in CASES])
def test_the_bounds_pass_and_one_beyond_does_not(name: str, low: int, high: int, step: int) -> None:
    assert_bounds(field_of(RISCV64, name), low, high, step, bounded=(low, high) != ANY)


@both
@pytest.mark.parametrize("name", [case[0] for case in CASES if case[3] > 1])
def test_an_odd_branch_target_does_not_fit(name: str, page: Architecture) -> None:
    assert fits(field_of(page, name), 10)
    assert not fits(field_of(page, name), 11)


@pytest.mark.parametrize("name", [case[0] for case in CASES if case[1:3] in (HIGH, SIGNED_32)])
@given(distance=st.integers(-(1 << 32), (1 << 32) - 1))
def test_32_bit_addresses_wrap(name: str, distance: int) -> None:
    """From any place of RV32 its pairs and words reach any address."""
    assert fits(field_of(RISCV32, name), narrowed(RISCV32, distance))


@pytest.mark.parametrize("name", [case[0] for case in CASES if case[3] > 1])
def test_short_branches_of_rv32_are_as_short(name: str) -> None:
    assert field_of(RISCV32, name) == field_of(RISCV64, name)


@both
def test_every_implemented_type_has_its_bounds(page: Architecture) -> None:
    assert implemented(page) == {case[0] for case in CASES}


@both
def test_every_number_the_psabi_gives_has_a_row(page: Architecture) -> None:
    reserved = {13, 14, 15, *range(66, 191)}
    assert set(page.relocations) == set(range(256)) - reserved


@both
def test_what_is_refused_is_withdrawn_or_a_vendors(page: Architecture) -> None:
    refused = {row.name: row.reason for row in page.relocations.values() if row.role is Role.REFUSED}
    withdrawn = {"RVC_LUI", "GPREL_I", "GPREL_S", "TPREL_I", "TPREL_S"}
    assert set(refused) == withdrawn | {"VENDOR"} | {f"CUSTOM{n}" for n in range(192, 256)}
    assert all("vendor" in reason or name in withdrawn for name, reason in refused.items())


@both
def test_the_late_types_have_their_numbers(page: Architecture) -> None:
    """Those that changed hands or came after glibc 2.36's header."""
    numbers = {page.relocations[n].name: n for n in (41, 59, 60, 61, 62, 63, 64, 65)}
    assert numbers == {
        "GOT32_PCREL": 41,
        "PLT32": 59,
        "SET_ULEB128": 60,
        "SUB_ULEB128": 61,
        "TLSDESC_HI20": 62,
        "TLSDESC_LOAD_LO12": 63,
        "TLSDESC_ADD_LO12": 64,
        "TLSDESC_CALL": 65,
    }


@both
def test_every_slot_kind_has_the_rows_that_ask_for_it(page: Architecture) -> None:
    kinds = {row.name: row.slot for row in page.relocations.values() if row.slot is not None}
    assert kinds == {
        "GOT_HI20": Slot.ADDRESS,
        "GOT32_PCREL": Slot.ADDRESS,
        "TLS_GOT_HI20": Slot.TLS_IE,
        "TLS_GD_HI20": Slot.TLS_GD,
        "TLSDESC_HI20": Slot.TLS_DESC,
    }


# ---------------------------------------------------------------- fields


@both
@given(data=st.data(), raw=st.integers(0, (1 << 64) - 1))
def test_what_a_word_holds_is_written_back_as_it_was(page: Architecture, data: st.DataObject, raw: int) -> None:
    name = data.draw(st.sampled_from(sorted(implemented(page) - {"CALL", "CALL_PLT"})))
    field = field_of(page, name)
    raw &= (1 << 8 * field.size) - 1
    rounding = 0x800 if name.endswith("HI20") else 0
    assert written(field, raw, read(field, raw) - rounding) == raw


@both
@given(value=st.integers(*HIGH), operands=st.integers(0, (1 << 64) - 1))
def test_a_call_holds_what_was_written(page: Architecture, value: int, operands: int) -> None:
    field = field_of(page, "CALL")
    word = written(field, operands, value)
    assert (read(field, word) - value) % (1 << page.bits) == 0
    kept = 0xFFFFF_00000FFF
    assert word & kept == operands & kept


#: type → (value, the instruction clang makes of an immediate of that value).
ENCODINGS = [
    ("BRANCH", -4096, 0x80B50063, "beq a0, a1, -4096"),
    ("BRANCH", 4094, 0x7EB50FE3, "beq a0, a1, 4094"),
    ("BRANCH", 0x124, 0x12B50263, "beq a0, a1, 0x124"),
    ("JAL", -1048576, 0x800000EF, "jal ra, -1048576"),
    ("JAL", 1048574, 0x7FFFF0EF, "jal ra, 1048574"),
    ("JAL", 0x12344, 0x344120EF, "jal ra, 0x12344"),
    ("PCREL_HI20", 0x12345 << 12, 0x12345317, "auipc t1, 0x12345"),
    ("HI20", -0x80000 << 12, 0x80000337, "lui t1, 0x80000"),
    ("LO12_I", -2048, 0x80058513, "addi a0, a1, -2048"),
    ("LO12_I", 0x123, 0x12358513, "addi a0, a1, 0x123"),
    ("LO12_S", -2048, 0x80A5A023, "sw a0, -2048(a1)"),
    ("LO12_S", 0x123, 0x12A5A1A3, "sw a0, 0x123(a1)"),
    ("RVC_BRANCH", -256, 0xD101, "c.beqz a0, -256"),
    ("RVC_BRANCH", 254, 0xCD7D, "c.beqz a0, 254"),
    ("RVC_BRANCH", 0x24, 0xC115, "c.beqz a0, 0x24"),
    ("RVC_JUMP", -2048, 0xB001, "c.j -2048"),
    ("RVC_JUMP", 2046, 0xAFFD, "c.j 2046"),
    ("RVC_JUMP", 0x124, 0xA215, "c.j 0x124"),
]


@both
@each(("name", "value", "word", "text"), ENCODINGS, ids=[f"{e[0]} {e[3]}" for e in ENCODINGS])
def test_the_field_is_where_clang_puts_the_immediate(
    page: Architecture, name: str, value: int, word: int, text: str
) -> None:
    field = field_of(page, name)
    bare = written(field, word, 0)
    assert bare != word
    assert written(field, bare, value) == word
    assert read(field, word) == value


@both
@given(value=st.integers(*HIGH))
def test_a_high_and_a_low_part_add_up(page: Architecture, value: int) -> None:
    """lui or auipc sign-extends its 20 bits, addi and stores their 12."""
    high = written(field_of(page, "HI20"), 0, value)
    high -= (high >> 31) << 32
    for name in ("LO12_I", "LO12_S"):
        low = written(field_of(page, name), 0, value)
        low = low >> 20 if name == "LO12_I" else (low >> 25) << 5 | low >> 7 & 0x1F
        assert (high + (low ^ 0x800) - 0x800 - value) % (1 << page.bits) == 0


@both
@given(before=st.integers(0, 255), s=st.integers(0, (1 << 32) - 1), a=st.integers(-(1 << 31), (1 << 31) - 1))
def test_six_bit_sums_leave_the_upper_two_bits(page: Architecture, before: int, s: int, a: int) -> None:
    """DW_CFA_advance_loc: an opcode in two bits, a distance in six."""
    for name, expected in (("SET6", s + a), ("SUB6", (before & 0x3F) - s - a)):
        field = field_of(page, name)
        value = value_of(row_of(page, name), bytes(8), 0, S=s, A=a, V=read(field, before))
        assert written(field, before, value) == before & 0xC0 | expected & 0x3F


@both
def test_the_stub_is_what_clang_assembles(page: Architecture) -> None:
    """auipc t1, 0; load t1 from behind; jr t1 — and the address is where the load looks."""
    assert page.stub is not None
    code = np.frombuffer(page.stub.code[: page.stub.address_at], "<u4").tolist()
    expected = [0x317, 0x01033303, 0x30067, 0x13] if page.bits == 64 else [0x317, 0x00C32303, 0x30067]
    assert code == expected
    assert code[1] >> 20 == page.stub.address_at
    assert page.stub.address_at % page.word_size == 0
    assert len(page.stub.code) == page.stub.address_at + page.word_size


# ---------------------------------------------------------------- lld

DATA = """
    .option norelax
    .data
    .space 0x7f0
near: {word} 1
    .space 0x20
other: {word} 2
    .hidden near, other, tnear, _start
    .globl near, other, far, tfar, tnear, _start, tiny
far: {word} 3
tiny = 0x1234
    .section .tdata,"awT",@progbits
    {word} 0
tfar: {word} 5
tnear: {word} 7
    .text
_start:
    ret
"""


def at(instruction: str, *types: str) -> str:
    """An instruction with these entries ("TYPE symbol") at it."""
    return "".join(f"    .reloc ., R_RISCV_{t.replace(' ', ', ')}\n" for t in types) + f"    {instruction}\n"


AUIPC, ADDI, STORE, LUI, CALL = (
    ".option norvc; auipc a0, 0",
    "addi a0, a0, 0",
    "sw a0, 0(a0)",
    "lui a0, 0",
    "auipc ra, 0; jalr ra, ra, 0",
)


def pair(label: str, high: str, symbol: str, low: str = "PCREL") -> str:
    lows = ("_LO12_I", "_LO12_S") if low == "PCREL" else ("_LOAD_LO12", "_ADD_LO12")
    return (
        f".L{label}:\n"
        + at(AUIPC, f"{high} {symbol}")
        + at(ADDI, f"{low}{lows[0]} .L{label}")
        + at(STORE if low == "PCREL" else ADDI, f"{low}{lows[1]} .L{label}")
    )


BRANCHES = "".join([
    ".option norvc\n", at("beq a0, a1, 0", "BRANCH _start"), at("jal ra, 0", "JAL _start+2"),
    at(CALL, "CALL _start"), at(CALL, "CALL_PLT _start"),
    ".option rvc\n", at("c.beqz a0, 0", "RVC_BRANCH _start"), at("c.j 0", "RVC_JUMP _start"),
    ".option norvc\n", at(".word 0", "32_PCREL _start"), at(".word 0", "PLT32 _start"),
    at(".dword 5", "ADD64 other", "SUB64 near"), at(".word 5", "ADD32 near", "SUB32 other"),
    at(".half 5", "ADD16 near", "SUB16 other"), at(".byte 5", "ADD8 near", "SUB8 other"),
    at(".byte 0x85", "SET6 near", "SUB6 other"), at(".byte 0", "SET8 near", "SUB8 other"),
    at(".half 0", "SET16 near", "SUB16 other"),
    at(".byte 0x80, 0x80, 0x00, 0", "SET_ULEB128 other", "SUB_ULEB128 near"), "    .p2align 2\n",
])  # fmt: skip
SET_32 = at(".word 0", "SET32 near", "SUB32 other")  # lld holds the first of the two to 32 signed bits
PAIRS = pair("p", "PCREL_HI20", "near") + pair("q", "PCREL_HI20", "other-0x900")
SHARED = (
    DATA
    + BRANCHES
    + PAIRS
    + "".join(
        [
            pair("g", "GOT_HI20", "far"),
            pair("ie", "TLS_GOT_HI20", "tfar"),
            pair("gd", "TLS_GD_HI20", "tfar"),
            pair("d", "TLSDESC_HI20", "tfar", "TLSDESC"),
            at("jalr t0, 0(t0)", "TLSDESC_CALL .Ld"),
            at(".word 0", "GOT32_PCREL far"),
        ]
    )
)
STATIC = (
    DATA
    + BRANCHES
    + PAIRS
    + "".join(
        [
            at(LUI, "HI20 near"),
            at(ADDI, "LO12_I near"),
            at(STORE, "LO12_S near+4"),
            at(LUI, "HI20 tiny"),
            at(LUI, "TPREL_HI20 tfar+0x7f8"),
            at("add a0, a0, tp", "TPREL_ADD tfar"),
            at(ADDI, "TPREL_LO12_I tfar+0x7f8"),
            at(STORE, "TPREL_LO12_S tnear"),
            at(".word 0", "32 tiny"),
        ]
    )
)
TARGETS = {
    page.name: Target(
        page,
        f"{page.name}-linux-gnu",
        ("riscv64-linux-gnu-ld", "-m", f"elf{page.bits}lriscv"),
        {
            Slot.ADDRESS: str(page.bits),
            Slot.TLS_DESC: "TLSDESC",
            Slot.TLS_GD: f"TLS_DTPMOD{page.bits}",
            Slot.TLS_IE: f"TLS_TPREL{page.bits}",
        },
        (".got", ".got"),
    )
    for page in PAGES.values()
}
LINKS = [
    ("riscv64", STATIC + SET_32, "-static -Ttext=0x41000000 -Tdata=0x61234560"),
    ("riscv32", STATIC + SET_32, "-static -Ttext=0x41000000 -Tdata=0x61234560"),
    ("riscv32", STATIC, "-static -Ttext=0x41000000 -Tdata=0xf1234560"),  # nearer downwards, around 0
    ("riscv64", SHARED, "-shared -Ttext=0x7f0041000000"),
    ("riscv32", SHARED, "-shared -Ttext=0x41000000"),
]


@pytest.mark.parametrize(("isa", "source", "flags"), LINKS, ids=[f"{isa} {flags}" for isa, _, flags in LINKS])
def test_lld_writes_the_same(isa: str, source: str, flags: str) -> None:
    source = source.replace("{word}", ".dword" if isa == "riscv64" else ".word")
    compared = places(TARGETS[isa], "lld", source, *flags.split())
    assert [place for place in compared if place.ours != place.theirs] == []
    assert len(compared) >= 35


def test_the_links_have_every_type() -> None:
    used = set(re.findall(r"R_RISCV_(\w+),", STATIC + SET_32 + SHARED))
    assert implemented(RISCV64) - used == {"ALIGN"}

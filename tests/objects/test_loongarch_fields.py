"""LoongArch rows: bounds, encodings clang made, the code sequences worked by hand, whole links against lld."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.fields import address_bits
from relink.arch.loongarch64 import LOONGARCH64 as PAGE
from relink.arch.spec import Reloc, Role, Slot
from tests.grouping import each
from tests.objects.rows import assert_bounds, field_of, fits, implemented, read, row_of, value_of, written

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
    (_signed(32), 1): """ABS_HI20 PCALA_HI20 GOT_PC_HI20 TLS_IE_PC_HI20 TLS_LD_PC_HI20 TLS_GD_PC_HI20
        TLS_DESC_PC_HI20""",
    (_rounded(32, 0x800), 1): """PCADD_HI20 GOT_PCADD_HI20 TLS_IE_PCADD_HI20 TLS_LD_PCADD_HI20 TLS_GD_PCADD_HI20
        TLS_DESC_PCADD_HI20 TLS_LE_HI20_R""",
    (_signed(5), 1): "SOP_POP_32_S_10_5",
    ((0, (1 << 12) - 1), 1): "SOP_POP_32_U_10_12",
    (_signed(12), 1): "SOP_POP_32_S_10_12",
    (_signed(16), 1): "SOP_POP_32_S_10_16",
    (_signed(20), 1): "SOP_POP_32_S_5_20",
    ((0, (1 << 32) - 1), 1): "SOP_POP_32_U",
    (ANY, 1): """ADD6 ADD8 ADD16 ADD24 ADD32 ADD64 SUB6 SUB8 SUB16 SUB24 SUB32 SUB64 ADD_ULEB128 SUB_ULEB128 ALIGN
        ABS_LO12 ABS64_LO20 ABS64_HI12 PCALA_LO12 PCALA64_LO20 PCALA64_HI12
        GOT_PC_LO12 GOT64_PC_LO20 GOT64_PC_HI12 GOT_HI20 GOT_LO12 GOT64_LO20 GOT64_HI12
        TLS_LE_HI20 TLS_LE_LO12 TLS_LE64_LO20 TLS_LE64_HI12 TLS_LE_LO12_R
        TLS_IE_PC_LO12 TLS_IE64_PC_LO20 TLS_IE64_PC_HI12 TLS_IE_HI20 TLS_IE_LO12 TLS_IE64_LO20 TLS_IE64_HI12
        TLS_LD_HI20 TLS_GD_HI20
        TLS_DESC_PC_LO12 TLS_DESC64_PC_LO20 TLS_DESC64_PC_HI12 TLS_DESC_HI20 TLS_DESC_LO12 TLS_DESC64_LO20
        TLS_DESC64_HI12 PCADD_LO12 GOT_PCADD_LO12 TLS_IE_PCADD_LO12 TLS_LD_PCADD_LO12 TLS_GD_PCADD_LO12
        TLS_DESC_PCADD_LO12""",
}  # fmt: skip
CASES = [(name, *bounds, step) for (bounds, step), names in BOUNDS.items() for name in names.split()]


@each(("name", "low", "high", "step"), CASES, ids=[case[0] for case in CASES])
def test_the_bounds_pass_and_one_beyond_does_not(name: str, low: int, high: int, step: int) -> None:
    assert_bounds(field_of(PAGE, name), low, high, step, bounded=(low, high) != ANY)


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
    assert written(field, raw, read(field, raw) - rounding) == raw


@given(st.integers(0, (1 << 26) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_the_low_part_of_a_call_lands_in_jirl_as_words(operands: int, value: int) -> None:
    jirl = 0b010011 << 26 | operands
    word = written(field_of(PAGE, "PCALA_LO12"), jirl, value)
    low = ((value & 0xFFF) ^ 0x800) - 0x800
    assert read(field_of(PAGE, "PCALA_LO12"), word) == low & ~3
    assert word >> 26 == 0b010011
    assert word & 0x3FF == operands & 0x3FF


#: type → (value, the instruction clang makes of an immediate of that value, its operands apart).
ENCODINGS = [
    ("B16", -0x20000, 0x5A000085, "beq $a0, $a1, -131072"),
    ("B16", 0x1FFFC, 0x59FFFC85, "beq $a0, $a1, 131068"),
    ("B21", -0x400000, 0x40000090, "beqz $a0, -4194304"),
    ("B21", 0x3FFFFC, 0x43FFFC8F, "beqz $a0, 4194300"),
    ("B21", 0x12344, 0x41234480, "beqz $a0, 0x12344"),
    ("B26", -0x8000000, 0x54000200, "bl -134217728"),
    ("B26", 0x7FFFFFC, 0x57FFFDFF, "bl 134217724"),
    ("B26", 0x1234564, 0x57456448, "bl 0x1234564"),
    ("PCREL20_S2", -0x80000 << 2, 0x19000004, "pcaddi $a0, -524288"),
    ("PCREL20_S2", 0x12345 << 2, 0x182468A4, "pcaddi $a0, 0x12345"),
    ("PCALA_LO12", -0x800, 0x02E000A4, "addi.d $a0, $a1, -2048"),
    ("PCALA_LO12", 0x123, 0x02C48CA4, "addi.d $a0, $a1, 0x123"),
    ("PCALA_LO12", 0x124, 0x4C012421, "jirl $ra, $ra, 0x124"),
    ("ABS_LO12", 0x123, 0x02C48CA4, "addi.d $a0, $a1, 0x123"),
    ("ABS_HI20", -0x80000 << 12, 0x15000004, "lu12i.w $a0, -524288"),
    ("ABS_HI20", 0x12345 << 12, 0x142468A4, "lu12i.w $a0, 0x12345"),
    ("PCALA_HI20", -0x80000 << 12, 0x1B000004, "pcalau12i $a0, -524288"),
    ("PCALA_HI20", 0x12345 << 12, 0x1A2468A4, "pcalau12i $a0, 0x12345"),
    ("ABS64_LO20", -0x80000 << 32, 0x17000004, "lu32i.d $a0, -524288"),
    ("ABS64_LO20", 0x12345 << 32, 0x162468A4, "lu32i.d $a0, 0x12345"),
    ("ABS64_HI12", -0x800 << 52, 0x032000A4, "lu52i.d $a0, $a1, -2048"),
    ("ABS64_HI12", 0x123 << 52, 0x03048CA4, "lu52i.d $a0, $a1, 0x123"),
    ("CALL36", (0x12345 << 18) + 0x124, 0x4C012421_1E2468A1, "pcaddu18i $ra, 0x12345; jirl $ra, $ra, 0x124"),
    ("CALL36", (0x12345 << 18) - 0x20000, 0x4E000021_1E2468A1, "pcaddu18i $ra, 0x12345; jirl $ra, $ra, -131072"),
    ("CALL30", (0x12345 << 12) + 0xFFC, 0x4C0FFC21_1C2468A1, "pcaddu12i $ra, 0x12345; jirl $ra, $ra, 0xffc"),
]


@each(("name", "value", "word", "text"), ENCODINGS, ids=[f"{e[0]} {e[3]}" for e in ENCODINGS])
def test_the_field_is_where_clang_puts_the_immediate(name: str, value: int, word: int, text: str) -> None:
    field = field_of(PAGE, name)
    assert fits(field, value)
    bare = written(field, word, 0)
    assert bare != word
    assert written(field, bare, value) == word
    assert read(field, word) == value


# ---------------------------------------------------------------- sequences, run by hand


def _extended(value: int, bits: int) -> int:
    sign = 1 << (bits - 1)
    return ((value & (1 << bits) - 1) ^ sign) - sign


def _stored(name: str, code: bytes, at: int, **letters: int) -> int:
    """What the row puts into an instruction whose immediate is 0, as the manual's signed immediate."""
    row: Reloc = row_of(PAGE, name)
    assert row.word is not None
    value = value_of(row, code, at, **letters)
    assert fits(row.word, value)
    return written(row.word, 0, value)


def _extreme(place: int, high: str, low: str, upper: str, top: str, **letters: int) -> int:
    """pcalau12i $t1; addi.d $t0, $zero; lu32i.d $t0; lu52i.d $t0, $t0; add.d — the address it makes."""
    code = b"".join(w.to_bytes(4, "little") for w in (0x1A00000D, 0x02C0000C, 0x1600000C, 0x0300018C, 0x0010B58C))
    pages = _extended(_stored(high, code, 0, P=place, **letters) >> 5, 20) << 12
    t1 = (place & ~0xFFF) + pages
    t0 = _extended(_stored(low, code, 4, P=place + 4, **letters) >> 10, 12)
    t0 = (t0 & 0xFFFFFFFF) | _extended(_stored(upper, code, 8, P=place + 8, **letters) >> 5, 20) << 32
    t0 = (t0 & (1 << 52) - 1) | (_stored(top, code, 12, P=place + 12, **letters) >> 10) << 52
    return (t0 + t1) & (1 << 64) - 1


ADDRESSES = st.integers(0, (1 << 64) - 1)
PLACES = st.integers(0, (1 << 62) - 4).map(lambda n: n * 4)


@given(ADDRESSES, PLACES)
def test_the_extreme_code_model_reaches_every_address_from_everywhere(symbol: int, place: int) -> None:
    names = ("PCALA_HI20", "PCALA_LO12", "PCALA64_LO20", "PCALA64_HI12")
    assert _extreme(place, *names, S=symbol, A=0) == symbol


@pytest.mark.parametrize("kind", ["GOT", "TLS_IE", "TLS_DESC"])
@given(slot=ADDRESSES, place=PLACES)
def test_so_it_does_every_slot(kind: str, slot: int, place: int) -> None:
    upper = f"{kind}64_PC"
    names = (f"{kind}_PC_HI20", f"{kind}_PC_LO12", f"{upper}_LO20", f"{upper}_HI12")
    assert _extreme(place, *names, G=slot, GOT=0, A=0) == slot


@pytest.mark.parametrize("kind", ["ABS", "TLS_LE", "GOT", "TLS_IE", "TLS_DESC"])
@given(value=ADDRESSES)
def test_absolute_parts_make_the_whole(kind: str, value: int) -> None:
    """lu12i.w; ori; lu32i.d; lu52i.d: each part stands for itself."""
    letters = {"S": value, "A": 0, "T": 0, "G": value, "GOT": 0}
    code = b"".join(w.to_bytes(4, "little") for w in (0x1400000C, 0x0380018C, 0x1600000C, 0x0300018C))
    parts = ("_HI20", 5, 12, 20), ("_LO12", 10, 0, 12), ("64_LO20", 5, 32, 20), ("64_HI12", 10, 52, 12)
    made = 0
    for name, position, low, width in parts:
        made |= ((_stored(kind + name, code, 0, **letters) >> position) & (1 << width) - 1) << low
    assert made == value


NORMAL = bytes.fromhex("0400001a 8400c002") + bytes(8)  # pcalau12i $a0; addi.d $a0, $a0


@pytest.mark.parametrize("place", [0x1_2000_0000, 0x1_2000_0FFC])
@pytest.mark.parametrize("name", ["PCALA_HI20", "TLS_GD_PC_HI20"])
def test_the_normal_code_model_reaches_two_gibibytes_less_half_a_page(name: str, place: int) -> None:
    row = row_of(PAGE, name)
    assert row.word is not None
    page = place & ~0xFFF
    for target, reached in [
        (page - (1 << 31) - 0x800, True),
        (page - (1 << 31) - 0x801, False),
        (page + (1 << 31) - 0x801, True),
        (page + (1 << 31) - 0x800, False),
    ]:
        value = value_of(row, NORMAL, 0, S=target, G=target, GOT=0, A=0, P=place)
        assert fits(row.word, value) == reached, hex(target)


def test_an_absolute_address_without_lu32i_must_be_low() -> None:
    row = row_of(PAGE, "ABS_HI20")
    assert row.word is not None
    lu12i, ori, lu32i, ret = (w.to_bytes(4, "little") for w in (0x1400000C, 0x0380018C, 0x1600000C, 0x4C000020))
    for code, symbol, reached in [
        (lu12i + ori + ret, 0x7FFF_FFFF, True),
        (lu12i + ori + ret, 0x8000_0000, False),
        (lu12i + ori + ret + lu32i, 0x7FFF_1234_5678, True),
        (lu12i + ori + lu32i, 0x7FFF_1234_5678, True),
        (lu12i + ori * 32 + lu32i, 0x7FFF_1234_5678, False),
    ]:
        assert fits(row.word, value_of(row, code, 0, S=symbol, A=0)) == reached
    assert address_bits(row.word) == 31


def test_only_lu32i_two_instructions_on_lifts_that_limit() -> None:
    row = row_of(PAGE, "PCALA_HI20")
    assert row.word is not None
    pcalau12i, addi, lu32i = (w.to_bytes(4, "little") for w in (0x1A00000D, 0x02C0000C, 0x1600000C))
    letters = {"S": 0x7FFF_1234_5678, "A": 0, "P": 0x1_2000_0000}
    for code, lifted in [(pcalau12i + addi + lu32i, True), (pcalau12i + lu32i + addi, False), (pcalau12i, False)]:
        assert fits(row.word, value_of(row, code, 0, **letters)) == lifted


@given(st.integers(-(1 << 31) - 0x800, (1 << 31) - 0x801))
def test_relaxable_local_exec_and_pcadd_pairs_add_up(value: int) -> None:
    high = _extended(_stored("TLS_LE_HI20_R", bytes(4), 0, S=value, A=0, T=0) >> 5, 20) << 12
    low = _extended(_stored("TLS_LE_LO12_R", bytes(4), 0, S=value, A=0, T=0) >> 10, 12)
    assert high + low == value
    high = _extended(_stored("PCADD_HI20", bytes(4), 0, S=value, A=0, P=0) >> 5, 20) << 12
    low = _extended(_stored("PCADD_LO12", bytes(4), 0, S=value) >> 10, 12)
    assert high + low == value


def test_a_low_part_against_a_thread_local_symbol_means_its_pair() -> None:
    """la.tls.gd's second half is %got_pc_lo12: laelf, "For tls LD/GD symbols, G is always equal to GD"."""
    rows = [row for row in PAGE.relocations.values() if row.name.startswith("GOT") and row.slot is not None]
    assert {row.tls_slot for row in rows if row.role is not Role.HIGH} == {Slot.TLS_GD}
    assert {row.slot for row in rows} == {Slot.ADDRESS}


def test_the_stub_is_what_clang_assembles() -> None:
    """pcaddu12i $t0, 0; ld.d $t0, $t0, 16; jr $t0; nop — and the address is where the load looks."""
    assert PAGE.stub is not None
    code = np.frombuffer(PAGE.stub.code[:16], "<u4").tolist()
    assert code == [0x1C00000C, 0x28C0418C, 0x4C000180, 0x03400000]
    assert (code[1] >> 10) & 0xFFF == PAGE.stub.address_at

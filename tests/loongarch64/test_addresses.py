"""Loads and stores at a register itself, without a displacement, and of words that were computed (memory.sinc)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Stop, StopReason
from tests.loongarch64.assembler import A0, A1, A2, A3, A4, A5, RA, ZERO, code, insn, jirl
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RW, RX, TRAPS, TRAPS_SIZE, pages

DATA = 0x4000_0000
_VALUE = 0xF1E2_D3C4_B5A6_9788
_RETURN = jirl(ZERO, RA)


@pytest.fixture(params=[True, False], ids=["compiled", "interpreted"])
def cpu(request: pytest.FixtureRequest) -> Iterator[IcicleCpu]:
    """A CPU with memory at DATA, whose address is in a0, and `_VALUE` there."""
    cpu = IcicleCpu()
    cpu.jit = request.param
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(DATA, PAGE, RW, pages(_VALUE.to_bytes(8, "little")))
    cpu.write_registers({"ra": TRAPS, "a0": DATA})
    yield cpu
    assert cpu.compiled == bool(cpu.jit)
    cpu.close()


def _run(cpu: IcicleCpu, *words: int) -> None:
    cpu.map(CODE, PAGE, RX, pages(code(*words, _RETURN)))
    assert cpu.run(CODE) == Stop(StopReason.TRAP, TRAPS)


def _word(cpu: IcicleCpu) -> int:
    return int.from_bytes(cpu.read(DATA, 8), "little")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ld.b", 0xFFFF_FFFF_FFFF_FF88), ("ld.h", 0xFFFF_FFFF_FFFF_9788), ("ld.w", 0xFFFF_FFFF_B5A6_9788),
        ("ld.d", _VALUE), ("ld.bu", 0x88), ("ld.hu", 0x9788), ("ld.wu", 0xB5A6_9788),
        ("ldptr.w", 0xFFFF_FFFF_B5A6_9788), ("ldptr.d", _VALUE), ("ll.w", 0xFFFF_FFFF_B5A6_9788), ("ll.d", _VALUE),
    ],
)  # fmt: skip
def test_a_load_into_the_register_of_its_address(cpu: IcicleCpu, name: str, expected: int) -> None:
    _run(cpu, insn(name, A0, A0, 0))
    assert cpu.read_register("a0") == expected


@pytest.mark.parametrize(
    ("name", "size"), [("st.b", 1), ("st.h", 2), ("st.w", 4), ("st.d", 8), ("stptr.w", 4), ("stptr.d", 8)]
)
def test_a_store_of_the_register_of_its_address(cpu: IcicleCpu, name: str, size: int) -> None:
    _run(cpu, insn(name, A0, A0, 0))
    mask = (1 << 8 * size) - 1
    assert _word(cpu) == _VALUE & ~mask | DATA & mask
    assert cpu.read_register("a0") == DATA


@pytest.mark.parametrize("size", ["w", "d"])
def test_a_conditional_store_of_the_register_of_its_address(cpu: IcicleCpu, size: str) -> None:
    _run(cpu, insn(f"ll.{size}", A1, A0, 0), insn(f"sc.{size}", A0, A0, 0))
    mask = 0xFFFF_FFFF if size == "w" else (1 << 64) - 1
    assert _word(cpu) == _VALUE & ~mask | DATA & mask
    assert cpu.read_register("a0") == 1


def _at_0(name: str) -> int:
    vectors = {"vld": 0x2C00_0000, "vst": 0x2C40_0000}
    return vectors[name] | A1 if name in vectors else insn(name, A1, ZERO, 0)


@pytest.mark.parametrize("name", ["ld.w", "ld.d", "ld.bu", "st.w", "st.d", "ll.d", "fld.d", "fst.s", "vld", "vst"])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_address_0_is_one_like_others(cpu: IcicleCpu, name: str, mapped: bool) -> None:
    cpu.map(CODE, PAGE, RX, pages(code(insn("addi.d", A3, A3, 1), _at_0(name), _RETURN)))
    if mapped:
        cpu.map(0, PAGE, RW, pages(_VALUE.to_bytes(8, "little")))
        assert cpu.run(CODE) == Stop(StopReason.TRAP, TRAPS)
    else:
        write = name in ("st.w", "st.d", "fst.s", "vst")
        reason = StopReason.WRITE_UNMAPPED if write else StopReason.READ_UNMAPPED
        assert cpu.run(CODE) == Stop(reason, CODE + 4, 0)
    assert cpu.read_register("a3") == 1


def test_stored_words_are_those_of_what_was_computed(cpu: IcicleCpu) -> None:
    """Sums and differences with carries above the low word, stored and used further."""
    values = {"a1": 0xFFFF_FFFF, "a2": 0x8000_0001_8000_0003, "a3": 0x7FFF_FFFF_FFFF_FFFF, "a4": 4, "a5": 0}
    cpu.write_registers(values)
    _run(
        cpu,
        insn("add.d", A1, A1, A2), insn("st.w", A1, A0, 0),
        insn("sub.d", A2, A1, A3), insn("stx.w", A2, A0, A4),
        insn("xor", A3, A2, A1), insn("stptr.w", A3, A0, 2),
        insn("srai.d", A5, A3, 3), insn("st.w", A5, A0, 12),
        insn("st.w", ZERO, A0, 16),
        insn("rotri.w", A4, A5, 5), insn("st.w", A4, A0, 20),
    )  # fmt: skip
    mask, word = (1 << 64) - 1, 0xFFFF_FFFF
    first = values["a1"] + values["a2"] & mask
    second = first - values["a3"] & mask
    third = second ^ first
    fourth = (third - (third >> 63 << 64) >> 3) & mask
    low = fourth & word
    rotated = (low >> 5 | low << 27) & word
    assert cpu.read(DATA, 24) == b"".join(
        (each & word).to_bytes(4, "little") for each in (first, second, third, fourth, 0, rotated)
    )
    assert cpu.read_registers(["a1", "a2", "a3", "a5"]) == [first, second, third, fourth]
    assert cpu.read_register("a4") == rotated - (rotated >> 31 << 32) & mask


def test_a_store_that_faults_is_made_with_the_same_word_later(cpu: IcicleCpu) -> None:
    page = DATA + PAGE
    cpu.write_registers({"a1": page, "a2": 0x1_0000_0007, "a3": 0xFFFF_FFFF})
    words = (insn("add.d", A2, A2, A3), insn("st.w", A2, A1, 0), insn("addi.d", A2, A2, 1), _RETURN)
    cpu.map(CODE, PAGE, RX, pages(code(*words)))
    assert cpu.run(CODE) == Stop(StopReason.WRITE_UNMAPPED, CODE + 4, page)
    cpu.map(page, PAGE, RW, pages(b""))
    assert cpu.run(CODE + 4) == Stop(StopReason.TRAP, TRAPS)
    assert cpu.read(page, 8) == bytes((6, 0, 0, 0, 0, 0, 0, 0))
    assert cpu.read_register("a2") == 0x2_0000_0007

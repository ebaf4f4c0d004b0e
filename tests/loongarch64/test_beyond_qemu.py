"""Instructions that qemu-loongarch64 7.2 lacks or answers by nature differently, against the manual's text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.loongarch64.hostops import COUNTER_FREQUENCY
from emu.cpu.protocol import Protection, Stop, StopReason
from tests.grouping import each
from tests.loongarch64.assembler import A0, A1, T0, T1, ZERO, code, insn, movfcsr2gr, movgr2fcsr
from tests.loongarch64.opcodes import FLOATING
from tests.loongarch64.operands import pattern

CODE, DATA, TRAPS = 0x10000, 0x40000, 0x7FFF_0000_0000
OLD = 0x8899AABBCCDDEEFF


@pytest.fixture
def cpu() -> Iterator[IcicleCpu]:
    cpu = IcicleCpu("loongarch64")
    cpu.set_trap_range(TRAPS, 0x1000)
    for address, protection in ((CODE, Protection.R | Protection.X), (DATA, Protection.R | Protection.W)):
        cpu.map(address, 0x1000, protection, np.zeros(0x1000, np.uint8))
    cpu.write(DATA, OLD.to_bytes(8, "little"))
    cpu.write_registers({"ra": TRAPS, "t0": DATA})
    yield cpu
    cpu.close()


def execute(cpu: IcicleCpu, *words: int) -> Stop:
    cpu.write(CODE, code(*words, 0x4C000020))
    return cpu.run(CODE)


def three(word: int, d: int, j: int, k: int = 0) -> int:
    return word | k << 10 | j << 5 | d


def sign_extended(value: int, size: int) -> int:
    bits = 8 * size
    value &= (1 << bits) - 1
    return (value - (1 << bits) if value >> bits - 1 else value) & (1 << 64) - 1


ATOMICS = [
    (name, word + db, size, function)
    for name, word, size, function in (
        ("amswap.b", 0x385C0000, 1, lambda old, k: k), ("amswap.h", 0x385C8000, 2, lambda old, k: k),
        ("amadd.b", 0x385D0000, 1, lambda old, k: old + k), ("amadd.h", 0x385D8000, 2, lambda old, k: old + k),
    )
    for db in (0, 0x20000)
]  # fmt: skip


@pytest.mark.parametrize(("name", "word", "size", "function"), ATOMICS, ids=[f"{a[0]}-{a[1]:x}" for a in ATOMICS])
def test_byte_and_half_atomics_change_their_bytes_alone(cpu, name, word, size, function) -> None:  # type: ignore[no-untyped-def]
    cpu.write_register("a1", 0x1234)
    assert execute(cpu, three(word, A0, T0, A1)).reason is StopReason.TRAP
    mask = (1 << 8 * size) - 1
    assert cpu.read_register("a0") == sign_extended(OLD, size)
    assert int.from_bytes(cpu.read(DATA, 8), "little") == OLD & ~mask | function(OLD, 0x1234) & mask


@pytest.mark.parametrize("db", [0, 0x20000])
@pytest.mark.parametrize(("number", "size"), [(0, 1), (1, 2), (2, 4), (3, 8)])
@pytest.mark.parametrize("equal", [True, False])
def test_compare_and_swap_stores_only_over_the_expected_value(
    cpu: IcicleCpu, db: int, number: int, size: int, equal: bool
) -> None:
    expected = OLD if equal else OLD ^ 1
    cpu.write_registers({"a0": expected, "a1": 0x0102030405060708})
    assert execute(cpu, three(0x38580000 + number * 0x8000 + db, A0, T0, A1)).reason is StopReason.TRAP
    mask = (1 << 8 * size) - 1
    after = OLD & ~mask | 0x0102030405060708 & mask if equal else OLD
    assert cpu.read_register("a0") == sign_extended(OLD, size)
    assert int.from_bytes(cpu.read(DATA, 8), "little") == after


@pytest.mark.parametrize(("llacq", "screl", "size"), [(0x38578000, 0x38578400, 4), (0x38578800, 0x38578C00, 8)])
def test_llacq_and_screl_pair_like_ll_and_sc(cpu: IcicleCpu, llacq: int, screl: int, size: int) -> None:
    cpu.write_register("a1", 5)
    execute(cpu, three(llacq, A0, T0), three(screl, A1, T0))
    assert cpu.read_registers(["a0", "a1"]) == [sign_extended(OLD, size), 1]
    assert int.from_bytes(cpu.read(DATA, size), "little") == 5
    execute(cpu, three(screl, A1, T0))
    assert cpu.read_register("a1") == 0


def test_a_store_conditional_fails_elsewhere_or_after_a_change(cpu: IcicleCpu) -> None:
    cpu.write_register("a1", 5)
    execute(cpu, insn("ll.d", A0, T0, 0), insn("sc.d", A1, T0, 2))
    assert cpu.read_register("a1") == 0
    execute(cpu, insn("ll.d", A0, T0, 0), insn("st.d", T0, T0, 0), insn("sc.d", A0, T0, 0))
    assert cpu.read_register("a0") == 0
    assert int.from_bytes(cpu.read(DATA, 8), "little") == DATA


@each(
    ("word", "load", "bound", "holds"),
    [
        (word + number * 0x8000, load, bound, bound <= DATA if above else bound >= DATA)
        for word, load, above in (
            (0x38780000, True, 1),
            (0x387A0000, True, 0),
            (0x387C0000, False, 1),
            (0x387E0000, False, 0),
        )
        for number in range(4)
        for bound in (DATA - 1, DATA + 1)
    ],
)
def test_bound_checked_accesses_happen_only_within_the_bound(
    cpu: IcicleCpu, word: int, load: bool, bound: int, holds: bool
) -> None:
    size = 1 << (word >> 15 & 3)
    cpu.write(DATA, OLD.to_bytes(8, "little"))
    cpu.write_registers({"a0": 0x1122334455667788, "t1": bound})
    stop = execute(cpu, three(word, A0, T0, T1))
    assert stop == (Stop(StopReason.TRAP, TRAPS) if holds else Stop(StopReason.EXCEPTION, CODE))
    mask = (1 << 8 * size) - 1
    stored = OLD & ~mask | 0x1122334455667788 & mask if holds and not load else OLD
    assert int.from_bytes(cpu.read(DATA, 8), "little") == stored
    assert cpu.read_register("a0") == (sign_extended(OLD, size) if holds and load else 0x1122334455667788)


def test_assertions_that_hold_do_nothing(cpu: IcicleCpu) -> None:
    cpu.write_registers({"a0": 1, "a1": 2})
    words = three(0x00010000, 0, A0, A1), three(0x00010000, 0, A0, A0), three(0x00018000, 0, A1, A0)
    assert execute(cpu, *words).reason is StopReason.TRAP


def test_the_counter_counts_time_and_has_number_0(cpu: IcicleCpu) -> None:
    cpu.write_register("a1", 99)
    execute(cpu, 0x00006800 | A1 << 5 | A0, 0x00006000 | ZERO << 5 | T0, 0x00006400 | ZERO << 5 | T1)
    counter, number, low, high = cpu.read_registers(["a0", "a1", "t0", "t1"])
    assert number == 0
    assert abs((high & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF) - counter < 10 * COUNTER_FREQUENCY


def test_cpucfg_promises_what_there_is(cpu: IcicleCpu) -> None:
    cpu.write_registers({"a0": 2, "a1": 1000})
    execute(cpu, 0x00006C00 | A0 << 5 | A0, 0x00006C00 | A1 << 5 | A1)
    features, unknown = cpu.read_registers(["a0", "a1"])
    assert features & 0b111 == 0b111
    assert features >> 7 & 1 == 0  # LASX
    assert unknown == 0


def test_an_enabled_exception_stops_with_the_destination_as_it_was(cpu: IcicleCpu) -> None:
    cpu.write_registers({"f0": 7, "f1": pattern(1.0, "d"), "f2": 0, "fcsr": 8})
    assert execute(cpu, insn("fdiv.d", 0, 1, 2)) == Stop(StopReason.ARITHMETIC, CODE)
    assert cpu.read_registers(["f0", "fcsr"]) == [7, 8 << 24 | 8]
    # not enabled, it only leaves its mark
    cpu.write_register("fcsr", 1)
    assert execute(cpu, insn("fdiv.d", 0, 1, 2)).reason is StopReason.TRAP
    assert cpu.read_registers(["f0", "fcsr"]) == [pattern(float("inf"), "d"), 8 << 24 | 8 << 16 | 1]


def test_cause_tells_of_the_last_operation_and_flags_of_all(cpu: IcicleCpu) -> None:
    cpu.write_registers({"f1": pattern(1.0, "d"), "f3": pattern(3.0, "d"), "fcsr": 0})
    execute(cpu, insn("fdiv.d", 0, 1, 3), movfcsr2gr(A0, 2), insn("fadd.d", 0, 1, 3), movfcsr2gr(A1, 2))
    assert cpu.read_registers(["a0", "a1"]) == [1 << 24 | 1 << 16, 1 << 16]
    # a rounding mode set later does not change what the earlier operation raised
    execute(cpu, insn("fdiv.d", 0, 1, 3), movgr2fcsr(T0, 3), movfcsr2gr(A0, 2))
    assert cpu.read_register("a0") == 1 << 24 | 1 << 16


def test_ordinary_floating_point_never_needs_the_host(cpu: IcicleCpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests cannot see it, since the host would give the same results, a hundred times slower."""
    monkeypatch.setattr(cpu.engine.host, "execute", lambda pc: StopReason.EXCEPTION)
    hosts = ("fscaleb", "flogb", "mov")
    for fcsr in (0, 1 << 16):  # nothing inexact so far; something
        for opcode in (opcode for opcode in FLOATING if not opcode.name.startswith(hosts)):
            if not fcsr and opcode.name.startswith(("fsqrt", "frecip", "frsqrt")):
                continue  # whether these are exact only the host can tell
            kind = opcode.source if opcode.source != "i" else "d"
            operands = {"f1": 6.0, "f2": 3.0, "f3": 2.0}
            cpu.write_registers({name: pattern(value, kind) for name, value in operands.items()})
            if opcode.name.startswith("ffint"):
                cpu.write_register("f1", 7)
            cpu.write_register("fcsr", fcsr)
            word = opcode.word | 1 << 5
            word |= (2 << 10 if "K" in opcode.operands else 0) | (3 << 15 if "A" in opcode.operands else 0)
            assert execute(cpu, word).reason is StopReason.TRAP, opcode.name


@pytest.mark.parametrize(
    "word", [0x011A1400, 0x011A0C00, 0x01140000, 0x0114C004, 0x0C10000A | 9 << 16, 0x38580000 - 4]
)
def test_words_between_the_opcodes_are_invalid(cpu: IcicleCpu, word: int) -> None:
    assert execute(cpu, word) == Stop(StopReason.INVALID_INSTRUCTION, CODE)

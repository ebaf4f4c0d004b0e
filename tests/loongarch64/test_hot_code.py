"""When LoongArch64 code is compiled."""

from __future__ import annotations

import random

import pytest

from emu.cpu.icicle import hot_code
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.icicle.hot_code import INTERVAL, HotCode
from emu.cpu.protocol import Stop, StopReason
from tests.loongarch64.assembler import A0, code, insn, syscall
from tests.loongarch64.test_compiled import DATA, RETURN, same, walking
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RX, TRAPS, TRAPS_SIZE, pages


def samples(places: list[int], each: float = 33e-9, start: float = 0.7e-3) -> int | None:
    """After how many samples at these places code is compiled; None: it is not."""
    hot = HotCode(None)
    for count, place in enumerate(places):
        hot.interpreted(INTERVAL, INTERVAL * each)
        assert hot.left == 0
        if hot.sampled(place, start):
            return count + 1
    return None


def test_a_loop_is_compiled_as_soon_as_that_could_have_been_done_meanwhile() -> None:
    loop = [0x1000 + 4 * (number % 7) for number in range(100)]
    assert samples(loop) == 4
    assert samples(loop, start=13e-3) in range(24, 33)
    assert samples(loop, each=150e-9, start=13e-3) in range(5, 9)


def test_code_that_runs_once_is_never_compiled_and_much_code_later_than_little() -> None:
    rng = random.Random(3)
    assert samples([64 * number for number in range(3000)]) is None
    assert samples([64 * rng.randrange(1 << 20) for _ in range(3000)]) is None
    little, much = ([64 * rng.randrange(lines) for _ in range(5000)] for lines in (20, 2000))
    assert 2 <= (samples(little) or 0) <= 64
    assert 2000 <= (samples(much) or 0) <= 4096
    assert samples([64 * number for number in range(1000)] + [64] * 64) in range(1002, 1010)


def test_compilation_that_loses_is_given_up_and_begun_later() -> None:
    hot = HotCode(None)
    loop = [0x1000] * 3000
    for _ in range(3):
        hot.interpreted(INTERVAL, INTERVAL * 33e-9)
    hot.begin_compiled(0.0)
    hot.ran(1000, 5e-3)
    assert hot.is_worth_it()
    hot.ran(1000, 60e-3)
    assert not hot.is_worth_it()
    hot.give_up()
    hot.begin()
    assert next(count for count, place in enumerate(loop, 1) if hot.sampled(place, 0.0)) >= 2
    for _ in range(9):
        hot.give_up()
    hot.begin()
    assert next((count for count, place in enumerate(loop, 1) if hot.sampled(place, 0.7e-3)), None) is None


def test_more_code_than_an_engine_may_hold_is_compiled_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Engines never free code."""
    monkeypatch.setattr(hot_code, "MOST_COMPILATION", 0.0)
    cpu, other = walking(True, stride=0), walking(False, stride=0)
    first = None
    for _ in range(4):
        for each in (cpu, other):
            each.run(each.read_register("pc") or CODE, max_instructions=hot_code.COMPILED_INTERVAL)
        same(cpu, other)
        first = first or cpu._engine
    assert cpu.compiled
    assert cpu._engine is not first
    cpu.close()
    other.close()


def test_a_guest_is_interpreted_first_and_compiled_when_hot() -> None:
    cpu, other = walking(None, stride=0), walking(False, stride=0)
    for each in (cpu, other):
        assert each.run(CODE, max_instructions=INTERVAL - 1).reason is StopReason.INSTRUCTION_LIMIT
    assert not cpu.compiled
    for each in (cpu, other):
        pc = each.read_register("pc")
        assert each.run(pc, max_instructions=1 << 21).reason is StopReason.INSTRUCTION_LIMIT
    assert [cpu.compiled, other.compiled] == [True, False]
    same(cpu, other)
    assert cpu.read_register("pc") == other.read_register("pc")
    for each in (cpu, other):
        each.close()


def test_short_runs_are_counted_together() -> None:
    """Calls of a few instructions, as a machine makes, are compiled after as many of them."""
    cpu = walking(None)
    runs = 0
    while not cpu.compiled and runs < 1 << 14:
        cpu.write_registers({"t0": DATA, "t1": 50})
        assert cpu.run(CODE).reason is StopReason.TRAP
        runs += 1
    assert runs * 50 * 12 < 64 * INTERVAL
    cpu.close()


def test_a_system_call_in_compiled_code_goes_on() -> None:
    cpu = IcicleCpu()
    cpu.jit = True
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(CODE, PAGE, RX, pages(code(insn("addi.d", A0, A0, 1), syscall(), insn("addi.d", A0, A0, 2), RETURN)))
    cpu.write_register("ra", TRAPS)
    assert cpu.run(CODE) == Stop(StopReason.SYSCALL, CODE + 4)
    assert cpu.run(CODE + 8).reason is StopReason.TRAP
    assert cpu.read_register("a0") == 3
    assert cpu.executed == 2
    cpu.close()

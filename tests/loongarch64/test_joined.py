"""Compiled code that is compiled once more, as a whole. (What it does: test_compiled_branches.)"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest

from emu import Machine
from emu.cpu.icicle import engine as engines
from emu.cpu.icicle import hot_code, joined
from emu.cpu.icicle.compiled import CompiledEngine
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.icicle.hot_code import INTERVAL, HotCode
from tests.cpu.host_hooks import HOSTS, mapped_hooks
from tests.loongarch64.test_compiled import same, walking
from tests.loongarch64.test_engine_changes import Interruption
from tests.loongarch64.test_icicle_cpu import CODE

_LATER = 1 << 61  #: seconds: later than any clock is


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Which clocks icicle has asked for the time while it was to join code."""
    real, calls, seconds = joined.clock(engines._words().library), list[int](), itertools.count(_LATER, 100)
    if real is None:
        pytest.skip("icicle's clock cannot be replaced here")

    def noting(which: int, time: ctypes._Pointer[ctypes.c_long]) -> int:
        calls.append(which)
        time[0], time[1] = next(seconds), 0
        return 0

    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_long))(noting)

    clock = joined.Clock(real.slot, real.usual, ctypes.cast(function, ctypes.c_void_p).value or 0)
    monkeypatch.setattr(joined, "clock", lambda library: clock)
    monkeypatch.setattr(engines._idle, "engines", {False: [], True: []}, raising=False)
    yield calls
    assert real.slot.value == real.usual


def _compiled(cpu: IcicleCpu) -> CompiledEngine:
    assert isinstance(cpu.engine, CompiledEngine)
    return cpu.engine


def test_code_is_joined_when_that_is_asked_for_and_only_then(asked: list[int]) -> None:
    cpu, other = walking(True, stride=0), walking(False, stride=0)
    for each in (cpu, other):
        each.run(CODE, max_instructions=5000)
    asked.clear()
    engine = _compiled(cpu)
    engine.join()
    assert len(asked) == 3, "whether it is time, when it begins and when it ends"
    engine.join()
    assert len(asked) == 3, "there is nothing new"
    for each in (cpu, other):
        each.run(each.read_register("pc"), max_instructions=5000)
    assert len(asked) == 3
    same(cpu, other, memory=True)
    assert not engine.reusable, "icicle would not join the code of the next CPU"
    for each in (cpu, other):
        each.close()


@pytest.mark.parametrize("host", HOSTS)
def test_minutes_pass_on_the_fast_clock_from_one_look_to_the_next(host: str) -> None:
    with Machine(host) as machine:
        look, time = mapped_hooks(machine, host)["clock.fast"], machine.heap.malloc(16)
        seconds = []
        for _ in range(3):
            machine.memory.write(time, b"\xff" * 16)
            assert machine.call(look, "int(int, void *)", 1, time) == 0
            content = machine.memory.read(time, 16)
            assert content[8:] == bytes(8), "nanoseconds"
            seconds.append(int.from_bytes(content[:8], "little", signed=True))
    assert seconds[0] >= 0
    assert all(later - earlier > 60 for earlier, later in itertools.pairwise(seconds))


def test_the_clock_is_the_usual_one_again_whatever_happens() -> None:
    clock = joined.clock(engines._words().library)
    if clock is None:
        pytest.skip("icicle's clock cannot be replaced here")

    def interrupted() -> None:
        assert clock.slot.value == clock.fast != clock.usual
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clock.fast_during(interrupted)
    assert clock.slot.value == clock.usual


def test_without_the_clock_code_stays_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "clock", lambda library: None)
    monkeypatch.setattr(engines._idle, "engines", {False: [], True: []}, raising=False)
    cpu, other = walking(True, stride=0), walking(False, stride=0)
    for each in (cpu, other):
        each.run(CODE, max_instructions=5000)
    _compiled(cpu).join()
    assert _compiled(cpu).reusable
    for each in (cpu, other):
        each.run(each.read_register("pc"), max_instructions=5000)
    same(cpu, other)
    for each in (cpu, other):
        each.close()


def test_a_signal_handler_may_raise_while_code_is_joined(asked: list[int]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    other = walking(False, stride=0)
    other.run(CODE, max_instructions=6000)
    for first in range(1, 10):
        cpu = walking(True, stride=0)
        cpu.run(CODE, max_instructions=5000)
        with suppress(KeyboardInterrupt), Interruption(first, interrupt):
            _compiled(cpu).join()
        cpu.run(cpu.read_register("pc"), max_instructions=1000)
        same(cpu, other)
        cpu.close()
    other.close()


# ---------------------------------------------------------------- when


def _hot(parts: float) -> HotCode:
    hot = HotCode(None)
    hot.interpreted(INTERVAL, INTERVAL * 33e-9)
    hot.begin_compiled(5.0)  # which the engine has compiled for another CPU
    hot.ran(0, parts)
    return hot


def test_code_is_joined_when_it_has_run_for_longer_than_that_takes() -> None:
    for parts, least in ((1e-3, 20e-3), (0.1, 60e-3), (1.0, 0.6)):
        hot = _hot(parts)
        hot.ran(1 << 50, 0.9 * least)
        assert not hot.is_to_be_joined
        hot.ran(1 << 50, 0.2 * least)
        assert hot.is_to_be_joined


def test_it_is_joined_again_when_much_of_it_is_new() -> None:
    hot = _hot(0.1)
    hot.ran(1 << 50, 9.0)
    hot.joined(0.03)
    hot.ran(1 << 50, 9.0)
    assert not hot.is_to_be_joined
    hot.ran(0, 0.02)
    assert not hot.is_to_be_joined
    hot.ran(0, 0.02)
    assert hot.is_to_be_joined


def test_more_code_than_can_be_joined_soon_stays_in_parts() -> None:
    hot = _hot(10.0)
    hot.ran(1 << 50, 100.0)
    assert not hot.is_to_be_joined


def test_a_guest_that_runs_on_is_joined(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_code, "_LEAST_TO_JOIN", 0.0)
    monkeypatch.setattr(hot_code, "_JOIN_COST", 0.0)
    cpu = walking(True, stride=0)
    cpu.run(CODE, max_instructions=4 * hot_code.COMPILED_INTERVAL)
    assert len(asked) >= 3
    cpu.close()

"""Compiled LoongArch64 code and limits of time, signals and threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from emu.cpu.protocol import Stop, StopReason
from relink.errors import MachineInUse
from tests.alarms import alarms, interrupt
from tests.loongarch64.test_compiled import DATA, SIZE, WALK, walking
from tests.loongarch64.test_icicle_cpu import CODE, PAGE


def test_compiled_code_keeps_time_limits_and_handles_signals() -> None:
    cpu = walking(True, rounds=1 << 62, stride=0)
    started = time.monotonic()
    assert cpu.run(CODE, timeout=0.1).reason is StopReason.TIMEOUT
    assert time.monotonic() - started >= 0.1

    with alarms(interrupt, 0.05), pytest.raises(KeyboardInterrupt):
        cpu.run(cpu.read_register("pc"))
    assert cpu.compiled
    cpu.write_register("t1", 1)
    assert cpu.run(cpu.read_register("pc")).reason is StopReason.TRAP
    cpu.close()


class Interruption:
    """A signal handler that runs before line `when` of the engine's files and every 97th after, 40 times."""

    def __init__(self, when: int, handler: Callable[[], object]) -> None:
        self._when, self._handler, self.runs = when, handler, 0
        self._kept = self._trace  # as in `tests.interrupts.interrupted`

    def __enter__(self) -> Interruption:
        sys.settrace(self._kept)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if "/emu/cpu/icicle/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self._when -= 1
            if self._when <= 0 and self.runs < 40:
                self._when += 97
                self.runs += 1
                sys.settrace(None)
                self._handler()
                sys.settrace(self._kept)
        return self._kept


@pytest.mark.parametrize("first", range(0, 90, 5))
def test_a_signal_handler_may_use_memory_while_engines_change(first: int) -> None:
    """Data that the guest changes, data that it does not, and code; compilation begins, and is given up."""
    place, changed = CODE + len(WALK), DATA + SIZE - PAGE
    states, written = [], list[int]()

    def handle() -> None:
        number = len(written) + 1
        for address in (place, changed + 8 * number):
            cpu.write(address, number.to_bytes(8, "little"))
            assert cpu.read(address, 8) == number.to_bytes(8, "little")
        assert CODE <= cpu.read_register("pc") < CODE + PAGE
        written.append(number)

    for jit in (True, False):
        cpu = walking(jit, stride=64)
        if jit:
            cpu.settle([])
            cpu.write_register("pc", CODE)
            with Interruption(first, handle) as interruption:
                cpu.run(CODE, max_instructions=2000)
                cpu.interpret()
                cpu.run(cpu.read_register("pc"), max_instructions=2000)
            assert interruption.runs > 3
        else:
            for _ in range(2):
                cpu.run(cpu.read_register("pc") or CODE, max_instructions=2000)
        assert cpu.read(place, 8) == (len(written).to_bytes(8, "little") if jit else bytes(8))
        memory = bytearray(cpu.read(DATA, SIZE))
        for number in written if jit else ():
            at = changed + 8 * number - DATA
            assert memory[at : at + 8] == number.to_bytes(8, "little")
            memory[at : at + 8] = bytes(range(256))[at % 256 :][:8]
        states.append((cpu.save(), memory))
        cpu.close()
    assert states[0] == states[1]


@pytest.mark.parametrize("first", range(1, 400, 23))
def test_a_signal_handler_may_end_a_run_while_engines_change(first: int) -> None:
    states = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    for jit in (True, False):
        cpu = walking(jit, stride=64)
        start = cpu.save()
        if jit:
            with pytest.raises(KeyboardInterrupt), Interruption(first, interrupt):
                cpu.run(CODE, max_instructions=2000)
            cpu.restore(start)
            cpu.write(DATA, bytes(range(256)) * (SIZE >> 8))
        cpu.run(CODE, max_instructions=2000)
        assert cpu.compiled == jit
        states.append((cpu.save(), cpu.read(DATA, SIZE), cpu.read(CODE, PAGE)))
        cpu.close()
    assert states[0] == states[1]


def test_engines_are_used_again_by_their_own_thread_as_new_ones() -> None:
    def use(out: list[object]) -> None:
        first = walking(True)
        first.events.add_breakpoint(CODE + 4)
        first.events.remove_breakpoint(CODE + 4)
        first.run(CODE, max_instructions=1000)
        engines = {id(first._engine.raw), id(first._engine.source.raw)}  # type: ignore[attr-defined]
        first.close()
        second = walking(None)
        out += [id(second._engine.raw) in engines, second.read_registers(["a0", "a1", "s0"])]
        second.jit = True
        second.unmap(DATA, SIZE)
        out.append(second.run(CODE))
        out.append(id(second._engine.raw) in engines)
        second.close()

    for _ in range(2):
        seen: list[object] = []
        thread = threading.Thread(target=use, args=(seen,))
        thread.start()
        thread.join()
        assert seen == [True, [0, 0, 0], Stop(StopReason.READ_UNMAPPED, CODE + 4, DATA), True]


def test_another_thread_may_close_but_not_use_a_cpu() -> None:
    cpu = walking(True)
    cpu.run(CODE, max_instructions=10)
    refused: list[BaseException] = []

    def use() -> None:
        try:
            cpu.run(CODE)
        except MachineInUse as error:
            refused.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(refused) == 1
    cpu.close()

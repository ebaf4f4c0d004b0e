"""Signal handlers that raise anywhere in a run of firmware: it goes on as if there were none, or is refused."""

from __future__ import annotations

import random
import sys
from itertools import count
from typing import Any

import pytest

from emu.boards import Board, Device, Ended
from emu.boards.errors import PlaceLost
from emu.cpu.unicorn import devices
from tests.alarms import interrupt
from tests.boards.guests import CODE, HERE, NOP, ROM, board, halfwords
from tests.boards.programs import ARM_PROGRAMS, PROGRAMS, VIRT_PROGRAMS
from tests.boards.test_snapshots import booted
from tests.interrupts import interrupted

NAMES = ("scheduler-m0", "scheduler-m4", "switching-rv32imac", "el1-a53")
CHOSEN = [program for program in (*PROGRAMS, *VIRT_PROGRAMS, *ARM_PROGRAMS) if program.name in NAMES]
#: Where the parts begin that are interrupted, and how many instructions they have.
_FROM, _INSTRUCTIONS = 1_000, 2_000


def _state(made: Board, output: str) -> dict[str, object]:
    cpu: Any = made.machine.cpu
    memory = [cpu.read(region.start, region.size) for region in made.regions]
    events = [when for when, _, event in made.clock.events if event.is_pending]
    registers = cpu.read_registers(list(cpu._isa.names))
    return {
        "output": output,
        "time": made.clock.time,
        "events": events,
        "registers": registers,
        "memory": memory,
    }


@pytest.mark.sample(2)
@pytest.mark.parametrize("program", CHOSEN, ids=[program.name for program in CHOSEN])
def test_firmware_goes_on_as_if_not_interrupted_or_not_at_all(program: Any) -> None:
    board, output = booted(program)
    board.run(max_instructions=_FROM)
    end = board.clock.time + _INSTRUCTIONS
    board.clock.at(end, board.stop)
    before, hook = board.machine.snapshot(), sys.unraisablehook

    def run() -> None:
        while board.run(max_instructions=1_000_000) is Ended.LIMIT:
            pass

    def is_due() -> bool:
        return any(when <= end and event.is_pending for when, _, event in board.clock.events)

    run()
    expected = _state(board, output())
    board.machine.restore(before)
    points = interrupted(run, 0, starts=True)
    exact = lost = 0
    for number in sorted(random.Random(program.name).choices(range(1, points + 1), k=40)):
        board.machine.restore(before)
        interrupted(run, number, starts=True)
        assert sys.unraisablehook == hook
        if board._execution.torn:
            with pytest.raises(PlaceLost, match="reset it"):
                run()
            lost += 1
            continue
        if is_due():
            run()
        assert _state(board, output()) == expected, number
        exact += 1
    assert exact
    assert lost
    board.reset()
    run()


def test_a_signal_while_guest_code_runs_leaves_the_firmware_where_it_is() -> None:
    """The interpreter calls the handler when the engine has returned, whatever has ended its run."""
    made = board([0x3001, 0x3101, 0x3201, 0x3301, 0xE7FA], {0x4000_0000: _Raising()})  # four adds, b
    cpu: Any = made.machine.cpu
    made.run(max_instructions=10)
    made.run(max_instructions=10)
    for instructions in (1, 2, 7, 300):
        time = made.clock.time
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(devices, "_call_signal_handlers", interrupt)
            with pytest.raises(KeyboardInterrupt):
                made.run(max_instructions=instructions)
        assert time <= made.clock.time <= time + instructions
        assert made.run(max_instructions=1) is Ended.LIMIT
        done = [(made.clock.time + more) // 5 for more in (4, 3, 2, 1)]
        assert cpu.read_registers(["r0", "r1", "r2", "r3"]) == done


def test_a_call_that_is_interrupted_leaves_the_firmware_its_registers() -> None:
    made = board([NOP, HERE, *[NOP] * 30, 0x3001, 0x4770])  # adds r0, #1; bx lr
    made.run(max_instructions=10)
    cpu: Any = made.machine.cpu
    before, stack = cpu.read_registers(["r0", "sp", "lr", "pc", "xpsr"]), made.machine.parts.stack.top
    assert made.call(CODE + 0x41, "int(int)", 21) == 22
    calls = 0
    for number in count(1, 11):
        passed = interrupted(lambda: made.call(CODE + 0x41, "int(int)", 21), number, starts=True)
        if made._execution.torn:  # as the call looked for interrupts
            with pytest.raises(PlaceLost):
                made.run(max_instructions=2)
            made.reset()
            made.run(max_instructions=8)
        made.run(max_instructions=2)
        assert cpu.read_registers(["r0", "sp", "lr", "pc", "xpsr"]) == before, number
        assert made.machine.parts.stack.top == stack
        calls += not made._execution.torn
        if passed < number:
            break
    assert calls > 5


def test_a_reset_that_is_interrupted_is_no_reset() -> None:
    made = board([NOP, HERE])
    made.run(max_instructions=10)
    for number in count(1):
        passed = interrupted(made.reset, number, starts=True)
        if made._execution.torn:
            with pytest.raises(PlaceLost):
                made.run(max_instructions=1)
        else:
            made.run(max_instructions=1)
        if passed < number:
            break
    assert number > 10
    assert made.pc & ~1 == CODE + 2


class _Raising(Device):
    """Raises at every other access."""

    def __init__(self) -> None:
        super().__init__()
        self.accesses = 0

    def read(self, offset: int, size: int) -> int:
        self.accesses += 1
        if self.accesses % 2:
            raise KeyboardInterrupt
        return 5


def test_a_device_that_raises_does_not_lose_the_place() -> None:
    device = _Raising()
    code = [0x2001, 0x0780, 0x6802, 0x6802, 0x3201, HERE]  # r0 = 0x40000000; ldr r2, [r0] twice; adds r2, #1
    made = board(code, {0x4000_0000: device})
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            made.run(max_instructions=20)
    made.run(max_instructions=20)
    assert made.machine.cpu.read_register("r2") == 6
    assert device.accesses == 4


def test_a_device_that_raises_in_an_it_block_leaves_its_conditions() -> None:
    device = _Raising()
    # r0 = 0x40000000; cmp r0, #1; itte ne; ldrne r2, [r0]; addne r3, #1; addeq r4, #1
    made = board([0x2001, 0x0780, 0x2801, 0xBF1A, 0x6802, 0x3301, 0x3401, HERE], {0x4000_0000: device})
    with pytest.raises(KeyboardInterrupt):
        made.run(max_instructions=20)
    made.run(max_instructions=20)
    assert made.machine.cpu.read_registers(["r2", "r3", "r4"]) == [5, 1, 0]


def test_a_firmware_whose_loading_is_interrupted_is_not_the_firmware() -> None:
    made = board([NOP, HERE])
    for number in count(1):
        before = made.firmware, made._symbols, made.profile.free_ram
        passed = interrupted(lambda: made.load(halfwords([NOP] * 4), at=ROM + 0x100), number, starts=True)
        after = made.firmware, made._symbols, made.profile.free_ram
        kept = [one is other for one, other in zip(before, after, strict=True)]
        assert kept[0] == kept[1]
        if passed < number:
            break
    assert number > 10

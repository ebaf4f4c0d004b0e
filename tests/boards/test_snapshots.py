"""Time is part of a snapshot: from it a program runs as the first time, to the instruction, on each profile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.boards import Board, Ended, Ram, Rom
from tests.boards import test_arm, test_riscv
from tests.boards.guests import console
from tests.boards.programs import ARM_PROGRAMS, PROGRAMS, VIRT_PROGRAMS, ArmProgram, Program, VirtProgram

NAMES = ("scheduler-m0", "switching-rv32imac", "el1-a53", "modes-a15-arm")
CHOSEN = [program for program in (*PROGRAMS, *VIRT_PROGRAMS, *ARM_PROGRAMS) if program.name in NAMES]


def booted(program: Program) -> tuple[Board, Callable[[], str]]:
    """A board that starts the program, and what that has printed."""
    if isinstance(program, ArmProgram):
        screen = test_arm.Console()
        made = Board(program.cpu, memory=[Ram(test_arm.RAM, 2 << 20)], devices={test_arm.CONSOLE: screen})
        screen.stop = made.stop
        output: Callable[[], str] = lambda: screen.output  # noqa: E731
    elif isinstance(program, VirtProgram):
        boards: list[Board] = []
        uart = test_riscv.Console()
        devices = {0x1000_0000: uart, 0x10_0000: test_riscv.Finisher(boards)}
        made = Board(program.cpu, memory=[Ram(test_riscv.RAM, 1 << 20)], devices=devices)
        boards.append(made)
        output = lambda: uart.output.decode()  # noqa: E731
    else:
        profile = console(program.cpu)
        made = Board(profile, memory=[Rom(program.code, 0x20000), Ram(0x2000_0000, 0x4000)])
        semihosting = profile.semihosting
        assert semihosting is not None
        output = lambda: semihosting.text  # noqa: E731
    made.load(program.path)
    made.reset()
    return made, output


@pytest.mark.parametrize("program", CHOSEN, ids=[program.name for program in CHOSEN])
def test_a_program_runs_alike_whole_in_parts_and_again_from_snapshots(program: Program) -> None:
    board, output = booted(program)
    assert board.run(max_instructions=2_000_000) is Ended.STOPPED
    whole = output(), board.clock.time
    board, output = booted(program)
    ended = Ended.LIMIT
    while ended is Ended.LIMIT:
        snapshot, parts = board.machine.snapshot(), []
        for again in (False, True):
            if again:
                board.machine.restore(snapshot)
            ended = board.run(max_instructions=max(whole[1] // 7, 997))
            parts.append((output(), board.clock.time, board.pc, ended))
        assert parts[0] == parts[1]
    assert (output(), board.clock.time) == whole

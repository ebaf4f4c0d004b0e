"""Bare-metal programs do on a board what they do in QEMU, event by event."""

from __future__ import annotations

import shutil

import pytest

from emu.boards import Board, Ended, Ram, Rom
from tests.boards.guests import console
from tests.boards.programs import ALL_PROGRAMS, ON_STELLARIS, PROGRAMS, Program, each_program

programs = each_program(PROGRAMS)


def run(program: Program, *, common_way: bool = False) -> tuple[str, int]:
    """(output, time) of a program on a board; `common_way`: by `Cpu.run` instead of `run_piece`."""
    profile = console(program.cpu)
    profile.vectors = profile.system.vector_table = program.code
    made = Board(profile, memory=[Rom(program.code, 0x20000), Ram(0x2000_0000, 0x4000)])
    made.load(program.path)
    made.reset()
    if common_way:
        assert made.machine.cpu.native
    assert made.run(max_instructions=2_000_000) is Ended.STOPPED
    assert profile.semihosting is not None
    assert profile.semihosting.status == 0
    return profile.semihosting.text, made.clock.time


@pytest.mark.sample(8)
@programs
def test_a_program_does_the_same_as_in_qemu(program: Program) -> None:
    output, time = run(program)
    assert output.splitlines() == program.golden.read_text().splitlines()
    assert run(program) == run(program, common_way=True) == (output, time)


@each_program(ALL_PROGRAMS)
def test_the_golden_file_is_what_qemu_prints(program: Program) -> None:
    """Of Arm, RISC-V and i386, too."""
    if shutil.which(program.qemu) is None:
        pytest.skip(f"{program.qemu} is not installed")
    assert program.run_in_qemu() == program.golden.read_text()


@each_program(ON_STELLARIS)
def test_another_board_of_qemu_prints_the_same(program: Program) -> None:
    if shutil.which(program.qemu) is None:
        pytest.skip(f"{program.qemu} is not installed")
    said = program.run_in_qemu().splitlines()
    assert [line for line in said if line != "Timer with period zero, disabling"] == (
        program.golden.read_text().splitlines()
    )

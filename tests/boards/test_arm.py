"""Arm's A and R profiles, in A64, A32 and Thumb code: programs as in QEMU, exact timers, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from emu.boards import Board, Device, Ended, FirmwareError, Lockup, NotModelled, Ram
from emu.boards.arm.aarch64 import AArch64
from emu.boards.arm.arm32 import Arm32
from emu.boards.firmware import Firmware
from emu.errors import GuestFault
from relink.errors import MachineError
from tests.boards.programs import ARM_PROGRAMS, ArmProgram, each_program

RAM, CONSOLE = 0x4000_0000, 0x0900_0000
programs = each_program(ARM_PROGRAMS)


class Console(Device):
    """Ends the run at the line "end"."""

    size = 0x1000

    def __init__(self) -> None:
        super().__init__()
        self.output = ""
        self.stop: Callable[[], None]

    def write(self, offset: int, size: int, value: int) -> None:
        self.output += chr(value)
        if self.output.endswith("end\n"):
            self.stop()


def run(program: ArmProgram) -> tuple[str, int]:
    console, board = Console(), program.board
    profile = (AArch64 if program.in_a64 else Arm32)(program.cpu, gic=board.gic)
    made = Board(profile, memory=[Ram(board.ram, 2 << 20)], devices={board.console: console})
    console.stop = made.stop
    made.load(program.path)
    made.reset()
    assert made.run(max_instructions=2_000_000) is Ended.STOPPED
    return console.output, made.clock.time


@programs
def test_a_program_does_the_same_as_in_qemu(program: ArmProgram) -> None:
    output, time = run(program)
    assert output.splitlines() == program.golden.read_text().splitlines()
    assert run(program) == (output, time)


NOP64, NOP32 = 0xD503_201F, 0xE1A0_0000
HERE64, HERE32 = 0x1400_0000, 0xEAFF_FFFE
CPUS = ("cortex-a53", "cortex-a15", "cortex-r5")
every = pytest.mark.parametrize("cpu", CPUS)


def board(cpu: str, code: list[int], **options: object) -> Board:
    """`code` at the start of RAM, and an endless loop at each vector, 0x1000 behind it."""
    make = AArch64 if cpu in ("cortex-a53",) else Arm32
    made = Board(make(cpu, entry=RAM, **options), memory=[Ram(RAM, 0x4000)])  # type: ignore[arg-type]
    made.load(struct.pack(f"<{len(code)}I", *code), at=RAM)
    here = HERE64 if make is AArch64 else HERE32
    made.load(struct.pack("<I", here) * 0x200, at=RAM + 0x1000)
    made.reset()
    return made


def vectors(cpu: str) -> list[int]:
    """Put the vectors at RAM + 0x1000, unmask interrupts; 4 instructions."""
    if cpu == "cortex-a53":
        return [0xD2A8_0000, 0xF282_0000, 0xD518_C000, 0xD503_42FF]  # mov x0, ..; msr vbar_el1, x0; msr daifclr, 2
    if cpu == "cortex-r5":  # has no VBAR: its vectors are at 0
        return [NOP32, NOP32, NOP32, 0xF108_0080]
    return [0xE301_0000, 0xE344_0000, 0xEE0C_0F10, 0xF108_0080]  # movw, movt; mcr p15, 0, r0, c12, c0, 0; cpsie i


@every
@pytest.mark.parametrize("count", [5, 6, 7, 20, 500])
def test_an_interrupt_arrives_at_the_instruction(cpu: str, count: int) -> None:
    nop = NOP64 if cpu == "cortex-a53" else NOP32
    guest = board(cpu, [*vectors(cpu), *[nop] * 600])
    if cpu == "cortex-r5":
        guest = Board(Arm32(cpu, entry=RAM), memory=[Ram(RAM, 0x4000), Ram(0, 0x1000)])
        guest.load(struct.pack("<604I", *vectors(cpu), *[nop] * 600), at=RAM)
        guest.load(struct.pack("<8I", *[HERE32] * 8), at=0)
        guest.reset()
    gic = guest.profile.gic  # type: ignore[attr-defined]
    for offset, value in ((0, 1), (0x104, 1 << 8), (0x828, 1)):
        gic.write(offset, 4, value)
    gic.interface.write(4, 4, 0xF0)
    gic.interface.write(0, 4, 1)
    guest.clock.at(count, lambda: guest.profile.set_line(40, True))
    guest.run(max_instructions=count)
    assert guest.machine.cpu.read_register("elr_el1" if cpu == "cortex-a53" else "lr") == (
        RAM + 4 * count if cpu == "cortex-a53" else RAM + 4 * count + 4
    )
    assert guest.pc == {"cortex-a53": RAM + 0x1280, "cortex-a15": RAM + 0x1018, "cortex-r5": 0x18}[cpu]
    assert gic.interface.read(0xC, 4) == 40


REFUSED = [
    ("cortex-a53", [0xD400_0003], "smc at 0x40000000"),
    ("cortex-a53", [0xD400_0002], "hvc at 0x40000000"),
    ("cortex-a53", [0xD280_0020, 0xD518_1000], "MMU"),  # mov x0, #1; msr sctlr_el1, x0
    ("cortex-a15", [0xE160_0070], "smc at 0x40000000"),
    ("cortex-a15", [0xE140_0070], "hvc at 0x40000000"),
    ("cortex-a15", [0xE3A0_0001, 0xEE01_0F10], "MMU and MPU"),
]


@pytest.mark.parametrize(("cpu", "code", "words"), REFUSED)
def test_what_is_not_modelled_is_refused_by_name(cpu: str, code: list[int], words: str) -> None:
    with pytest.raises(NotModelled, match=words):
        board(cpu, code).run(max_instructions=10)


@every
def test_faults_and_calls_without_a_handler(cpu: str) -> None:
    """Never answered as Linux: SVC goes to the vectors; where there is no code, that is a lockup."""
    svc = 0xD400_0001 if cpu == "cortex-a53" else 0xEF00_0000
    with pytest.raises(Lockup, match="no code at its vector"):
        board(cpu, [svc]).run(max_instructions=10)
    guest = board(cpu, [0, 0] if cpu == "cortex-a53" else [0xE7F0_00F0], faults="raise")
    with pytest.raises(GuestFault, match="invalid instruction"):
        guest.run(max_instructions=10)
    with pytest.raises(FirmwareError, match="is for riscv32"):
        guest.load(Firmware("fw", (), arch="riscv32"))
    with pytest.raises(FirmwareError, match="no memory at 0x0, where the CPU starts"):
        Board((AArch64 if cpu == "cortex-a53" else Arm32)(cpu, entry=0), memory=[Ram(RAM, 0x1000)]).reset()
    with pytest.raises(FirmwareError, match="give the profile an entry"):
        Board(cpu, memory=[Ram(RAM, 0x1000)]).reset()


@every
def test_functions_are_called_between_runs(cpu: str) -> None:
    wide = cpu == "cortex-a53"
    loop = [0x9100_0400, 0x17FF_FFFF] if wide else [0xE280_0001, 0xEAFF_FFFD]  # add 1; b back
    guest = board(cpu, loop)
    guest.load(
        struct.pack("<2I", *([0x9100_A000, 0xD65F_03C0] if wide else [0xE280_0028, 0xE12F_FF1E])), at=RAM + 0x800
    )
    guest.run(max_instructions=10)
    assert guest.call(RAM + 0x800, "int(int)", 2) == 42
    guest.run(max_instructions=10)
    assert guest.machine.cpu.read_register("x0" if wide else "r0") == 10
    svc = board(cpu, [0xD400_0001 if wide else 0xEF00_0000])
    with pytest.raises((MachineError, Lockup)):
        svc.call(RAM, "void(void)")


def test_floating_point_works_in_calls_and_traps_in_a_firmware_until_it_is_enabled() -> None:
    add = [0xEE30_0A20, 0xE12F_FF1E]  # vadd.f32 s0, s0, s1; bx lr
    made = Board("cortex-a15", memory=[Ram(RAM, 0x1000)], float_abi="hard-float")
    made.load(struct.pack("<2I", *add), at=RAM)
    assert made.call(RAM, "float(float, float)", 1.5, 2.25) == 3.75
    with pytest.raises(GuestFault, match="invalid instruction"):
        board("cortex-a15", add, faults="raise").run(max_instructions=1)

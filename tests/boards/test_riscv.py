"""RISC-V machine mode: programs as in QEMU, exact timers, the PLIC, and what is refused."""

from __future__ import annotations

import struct

import pytest

from emu.boards import Board, BoardError, Device, Ended, FirmwareError, NotModelled, Ram, Register
from emu.boards.firmware import Firmware
from emu.boards.riscv import MachineMode
from emu.errors import GuestFault
from relink.errors import MachineError
from tests.boards.programs import VIRT_PROGRAMS, VirtProgram, each_program

RAM = 0x8000_0000
both = pytest.mark.parametrize("cpu", ["rv32imac", "rv64imac"])
programs = each_program(VIRT_PROGRAMS)


class Console(Device):
    size, widths = 8, (1,)

    def __init__(self) -> None:
        super().__init__()
        self.output = bytearray()

    def read(self, offset: int, size: int) -> int:
        return 0x60 if offset == 5 else 0

    def write(self, offset: int, size: int, value: int) -> None:
        if not offset:
            self.output.append(value)


class Finisher(Device):
    size = 4
    command = Register(0)

    def __init__(self, stop: list[Board]) -> None:
        super().__init__()
        self.boards = stop

    @command.on_write
    def _finish(self, value: int) -> None:
        self.boards[0].stop()


def run(program: VirtProgram) -> tuple[str, int]:
    boards: list[Board] = []
    console = Console()
    devices = {0x1000_0000: console, 0x10_0000: Finisher(boards)}
    boards.append(Board(program.cpu, memory=[Ram(RAM, 1 << 20)], devices=devices))
    boards[0].load(program.path)
    boards[0].reset()
    assert boards[0].run(max_instructions=2_000_000) is Ended.STOPPED
    return console.output.decode(), boards[0].clock.time


@programs
def test_a_program_does_the_same_as_in_qemu(program: VirtProgram) -> None:
    output, time = run(program)
    assert output.splitlines() == program.golden.read_text().splitlines()
    assert run(program) == (output, time)


# Instructions: add immediate, store word, load word, write a CSR, set its bits.
def addi(rd: int, rs: int, value: int) -> int:
    return (value & 0xFFF) << 20 | rs << 15 | rd << 7 | 0x13


def lui(rd: int, value: int) -> int:
    return value << 12 | rd << 7 | 0x37


def csrw(csr: int, rs: int) -> int:
    return csr << 20 | rs << 15 | 1 << 12 | 0x73


def csrs(csr: int, rs: int) -> int:
    return csr << 20 | rs << 15 | 2 << 12 | 0x73


MSTATUS, MIE, MTVEC, MEPC, MCAUSE, CYCLE, TIME = 0x300, 0x304, 0x305, 0x341, 0x342, 0xC00, 0xC01
MRET, WFI, HERE, NOP = 0x3020_0073, 0x1050_0073, 0x6F, 0x13
X = {name: number for number, name in enumerate(["zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2"])}
T0, T1, T2 = X["t0"], X["t1"], X["t2"]


def board(cpu: str | MachineMode, code: list[int], handler: list[int]) -> Board:
    made = Board(cpu, memory=[Ram(RAM, 0x4000)])
    made.load(struct.pack(f"<{len(code)}I", *code), at=RAM)
    made.load(struct.pack(f"<{len(handler)}I", *handler), at=RAM + 0x1000)
    made.reset()
    return made


def enable(bits: int) -> list[int]:
    """mtvec = RAM + 0x1000; mie = bits; mstatus.MIE."""
    first = 0x297 | 1 << 12  # auipc t0, 1
    return [first, csrw(MTVEC, T0), addi(T1, 0, bits), csrw(MIE, T1), addi(T1, 0, 8), csrs(MSTATUS, T1)]


@both
@pytest.mark.parametrize("count", [7, 8, 9, 20, 500])
def test_the_timer_arrives_at_the_instruction(cpu: str, count: int) -> None:
    guest = board(cpu, [*enable(0x80), *[NOP] * 1000, HERE], [HERE])
    profile = guest.profile
    assert isinstance(profile, MachineMode)
    profile.clint.write(0x4004, 4, 0)
    profile.clint.write(0x4000, 4, count)
    guest.run(max_instructions=count)
    cpu_ = guest.machine.cpu
    assert cpu_.read_register("mepc") == RAM + 4 * count
    assert guest.pc == RAM + 0x1000
    assert cpu_.read_register("mcause") & 0xFF == 7


@both
def test_an_external_interrupt_is_claimed_and_completed(cpu: str) -> None:
    handler = [lui(T1, 0xC200), 0x0043_2383, addi(8, T2, 0), 0x0073_2223, MRET]  # lw t2, 4(t1); mv s0, t2; sw t2
    handler[1] = 4 << 20 | T1 << 15 | 2 << 12 | T2 << 7 | 0x03
    handler[3] = T2 << 20 | T1 << 15 | 2 << 12 | 4 << 7 | 0x23
    guest = board(cpu, [*enable(0x7FF), addi(T1, 0, 1), 0x00B3_1313, csrs(MIE, T1), *[NOP] * 20, HERE], handler)
    guest.run(max_instructions=12)
    plic = guest.profile.plic  # type: ignore[attr-defined]
    plic.write(4 * 10, 4, 3)
    plic.write(0x2000, 4, 1 << 10)
    guest.profile.set_line(10, True)
    guest.clock.after(3, lambda: guest.profile.set_line(10, False))
    guest.run(max_instructions=30)
    assert guest.machine.cpu.read_register("s0") == 10
    assert (plic.pending, plic.claimed) == (set(), set())
    with pytest.raises(BoardError, match="interrupts 1 to 63, not 0"):
        guest.profile.set_line(0, True)


@both
def test_counters_are_the_clock(cpu: str) -> None:
    code = [NOP, CYCLE << 20 | 2 << 12 | T0 << 7 | 0x73, NOP, NOP, TIME << 20 | 2 << 12 | T1 << 7 | 0x73, HERE]
    guest = board(cpu, code, [HERE])
    guest.run(max_instructions=10)
    assert guest.machine.cpu.read_registers(("t0", "t1")) == [1, 4]


@both
def test_mip_shows_the_timer_and_is_polled(cpu: str) -> None:
    read = 0x344 << 20 | 2 << 12 | T0 << 7 | 0x73  # csrr t0, mip
    poll = [read, 0x0802_F293, 0xFE02_8CE3]  # andi t0, t0, 0x80; beqz t0, back
    guest = board(cpu, [*poll, HERE], [HERE])
    profile = guest.profile
    assert isinstance(profile, MachineMode)
    profile.clint.write(0x4004, 4, 0)
    profile.clint.write(0x4000, 4, 100)
    guest.run(max_instructions=90)
    assert guest.pc < RAM + 12
    guest.run(max_instructions=20)
    assert (guest.pc, guest.machine.cpu.read_register("t0")) == (RAM + 12, 0x80)


@both
@pytest.mark.parametrize(("csr", "name"), [(0x302, "medeleg"), (0x303, "mideleg"), (0x180, "satp")])
def test_supervisor_mode_is_refused_by_name(cpu: str, csr: int, name: str) -> None:
    guest = board(cpu, [csrw(csr, 0), addi(T1, 0, 2), csrs(csr, T1), HERE], [HERE])
    with pytest.raises(NotModelled, match=rf"{name}: .*0x2 is written"):
        guest.run(max_instructions=10)


@both
def test_faults_and_system_calls_before_a_handler_exists_are_the_callers(cpu: str) -> None:
    guest = board(cpu, [NOP, 0xFFFF_FFFF], [HERE])
    with pytest.raises(GuestFault, match="invalid instruction"):
        guest.run(max_instructions=10)
    guest = board(cpu, [NOP, 0x73], [HERE])
    with pytest.raises(MachineError, match="no kernel"):
        guest.run(max_instructions=10)
    with pytest.raises(FirmwareError, match="is for arm"):
        guest.load(Firmware("fw", (), arch="arm"))
    with pytest.raises(FirmwareError, match="where the CPU starts"):
        Board(cpu, memory=[Ram(0x2000_0000, 0x1000)]).reset()


@both
def test_functions_are_called_between_runs(cpu: str) -> None:
    code = [addi(10, 10, 1), 0xFFDF_F06F]  # again: addi a0, a0, 1; j again
    guest = board(cpu, code, [addi(10, 10, 40), 0x8067])  # addi a0, a0, 40; ret
    guest.run(max_instructions=10)
    assert guest.call(RAM + 0x1000, "int(int)", 2) == 42
    guest.run(max_instructions=10)
    assert guest.machine.cpu.read_register("a0") == 10


@pytest.mark.parametrize("cpu", ["rv32imac", "rv64imac"])
def test_counters_of_machine_mode_are_written(cpu: str) -> None:
    # mcycle = 5; a0 = mcycle; a1 = minstret; a2 = mcountinhibit, which stays 0; mcycle |= a2 | 16; a5 = cycle
    code = [0xB002D073, 0xB0002573, 0xB02025F3, 0x320FD673, 0x32002673, 0xB0086873, 0xC00027F3, 0x6F]
    guest = Board(cpu, memory=[Ram(RAM, 0x1000)])
    guest.load(struct.pack("<8I", *code), at=RAM)
    guest.reset()
    guest.run(max_instructions=7)
    read = guest.machine.cpu.read_register
    assert [read(name) for name in ("a0", "a1", "a2", "a6", "a5")] == [5, 2, 0, 9, 9 | 16]

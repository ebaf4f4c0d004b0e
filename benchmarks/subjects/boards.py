"""Boards: an access to a device, an interrupt with its return."""

from __future__ import annotations

import struct
import time

from unicorn import arm_const as arm
from unicorn import unicorn_const as u
from unicorn.unicorn_py3.unicorn import Uc

from benchmarks.measure import Row, alternately
from benchmarks.subject import Context, Results, subject
from emu.boards import Board, Device, Ram, Register, Rom
from emu.boards.cortex_m import CortexM
from emu.boards.riscv import MachineMode

ROUNDS = 20_000
PORT, RAM, CODE = 0x4000_0000, 0x2000_0000, 0x200
#: again: ldr r0, [r1]; subs r2, #1; bne again; b .
POLL = struct.pack("<4H", 0x6808, 0x3A01, 0xD1FC, 0xE7FE)
#: bx lr, and the code that is interrupted: again: adds r0, #1; b again
HANDLER, LOOP = struct.pack("<H", 0x4770), struct.pack("<2H", 0x3001, 0xE7FD)
_HOW = {
    "MMIO access": "a loop that polls a register; bare: mmio_map with a callback",
    "interrupt": "SysTick every 20 instructions: entry, `bx lr`; bare: two runs, a frame pushed and popped",
}


class Port(Device):
    """One register."""

    size = 4
    state = Register(0, reset=5)


def board(code: bytes) -> Board:
    vectors = struct.pack("<64I", RAM + 0x1000, CODE | 1, *[CODE + 0x101] * 62)
    made = Board(CortexM("cortex-m3"), memory=[Rom(0, 0x1000), Ram(RAM, 0x1000)], devices={PORT: Port()})
    made.load(vectors + bytes(0x100) + code + bytes(0x100 - len(code)) + HANDLER, at=0)
    made.reset()
    made.run(max_instructions=1)
    return made


def mmio() -> float:
    """Microseconds of an access to a device."""
    made = board(POLL)
    cpu = made.machine.cpu
    cpu.write_registers({"r1": PORT, "r2": ROUNDS})
    start = time.process_time()
    made.run(max_instructions=3 * ROUNDS)
    return (time.process_time() - start) / ROUNDS * 1e6


def _cortex_m3() -> Uc:
    engine = Uc(u.UC_ARCH_ARM, u.UC_MODE_THUMB)
    engine.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M3)
    return engine


def bare_mmio() -> float:
    engine = _cortex_m3()
    engine.mem_map(0, 0x1000)
    engine.mem_write(CODE, POLL)
    engine.mmio_map(PORT, 0x1000, lambda _engine, _offset, _size, _data: 5, None, None, None)
    engine.reg_write(arm.UC_ARM_REG_R1, PORT)
    engine.reg_write(arm.UC_ARM_REG_R2, ROUNDS)
    start = time.process_time()
    engine.emu_start(CODE | 1, CODE + 6)
    return (time.process_time() - start) / ROUNDS * 1e6


def interrupts() -> float:
    made = board(LOOP)
    systick = made.profile.system.systick  # type: ignore[attr-defined]
    systick.write(0x14, 19)
    systick.write(0x10, 7)
    made.run(max_instructions=1000)
    start = time.process_time()
    made.run(max_instructions=ROUNDS * 20)
    return (time.process_time() - start) / ROUNDS * 1e6


def bare_interrupts() -> float:
    engine = _cortex_m3()
    engine.mem_map(0, 0x1000)
    engine.mem_map(RAM, 0x1000)
    engine.mem_write(CODE, LOOP)
    engine.mem_write(CODE + 0x100, HANDLER)
    engine.hook_add(u.UC_HOOK_INTR, lambda engine, number, data: engine.emu_stop())
    frame = [arm.UC_ARM_REG_R0 + number for number in range(4)]
    frame += [arm.UC_ARM_REG_R12, arm.UC_ARM_REG_LR, arm.UC_ARM_REG_PC, arm.UC_ARM_REG_XPSR]
    rounds = ROUNDS // 10
    pc = CODE
    start = time.process_time()
    for _ in range(rounds):
        engine.emu_start(pc | 1, 0xFFFF_FFFF, count=20)
        values = engine.reg_read_batch(frame)
        engine.mem_write(RAM + 0xF00, struct.pack("<8I", *values))
        engine.reg_write_batch([(arm.UC_ARM_REG_XPSR, 0x0100_000F), (arm.UC_ARM_REG_LR, 0xFFFF_FFF9)])
        engine.emu_start(CODE + 0x101, 0xFFFF_FFFF)
        values = struct.unpack("<8I", engine.mem_read(RAM + 0xF00, 32))
        engine.reg_write_batch(list(zip(frame, values, strict=True)))
        pc = values[6]
    return (time.process_time() - start) / rounds * 1e6


#: again: addi a0, a0, 1; j again; and its handler, with the address of mtimecmp in t0 and the time in t1:
#: addi t1, t1, 20; sw t1, (t0); mret
RISCV_LOOP = struct.pack("<2I", 0x0015_0513, 0xFFDF_F06F)
RISCV_HANDLER = struct.pack("<3I", 0x0143_0313, 0x0062_A023, 0x3020_0073)
START, COMPARE = 0x8000_0000, 0x0200_4000


def riscv_interrupts() -> float:
    """CLINT's timer every 20 instructions: entry, mtimecmp written, `mret`."""
    made = Board(MachineMode("rv32imac"), memory=[Ram(START, 0x1000)])
    made.load(RISCV_LOOP + bytes(0x100 - len(RISCV_LOOP)) + RISCV_HANDLER, at=START)
    made.reset()
    registers = {"mtvec": START + 0x100, "mie": 1 << 7, "mstatus": 1 << 3, "t0": COMPARE, "t1": 20}
    made.machine.cpu.write_registers(registers)
    made.bus.write(COMPARE, 4, 20)
    made.bus.write(COMPARE + 4, 4, 0)
    made.run(max_instructions=1000)
    start = time.process_time()
    made.run(max_instructions=ROUNDS * 20)
    return (time.process_time() - start) / ROUNDS * 1e6


@subject()
def boards(context: Context) -> Results:
    """Devices and interrupts of a Cortex-M: the same by bare Unicorn; interrupts of RISC-V."""
    for work, most, ours, theirs in (
        ("MMIO access", 3, mmio, bare_mmio),
        ("interrupt", 20, interrupts, bare_interrupts),
    ):
        figures = alternately({"ours": ours, "bare Unicorn": theirs}, context.rounds)
        yield figures.row("boards", work, "bare Unicorn", unit="µs", most=most, how=_HOW[work])
    own = alternately({"ours": riscv_interrupts}, context.rounds).least("ours")
    how = "CLINT's timer every 20 instructions: entry, mtimecmp written, `mret`"
    yield Row("boards", "interrupt, RISC-V", own, "µs", most=20, how=how)

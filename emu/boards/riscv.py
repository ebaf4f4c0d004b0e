"""RISC-V machine mode (RISC-V privileged ISA, "Machine-Level ISA"): traps, interrupts of CLINT and PLIC.

The engine has the CSRs and executes `mret`; it stops at exceptions, and traps are taken here: mepc, mcause, mtval
and mstatus are written, and the guest continues at mtvec, direct or vectored. Interrupts are taken between two
instructions. Time, cycles and instructions are the board's
clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from emu.boards.entry_point import EntryPoint
from emu.boards.errors import BoardError
from emu.boards.profile import BaseProfile, Interrupts, check_options
from emu.boards.riscv_csrs import COUNT_INHIBIT, Accesses, csr_accesses
from emu.boards.riscv_devices import Clint, Plic
from emu.cpu.corrections.find_riscv import riscv
from emu.cpu.misrun import Misrun
from emu.cpu.protocol import Stop, StopReason
from emu.ports import Layout
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.boards.clock import Clock
    from emu.boards.device import Device
    from emu.cpu.protocol import DeviceCpu
    from emu.ports import Memory

SOFTWARE, TIMER, EXTERNAL = 3, 7, 11  #: bits of mip and mie, and causes of interrupts
_MIE, _MPIE, _MPP = 1 << 3, 1 << 7, 3 << 11
#: The causes of exceptions that have one only.
_CAUSES = {
    StopReason.INVALID_INSTRUCTION: 2,
    StopReason.BREAKPOINT: 3,
    StopReason.READ_UNMAPPED: 5,
    StopReason.READ_PROTECTED: 5,
    StopReason.WRITE_UNMAPPED: 7,
    StopReason.WRITE_PROTECTED: 7,
    StopReason.FETCH_UNMAPPED: 1,
    StopReason.FETCH_PROTECTED: 1,
}
#: CSR numbers of the counters: cycle, time, instret, and their machine-mode names; upper halves on RV32.
_MIP, _COUNT = 0x344, (1 << 64) - 1
_COUNTERS, _UPPER = (0xC00, 0xC01, 0xC02, 0xB00, 0xB02), (0xC80, 0xC81, 0xC82, 0xB80, 0xB82)


class MachineMode(EntryPoint, BaseProfile):
    """A RISC-V CPU in machine mode (`emu.boards.profile.Profile`).

    `entry` is where it starts after a reset. `clint` and `plic` are the addresses of its timer and its interrupt
    controller, None without one; `irqs` is the number of the PLIC's lines, from 1. mtime rises once in `divider`
    instructions. `faults` says who gets exceptions of a firmware that runs, as for Cortex-M.
    """

    float_abi: str | None = "soft-float"
    model: str | None = "machine"

    def __init__(
        self,
        name: str,
        *,
        entry: int = 0x8000_0000,
        clint: int | None = 0x0200_0000,
        plic: int | None = 0x0C00_0000,
        irqs: int = 63,
        divider: int = 1,
        faults: str = "firmware",
    ) -> None:
        self.name, self.entry, self.faults_to = name, entry, faults
        self.arch = "riscv64" if name.startswith("rv64") else "riscv32"
        self._bits = int(self.arch[5:])
        self.address_mask = most = (1 << self._bits) - 1
        places = {"entry": (entry, 0, most), "clint": (clint, 0, most), "plic": (plic, 0, most)}
        check_options(name, faults, irqs=(irqs, 1, 1023), divider=(divider, 1, 1 << 32), **places)
        self.layout = Layout(window=(0xC000_0000, 0x3000_0000) if self._bits == 32 else None)
        self.free_ram, self.in_run = (0, 0), False
        self.changed = self.resetting = self.started = False
        self._pending = 0  #: mip
        self._offsets = {0: 0, 2: 0}  #: what has been written to mcycle and minstret
        self._entered = False  #: whether a trap has been taken after which `interrupts` was not asked yet
        self.firmware_entry = None
        self.clint = Clint(self._set_pending, divider)
        self.plic = Plic(irqs, lambda level: self._set_pending(EXTERNAL, level))
        self._places = {clint: self.clint, plic: self.plic}

    def devices(self) -> Mapping[int, Device]:
        return {address: device for address, device in self._places.items() if address is not None}

    def connect(self, cpu: DeviceCpu, memory: Memory, clock: Clock, stop: Callable[[], None]) -> None:
        self.cpu, self.memory, self.clock = cpu, memory, clock
        self._state = cpu.state_group(("priv", "mie", "mstatus", "mtvec"))
        self._trapped = cpu.register_group(("mstatus", "mepc", "mcause", "mtval"))
        counters: dict[int, Callable[[], int | None]] = {
            number: partial(self._count, number & 2) for number in _COUNTERS
        }
        counters[0xC01] = self._time
        if self._bits == 32:
            counters |= {number: partial(self._count, number & 2, 32) for number in _UPPER}
            counters[0xC81] = lambda: self._time() >> 32
        counters |= {number: self._privileged(read) for number, read in counters.items() if number >> 8 == 0xB}
        counters[COUNT_INHIBIT] = self._privileged(lambda: 0)
        counters[_MIP] = self._privileged(lambda: self._pending | cpu.read_register("mip"))
        common, written = riscv(self._bits, counters), csr_accesses(self._writable_counters())

        def find(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
            found = common(code, address, to_branch=to_branch)
            return heapq.merge(found, written(code, address), key=attrgetter("address"))

        cpu.inspect(find)

    def _privileged(self, read: Callable[[], int | None]) -> Callable[[], int | None]:
        """Only machine mode may read it."""
        return lambda: read() if self.cpu.read_register("priv") == 3 else None

    def _count(self, counter: int, shift: int = 0) -> int:
        """mcycle (0) or minstret (2)."""
        return (self.clock.now + self._offsets[counter] & _COUNT) >> shift

    def _set_count(self, counter: int, shift: int, value: int) -> None:
        """The next instruction reads what is written."""
        if self._bits == 32:
            value = self._count(counter) & ~(0xFFFF_FFFF << shift) | (value & 0xFFFF_FFFF) << shift
        self._offsets[counter] = value - self.clock.now - 1

    def _writable_counters(self) -> Accesses:
        places = {(0xB00, 0, 0), (0xB02, 2, 0)} | ({(0xB80, 0, 32), (0xB82, 2, 32)} if self._bits == 32 else set())
        return {COUNT_INHIBIT: (lambda: 0, lambda value: None)} | {
            number: (partial(self._count, counter, shift), partial(self._set_count, counter, shift))
            for number, counter, shift in sorted(places)
        }

    def _time(self) -> int:
        return self.clint.mtime()

    # ------------------------------------------------------------ reset

    def reset(self) -> int:
        return self.start(self.first_instruction(), 0)

    def start(self, entry: int, stack: int) -> int:
        cpu = self.cpu
        cpu.write_register("priv", 3)
        cpu.write_registers({f"x{number}": 0 for number in range(1, 32)} | {"sp": stack})
        for name in ("mstatus", "mtvec", "mepc", "mcause", "mtval", "mie", "mscratch"):
            cpu.write_register(name, 0)
        self._offsets.update({0: 0, 2: 0})
        self.resetting, self.started, self.changed, self._entered = False, True, True, False
        return entry

    # ------------------------------------------------------------ interrupts

    def set_line(self, number: int, level: bool) -> None:
        if not 1 <= number <= self.plic.lines:
            raise BoardError(f"{self.name} has the interrupts 1 to {self.plic.lines}, not {number}")
        self.plic.set_line(number, level)

    def _set_pending(self, bit: int, level: bool) -> None:
        before = self._pending
        self._pending = pending = before & ~(1 << bit) | level << bit
        if pending & ~before:
            self.changed = True
            if self.started and self.cpu.in_access and not self.cpu.stops_at_blocks:
                self.cpu.pause()
        elif before and not pending and self.cpu.stops_at_blocks and self.cpu.in_access:
            self.cpu.run_on()

    def interrupts(self) -> Interrupts:
        if not self._pending or not self.started:
            return Interrupts.NONE
        if self._entered:  # mstatus.MIE is 0
            self._entered = False
            return Interrupts.MASKED
        privilege, enabled, status, _ = self._read()
        ready = self._pending & enabled and (privilege < 3 or status & _MIE)
        return Interrupts.READY if ready else Interrupts.MASKED

    def _read(self) -> tuple[int, ...]:
        """Privilege, mie, mstatus, mtvec; in other modes than machine mode the engine hides CSRs."""
        state = self._state.read()
        if state[0] == 3:
            return state
        self.cpu.write_register("priv", 3)
        hidden = self._state.read()
        self.cpu.write_register("priv", state[0])
        return state[0], *hidden[1:]

    def take(self, pc: int) -> int:
        state = self._read()
        ready = self._pending & state[1]
        cause = EXTERNAL if ready >> EXTERNAL & 1 else SOFTWARE if ready >> SOFTWARE & 1 else TIMER
        return self._trap(cause, pc, 0, state, interrupt=True)

    def _trap(self, cause: int, pc: int, value: int, state: tuple[int, ...], *, interrupt: bool = False) -> int:
        """Take a trap into machine mode from a state that `_read` gave."""
        privilege, _, status, vector = state
        if privilege != 3:
            self.cpu.write_register("priv", 3)
        status = status & ~(_MPIE | _MPP | _MIE) | (_MPIE if status & _MIE else 0) | privilege << 11
        self._trapped.write(status, pc, cause | (1 << self._bits - 1 if interrupt else 0), value)
        self.changed = self._entered = bool(self._pending)
        return (vector & ~3) + (4 * cause if interrupt and vector & 3 == 1 else 0)

    # ------------------------------------------------------------ exceptions

    def stopped(self, stop: Stop) -> int | None:
        if not self.started or (
            stop.reason not in _CAUSES
            and stop.reason
            not in (
                StopReason.SYSCALL,
                StopReason.UNALIGNED,
            )
        ):
            return None
        system_call = stop.reason is StopReason.SYSCALL
        if not system_call and (self.faults_to == "raise" or not self.in_run):
            return None
        state = self._read()
        if not state[3]:
            return None  # no handler was ever set: mtvec is 0
        if system_call:
            return self._trap(8 + state[0], stop.pc, 0, state)
        return self._trap(self._cause(stop), stop.pc, self._value(stop), state)

    def _cause(self, stop: Stop) -> int:
        if stop.reason is not StopReason.UNALIGNED:
            return _CAUSES[stop.reason]
        if stop.pc & 1:
            return 0
        opcode = self._instruction(stop.pc) & 0x7F
        return 6 if opcode in (0x23, 0x27, 0x2F) else 4

    def _value(self, stop: Stop) -> int:
        """mtval: the address, or the instruction that is illegal; 0 for ebreak, as in QEMU."""
        if stop.reason is StopReason.INVALID_INSTRUCTION:
            return self._instruction(stop.pc)
        if stop.reason is StopReason.BREAKPOINT:
            return 0
        return stop.pc if stop.address is None else stop.address

    def _instruction(self, pc: int) -> int:
        try:
            half = self.memory.read_uint(pc, 2)
            return half if half & 3 != 3 else self.memory.read_uint(pc, 4)
        except AddressSpaceError:
            return 0

    # ------------------------------------------------------------ waiting, places

    def wakes(self) -> bool:
        return bool(self._pending & self._read()[1])

    def after_wait(self, stop: Stop) -> int:
        return stop.pc + 4

    def code_address(self, pc: int) -> int:
        return pc

"""AArch64 at EL1 (Arm ARM, D1.10 "Exception entry"): vectors, SVC, IRQ, aborts, ERET; GICv2 and generic timer.

The engine executes everything but exception entry, ERET too. It has neither EL2 nor EL3, nor secure state. Not
modelled, and refused by name: the MMU (SCTLR_EL1.M), HVC and SMC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from emu.boards.arm.generic_timer import COMPARE, CONTROL, VALUE
from emu.boards.arm.profile import ArmProfile
from emu.boards.errors import NotModelled
from emu.cpu.corrections.find_aarch64 import aarch64
from emu.cpu.misrun import Finder, Guest, Misrun, Outcome
from emu.cpu.protocol import Stop, StopReason
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    pass

_SP_SELECT, _EL, _MASKED, _FLAGS = 1, 0xC, 0x3C0, 0xF000_0000  #: of PSTATE
_IRQ_MASK = 1 << 7
_SPSR, _SCTLR = (3, 0, 4, 0, 0), (3, 0, 1, 0, 0)
_SCR, _EL1_IS_64 = (3, 6, 1, 1, 0), 1 << 10  #: SCR_EL3 and its RW
_MMU = 1
#: MSR and MRS: bits 20 and 21 tell which, 5 to 19 the register, 0 to 4 the general register.
_ACCESS_MASK, _ACCESS = 0xFFD0_0000, 0xD510_0000
_SMC, _HVC = 0xD400_0003, 0xD400_0002
_UNDEFINED, _SVC, _BREAKPOINT = 0x00, 0x15, 0x3C  #: classes in ESR_EL1
_FETCH_LOWER, _FETCH, _PC_ALIGNMENT, _DATA_LOWER, _DATA = 0x20, 0x21, 0x22, 0x24, 0x25
_EXTERNAL, _ALIGNMENT, _WRITE = 0x10, 0x21, 1 << 6  #: in the syndrome of an abort
_LONG = 1 << 25  #: ESR_EL1.IL
_FETCHES = (StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED)
_WRITES = (StopReason.WRITE_UNMAPPED, StopReason.WRITE_PROTECTED)
_READS = (StopReason.READ_UNMAPPED, StopReason.READ_PROTECTED)


class AArch64(ArmProfile):
    """A 64-bit Arm CPU at EL1 (`emu.boards.profile.Profile`): `cortex-a53`, `-a57`, `-a72`.

    Options are those of `ArmProfile`.
    """

    arch = "aarch64"
    address_mask = (1 << 48) - 1

    def _clear(self, stack: int, *, floats: bool) -> None:
        cpu = self.cpu
        cpu.write_system(_SCR, cpu.read_system(_SCR) | _EL1_IS_64)  # otherwise ERET to EL1 is illegal
        self._set_state(_MASKED | 4 | _SP_SELECT)
        cpu.write_registers({f"x{number}": 0 for number in range(31)})
        cpu.write_registers(dict.fromkeys(("vbar_el1", "elr_el1", "esr_el1", "far_el1", "sp_el0", "sp_el1"), 0))
        cpu.write_register("sp", stack)

    def _set_state(self, pstate: int) -> None:
        """The engine looks at the exception level in what it keeps of it, until SCTLR is written."""
        self.cpu.write_register("pstate", pstate)
        self.cpu.write_system(_SCTLR, self.cpu.read_system(_SCTLR) & ~_MMU)

    # ------------------------------------------------------------ exceptions

    def _masked(self) -> bool:
        return bool(self.cpu.read_register("pstate") & _IRQ_MASK)

    def take(self, pc: int) -> int:
        return self._enter(0x80, pc)

    def _enter(self, offset: int, pc: int) -> int:
        """Exception entry to EL1, with the stack pointer of EL1."""
        cpu = self.cpu
        pstate, vectors = cpu.read_registers(("pstate", "vbar_el1"))
        cpu.write_register("elr_el1", pc)
        cpu.write_system(_SPSR, pstate)
        if not pstate & _SP_SELECT:
            sp, other = cpu.read_registers(("sp", "sp_el1"))
            cpu.write_registers((("sp_el0", sp), ("sp", other)))
        after = pstate & _FLAGS | _MASKED | 4 | _SP_SELECT
        if pstate & _EL:
            cpu.write_register("pstate", after)
            offset += 0x200 if pstate & _SP_SELECT else 0
        else:
            self._set_state(after)
            offset += 0x400
        self.changed = True
        return self._vector(vectors + offset, pc)

    def _exception(self, stop: Stop) -> int | None:
        syndrome = self._syndrome(stop)
        if syndrome is None or not (self.cpu.read_register("vbar_el1") or stop.reason is StopReason.SYSCALL):
            return None
        cpu = self.cpu
        cpu.write_register("esr_el1", syndrome)
        if stop.address is not None or stop.reason in _FETCHES:
            cpu.write_register("far_el1", stop.pc if stop.address is None else stop.address)
        return self._enter(0, stop.pc + 4 if stop.reason is StopReason.SYSCALL else stop.pc)

    def _syndrome(self, stop: Stop) -> int | None:
        """ESR_EL1; None for what the firmware does not get."""
        reason, word = stop.reason, self._instruction(stop.pc)
        lower = not self.cpu.read_register("pstate") & _EL
        if reason is StopReason.SYSCALL:
            return _SVC << 26 | _LONG | word >> 5 & 0xFFFF
        if reason is StopReason.BREAKPOINT:
            return _BREAKPOINT << 26 | _LONG | word >> 5 & 0xFFFF
        if reason is StopReason.INVALID_INSTRUCTION or reason is StopReason.EXCEPTION:
            if word & 0xFFE0_001F in (_SMC, _HVC):
                raise NotModelled(f"{'smc' if word & 1 else 'hvc'} at {stop.pc:#x}: there is no EL2 nor EL3")
            return _UNDEFINED << 26 | _LONG
        if reason in _FETCHES:
            return (_FETCH_LOWER if lower else _FETCH) << 26 | _LONG | _EXTERNAL
        if reason is StopReason.UNALIGNED:
            if stop.pc & 3:
                return _PC_ALIGNMENT << 26 | _LONG
            return (_DATA_LOWER if lower else _DATA) << 26 | _LONG | _ALIGNMENT
        if reason in _READS or reason in _WRITES:
            write = _WRITE if reason in _WRITES else 0
            return (_DATA_LOWER if lower else _DATA) << 26 | _LONG | _EXTERNAL | write
        return None

    def _instruction(self, pc: int) -> int:
        try:
            return self.memory.read_uint(pc, 4)
        except AddressSpaceError:
            return 0

    # ------------------------------------------------------------ instructions

    def _finder(self) -> Finder:
        timer = self.timer
        registers: dict[int, tuple[Callable[[], int], Callable[[int], None] | None]] = {
            _encoded(3, 3, 14, 0, 0): (lambda: timer.frequency, None),
            _encoded(3, 3, 14, 0, 1): (timer.count, None),
            _encoded(3, 3, 14, 0, 2): (timer.count, None),
            _encoded(*_SCTLR): (lambda: self.cpu.read_system(_SCTLR), self._write_control),
        }
        for crm, one in ((2, timer.physical), (3, timer.virtual)):
            for op2, name in enumerate((VALUE, CONTROL, COMPARE)):
                code = _encoded(3, 3, 14, crm, op2)
                registers[code] = partial(one.read, name), partial(one.write, name)

        def find(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
            words = np.frombuffer(code, "<u4", len(code) // 4)
            places = np.flatnonzero((words & _ACCESS_MASK) == _ACCESS)
            found = [*aarch64(code, address, to_branch=to_branch)]
            for at in map(int, places):
                word = int(words[at])
                access = registers.get(word >> 5 & 0x7FFF)
                if access is not None:
                    found.append(Misrun(address + 4 * at, 4, partial(_access, word, *access)))
            return iter(sorted(found, key=lambda each: each.address))

        return find

    def _write_control(self, value: int) -> None:
        if value & _MMU:
            raise NotModelled("the MMU (SCTLR_EL1.M) is not modelled: addresses are physical")
        self.cpu.write_system(_SCTLR, value)


def _encoded(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """Bits 5 to 19 of MRS and MSR."""
    return (op0 & 1) << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


def _access(word: int, read: Callable[[], int], write: Callable[[int], None] | None, guest: Guest) -> Outcome:
    """Execute MRS or MSR."""
    name = f"x{word & 31}"
    if word >> 21 & 1:
        value = read()
        if word & 31 != 31:
            guest.write_register(name, value)
    elif write is None:
        return Outcome.REFUSED
    else:
        write(guest.read_register(name) if word & 31 != 31 else 0)
    return Outcome.DONE

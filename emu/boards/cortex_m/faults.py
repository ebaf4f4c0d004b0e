"""Faults of the M profile: what an exception of the engine is, and the fault status registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.boards.cortex_m import nvic as n
from emu.cpu.protocol import Stop, StopReason
from relink.errors import AddressSpaceError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.boards.cortex_m.model import CortexModel
    from emu.ports import Memory

#: Bits of CFSR (ARMv7-M ARM, B3.2.15) and what they mean.
STATUS = {
    "IACCVIOL": (0, "execution where code must not run"),
    "DACCVIOL": (1, "access that the MPU forbids"),
    "MUNSTKERR": (3, "unstacking that the MPU forbids"),
    "MSTKERR": (4, "stacking that the MPU forbids"),
    "IBUSERR": (8, "execution of unmapped memory"),
    "PRECISERR": (9, "access to unmapped memory"),
    "UNSTKERR": (11, "no memory at the stack pointer, at an exception return"),
    "STKERR": (12, "no memory at the stack pointer, at an exception entry"),
    "UNDEFINSTR": (16, "undefined instruction"),
    "INVSTATE": (17, "execution in Arm state, which the CPU does not have"),
    "INVPC": (18, "invalid EXC_RETURN"),
    "NOCP": (19, "coprocessor that does not exist or is disabled"),
    "UNALIGNED": (24, "unaligned access"),
    "DIVBYZERO": (25, "division by zero"),
}
_MEANINGS = {"FORCED": "SVC where it cannot be taken", "DEBUGEVT": "BKPT without a debugger"}
_MMARVALID, _BFARVALID, _DEBUGEVT = 1 << 7, 1 << 15, 1 << 31


@dataclass(frozen=True)
class Fault:
    """A fault: its exception, the bit of a status register, and the address accessed, if any."""

    exception: int
    status: str
    address: int | None = None

    def describe(self) -> str:
        meaning = STATUS[self.status][1] if self.status in STATUS else _MEANINGS[self.status]
        return meaning if self.address is None else f"{meaning} ({self.address:#x})"


class Faults:
    """The fault status registers."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.configurable = self.hard = 0  #: CFSR, HFSR
        self.memory_address = self.bus_address = 0  #: MMFAR, BFAR

    def record(self, fault: Fault) -> None:
        if fault.status == "DEBUGEVT":
            self.hard |= _DEBUGEVT
        if fault.status not in STATUS:
            return
        self.configurable |= 1 << STATUS[fault.status][0]
        if fault.address is None:
            return
        if fault.exception == n.MEM_MANAGE:
            self.configurable |= _MMARVALID
            self.memory_address = fault.address
        else:
            self.configurable |= _BFARVALID
            self.bus_address = fault.address


_ACCESSES = frozenset(
    {
        StopReason.READ_UNMAPPED,
        StopReason.WRITE_UNMAPPED,
        StopReason.READ_PROTECTED,
        StopReason.WRITE_PROTECTED,
    }
)


def fault_of(stop: Stop, model: CortexModel, memory: Memory, *, thumb: bool) -> Fault | None:
    """The fault for a stop of the engine; None for what is no fault of a program."""
    fault = _mainline_fault(stop, memory, thumb)
    if fault is None or model.is_mainline:
        return fault
    if fault.status == "DIVBYZERO" and model.architecture == "v6-M":  # which has no divisions
        return Fault(n.HARD_FAULT, "UNDEFINSTR")
    return Fault(n.HARD_FAULT, fault.status, fault.address)  # v6-M and v8-M baseline have no others


def _mainline_fault(stop: Stop, memory: Memory, thumb: bool) -> Fault | None:
    reason = stop.reason
    if not thumb and reason is not StopReason.BREAKPOINT:
        return Fault(n.USAGE_FAULT, "INVSTATE")
    if reason in _ACCESSES:
        return Fault(n.BUS_FAULT, "PRECISERR", stop.address)
    if reason is StopReason.FETCH_UNMAPPED:
        return Fault(n.BUS_FAULT, "IBUSERR")
    if reason is StopReason.FETCH_PROTECTED:
        return Fault(n.MEM_MANAGE, "IACCVIOL")
    if reason is StopReason.UNALIGNED:
        return Fault(n.USAGE_FAULT, "UNALIGNED")
    if reason is StopReason.BREAKPOINT:
        return Fault(n.HARD_FAULT, "DEBUGEVT")
    if reason is StopReason.INVALID_INSTRUCTION:
        return Fault(n.USAGE_FAULT, _refused(stop.pc, memory))
    return None


def _refused(pc: int, memory: Memory) -> str:
    """The fault of an instruction that the CPU does not run, by its first halfword."""
    try:
        first = memory.read_uint(pc, 2)
    except AddressSpaceError:
        return "UNDEFINSTR"
    if first & 0xEC00 == 0xEC00:  # 1110 11.. and 1111 11..: coprocessors, floating point among them
        return "NOCP"
    return "DIVBYZERO" if first & 0xFFD0 == 0xFB90 else "UNDEFINSTR"

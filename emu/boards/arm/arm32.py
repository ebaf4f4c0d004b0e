"""Arm v7-A and v7-R (ARM ARM, B1.8 "Exception handling"): modes, vectors, a GICv2, and on A7 and A15 the generic
timer.

The engine executes everything but exception entry. It has neither HYP nor MON mode, nor secure state. Not
modelled, and refused by name: MMU and MPU (SCTLR.M), HVC and SMC. No controller raises FIQ.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from emu.boards.arm.generic_timer import COMPARE, CONTROL, VALUE, Timer
from emu.boards.arm.profile import ArmProfile
from emu.boards.errors import NotModelled
from emu.cpu.corrections.find_arm import arm
from emu.cpu.misrun import Finder, Guest, Misrun, Outcome
from emu.cpu.protocol import Stop, StopReason
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.boards.firmware import Firmware

_MODE, _SUPERVISOR = 0x1F, 0x13
_THUMB, _IRQ_MASK, _ABORT_MASK, _BIG = 1 << 5, 1 << 7, 1 << 8, 1 << 9
_IT = 0x0600_FC00
_SCTLR, _VBAR = (15, 0, 1, 0, 0), (15, 0, 12, 0, 0)
_DATA_STATUS, _FETCH_STATUS, _DATA_ADDRESS, _FETCH_ADDRESS = (
    (15, 0, 5, 0, 0),
    (15, 0, 5, 0, 1),
    (15, 0, 6, 0, 0),
    (15, 0, 6, 0, 2),
)
_MMU, _HIGH_VECTORS, _EXCEPTIONS_BIG, _EXCEPTIONS_THUMB = 1, 1 << 13, 1 << 25, 1 << 30  #: of SCTLR
_EXTERNAL, _ALIGNMENT, _DEBUG, _WRITE = 0x8, 0x1, 0x2, 1 << 11  #: of DFSR and IFSR
_FETCHES = (StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED, StopReason.BREAKPOINT)
_WRITES = (StopReason.WRITE_UNMAPPED, StopReason.WRITE_PROTECTED)
_DATA = (*_WRITES, StopReason.READ_UNMAPPED, StopReason.READ_PROTECTED, StopReason.UNALIGNED)
_WITHOUT_FLOATS, _WITH_TIMER = frozenset({"cortex-r5"}), frozenset({"cortex-a7", "cortex-a15"})


class _Vector(NamedTuple):
    offset: int
    mode: int
    link: int  #: LR is the address of the instruction plus this; in Thumb state the next row
    link_thumb: int
    masks: int


_UNDEFINED = _Vector(0x04, 0x1B, 4, 2, _IRQ_MASK)
_SVC = _Vector(0x08, 0x13, 4, 2, _IRQ_MASK)
_FETCH_ABORT = _Vector(0x0C, 0x17, 4, 4, _IRQ_MASK | _ABORT_MASK)
_DATA_ABORT = _Vector(0x10, 0x17, 8, 8, _IRQ_MASK | _ABORT_MASK)
_IRQ = _Vector(0x18, 0x12, 4, 4, _IRQ_MASK | _ABORT_MASK)


class Arm32(ArmProfile):
    """A 32-bit Arm CPU of the A or R profile (`emu.boards.profile.Profile`): `cortex-a7`, `-a8`, `-a9`, `-a15`,
    `-r5`, `-r5f`.

    Options are those of `ArmProfile`. A7 and A15 alone have the generic timer.
    """

    arch = "arm"

    @property
    def _has_timer(self) -> bool:
        return self.name in _WITH_TIMER

    def check_firmware(self, firmware: Firmware) -> None:
        firmware.check_arm_profile(self.name[7].upper(), self.name)
        super().check_firmware(firmware)

    def _clear(self, stack: int, *, floats: bool) -> None:
        cpu = self.cpu
        cpu.write_register("cpsr", _SUPERVISOR | 0x1C0)
        cpu.write_registers({f"r{number}": 0 for number in range(13)} | {"sp": stack, "lr": 0})
        if self.name not in _WITHOUT_FLOATS:
            cpu.write_registers({"cpacr": 0xF << 20 if floats else 0, "fpexc": 1 << 30 if floats else 0})
        for register in (_VBAR, _SCTLR):
            value = cpu.read_system(register)
            cpu.write_system(register, value & ~(_MMU | _HIGH_VECTORS) if register == _SCTLR else 0)

    # ------------------------------------------------------------ exceptions

    def _masked(self) -> bool:
        return bool(self.cpu.read_register("cpsr") & _IRQ_MASK)

    def take(self, pc: int) -> int:
        return self._enter(_IRQ, pc & -2)

    def _enter(self, vector: _Vector, pc: int) -> int:
        cpu = self.cpu
        before, control = cpu.read_register("cpsr"), cpu.read_system(_SCTLR)
        state = before & ~(_MODE | _THUMB | _IT | _BIG) | vector.mode | vector.masks
        thumb = bool(control & _EXCEPTIONS_THUMB)
        state |= (_BIG if control & _EXCEPTIONS_BIG else 0) | (_THUMB if thumb else 0)
        link = pc + (vector.link_thumb if before & _THUMB else vector.link) & 0xFFFF_FFFF
        cpu.write_registers((("cpsr", state), ("spsr", before), ("lr", link)))  # the mode changes its registers
        base = 0xFFFF_0000 if control & _HIGH_VECTORS else cpu.read_system(_VBAR)
        target = self._vector(base + vector.offset, pc)
        cpu.continue_at(target)
        self.changed = True
        return target | thumb

    def _exception(self, stop: Stop) -> int | None:
        reason, cpu = stop.reason, self.cpu
        if reason is StopReason.SYSCALL:
            return self._enter(_SVC, stop.pc)
        if reason in _FETCHES:
            breakpoint_ = reason is StopReason.BREAKPOINT
            cpu.write_system(_FETCH_STATUS, _DEBUG if breakpoint_ else _EXTERNAL)
            if not breakpoint_:
                cpu.write_system(_FETCH_ADDRESS, stop.pc)
            return self._enter(_FETCH_ABORT, stop.pc)
        if reason in _DATA:
            write = _WRITE if reason in _WRITES else 0
            cpu.write_system(_DATA_STATUS, (_ALIGNMENT if reason is StopReason.UNALIGNED else _EXTERNAL) | write)
            cpu.write_system(_DATA_ADDRESS, stop.address or 0)
            return self._enter(_DATA_ABORT, stop.pc)
        if reason in (StopReason.INVALID_INSTRUCTION, StopReason.EXCEPTION):
            self._refuse_calls(stop.pc)
            return self._enter(_UNDEFINED, stop.pc)
        return None

    def _refuse_calls(self, pc: int) -> None:
        try:
            word = self.memory.read_uint(pc, 4)
        except AddressSpaceError:
            return
        if self.cpu.code_state:
            word = word >> 16 | (word & 0xFFFF) << 16
            call = {0xF7F0_8000: "smc", 0xF7E0_8000: "hvc"}.get(word & 0xFFF0_F000)
        else:
            call = {0x0160_0070: "smc", 0x0140_0070: "hvc"}.get(word & 0x0FF0_00F0)
        if call is not None:
            raise NotModelled(f"{call} at {pc:#x}: there is neither a secure monitor nor a hypervisor")

    def after_wait(self, stop: Stop) -> int:
        thumb = self.cpu.code_state
        narrow = thumb and self.memory.read_uint(stop.pc, 2) < 0xE800
        return stop.pc + (2 if narrow else 4) | thumb

    # ------------------------------------------------------------ instructions

    def _finder(self) -> Finder:
        def find(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
            others = arm(code, address, to_branch=to_branch)
            return heapq.merge(accesses(code, address), others, key=attrgetter("address"))

        def accesses(code: bytes, address: int) -> Iterator[Misrun]:
            for at in range(0, len(code) - 3, 2):
                word = int.from_bytes(code[at : at + 4], "little")
                place = address + at
                if not place & 3 and (run := self._access(word)) is not None:
                    yield Misrun(place, 4, partial(self._run, run, word >> 28, False))
                elif (
                    word & 0xFD00 == 0xEC00
                    and (run := self._access(word >> 16 | (word & 0xFFFF) << 16)) is not None
                ):
                    yield Misrun(place, 4, partial(self._run, run, 14, True))

        return find

    def _access(self, word: int) -> Callable[[Guest], None] | None:
        """What an instruction of A32 (a condition is not looked at) does with CP15, if it is computed here."""
        if word >> 28 == 15 or word >> 8 & 15 != 15:
            return None
        read, crm = bool(word >> 20 & 1), word & 15
        first = word >> 12 & 15
        if word & 0x0F00_0010 == 0x0E00_0010:
            place = word >> 21 & 7, word >> 16 & 15, crm, word >> 5 & 7
            if place == (0, 1, 0, 0) and not read:
                return lambda guest: self._write_control(guest.read_register(f"r{first}"))
            return self._timer_access(place, read, first)
        if word & 0x0FE0_0000 == 0x0C40_0000 and crm == 14 and self._has_timer:
            return self._wide_access(word >> 4 & 15, read, first, word >> 16 & 15)
        return None

    def _timer_access(
        self, place: tuple[int, int, int, int], read: bool, register: int
    ) -> Callable[[Guest], None] | None:
        if not self._has_timer or place[:2] != (0, 14):
            return None
        if place[2:] == (0, 0) and read:
            return lambda guest: guest.write_register(f"r{register}", self.timer.frequency)
        one = {2: self.timer.physical, 3: self.timer.virtual}.get(place[2])
        name = {0: VALUE, 1: CONTROL}.get(place[3])
        if one is None or name is None:
            return None
        if read:
            return lambda guest: guest.write_register(f"r{register}", one.read(name))
        return lambda guest: one.write(name, guest.read_register(f"r{register}"))

    def _wide_access(self, opcode: int, read: bool, low: int, high: int) -> Callable[[Guest], None] | None:
        """MRRC and MCRR."""
        timers: dict[int, Timer] = {2: self.timer.physical, 3: self.timer.virtual}

        def run(guest: Guest) -> None:
            if not read:
                value = guest.read_register(f"r{low}") | guest.read_register(f"r{high}") << 32
                timers[opcode].write(COMPARE, value)
                return
            value = self.timer.count() if opcode < 2 else timers[opcode].read(COMPARE)
            guest.write_register(f"r{low}", value & 0xFFFF_FFFF)
            guest.write_register(f"r{high}", value >> 32)

        return run if opcode in timers or (opcode < 2 and read) else None

    def _run(self, access: Callable[[Guest], None], condition: int, thumb: bool, guest: Guest) -> Outcome:
        state = guest.read_register("cpsr")
        if bool(state & _THUMB) != thumb or (not thumb and not _passes(condition, state)):
            return Outcome.PREPARED
        if thumb and state & _IT:
            raise NotModelled("access to SCTLR or the generic timer in an IT block")
        access(guest)
        return Outcome.DONE

    def _write_control(self, value: int) -> None:
        if value & _MMU:
            raise NotModelled("MMU and MPU (SCTLR.M) are not modelled: addresses are physical")
        self.cpu.write_system(_SCTLR, value)


def _passes(condition: int, state: int) -> bool:
    """Whether a condition holds (ARM ARM, A8.3)."""
    negative, zero, carry, overflow = (bool(state >> bit & 1) for bit in (31, 30, 29, 28))
    tests = (
        zero, carry, negative, overflow, carry and not zero, negative == overflow,
        negative == overflow and not zero, True,
    )  # fmt: skip
    return tests[condition >> 1] != bool(condition & 1 and condition < 14)

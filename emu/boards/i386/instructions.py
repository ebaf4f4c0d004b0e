"""Instructions that the board executes in place of the engine: IN and OUT, STI, RDTSC, and moves to CR0."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emu.boards.errors import NotModelled
from emu.cpu.corrections.find_x86 import X86
from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.misrun import Guest, Misrun, Outcome, Then

if TYPE_CHECKING:
    from emu.boards.bus import Bus

_NO_FPU = 0xC  #: CR0.EM and CR0.TS
_NAMES = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
_PAGING, _PROTECTED = 1 << 31, 1
_INTERRUPT = 1 << 9
#: Any of their opcodes.
_SUSPECT = re.compile(rb"[\xe4-\xe7\xec-\xef\x6c-\x6f\xfb]|\x0f[\x05\x07\x22\x31\x34\x35]|\x0f\x01\xf9", re.DOTALL)
_CALLS = (0x05, 0x07, 0x34, 0x35)  #: after 0x0f
_Run = Callable[[Guest], "Outcome | Then"]


class System(Protocol):
    """The part of a profile that these instructions use."""

    ports: Bus

    def may_access(self, port: int, size: int) -> bool:
        """Whether the code that runs may access a port."""

    def deny(self) -> Outcome:
        """The instruction is a general protection fault, which the engine would not raise."""

    def no_device(self, port: int, size: int) -> int:
        """The value read from a port without a device. Raises DeviceError."""

    def enable_interrupts(self) -> None:
        """STI has been executed."""

    def time(self) -> int:
        """The time-stamp counter."""


class SystemX86(X86):
    """The finder of `emu.cpu.corrections.find_x86`, and these instructions."""

    def __init__(self, system: System) -> None:
        super().__init__(32)
        self._system = system
        self._suspect = re.compile(self._suspect.pattern + b"|" + _SUSPECT.pattern, re.DOTALL)

    def _system_instruction(self, code: X86Code) -> Misrun | None:
        first, second, third = code.opcode[:3]
        run: _Run | None = None
        if first in (0xE4, 0xE5, 0xEC, 0xED):
            run = self._in(code, first, second)
        elif first in (0xE6, 0xE7, 0xEE, 0xEF):
            run = self._out(code, first, second)
        elif 0x6C <= first <= 0x6F:
            run = _refuse_strings
        elif first == 0x0F and second in _CALLS:
            run = _refuse_calls
        elif first == 0xFB:
            run = self._sti
        elif (first, second) == (0x0F, 0x31) or (first, second, third) == (0x0F, 0x01, 0xF9):
            run = self._rdtsc if second == 0x31 else self._rdtscp
        elif (first, second) == (0x0F, 0x22) and third >> 3 & 7 == 0:
            run = _to_cr0(_NAMES[third & 7])
        return None if run is None or not code.size else code.replaced(run)

    def _mmx_traps(self, guest: Guest) -> bool:
        return bool(guest.read_register("cr0") & _NO_FPU)

    def _in(self, code: X86Code, opcode: int, immediate: int) -> _Run:
        size = _size(code, opcode)

        def run(guest: Guest) -> Outcome:
            port = immediate if opcode < 0xE8 else guest.read_register("edx") & 0xFFFF
            if not self._system.may_access(port, size):
                return self._system.deny()
            value = self._read(port, size)
            kept = guest.read_register("eax") & ~((1 << 8 * size) - 1) & 0xFFFF_FFFF
            guest.write_register("eax", kept | value)
            return Outcome.DONE

        return run

    def _read(self, port: int, size: int) -> int:
        ports = self._system.ports
        if ports.device_at(port) is None:
            return self._system.no_device(port, size)
        return ports.read(port, size) & (1 << 8 * size) - 1

    def _out(self, code: X86Code, opcode: int, immediate: int) -> _Run:
        size = _size(code, opcode)

        def run(guest: Guest) -> Outcome:
            port = immediate if opcode < 0xE8 else guest.read_register("edx") & 0xFFFF
            if not self._system.may_access(port, size):
                return self._system.deny()
            value, ports = guest.read_register("eax") & (1 << 8 * size) - 1, self._system.ports
            if ports.device_at(port) is None:
                self._system.no_device(port, size)
            else:
                ports.write(port, size, value)
            return Outcome.DONE

        return run

    def _sti(self, guest: Guest) -> Outcome:
        flags = guest.read_register("eflags")
        if flags & _INTERRUPT or guest.read_register("cs") & 3 > flags >> 12 & 3:
            return Outcome.PREPARED  # nothing changes, or the engine faults
        guest.write_register("eflags", flags | _INTERRUPT)
        self._system.enable_interrupts()
        return Outcome.DONE

    def _rdtsc(self, guest: Guest) -> Outcome:
        now = self._system.time()
        guest.write_register("eax", now & 0xFFFF_FFFF)
        guest.write_register("edx", now >> 32 & 0xFFFF_FFFF)
        return Outcome.DONE

    def _rdtscp(self, guest: Guest) -> Outcome:
        guest.write_register("ecx", 0)
        return self._rdtsc(guest)


def _size(code: X86Code, opcode: int) -> int:
    return 1 if not opcode & 1 else 2 if 0x66 in code.prefixes else 4


def _refuse_strings(guest: Guest) -> Outcome:
    raise NotModelled("INS and OUTS are not modelled: use IN and OUT in a loop")


def _refuse_calls(guest: Guest) -> Outcome:
    raise NotModelled("SYSENTER, SYSEXIT, SYSCALL and SYSRET are not modelled: use an interrupt gate")


def _to_cr0(name: str) -> _Run:
    def run(guest: Guest) -> Outcome:
        value = guest.read_register(name)
        if not guest.read_register("cs") & 3:
            if value & _PAGING:
                raise NotModelled("paging (CR0.PG) is not modelled: addresses are physical")
            if not value & _PROTECTED:
                raise NotModelled("real mode (CR0.PE is cleared) is not modelled")
        return Outcome.PREPARED

    return run

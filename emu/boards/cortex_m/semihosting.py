"""Arm semihosting: console output and exit by `bkpt 0xab` (Arm, "Semihosting for AArch32 and AArch64").

The guest has no files of the host: an operation on any is refused by name.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from emu.boards.errors import NotModelled

if TYPE_CHECKING:
    from emu.cpu.protocol import DeviceCpu
    from emu.ports import Memory

BREAKPOINT: Final = b"\xab\xbe"
_MINUS_ONE: Final = 0xFFFF_FFFF
_APPLICATION_EXIT: Final = 0x2_0026  #: ADP_Stopped_ApplicationExit


class Operation(enum.IntEnum):
    """The operations, without SYS_."""

    OPEN, CLOSE, WRITEC, WRITE0, WRITE, READ, READC = range(1, 8)
    ISTTY, SEEK = 0x09, 0x0A
    FLEN, TMPNAM, REMOVE, RENAME, CLOCK, TIME, SYSTEM, ERRNO = range(0x0C, 0x14)
    GET_CMDLINE, HEAPINFO = 0x15, 0x16
    EXIT, EXIT_EXTENDED = 0x18, 0x20


class Semihosting:
    """The console of one board. `output` has all that was written; `on_text` is called with each piece."""

    def __init__(self, on_text: Callable[[str], object] | None = None) -> None:
        self.output = bytearray()
        self.on_text = on_text
        self.status: int | None = None  #: the exit status, once the guest has exited
        self.stop: Callable[[], None] = lambda: None  #: called at the exit

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")

    def call(self, cpu: DeviceCpu, memory: Memory, now: int, free: tuple[int, int]) -> None:
        """Perform the operation that the registers say; `free` is RAM for heap and stack. Raises NotModelled."""
        operation, argument = cpu.read_registers(("r0", "r1"))
        cpu.write_register("r0", self._perform(operation, argument, memory, now, free) & _MINUS_ONE)

    def _perform(self, operation: int, argument: int, memory: Memory, now: int, free: tuple[int, int]) -> int:
        match operation:
            case Operation.OPEN:
                name = memory.read(memory.read_uint(argument, 4), memory.read_uint(argument + 8, 4))
                return 1 if name == b":tt" else _MINUS_ONE
            case Operation.CLOSE | Operation.FLEN | Operation.ERRNO:
                return 0
            case Operation.WRITEC:
                self._write(memory.read(argument, 1))
            case Operation.WRITE0:
                self._write(memory.read_cstring(argument))
            case Operation.WRITE:
                self._write(memory.read(memory.read_uint(argument + 4, 4), memory.read_uint(argument + 8, 4)))
            case Operation.READ:  # the number of bytes not read
                return memory.read_uint(argument + 8, 4)
            case Operation.READC | Operation.SEEK:  # the end of the input; a console cannot be sought in
                return _MINUS_ONE
            case Operation.ISTTY:
                return 1
            case Operation.CLOCK | Operation.TIME:
                return now // 1_000_000
            case Operation.GET_CMDLINE:  # empty
                memory.write(memory.read_uint(argument, 4), b"\0")
                memory.write_uint(argument + 4, 4, 0)
            case Operation.HEAPINFO:  # base and limit of heap and stack, which grow towards each other
                memory.write(memory.read_uint(argument, 4), struct.pack("<4I", *free, free[1], free[0]))
            case Operation.EXIT:
                self._exit(argument, 0)
            case Operation.EXIT_EXTENDED:
                self._exit(memory.read_uint(argument, 4), memory.read_uint(argument + 4, 4))
            case _:
                shown = next((f"SYS_{each.name}" for each in Operation if each == operation), hex(operation))
                raise NotModelled(f"semihosting operation {shown}: there are no files")
        return 0

    def _exit(self, reason: int, code: int) -> None:
        self.status = code if reason == _APPLICATION_EXIT else 1
        self.stop()

    def _write(self, data: bytes) -> None:
        self.output += data
        if self.on_text is not None:
            self.on_text(data.decode("utf-8", "replace"))

"""Arm semihosting: console output and exit by `bkpt 0xab` (Arm, "Semihosting for AArch32 and AArch64").

The guest has no files of the host: an operation on any is refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from emu.boards.errors import NotModelled

if TYPE_CHECKING:
    from emu.cpu.protocol import DeviceCpu
    from emu.ports import Memory

BREAKPOINT: Final = b"\xab\xbe"
_MINUS_ONE: Final = 0xFFFF_FFFF
_NAMES = {0x0D: "SYS_TMPNAM", 0x0E: "SYS_REMOVE", 0x0F: "SYS_RENAME", 0x12: "SYS_SYSTEM"}


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
            case 0x01:  # SYS_OPEN
                name = memory.read(memory.read_uint(argument, 4), memory.read_uint(argument + 8, 4))
                return 1 if name == b":tt" else _MINUS_ONE
            case 0x02:
                return 0
            case 0x03:  # SYS_WRITEC
                self._write(memory.read(argument, 1))
            case 0x04:  # SYS_WRITE0
                self._write(memory.read_cstring(argument))
            case 0x05:  # SYS_WRITE
                self._write(memory.read(memory.read_uint(argument + 4, 4), memory.read_uint(argument + 8, 4)))
                return 0
            case 0x06:  # SYS_READ: the number of bytes not read
                return memory.read_uint(argument + 8, 4)
            case 0x0A | 0x0C:  # SYS_SEEK, SYS_FLEN of the console
                return _MINUS_ONE if operation == 0x0A else 0
            case 0x07:  # SYS_READC: the end of the input
                return _MINUS_ONE
            case 0x09:  # SYS_ISTTY
                return 1
            case 0x10 | 0x11 | 0x13:  # SYS_CLOCK, SYS_TIME, SYS_ERRNO
                return 0 if operation == 0x13 else now // 1_000_000
            case 0x15:  # SYS_GET_CMDLINE: empty
                memory.write(memory.read_uint(argument, 4), b"\0")
                memory.write_uint(argument + 4, 4, 0)
                return 0
            case 0x16:  # SYS_HEAPINFO: base and limit of heap and stack, which grow towards each other
                memory.write(memory.read_uint(argument, 4), struct.pack("<4I", *free, free[1], free[0]))
            case 0x18 | 0x20:  # SYS_EXIT, SYS_EXIT_EXTENDED
                reason = argument if operation == 0x18 else memory.read_uint(argument, 4)
                code = 0 if operation == 0x18 else memory.read_uint(argument + 4, 4)
                self.status = code if reason == 0x2_0026 else 1
                self.stop()
            case _:
                raise NotModelled(
                    f"semihosting operation {_NAMES.get(operation, hex(operation))}: there are no files"
                )
        return 0

    def _write(self, data: bytes) -> None:
        self.output += data
        if self.on_text is not None:
            self.on_text(data.decode("utf-8", "replace"))

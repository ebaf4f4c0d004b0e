"""One x86 instruction, apart: prefixes, opcode, and its operands by the disassembler."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from emu.cpu.misrun import Guest, Misrun, Outcome, Then
from emu.cpu.x86_disassembler import disassembler
from relink.records import dataclass

LEGACY_PREFIXES: Final = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf2\xf3\xf0"
_PREFIXES: Final = frozenset(LEGACY_PREFIXES)
#: General registers by number.
GENERAL: Final = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16))
)  # fmt: skip
_REGISTER: Final = 1  #: CS_OP_REG of capstone
_SEGMENTS: Final = {"fs": "fs_base", "gs": "gs_base"}


@dataclass
class X86Code:
    """An instruction of `size` bytes (0: unknown to the disassembler) at `address`."""

    address: int
    size: int
    bits: int
    content: bytes  #: beginning with the instruction

    @cached_property
    def prefixes(self) -> bytes:
        length = next((at for at, byte in enumerate(self.content) if byte not in _PREFIXES), len(self.content))
        return self.content[:length]

    @cached_property
    def rex(self) -> int:
        """The REX prefix, or 0."""
        at = len(self.prefixes)
        return (
            self.content[at] if self.bits == 64 and self.content[at : at + 1] and self.content[at] >> 4 == 4 else 0
        )

    @cached_property
    def opcode(self) -> bytes:
        """At least four bytes from the opcode on; 0xff after the end of the code."""
        return self.content[len(self.prefixes) + bool(self.rex) :].ljust(4, b"\xff")

    @property
    def wide(self) -> bool:
        """Whether REX.W is set."""
        return bool(self.rex & 8)

    @property
    def mandatory(self) -> int:
        """The prefix that selects an SSE instruction: 0xf2, 0xf3, 0x66, or 0."""
        repeats = [prefix for prefix in self.prefixes if prefix in (0xF2, 0xF3)]
        return repeats[-1] if repeats else 0x66 if 0x66 in self.prefixes else 0

    @cached_property
    def instruction(self) -> Any:
        return disassembler(self.bits).instruction(self.content[: self.size], self.address)

    @cached_property
    def names(self) -> list[str]:
        """The names of register operands; "" for others."""
        instruction = self.instruction
        return [
            str(instruction.reg_name(each.reg)) if each.type == _REGISTER else "" for each in instruction.operands
        ]

    def immediate(self) -> int:
        """The last operand, of a byte."""
        return self.content[self.size - 1]

    def source(self, guest: Guest, operand: int, size: int) -> int:
        """The value of a register operand, or `size` bytes of a memory operand."""
        name = self.names[operand]
        if name:
            return guest.read_register(name)
        return int.from_bytes(guest.load(self.location(guest, operand), size), "little")

    def location(self, guest: Guest, operand: int = 0) -> int:
        """The address of a memory operand."""
        instruction, memory = self.instruction, self.instruction.operands[operand].mem

        def value(register: int) -> int:
            name = instruction.reg_name(register) if register else ""
            if name in ("rip", "eip"):
                return self.address + self.size
            return guest.read_register(name) if name else 0

        address = value(memory.base) + value(memory.index) * memory.scale + memory.disp
        segment = instruction.reg_name(memory.segment) if memory.segment else ""
        if segment in _SEGMENTS:
            address += guest.read_register(_SEGMENTS[segment])
        return int(address) & (1 << self.bits) - 1

    def replaced(
        self, run: Callable[[Guest], Outcome | Then], *, corrected: bool = False, inexact: bool = False
    ) -> Misrun:
        return Misrun(self.address, self.size, run, corrected, inexact)

    def refused(self) -> Misrun:
        return Misrun(self.address, self.size or 1, None)

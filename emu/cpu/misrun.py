"""Instructions that Unicorn executes wrongly without an error; each new block is searched for them before it runs.

- x86 VEX and EVEX instructions run as their two-operand SSE forms (unicorn 1656, 1666), except for BMI's, which
  are right, and AMD's XOP instructions run as a pop: refused.
- x87's transcendental functions and remainders, and SSE4.2's string comparisons (unicorn 1874): computed by
  `emu.cpu.x87` and `emu.cpu.string_compare`.
- Instructions that read or write MXCSR: executed after `emu.cpu.sse_flags` has updated its flags.
- RISC-V reserved 16-bit instructions, among them Zcb's, run as no-ops: refused.
- rdtime, which Unicorn refuses: computed.

Unicorn itself refuses other unsupported instructions. The functions here only read bytes and registers;
`emu.cpu.unicorn` stops the guest before an instruction that is found.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

from emu.cpu import string_compare, x87
from emu.cpu.unicorn_isas import ISAS
from relink.records import dataclass


class Guest(Protocol):
    """The registers and memory for an instruction that is computed here."""

    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...
    def load(self, address: int, size: int) -> bytes: ...
    def settle_flags(self) -> None: ...


class Outcome(Enum):
    """How the guest continues after a `Misrun`."""

    DONE = auto()  #: the instruction is done: the guest continues after it
    PREPARED = auto()  #: the engine must execute the instruction now
    REFUSED = auto()


@dataclass(frozen=True)
class Misrun:
    """An instruction of `size` bytes at `address`. `run` replaces it; None: it is refused."""

    address: int
    size: int
    run: Callable[[Guest], Outcome] | None


class Finder(Protocol):
    """Finds such instructions in code at an address, in order, up to the first that is refused; with `to_branch`,
    up to the first branch.
    """

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]: ...


_LONGEST = 15  #: maximum size of an x86 instruction in bytes


# ---------------------------------------------------------------- x86

_FXSAVE_GROUP, _XSAVES_GROUP, _LDMXCSR = 0xAE, 0xC7, 2
#: Byte after 0f -> bits 3 to 5 of the next byte, for instructions that transfer MXCSR from or to memory: fxsave,
#: fxrstor, ldmxcsr, stmxcsr, xsave, xrstor and xsaveopt; xrstors, xsavec and xsaves.
_MXCSR = {_FXSAVE_GROUP: frozenset(range(7)), _XSAVES_GROUP: frozenset({3, 4, 5})}


def _mxcsr_codes() -> Iterator[bytes]:
    for opcode, group in _MXCSR.items():
        operands = bytes(byte for byte in range(0xC0) if byte >> 3 & 7 in group)  # 0xc0 and up: registers
        yield b"\x0f" + re.escape(bytes((opcode,))) + b"[" + re.escape(operands) + b"]"


_SUSPECT = re.compile(
    b"|".join((rb"[\xc4\xc5\x62\x8f]|\xd9[\xf0-\xff]|\x0f\x3a[\x60-\x63]", *_mxcsr_codes())), re.DOTALL
)
_BRANCHES = ("j", "call", "ret", "loop", "int", "iret", "sys", "hlt", "ud2")
_PREFIXES = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf2\xf3\xf0")
_VEX3, _VEX2, _EVEX = 0xC4, 0xC5, 0x62
_XOP = 0x8F  #: also pop to memory, which has zeros where XOP has its opcode map
#: (opcode map, opcode) of VEX codes on general registers: BMI1 and BMI2, which Unicorn has.
_BMI = frozenset({(2, 0xF2), (2, 0xF3), (2, 0xF5), (2, 0xF6), (2, 0xF7), (3, 0xF0)})


class _X86:
    """Finds such instructions in x86 code of `bits`."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._disassembler: Any = None

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        if _SUSPECT.search(code) is None:
            return
        position = 0
        while position < len(code):
            piece = code[position : position + _LONGEST]
            size, name = self._decoded(piece, address + position)
            found = self._judge(piece, address + position, size)
            if found is not None:
                yield found
                if found.run is None:
                    return
            if not size or (to_branch and name.startswith(_BRANCHES)):
                return
            position += size

    def _decoded(self, code: bytes, address: int) -> tuple[int, str]:
        """(size of the instruction, its name); (0, "") when the disassembler does not know it."""
        if self._disassembler is None:
            import capstone

            self._disassembler = capstone.Cs(
                capstone.CS_ARCH_X86, capstone.CS_MODE_64 if self._bits == 64 else capstone.CS_MODE_32
            )
            self._disassembler.detail = True
        rows = self._disassembler.disasm_lite(code, address, 1)
        return next(((int(row[1]), str(row[2])) for row in rows), (0, ""))

    def _judge(self, code: bytes, address: int, size: int) -> Misrun | None:
        start = next((at for at, byte in enumerate(code) if byte not in _PREFIXES), len(code))
        opcode = code[start : start + 8]
        if len(opcode) < 2:
            return None
        if opcode[0] in (_VEX2, _VEX3, _EVEX) and (self._bits == 64 or opcode[1] >> 6 == 3):
            vex3 = opcode[0] == _VEX3 and len(opcode) > 3
            if not (vex3 and (opcode[1] & 31, opcode[3]) in _BMI and not opcode[2] & 4):
                return Misrun(address, size or 1, None)
            return None
        if opcode[0] == _XOP and opcode[1] >> 3 & 7:
            return Misrun(address, size or 1, None)
        if opcode[0] == 0xD9 and opcode[1] in x87.OPCODES:
            return Misrun(address, size, partial(_run_x87, opcode[1]))
        rex = opcode[0] if self._bits == 64 and opcode[0] >> 4 == 4 else 0
        first, second, third = opcode[bool(rex) : 3 + bool(rex)].ljust(3, b"\xff")
        if first == 0x0F and third < 0xC0 and third >> 3 & 7 in _MXCSR.get(second, ()) and size:
            return self._mxcsr(code[:size], address, second == _FXSAVE_GROUP and third >> 3 & 7 == _LDMXCSR)
        if (first, second) == (0x0F, 0x3A) and 0x60 <= third <= 0x63 and 0x66 in code[:start] and size:
            return self._string_comparison(code[:size], address, third, wide=bool(rex & 8))
        return None

    def _mxcsr(self, code: bytes, address: int, loads: bool) -> Misrun:
        """The engine executes it with an up-to-date MXCSR. It is refused if it unmasks exceptions, which the
        engine does not raise.
        """
        (instruction,) = self._disassembler.disasm(code, address, 1)
        place = instruction.operands[0].mem

        def run(guest: Guest) -> Outcome:
            guest.settle_flags()
            if loads:
                at = _effective_address(guest, instruction, place, self._bits, address + len(code))
                if ~int.from_bytes(guest.load(at, 4), "little") & _MASKS:
                    return Outcome.REFUSED
            return Outcome.PREPARED

        return Misrun(address, len(code), run)

    def _string_comparison(self, code: bytes, address: int, opcode: int, *, wide: bool) -> Misrun:
        (instruction,) = self._disassembler.disasm(code, address, 1)
        first, second, control = instruction.operands
        prefix = "r" if self._bits == 64 else "e"

        def run(guest: Guest) -> Outcome:
            one = guest.read_register(instruction.reg_name(first.reg))
            if second.type == _MEMORY:
                at = _effective_address(guest, instruction, second.mem, self._bits, address + len(code))
                two = int.from_bytes(guest.load(at, 16), "little")
            else:
                two = guest.read_register(instruction.reg_name(second.reg))
            string_compare.compare(guest, opcode, control.imm & 0xFF, one, two, wide=wide, prefix=prefix)
            return Outcome.DONE

        return Misrun(address, len(code), run)


def _run_x87(number: int, guest: Guest) -> Outcome:
    x87.execute(guest, number)
    return Outcome.DONE


_MASKS = 0x1F80  #: the mask bits of MXCSR: exceptions that do not trap
_MEMORY = 3  #: CS_OP_MEM of capstone 5
_SEGMENTS = {"fs": "fs_base", "gs": "gs_base"}


def _effective_address(guest: Guest, instruction: Any, memory: Any, bits: int, following: int) -> int:
    """The address of a memory operand."""

    def value(register: int) -> int:
        name = instruction.reg_name(register) if register else ""
        if name in ("rip", "eip"):
            return following
        return guest.read_register(name) if name else 0

    address = value(memory.base) + value(memory.index) * memory.scale + memory.disp
    segment = instruction.reg_name(memory.segment) if memory.segment else ""
    if segment in _SEGMENTS:
        address += guest.read_register(_SEGMENTS[segment])
    return int(address) & (1 << bits) - 1


# ---------------------------------------------------------------- RISC-V

_RDTIME, _RDTIMEH = 0xC01, 0xC81
#: (mask, pattern) of c.j, c.beqz, c.bnez, and RV32's c.jal; c.jr, c.jalr and c.ebreak are handled separately.
_SHORT_BRANCHES = {32: frozenset({0xA001, 0xC001, 0xE001, 0x2001}), 64: frozenset({0xA001, 0xC001, 0xE001})}
_LONG_BRANCHES = frozenset({0x63, 0x67, 0x6F, 0x73})
_TICK = 100  #: nanoseconds per tick of the time counter: 10 MHz, as on QEMU's "virt" board


def _riscv(bits: int) -> Finder:
    branches = _SHORT_BRANCHES[bits]

    def find(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        position = 0
        while position + 2 <= len(code):
            half = code[position] | code[position + 1] << 8
            if half & 3 != 3:
                if _reserved(half, bits):
                    yield Misrun(address + position, 2, None)
                    return
                short = half & 0xE003 in branches or half & 0xF07F in (0x8002, 0x9002)
                if to_branch and short:
                    return
                position += 2
                continue
            word = int.from_bytes(code[position : position + 4], "little")
            if word & 0xFFFFF == word & 0xF80 | 0x02073 and word >> 20 in (_RDTIME, _RDTIMEH):
                yield Misrun(address + position, 4, _time(word >> 7 & 31, word >> 20, bits))
            if to_branch and word & 0x7F in _LONG_BRANCHES:
                return
            position += 4

    return find


def _reserved(half: int, bits: int) -> bool:
    """Whether a 16-bit code is reserved in RV32GC or RV64GC (RISC-V unprivileged ISA, "C" extension, 28.8)."""
    quadrant, function, register = half & 3, half >> 13, half >> 7 & 31
    if quadrant == 0:
        return function == 4 or (function == 0 and not half >> 5 & 0xFF)
    immediate = (half >> 2 & 31) | (half >> 7 & 32)
    if quadrant == 1:
        if function == 3:
            return not immediate
        if function == 1:
            return bits == 64 and not register
        if function == 4 and half >> 10 & 3 == 3:
            return bool(half >> 12 & 1) and (bits == 32 or half >> 5 & 3 >= 2)
        shift = function == 4 and half >> 10 & 3 < 2
        return shift and bits == 32 and bool(half >> 12 & 1)
    if function == 0:
        return bits == 32 and bool(half >> 12 & 1)
    if function in (2, 3):
        return not register and (function == 2 or bits == 64)
    return half == 0x8002


def _time(register: int, counter: int, bits: int) -> Callable[[Guest], Outcome]:
    """Read the time counter, which starts at an arbitrary moment."""

    def run(guest: Guest) -> Outcome:
        ticks = time.monotonic_ns() // _TICK
        if register:
            value = ticks >> 32 if counter == _RDTIMEH else ticks
            guest.write_register(f"x{register}", value & (1 << bits) - 1)
        return Outcome.DONE

    return run


#: By engine and mode of `UnicornIsa`.
_FINDERS: Mapping[tuple[str, str], Finder] = {
    ("X86", "64"): _X86(64),
    ("X86", "32"): _X86(32),
    ("RISCV", "RISCV64"): _riscv(64),
    ("RISCV", "RISCV32"): _riscv(32),
}
#: By ISA; ISAs that Unicorn executes correctly have none.
FINDERS: Mapping[str, Finder] = {
    arch: _FINDERS[row.engine, row.mode] for arch, row in ISAS.items() if (row.engine, row.mode) in _FINDERS
}

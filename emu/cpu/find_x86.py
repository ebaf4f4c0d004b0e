"""x86 instructions that Unicorn executes wrongly:

- VEX and EVEX instructions run as their two-operand SSE forms (unicorn 1656, 1666), except for BMI's, which are
  right, and AMD's XOP instructions run as a pop: refused.
- x87's transcendental functions and remainders, and SSE4.2's string comparisons (unicorn 1874): computed by
  `emu.cpu.x87` and `emu.cpu.string_compare`.
- lahf and sahf with a REX prefix, and some cmpxchg with a register: refused.
- Horizontal sums of a register with itself: computed by `emu.cpu.horizontal`.
- Instructions that read or write the flags of MXCSR and of x87's status word: executed after `emu.cpu.float_state`
  has updated the flags (unicorn 2006).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from emu.cpu import horizontal, string_compare, x87
from emu.cpu.misrun import Guest, Misrun, Outcome

_LONGEST = 15  #: maximum size of an instruction in bytes
_FXSAVE_GROUP, _XSAVES_GROUP = 0xAE, 0xC7
_FXRSTOR, _LDMXCSR, _XRSTOR = 1, 2, 5
#: Byte after 0f -> bits 3 to 5 of the next byte, for instructions that transfer MXCSR from or to memory: fxsave,
#: fxrstor, ldmxcsr, stmxcsr, xsave, xrstor and xsaveopt; xrstors, xsavec and xsaves.
_MXCSR = {_FXSAVE_GROUP: frozenset(range(7)), _XSAVES_GROUP: frozenset({3, 4, 5})}
#: The same after d9 and dd, for x87's status word: fldenv, fnstenv; frstor, fnsave, fnstsw.
_STATUS = {0xD9: frozenset({4, 6}), 0xDD: frozenset({4, 6, 7})}
_FNSTSW_AX, _FNCLEX, _FNINIT = b"\xdf\xe0", b"\xdb\xe2", b"\xdb\xe3"
#: Instructions that use only ah of the status word, which has no exception flags: sahf; test or and with ah; test
#: ax or eax.
_CONDITIONS_ONLY = re.compile(rb"\x9e|\xf6\xc4|\x80\xe4|(\x66\xa9|\xa9)\x00", re.DOTALL)


def _in_memory(opcode: bytes, group: frozenset[int]) -> bytes:
    """A pattern for an opcode whose next byte, ModRM, has a reg field in the group and a memory operand."""
    operands = bytes(byte for byte in range(0xC0) if byte >> 3 & 7 in group)  # 0xc0 and up: registers
    return re.escape(opcode) + b"[" + re.escape(operands) + b"]"


def _suspect(bits: int) -> re.Pattern[bytes]:
    """A pattern that does not occur in code without such instructions."""
    patterns = [rb"[\xc4\xc5\x62\x8f]|\xd9[\xf0-\xff]|\x0f\x3a[\x60-\x63]|\xdf\xe0|\xdb[\xe2\xe3]"]
    patterns += [_in_memory(bytes((0x0F, second)), group) for second, group in _MXCSR.items()]
    patterns += [_in_memory(bytes((first,)), group) for first, group in _STATUS.items()]
    patterns.append(rb"\x0f\x38[\x01-\x07][\xc0-\xff]")
    if bits == 64:
        patterns.append(rb"[\x40-\x4f][\x9e\x9f]|\x0f\xb1[\xc0-\xff]")
    return re.compile(b"|".join(patterns), re.DOTALL)


_BRANCHES = ("j", "call", "ret", "loop", "int", "iret", "sys", "hlt", "ud2")
_PREFIXES = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf2\xf3\xf0")
_VEX3, _VEX2, _EVEX = 0xC4, 0xC5, 0x62
_XOP = 0x8F  #: also pop to memory, which has zeros where XOP has its opcode map
#: (opcode map, opcode) of VEX codes on general registers: BMI1 and BMI2, which Unicorn has.
_BMI = frozenset({(2, 0xF2), (2, 0xF3), (2, 0xF5), (2, 0xF6), (2, 0xF7), (3, 0xF0)})


class X86:
    """Finds such instructions in x86 code of `bits`."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._suspect = _suspect(bits)
        self._disassembler: Any = None

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        if self._suspect.search(code) is None:
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
        found = self._status_word(opcode[bool(rex) :].ljust(2, b"\xff"), address, size)
        first, second, third = opcode[bool(rex) : 3 + bool(rex)].ljust(3, b"\xff")
        if first == 0x0F and third < 0xC0 and third >> 3 & 7 in _MXCSR.get(second, ()) and size:
            found = self._mxcsr(code[:size], address, third >> 3 & 7 if second == _FXSAVE_GROUP else 0)
        elif (first, second) == (0x0F, 0x3A) and 0x60 <= third <= 0x63 and 0x66 in code[:start] and size:
            found = self._string_comparison(code[:size], address, third, wide=bool(rex & 8))
        elif (first, second) == (0x0F, 0x38) and third in horizontal.OPERATIONS and size:
            found = self._horizontal(
                opcode[3 + bool(rex)], rex, third, Misrun(address, size, None), 0x66 in code[:start]
            )
        elif rex and first in (_SAHF, _LAHF):
            found = Misrun(address, size, None)
        elif self._bits == 64 and (first, second) == (0x0F, 0xB1) and third >= 0xC0 and not rex & 8 and size:
            found = self._exchange(third & 7 | (rex & 1) << 3, address, size)
        return found

    def _horizontal(self, operands: int, rex: int, opcode: int, refused: Misrun, wide: bool) -> Misrun | None:
        """Computed only for a register with itself; MMX registers are not accessible."""
        register = operands >> 3 & 7 | (rex & 4) << 1
        if operands < 0xC0 or register != operands & 7 | (rex & 1) << 3:
            return None
        if not wide:
            return refused

        def run(guest: Guest) -> Outcome:
            horizontal.execute(guest, f"xmm{register}", opcode)
            return Outcome.DONE

        return Misrun(refused.address, refused.size, run)

    def _status_word(self, opcode: bytes, address: int, size: int) -> Misrun | None:
        """The engine executes it with an up-to-date status word."""
        code = opcode[:2].ljust(2, b"\xff")  # the code may end after one byte
        reads = code == _FNSTSW_AX and not _CONDITIONS_ONLY.match(opcode, 2)
        in_memory = code[1] < 0xC0 and code[1] >> 3 & 7 in _STATUS.get(code[0], ())
        if reads or in_memory or code in (_FNCLEX, _FNINIT):
            return Misrun(address, size, _settled)
        return None

    def _exchange(self, number: int, address: int, size: int) -> Misrun:
        """32-bit cmpxchg with a register: if the comparison fails, Unicorn clears the register's upper half."""
        name = _GENERAL[number]

        def run(guest: Guest) -> Outcome:
            one, other = guest.read_register("rax"), guest.read_register(name)
            harmless = not other >> 32 or not (one ^ other) & 0xFFFF_FFFF
            return Outcome.PREPARED if harmless else Outcome.REFUSED

        return Misrun(address, size, run)

    def _mxcsr(self, code: bytes, address: int, kind: int) -> Misrun:
        """The engine executes it with an up-to-date MXCSR. It is refused if it unmasks exceptions, which the
        engine does not raise.
        """
        (instruction,) = self._disassembler.disasm(code, address, 1)
        place = instruction.operands[0].mem

        def run(guest: Guest) -> Outcome:
            guest.settle_flags()
            if kind not in (_FXRSTOR, _LDMXCSR, _XRSTOR):
                return Outcome.PREPARED
            at = _effective_address(guest, instruction, place, self._bits, address + len(code))
            value = int.from_bytes(guest.load(at if kind == _LDMXCSR else at + _MXCSR_IN_AREA, 4), "little")
            if kind != _LDMXCSR or value >> 16:  # reserved bits: the engine faults
                guest.flush_to_zero(value)
                return Outcome.PREPARED
            if ~value & _MASKS:
                return Outcome.REFUSED
            guest.write_register("mxcsr", value)
            return Outcome.DONE

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


def _settled(guest: Guest) -> Outcome:
    guest.settle_flags()
    return Outcome.PREPARED


def _run_x87(number: int, guest: Guest) -> Outcome:
    x87.execute(guest, number)
    return Outcome.DONE


_SAHF, _LAHF = 0x9E, 0x9F  #: with a REX prefix Unicorn uses spl instead of ah
_GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
_MXCSR_IN_AREA = 24  #: offset of MXCSR in fxsave's area
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

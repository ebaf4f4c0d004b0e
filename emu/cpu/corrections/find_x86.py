"""x86 instructions that Unicorn executes wrongly:

- VEX and EVEX instructions run as their two-operand SSE forms (unicorn 1656, 1666), except for BMI's, which are
  right, and AMD's XOP instructions run as a pop: refused.
- x87: `emu.cpu.corrections.find_x87`, `emu.cpu.corrections.find_x87_stack`; SSE and MMX:
  `emu.cpu.corrections.find_sse`, `emu.cpu.corrections.find_mmx`.
- SSE4.2's string comparisons by "equal ordered" (unicorn 1874), and of lengths in registers, some of which end the
  process: computed by `emu.cpu.corrections.string_compare`.
- lahf and sahf with a REX prefix: refused. The upper half of registers: `emu.cpu.corrections.find_upper`.
- Prefixes: `emu.cpu.corrections.find_prefixes`. Privileged instructions: `emu.cpu.corrections.find_privileged`.
- Dot products: `emu.cpu.corrections.find_dot_product`.
- Horizontal sums of a register with itself: computed by `emu.cpu.corrections.horizontal`.
- Instructions that read or write MXCSR: executed after `emu.cpu.unicorn.float_state` has updated its flags
  (unicorn 2006).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from emu.cpu.corrections import (
    find_mmx,
    find_prefixes,
    find_privileged,
    find_sse,
    find_upper,
    find_x87,
    find_x87_stack,
)
from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.misrun import Guest, Misrun, Outcome, Then
from emu.cpu.x86_disassembler import disassembler

_LONGEST = 15  #: maximum size of an instruction in bytes
_FXSAVE_GROUP, _XSAVES_GROUP = 0xAE, 0xC7
_FXRSTOR, _LDMXCSR, _XRSTOR = 1, 2, 5
#: Byte after 0f -> bits 3 to 5 of the next byte, for instructions that transfer MXCSR from or to memory: fxsave,
#: fxrstor, ldmxcsr, stmxcsr, xsave, xrstor and xsaveopt; xrstors, xsavec and xsaves.
_MXCSR = {_FXSAVE_GROUP: frozenset(range(7)), _XSAVES_GROUP: frozenset({3, 4, 5})}
#: No operations that the disassembler does not know, some of which later processors define (SDM volume 2, "NOP").
_RESERVED_NOP = re.compile(rb"\A([\x26\x2e\x36\x3e\x64-\x67\xf2\xf3]*[\x40-\x4f]?\x0f)[\x18-\x1e]", re.DOTALL)
_BRANCHES = ("j", "call", "ret", "loop", "int", "iret", "sys", "hlt", "ud2")
_VEX3, _VEX2, _EVEX = 0xC4, 0xC5, 0x62
_XOP = 0x8F  #: also pop to memory, which has zeros where XOP has its opcode map
#: (opcode map, opcode) of VEX codes on general registers: BMI1 and BMI2, which Unicorn has.
_BMI = frozenset({(2, 0xF2), (2, 0xF3), (2, 0xF5), (2, 0xF6), (2, 0xF7), (3, 0xF0)})
_SAHF, _LAHF = 0x9E, 0x9F  #: with a REX prefix Unicorn uses spl instead of ah
_MXCSR_IN_AREA, _PARTS_IN_AREA = 24, 512  #: offsets in fxsave's area, and behind it in xsave's
_X87_PART, _SSE_PARTS = 1, 6  #: bits of what xrstor restores
_MASKS = 0x1F80  #: the mask bits of MXCSR: exceptions that do not trap
_EXPLICIT = (0x60, 0x61)  #: the opcodes of string comparisons with lengths in registers
_DOT_PRODUCTS = (0x40, 0x41)  #: the opcodes of dpps and dppd
_HORIZONTAL = range(1, 8)  #: behind 0f 38: horizontal sums and differences, and one other
_EQUAL_ORDERED = 0xC  #: bits of a string comparison's control, and their value for this one


def _in_memory(opcode: bytes, group: frozenset[int]) -> bytes:
    """A pattern for an opcode whose next byte, ModRM, has a reg field in the group and a memory operand."""
    operands = bytes(byte for byte in range(0xC0) if byte >> 3 & 7 in group)  # 0xc0 and up: registers
    return re.escape(opcode) + b"[" + re.escape(operands) + b"]"


def _suspect(bits: int, denormals: bool) -> re.Pattern[bytes]:
    """A pattern that does not occur in code without such instructions."""
    patterns = [rb"[\xc4\xc5\x62\x8f]|\xd9[\xd8-\xdf\xf0-\xff]|\x0f\x3a[\x40\x41\x60-\x63]"]
    patterns += [_in_memory(bytes((0x0F, second)), group) for second, group in _MXCSR.items()]
    groups = (*find_x87.LOADS.items(), find_x87.FBSTP)
    patterns += [_in_memory(bytes((first,)), frozenset({group})) for first, group in groups]
    patterns += [find_sse.pattern(denormals=denormals).encode("latin-1"), find_mmx.pattern(bits)]
    if bits == 64:
        patterns += [rb"[\x40-\x4f][\x9e\x9f]", find_upper.PATTERN]
    patterns += [find_privileged.PATTERN if bits == 64 else find_privileged.PATTERN_32, find_prefixes.PATTERN]
    return re.compile(b"|".join(patterns), re.DOTALL)


class X86:
    """Finds such instructions in x86 code of `bits`; `denormals`: where MXCSR may take denormals as zero."""

    def __init__(self, bits: int, *, denormals: bool = False) -> None:
        self._bits, self._denormals = bits, denormals
        self._suspect = _suspect(bits, denormals)
        self._disassembler = disassembler(bits)

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        found = self._found(code, address, to_branch=to_branch)
        if find_x87_stack.SUSPECT.search(code) is None:
            return found
        rows = find_x87_stack.decoded(self._disassembler, code, address, _BRANCHES, to_branch=to_branch)
        return find_x87_stack.checked(rows, found, address, self._bits)

    def up_to_branch(self, code: bytes, address: int) -> tuple[list[Misrun], list[int]]:
        """See `emu.cpu.misrun.up_to_branch`. Patterns look at the block alone: on a whole page they take 2 ms."""
        rows = [*find_x87_stack.decoded(self._disassembler, code, address, _BRANCHES, to_branch=True)]
        if rows and rows[-1][2].startswith(_BRANCHES):
            code = code[: rows[-1][0] + len(rows[-1][1]) - address + _LONGEST]
        found = [*self(code, address, to_branch=True)]
        # What is found of x87's stack depends on where a block begins.
        plain = not found and not any(find_x87_stack.is_x87(content, self._bits) for _, content, _, _ in rows)
        return found, [row[0] for row in rows] if plain else []

    def _found(self, code: bytes, address: int, *, to_branch: bool) -> Iterator[Misrun]:
        if self._suspect.search(code) is None:
            return
        position, settled = 0, set[int]()
        while position < len(code):
            size, name = self._decoded(code[position : position + _LONGEST], address + position)
            found = self._judge(code, address, position, size, settled)
            if not (size or found) and (not to_branch or position + _LONGEST <= len(code)):
                # Reserved, or cut off. What follows cannot be looked at.
                found = Misrun(address + position, 1, None)
            if found is not None:
                yield found
                if found.run is None:
                    return
            if not size or (to_branch and name.startswith(_BRANCHES)):
                return
            position += size

    def _decoded(self, code: bytes, address: int) -> tuple[int, str]:
        """(size of the instruction, its name); (0, "") when the disassembler does not know it."""
        for piece in (code, _RESERVED_NOP.sub(b"\\1\x1f", code)):
            if rows := self._disassembler.rows(piece, address, 1):
                return rows[0][1], rows[0][2]
        return 0, ""

    def _judge(self, block: bytes, begin: int, position: int, size: int, settled: set[int]) -> Misrun | None:
        """The refusal or correction of the instruction at a position in a block; `settled`: see `find_mmx`."""
        piece, address = block[position : position + _LONGEST], begin + position
        code = X86Code(address, size, self._bits, piece)
        found = (
            self._encoded(code)
            or find_prefixes.judge(code)
            or find_x87.judge(code)
            or self._general(code)
            or find_upper.judge(code)
            or find_sse.judge(code, denormals=self._denormals)
            or self._system_instruction(code)
        )
        return find_mmx.judge(code, found, self._mmx_traps, settled)

    def _system_instruction(self, code: X86Code) -> Misrun | None:
        """The refusal of privileged instructions and segments; boards have them, and execute some themselves."""
        return find_privileged.judge(code)

    def _mmx_traps(self, guest: Guest) -> bool:
        """Whether MMX instructions trap at present; on boards they may."""
        return False

    def _encoded(self, code: X86Code) -> Misrun | None:
        """Codes with VEX, EVEX and XOP prefixes."""
        first, second, third, opcode = code.opcode[:4]
        if code.rex or len(code.content) < len(code.prefixes) + 2:
            return None
        if first in (_VEX2, _VEX3, _EVEX) and (self._bits == 64 or second >> 6 == 3):
            known = first == _VEX3 and (second & 31, opcode) in _BMI and not third & 4
            return None if known else code.refused()
        return code.refused() if first == _XOP and second >> 3 & 7 else None

    def _general(self, code: X86Code) -> Misrun | None:
        first, second, third, fourth = code.opcode[:4]
        if code.rex and first in (_SAHF, _LAHF):
            return code.refused()
        if first != 0x0F or not code.size:
            return None
        if third < 0xC0 and third >> 3 & 7 in _MXCSR.get(second, ()):
            return _mxcsr(code, third >> 3 & 7 if second == _FXSAVE_GROUP else 0)
        if second == 0x3A and 0x60 <= third <= 0x63 and 0x66 in code.prefixes:
            wrong = third in _EXPLICIT or code.immediate() & _EQUAL_ORDERED == _EQUAL_ORDERED
            return code.replaced(partial(_compare_strings, code)) if wrong else None
        if second == 0x3A and third in _DOT_PRODUCTS and 0x66 in code.prefixes:
            from emu.cpu.corrections import find_dot_product

            return code.replaced(partial(find_dot_product.execute, code))
        if second == 0x38 and third in _HORIZONTAL:
            return _horizontal(code, fourth)
        return None


def _horizontal(code: X86Code, operands: int) -> Misrun | None:
    """Computed only for a register with itself; MMX registers are not accessible."""
    from emu.cpu.corrections import horizontal

    register = operands >> 3 & 7 | (code.rex & 4) << 1
    if (
        code.opcode[2] not in horizontal.OPERATIONS
        or operands < 0xC0
        or register != operands & 7 | (code.rex & 1) << 3
    ):
        return None
    if 0x66 not in code.prefixes:
        return code.refused()

    def run(guest: Guest) -> Outcome:
        horizontal.execute(guest, f"xmm{register}", code.opcode[2])
        return Outcome.DONE

    return code.replaced(run)


def _mxcsr(code: X86Code, kind: int) -> Misrun:
    """The engine executes it with an up-to-date MXCSR. It is refused if it unmasks exceptions, which the engine
    does not raise.
    """

    def run(guest: Guest) -> Outcome | Then:
        guest.settle_flags()
        if kind not in (_FXRSTOR, _LDMXCSR, _XRSTOR):
            return Outcome.PREPARED
        at = code.location(guest)
        if kind == _XRSTOR:
            return _restore(guest, at, "rax" if code.bits == 64 else "eax")
        value = int.from_bytes(guest.load(at if kind == _LDMXCSR else at + _MXCSR_IN_AREA, 4), "little")
        if value >> 16 or ~value & _MASKS:  # reserved bits, which the engine does not look at
            return Outcome.REFUSED
        if kind == _LDMXCSR:
            guest.write_register("mxcsr", value)
            return Outcome.DONE
        if find_x87.traps(guest.load(at, 1)[0]):
            return Outcome.REFUSED
        return Then(partial(_restored, True, value))

    return code.replaced(run, corrected=kind in (_FXRSTOR, _XRSTOR))


def _restore(guest: Guest, at: int, parts: str) -> Outcome | Then:
    """xrstor of the parts that a register asks for: x87's is in the area, or as fninit leaves it."""
    wanted, saved = guest.read_register(parts), guest.load(at + _PARTS_IN_AREA, 1)[0]
    value = int.from_bytes(guest.load(at + _MXCSR_IN_AREA, 4), "little") if wanted & _SSE_PARTS else None
    if value is not None and value >> 16:
        return Outcome.REFUSED
    x87 = bool(wanted & saved & _X87_PART)
    if (x87 and find_x87.traps(guest.load(at, 1)[0])) or (value is not None and ~value & _MASKS):
        return Outcome.REFUSED
    return Then(partial(_restored, x87, value))


def _restored(x87: bool, mxcsr: int | None, guest: Guest) -> None:
    if x87:
        find_x87.clean(guest)
    if mxcsr is not None:
        guest.flush_to_zero(mxcsr)


def _compare_strings(code: X86Code, guest: Guest) -> Outcome:
    from emu.cpu.corrections import string_compare

    prefix = "r" if code.bits == 64 else "e"
    first, second = code.source(guest, 0, 16), code.source(guest, 1, 16)
    string_compare.compare(guest, code.opcode[2], code.immediate(), first, second, wide=code.wide, prefix=prefix)
    return Outcome.DONE

"""Finding blocks whose x87 instructions may fault on the register stack (`emu.cpu.corrections.x87_stack`).

What a block reads, pushes and pops is known when it is translated; how full the stack is, only when it runs. So
the engine stops before a block if one of its instructions would fault (`emu.cpu.hooks.stack_watch`). From then on
each of these is looked at by itself. So are, always, those behind one that leaves it open which registers are
empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from emu.cpu.corrections import x87_stack
from emu.cpu.corrections.x86_code import LEGACY_PREFIXES
from emu.cpu.misrun import Guest, Misrun, Spread, StackNeeds
from emu.cpu.x86_disassembler import Disassembler
from relink.records import dataclass

SUSPECT: Final = re.compile(rb"[\xd8-\xdf].", re.DOTALL)  #: does not occur in code without x87 instructions
#: An operand of MMX, whose instructions fill the stack, but for emms.
_MMX: Final = re.compile(r"(?<![a-z])mm[0-7]")
_EMPTIES: Final = ("emms", "femms")
_RESTORES: Final = ("fxrstor", "xrstor")
_CHUNK: Final = 24  #: instructions disassembled at once
_REX: Final = 4
Row: TypeAlias = tuple[int, bytes, str, str]  #: address, bytes, name, operands


@dataclass
class _Instruction:
    """One x87 instruction, with what else is done about it."""

    address: int
    size: int
    effect: x87_stack.Effect
    known: Misrun | None

    def own(self) -> Misrun:
        """The instruction is executed here, with regard to the stack."""
        inner = self.known.run if self.known is not None else None
        return Misrun(self.address, self.size, partial(self._execute, inner), corrected=True)

    def _execute(self, inner: Any, guest: Guest) -> Any:
        return x87_stack.execute(self.effect, inner, guest)


def checked(rows: Iterable[Row], found: Iterable[Misrun], address: int, bits: int) -> Iterator[Misrun]:
    """The instructions found in the block at an address, and the block itself. `rows`: all its instructions, in
    code of `bits`.
    """
    by_address = {each.address: each for each in found}
    end = next((at for at, each in by_address.items() if each.run is None), None)
    segment, instructions = x87_stack.Segment(), list[_Instruction]()
    together: int | None = None  #: how many there are before it is open which registers are empty
    for at, content, name, operands in rows:
        effect = _effect(content, bits)
        if effect is not None:
            instructions.append(_Instruction(at, len(content), effect, by_address.get(at)))
            segment.add(effect)
        elif name in _EMPTIES:
            segment.all(empty=True)
        elif _MMX.search(operands):
            segment.all(empty=False)
        segment.ends |= name.startswith(_RESTORES)
        if segment.ends and together is None:
            together = len(instructions)
    spread = tuple(each.own() for each in instructions if each.known is None or each.known.run is not None)
    if (segment.full or segment.empty) and not segment.always:
        yield Misrun(address, 0, lambda guest: Spread(spread), needs=StackNeeds(segment.full, segment.empty))
    alone = instructions[0 if segment.always else together :] if segment.always or together is not None else []
    places = {each.address for each in alone}
    by_address |= {each.address: each for each in spread if each.address in places}
    for at in sorted(by_address):
        if end is None or at <= end:
            yield by_address[at]


def is_x87(content: bytes, bits: int) -> bool:
    """Whether an instruction is one of x87."""
    return SUSPECT.search(content) is not None and _effect(content, bits) is not None


def _effect(content: bytes, bits: int) -> x87_stack.Effect | None:
    """The stack effect of an x87 instruction."""
    opcode = content.lstrip(LEGACY_PREFIXES)
    if bits == 64 and opcode[:1] and opcode[0] >> 4 == _REX:
        opcode = opcode[1:]
    if len(opcode) < 2 or opcode[0] not in x87_stack.FIRST:
        return None
    return x87_stack.effect(opcode[0], opcode[1])


def decoded(
    disassembler: Disassembler, code: bytes, address: int, branches: tuple[str, ...], *, to_branch: bool
) -> Iterator[Row]:
    """Each instruction of code, to the first branch with `to_branch`: their names begin as one of `branches`."""
    position = 0
    while position < len(code):
        rows = disassembler.rows(code[position : position + 15 * _CHUNK], address + position, _CHUNK)
        if not rows:
            return
        for at, size, name, operands in rows:
            position = at - address
            yield at, code[position : position + size], name, operands
            position += size
            if to_branch and name.startswith(branches):
                return

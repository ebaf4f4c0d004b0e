"""A plan's locations as flat lists: the bits of each argument in each register and stack slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from emu.calls.assign import Location, Reference
from emu.calls.marshal import NAN_BOX
from emu.calls.passing import is_aggregate
from emu.calls.scalars import leaves
from emu.calls.types import Parameter, Pointer, VaListType
from emu.isa.convention import CallingConvention, VariadicRule


class InRegister(NamedTuple):
    """A piece of an argument in a register."""

    argument: int  #: from 0
    register: str
    shift: int  #: bits of the argument's pattern below the piece
    mask: int
    fill: int  #: the bits above a boxed float; minus the sign bit for a word that is extended

    def of(self, pattern: int) -> int:
        """The content of the register."""
        bits = pattern >> self.shift & self.mask
        if not self.fill:
            return bits
        return bits | (self.fill if self.fill > 0 else bits & -self.fill and NAN_BOX)


class OnStack(NamedTuple):
    """A piece of an argument on the stack."""

    argument: int  #: from 0
    start: int  #: bytes above sp at the first instruction
    size: int
    shift: int  #: bits of the argument's pattern below the piece


def in_registers(rules: CallingConvention, places: Iterable[Location]) -> list[InRegister]:
    """The pieces of arguments, or of a result, that are in registers."""
    floats = {*rules.float_arguments.get(4, ()), *rules.float_results.get(4, ())}
    found = []
    for number, place in enumerate(places):
        for piece in place:
            if piece.register is None:
                continue
            mask, fill = -1, 0
            if len(place) > 1:  # a value alone in a register may be wider than its type: extended, or boxed
                mask = (1 << 8 * piece.size) - 1
                if piece.register in floats:
                    fill = NAN_BOX if rules.float_boxed and piece.size == 4 else 0
                elif rules.sign_extends_words and piece.size == 4 < rules.word_size:
                    fill = -(1 << 31)
            found.append(InRegister(number, piece.register, 8 * piece.start, mask, fill))
    return found


def on_stack(places: Iterable[Location], pushed: int) -> list[OnStack]:
    """The pieces on the stack, above `pushed` bytes of return address."""
    return [
        OnStack(number, pushed + piece.offset, piece.size, 8 * piece.start)
        for number, place in enumerate(places)
        for piece in place
        if piece.register is None
    ]


def registers_read(rules: CallingConvention, places: Sequence[Location], *, variadic: bool) -> tuple[str, ...]:
    """The registers to read for the arguments, in one batch: those of arguments first, then sp."""
    used = [piece.register for place in places for piece in place if piece.register]
    if variadic:
        used += rules.integer_arguments
        if rules.variadic is VariadicRule.SAME:
            for names in (*rules.float_arguments.values(), *rules.vector_arguments.values()):
                used += names
    return (*dict.fromkeys(used), "sp")


def may_lend(parameter: Parameter, place: Location) -> bool:
    """Whether an argument may be or contain the address of an object copied for the call."""
    if isinstance(parameter.type, Pointer | VaListType) or isinstance(place, Reference):
        return True
    return is_aggregate(parameter.type) and any(isinstance(leaf.type, Pointer) for leaf in leaves(parameter.type))


def is_simple(parameters: Sequence[Parameter], places: Sequence[Location]) -> bool:
    """Whether every argument is in one register and needs no copies."""
    return all(
        len(place) == 1
        and place[0].register
        and not isinstance(place, Reference)
        and not (isinstance(parameter.type, Pointer) and parameter.type.reference)
        for parameter, place in zip(parameters, places, strict=True)
    )

"""Where arguments and results go: one algorithm, whose rules are the fields of a calling convention.

Every convention here keeps three counters: the next integer register, the next floating-point register and
the next stacked argument. What a psABI adds (pairs, back-filling, spilling, splitting) is a rule named in
`emu.isa.convention`. The same counters, continued, serve a variadic function's further arguments.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

from emu.calls.prototypes import (
    Array,
    CType,
    Floating,
    FunctionType,
    Integer,
    Pointer,
    Prototype,
    Struct,
    VaListType,
    Void,
)
from emu.errors import CallError
from emu.isa.convention import BINARY64, CallingConvention, PairAlignment, VariadicRule


class Piece(NamedTuple):
    """A part of a value: where it is and which bytes of the value's pattern it holds."""

    register: str | None  #: None: on the stack
    offset: int  #: on the stack: bytes above the first stacked argument
    start: int  #: first byte of the pattern
    size: int  #: bytes (of a register: as many as matter)


Location = tuple[Piece, ...]


def passed_size(ctype: CType, word: int) -> int:
    """Bytes of an argument of this type: integers narrower than a word are widened to one.

    Raises CallError for types that cannot be passed.
    """
    match ctype:
        case Integer():
            return max(ctype.size, word)
        case Floating() | Pointer() | VaListType():
            return ctype.size
        case Struct():
            raise CallError(f"{ctype} by value is not supported (pass a pointer, or wrap the function in C)")
        case Void() | Array() | FunctionType():
            raise CallError(f"a value of type {ctype} cannot be passed")


def promoted(ctype: CType) -> CType:
    """The default argument promotions (C11 6.5.2.2): what a type becomes when it matches the ellipsis."""
    match ctype:
        case Floating(size=4):
            return Floating(8, "double", BINARY64)
        case Integer(size=1 | 2):
            return Integer(4, True, "int")
    return ctype


def by_base_standard(convention: CallingConvention, prototype: Prototype) -> bool:
    """Whether no floating-point register is used in the whole function (Arm variadics)."""
    return prototype.variadic and convention.variadic is VariadicRule.ALL_AS_INTEGERS


class Assigner:
    """The counters, and the rules that move them."""

    def __init__(self, convention: CallingConvention, *, base_standard: bool = False) -> None:
        self.convention = convention
        self.base_standard = base_standard
        self.integers_used = 0
        self.floats_used = 0  #: of the widest kind; with back-filling, a bit set of the narrowest
        self.stack_used = 0  #: bytes

    def copy(self) -> Assigner:
        """Counters to continue from, apart from these."""
        return copy.copy(self)

    def assign(self, ctype: CType, *, extra: bool = False) -> Location:
        """The place of the next argument; `extra`: it matches the ellipsis.

        Raises CallError if such an argument cannot be passed.
        """
        rules = self.convention
        size = passed_size(ctype, rules.word_size)
        alignment = min(size, rules.data.maximum_alignment)
        if isinstance(ctype, Floating):
            if rules.passes_by_reference(size):
                raise CallError(f"{ctype} is passed by reference on {rules.arch}, which is not supported")
            if not self._floats_are_integers(extra=extra):
                if (register := self._float_register(size)) is not None:
                    return (Piece(register, 0, 0, size),)
                if not rules.floats_spill_to_integers:
                    return self._stack(size, alignment)
        return self._integers(size, alignment, extra=extra)

    def _floats_are_integers(self, *, extra: bool) -> bool:
        return self.base_standard or (extra and self.convention.variadic is VariadicRule.EXTRAS_AS_INTEGERS)

    def _float_register(self, size: int) -> str | None:
        names = self.convention.float_arguments.get(size, ())
        if not self.convention.float_backfill:
            if self.floats_used >= len(names):
                return None
            self.floats_used += 1
            return names[self.floats_used - 1]
        units = size // 4
        for index, name in enumerate(names):
            bits = (1 << units) - 1 << index * units
            if not self.floats_used & bits:
                self.floats_used |= bits
                return name
        self.floats_used = -1  # AAPCS32 C.2: after the first stacked one, none is free
        return None

    def _integers(self, size: int, alignment: int, *, extra: bool) -> Location:
        rules = self.convention
        word = rules.word_size
        names = rules.integer_arguments
        words = -(-size // word)
        pairing = rules.pair_alignment
        if alignment > word and (pairing is PairAlignment.ALWAYS or (pairing is PairAlignment.VARIADIC and extra)):
            self.integers_used += self.integers_used & 1
        first = self.integers_used
        free = max(len(names) - first, 0)
        in_registers = words if words <= free else (free if rules.pair_split else 0)
        if in_registers or not rules.registers_reopen:
            self.integers_used = first + in_registers if words <= free else len(names)
        pieces = tuple(
            Piece(names[first + i], 0, i * word, min(word, size - i * word)) for i in range(in_registers)
        )
        if in_registers == words:
            return pieces
        start = in_registers * word
        (rest,) = self._stack(size - start, word if start else alignment)
        return (*pieces, rest._replace(start=start))

    def _stack(self, size: int, alignment: int) -> Location:
        word = self.convention.word_size
        alignment = max(alignment, word)
        offset = -(-self.stack_used // alignment) * alignment
        self.stack_used = offset + -(-size // word) * word
        return (Piece(None, offset, 0, size),)


def result_location(convention: CallingConvention, ctype: CType, *, base_standard: bool = False) -> Location:
    """Where a result of this type is (empty for void); the register `convention.x87.top` is the x87 stack.

    Raises CallError if it has no place here.
    """
    if isinstance(ctype, Void):
        return ()
    word = convention.word_size
    size = passed_size(ctype, word)
    if isinstance(ctype, Floating) and not base_standard:
        if (register := convention.float_results.get(size)) is not None:
            return (Piece(register, 0, 0, size),)
        if convention.x87 is not None:
            return (Piece(convention.x87.top, 0, 0, 10),)
    names = convention.integer_results
    if size > word * len(names):
        where = f"returned in memory on {convention.arch}"
        raise CallError(f"a result of type {ctype} is {where}, which is not supported")
    return tuple(Piece(names[i], 0, i * word, min(word, size - i * word)) for i in range(-(-size // word)))

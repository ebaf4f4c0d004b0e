"""The locations of arguments and results: one algorithm, whose rules are the fields of a calling convention.

Every convention has three counters: the next integer register, the next floating-point register and the next
stacked argument. Additional rules of a psABI (pairs, back-filling, spilling, splitting) are fields in
`emu.isa.convention`. The same counters continue for variadic arguments, and start again over the result registers
for results. `emu.calls.classify` splits structures into their parts.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, TypeAlias

from emu.calls.classify import Shape, classify
from emu.calls.scalars import Bank, Part
from emu.calls.types import Complex, CType, Floating, Integer, Pointer, Prototype, Struct, Void
from emu.isa.convention import BINARY64, Aggregates, CallingConvention, PairAlignment, VariadicRule


class Piece(NamedTuple):
    """A part of a value: its location, and the bytes of the value's pattern that it contains."""

    register: str | None  #: None: on the stack
    offset: int  #: on the stack: offset in bytes from the first stacked argument
    start: int  #: first byte of the pattern
    size: int  #: size in bytes (for a register the bytes used)


Location: TypeAlias = tuple[Piece, ...]


class Reference(tuple[Piece, ...]):
    """The location of a value's address: the value itself is a copy in memory."""

    __slots__ = ()


def promoted(ctype: CType) -> CType:
    """The type after the default argument promotions (C11 6.5.2.2), for an argument that matches the ellipsis."""
    match ctype:
        case Floating(size=4):
            return Floating(8, "double", BINARY64)
        case Integer(size=1 | 2):
            return Integer(4, True, "int")
    return ctype


def by_base_standard(convention: CallingConvention, prototype: Prototype) -> bool:
    """Whether no floating-point register passes an argument (variadic functions of Arm and i386, marked ones)."""
    rules = (VariadicRule.ALL_AS_INTEGERS, VariadicRule.ARGUMENTS_AS_INTEGERS)
    return (prototype.variadic or prototype.base_standard) and convention.variadic in rules


class Assigner:
    """The counters and the rules that advance them; with `results`, for the result registers."""

    def __init__(
        self, convention: CallingConvention, *, base_standard: bool = False, results: bool = False
    ) -> None:
        self.convention = rules = convention
        self.base_standard = base_standard
        self.integers_used = 0
        #: counter of registers of the widest kind; with back-filling, a bit set of registers of the narrowest
        self.floats_used = 0
        self.stack_used = 0  #: bytes
        self.stack_alignment = rules.stack_alignment  #: bytes, of the first stacked argument
        self._results = results
        self._integer_names = rules.integer_results if results else rules.integer_arguments
        self._names = {
            Bank.FLOAT: rules.float_results if results else rules.float_arguments,
            Bank.VECTOR: rules.vector_results if results else rules.vector_arguments,
        }

    def copy(self) -> Assigner:
        """An independent copy of the counters."""
        return copy.copy(self)

    def assign(self, ctype: CType, *, extra: bool = False) -> Location:
        """The location of the next argument; `extra`: it matches the ellipsis. Raises CallError if it cannot be
        passed.
        """
        rules = self.convention
        if isinstance(ctype, Struct) and ctype.by_reference:
            return Reference(self._integers(Shape((), True, rules.word_size, rules.word_size), extra=extra))
        shape = classify(rules, ctype, not self._floats_are_integers(extra=extra))
        if not shape.size:
            return ()  # an empty structure of C: nothing is passed (GCC, clang)
        if shape.parts and (pieces := self._parts(shape.parts)) is not None:
            return pieces
        own = bool(shape.parts) and not rules.floats_spill_to_integers  # in registers, or on the stack
        if rules.passes_by_reference(shape.size) and not own:
            word = rules.word_size
            return Reference(self._integers(Shape((), True, word, word), extra=extra))
        if shape.words and not own:
            return self._integers(shape, extra=extra)
        return self._stack(shape.size, shape.alignment)

    def _floats_are_integers(self, *, extra: bool) -> bool:
        return self.base_standard or (extra and self.convention.variadic is VariadicRule.EXTRAS_AS_INTEGERS)

    def _parts(self, parts: tuple[Part, ...]) -> Location | None:
        """A register for each part; None, without using any, when there are not enough."""
        before = self.integers_used, self.floats_used
        if parts[0].bank is Bank.X87 and not self._results:
            return None
        found: list[Piece] | None
        if self.convention.float_backfill and parts[0].bank is not Bank.INTEGER:
            found = self._backfilled(parts)
        else:
            found = []
            for part in parts:
                register = self._register(part)
                if register is None:
                    found = None
                    break
                found += _pieces(register, part)
        if found is None:
            self.integers_used, self.floats_used = before
            if not self.convention.registers_reopen and not self.convention.floats_spill_to_integers:
                self._close_floats()
        return None if found is None else tuple(found)

    def _register(self, part: Part) -> str | None:
        if part.bank is Bank.X87:
            x87 = self.convention.x87
            return x87.top if self._results and x87 is not None else None
        if part.bank is Bank.INTEGER:
            self.integers_used += 1
            names = self._integer_names
            return names[self.integers_used - 1] if self.integers_used <= len(names) else None
        self.floats_used += 1
        names = self._names[part.bank].get(part.size) or self._names[part.bank].get(8, ())
        return names[self.floats_used - 1] if self.floats_used <= len(names) else None

    def _backfilled(self, parts: tuple[Part, ...]) -> list[Piece] | None:
        """The lowest free block of registers, one for each part (all of one kind): AAPCS32 6.1.2.1."""
        names = self._names[parts[0].bank].get(parts[0].size, ())
        units = max(parts[0].size // 4, 1)
        block = (1 << units * len(parts)) - 1
        for index in range(len(names) - len(parts) + 1):
            if not self.floats_used & block << index * units:
                self.floats_used |= block << index * units
                return [
                    piece
                    for name, part in zip(names[index:], parts, strict=False)
                    for piece in _pieces(name, part)
                ]
        return None

    def _close_floats(self) -> None:
        """After the first stacked one, no floating-point register is free (AAPCS32 C.2, AAPCS64 C.3)."""
        self.floats_used = -1 if self.convention.float_backfill else 1 << 8

    def _integers(self, shape: Shape, *, extra: bool) -> Location:
        rules = self.convention
        word, size, alignment = rules.word_size, shape.size, shape.alignment
        names = self._integer_names
        words = -(-size // word)
        pairing = rules.pair_alignment
        if alignment > word and (pairing is PairAlignment.ALWAYS or (pairing is PairAlignment.VARIADIC and extra)):
            self.integers_used += self.integers_used & 1
        first = self.integers_used
        free = max(len(names) - first, 0)
        split = rules.pair_split and not self.stack_used
        in_registers = words if words <= free else (free if split else 0)
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
        self.stack_alignment = max(self.stack_alignment, alignment)
        offset = -(-self.stack_used // alignment) * alignment
        self.stack_used = offset + -(-size // word) * word
        return (Piece(None, offset, 0, size),)


def _pieces(register: str, part: Part) -> list[Piece]:
    """One piece, or one for each register in a joined name."""
    names = register.split(":")
    size = part.size // len(names)
    return [Piece(name, 0, part.start + number * size, size) for number, name in enumerate(names)]


def result_location(
    convention: CallingConvention, ctype: CType, *, base_standard: bool = False
) -> Location | None:
    """The location of a result of this type: no pieces for void, None for memory whose address the caller passes.

    The register `convention.x87.top` means the x87 stack. Raises CallError for a type that cannot be returned.
    """
    if isinstance(ctype, Void):
        return ()
    if isinstance(ctype, Struct) and ctype.by_reference:
        return None
    base_standard = base_standard and convention.variadic is VariadicRule.ALL_AS_INTEGERS
    shape = classify(convention, ctype, not base_standard)
    limits = {Struct: convention.result_limit, Complex: convention.complex_result_limit}
    limit = limits.get(type(ctype), convention.word_size * len(convention.integer_results))
    assigner = Assigner(convention, base_standard=base_standard, results=True)
    if shape.parts and (pieces := assigner._parts(shape.parts)) is not None:
        return pieces
    by_classes = convention.aggregates is Aggregates.EIGHTBYTES and isinstance(ctype, Struct | Complex)
    if shape.size > limit or (by_classes and shape.size):
        return None
    if not shape.size:
        return ()
    return assigner._integers(shape, extra=False)


def result_pointer(convention: CallingConvention, assigner: Assigner) -> Piece:
    """The location of the address for a result in memory; it may use the first argument's location."""
    if convention.result_pointer is not None:
        return Piece(convention.result_pointer, 0, 0, convention.word_size)
    word = convention.word_size
    return assigner.assign(Pointer(Void(), False, word))[0]

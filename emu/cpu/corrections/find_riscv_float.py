"""RISC-V's single-precision numbers in 64-bit registers, and minimum and maximum, as Unicorn (QEMU 5) has them.

A single-precision result has ones in the upper half of its register ("NaN boxing"), and an operand without them is
the canonical NaN. Unicorn leaves zeros, and does not look at operands. What is seen of it within a block is
corrected: where an instruction for double precision reads a result of one for single precision, or the other way
round. Between blocks nothing is looked at: code that follows the ABI does not mix them.

fmin and fmax of a signalling NaN and a number return the number since version 2.2 of the "F" extension; in Unicorn
a NaN: computed. The engine is stopped for them only if there is such an operand (`emu.cpu.hooks.guard_hook`).

Source: RISC-V unprivileged ISA, 21.2 ("NaN Boxing of Narrower Values") and 20.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from emu.cpu.misrun import Guest, Misrun, Outcome, SignallingNan, Then
from relink.records import dataclass, field

_ONES, _QUIET_SINGLE, _QUIET_DOUBLE = 0xFFFF_FFFF << 32, 0x7FC0_0000, 0x7FF8 << 48
_INVALID: Final = 0x10  #: in fcsr
_OTHER_FORMATS: Final = 1 << 26  #: half and quadruple precision
_LOAD, _STORE, _ARITHMETIC = 0x07, 0x27, 0x53
_FUSED: Final = frozenset({0x43, 0x47, 0x4B, 0x4F})
#: Bits 27 to 31 of arithmetic instructions.
_ADD, _SUB, _MUL, _DIV, _SIGN, _EXTREME, _CONVERT, _ROOT = 0, 1, 2, 3, 4, 5, 8, 11
_COMPARE, _TO_INTEGER, _FROM_INTEGER, _MOVE_OUT, _MOVE_IN = 20, 24, 26, 28, 30
_TWO_OPERANDS: Final = frozenset({_ADD, _SUB, _MUL, _DIV, _SIGN, _EXTREME, _COMPARE})
_RESULTS: Final = frozenset({_ADD, _SUB, _MUL, _DIV, _SIGN, _EXTREME, _CONVERT, _ROOT, _FROM_INTEGER, _MOVE_IN})


class _Use(NamedTuple):
    """What an instruction does with floating-point registers."""

    reads: tuple[int, ...] = ()
    double_reads: bool = False
    writes: int | None = None
    double_writes: bool = False
    boxed: bool = False  #: Unicorn sets the upper half of the result


def _use(word: int) -> _Use | None:
    """Of a 32-bit instruction; None: nothing, or formats that Unicorn refuses."""
    opcode, rd, funct3 = word & 0x7F, word >> 7 & 31, word >> 12 & 7
    one, two, three, double = word >> 15 & 31, word >> 20 & 31, word >> 27, bool(word >> 25 & 1)
    if opcode == _LOAD and funct3 in (2, 3):
        return _Use(writes=rd, double_writes=funct3 == 3, boxed=True)
    if opcode == _STORE and funct3 == 3:
        return _Use((two,), True)
    if opcode not in (_ARITHMETIC, *_FUSED) or word & _OTHER_FORMATS:
        return None
    if opcode in _FUSED:
        return _Use((one, two, three), double, rd, double)
    kind, narrow_move = word >> 27, word >> 27 == _MOVE_OUT and not double and not funct3
    from_general = kind in (_FROM_INTEGER, _MOVE_IN) or narrow_move
    reads = () if from_general else (one, two) if kind in _TWO_OPERANDS else (one,)
    return _Use(reads, not double if kind == _CONVERT else double, rd if kind in _RESULTS else None, double)


def _short_use(half: int, bits: int) -> _Use | None:
    """Of a 16-bit instruction."""
    quadrant, function = half & 3, half >> 13
    if quadrant not in (0, 2) or function not in (1, 3, 5) or (function == 3 and bits == 64):
        return None
    if function == 5:
        return _Use(((half >> 2 & 31) if quadrant else 8 + (half >> 2 & 7),), True)
    return _Use(
        writes=(half >> 7 & 31) if quadrant else 8 + (half >> 2 & 7), double_writes=function == 1, boxed=True
    )


#: Doubles that were noted in registers, by engine.
_SEEN: Final[WeakKeyDictionary[Guest, dict[int, int]]] = WeakKeyDictionary()


@dataclass
class _Correction:
    """What must be done at an instruction of `size` bytes."""

    size: int
    checks: tuple[int, ...] = ()  #: operands that may be doubles
    result: int | None = None  #: the register it writes
    box: int | None = None  #: the result that must be boxed
    note: int | None = None  #: the result, a double, that is to be recognised
    extreme: int | None = None  #: the word of an fmin or fmax


@dataclass
class Block:
    """One block's instructions, in order, for RISC-V of `bits`."""

    bits: int
    _corrections: dict[int, _Correction] = field(default_factory=dict)
    _writers: dict[int, tuple[int, int, _Use]] = field(default_factory=dict)  #: by register: place, size, use

    def word(self, position: int, word: int) -> None:
        use = _use(word)
        if use is not None:
            self._note(position, 4, use)
            if word & 0x7F == _ARITHMETIC and word >> 27 == _EXTREME and word >> 12 & 7 < 2:
                self._at(position, 4).extreme = word

    def short(self, position: int, half: int) -> None:
        use = _short_use(half, self.bits)
        if use is not None:
            self._note(position, 2, use)

    def _at(self, position: int, size: int) -> _Correction:
        return self._corrections.setdefault(position, _Correction(size))

    def _note(self, position: int, size: int, use: _Use) -> None:
        for register in use.reads:
            place, length, writer = self._writers.get(register, (0, 0, None))
            if writer is None or writer.double_writes == use.double_reads:
                continue
            if writer.double_writes:
                self._at(place, length).note = register
                correction = self._at(position, size)
                correction.checks, correction.result = (*correction.checks, register), use.writes
            elif not writer.boxed:
                self._at(place, length).box = register
        if use.writes is not None:
            self._writers[use.writes] = position, size, use

    def found(self, address: int) -> Iterator[Misrun]:
        """The instructions that need corrections, of the block at an address."""
        for position, each in self._corrections.items():
            only_extreme = each.extreme is not None and not each.checks and each.box is None and each.note is None
            guard = None
            if only_extreme and each.extreme is not None:
                names = f"f{each.extreme >> 15 & 31}", f"f{each.extreme >> 20 & 31}"
                guard = SignallingNan(names, bool(each.extreme >> 25 & 1))
            run = partial(self._run, each)
            yield Misrun(address + position, each.size, run, corrected=not only_extreme, signalling=guard)

    def _run(self, correction: _Correction, guest: Guest) -> Outcome | Then:
        originals, seen = {}, _SEEN.get(guest, {})
        for register in correction.checks:
            value = guest.read_register(f"f{register}")
            if seen.get(register) == value and value & _ONES != _ONES:
                originals[register] = value
                guest.write_register(f"f{register}", _ONES | _QUIET_SINGLE)
        if correction.extreme is not None and _extreme(correction.extreme, guest):
            originals.pop(correction.extreme >> 7 & 31, None)
            self._finish(correction, originals, guest)
            return Outcome.DONE
        if not originals and correction.box is None and correction.note is None:
            return Outcome.PREPARED
        if correction.result is not None:
            originals.pop(correction.result, None)
        return Then(partial(self._finish, correction, originals))

    def _finish(self, correction: _Correction, originals: dict[int, int], guest: Guest) -> None:
        for register, value in originals.items():
            guest.write_register(f"f{register}", value)
        if correction.box is not None:
            guest.write_register(f"f{correction.box}", guest.read_register(f"f{correction.box}") | _ONES)
        if correction.note is not None:
            _SEEN.setdefault(guest, {})[correction.note] = guest.read_register(f"f{correction.note}")


def _extreme(word: int, guest: Guest) -> bool:
    """fmin or fmax, if an operand is a signalling NaN."""
    double = bool(word >> 25 & 1)
    infinity, sign = (0x7FF0 << 48, 1 << 63) if double else (0x7F80_0000, 1 << 31)
    quiet, ones = (1 << 51, 0) if double else (1 << 22, _ONES)
    values = [guest.read_register(f"f{word >> at & 31}") & (2 * sign - 1) for at in (15, 20)]
    nans = [value & ~sign > infinity for value in values]
    if not any(nan and not value & quiet for nan, value in zip(nans, values, strict=True)):
        return False
    numbers = [value for nan, value in zip(nans, values, strict=True) if not nan]
    result = numbers[0] if numbers else _QUIET_DOUBLE if double else _QUIET_SINGLE
    guest.write_register(f"f{word >> 7 & 31}", result | ones)
    guest.write_register("fcsr", guest.read_register("fcsr") | _INVALID)
    return True

"""The instructions of LSX, LoongArch's 128-bit vectors, that the host computes.

`vector.sinc` and `vector_float.sinc` implement simple and frequent instructions in p-code; all other vector
instructions stop the engine and are executed here. A line of `lsx_tables` describes each; it is compiled into a
function on first use, and cached by instruction word.

A vector register is two 64-bit registers of the engine: the lower half is the floating-point register of the same
number. Lanes are Python integers, so intermediate results do not overflow; the final result is truncated to its
lane.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, reduce
from operator import or_
from struct import Struct
from typing import Any, Protocol

from emu.cpu.loongarch64.lsx_tables import FLOATS, INTEGERS, KINDS
from emu.cpu.loongarch64.registers import FLOAT_REGISTERS, VECTOR_UPPER_HALVES
from emu.cpu.loongarch64.softfloat import (
    DOUBLE,
    INVALID,
    SINGLE,
    Format,
    Result,
    Rounding,
    round_mantissa,
)
from emu.cpu.protocol import StopReason
from relink.records import dataclass


class Engine(Protocol):
    """The part of the engine that vector operations use: registers by name."""

    def reg_read(self, name: str) -> int: ...
    def reg_write(self, name: str, value: int) -> None: ...


# ---------------------------------------------------------------- what expressions may call


def rounded(value: int, shift: int) -> int:
    """value / 2**shift, rounded by adding the last bit shifted out."""
    return (value >> shift) + (value >> shift - 1 & 1) if shift else value


def quotient(dividend: int, divisor: int) -> int:
    """Truncating division; a division by zero, which the manual leaves undefined, gives 0."""
    if not divisor:
        return 0
    result = abs(dividend) // abs(divisor)
    return -result if (dividend < 0) != (divisor < 0) else result


def first_negative(lanes: Sequence[int]) -> int:
    """The index of the first negative lane, or the number of lanes."""
    return next((number for number, lane in enumerate(lanes) if lane < 0), len(lanes))


HALF = Format(width=16, precision=11)
_FORMATS = {16: HALF, 32: SINGLE, 64: DOUBLE}
_ROUNDINGS = tuple(Rounding)


def classify(bits: int, width: int) -> int:
    """fclass: one bit of ten; 0, 1 NaN; 2 infinite, 3 normal, 4 subnormal, 5 zero, negative; 6 to 9 positive."""
    form = _FORMATS[width]
    if form.is_nan(bits):
        return 1 if form.is_signaling(bits) else 2
    magnitude = bits & ~form.sign_bit
    kind = 0 if magnitude == form.infinity else 1 if magnitude & form.infinity else 2 if magnitude else 3
    return 1 << kind + (2 if bits & form.sign_bit else 6)


def inverse_root(form: Format, bits: int, mode: Rounding) -> Result:
    """1 / sqrt(x), rounded twice, as the scalar instruction."""
    root, first = form.square_root(bits, mode)
    result, second = form.divide(form.one, root, mode)
    return result, first | second


def compare(form: Format, j: int, k: int, code: int) -> Result:
    """vfcmp: all ones if the condition holds. Bit 0 of the code says "signaling", the rest is the condition."""
    holds, raised = form.compare(j, k, code >> 1, signaling=bool(code & 1))
    return -holds, raised


def widened(form: Format, bits: int, width: int) -> Result:
    """Convert a half or single to the format twice as wide, which is exact."""
    return _FORMATS[width].convert(bits, form, Rounding.NEAREST_EVEN)


def to_unsigned(form: Format, bits: int, width: int, mode: Rounding) -> Result:
    """An unsigned integer: saturated, and 0 for NaN, both invalid."""
    if form.is_nan(bits):
        return 0, INVALID
    number = form.unpack(bits)
    kept, inexact = round_mantissa(number.sign, number.mantissa, -number.exponent, mode)
    if number.infinite or kept >> width or (number.sign and kept):
        return 0 if number.sign else (1 << width) - 1, INVALID
    return kept, int(inexact)


_FUNCTIONS: dict[str, object] = (
    {
        function.__name__: function
        for function in (rounded, quotient, first_negative, classify, inverse_root, compare, widened, to_unsigned)
    }
    | {"HALF": HALF, "SINGLE": SINGLE}
    | {mode.name: mode for mode in Rounding}
)


# ---------------------------------------------------------------- lanes

#: A register as its halves -> its lanes, and back.
Split = Callable[[int, int], tuple[int, ...]]
Join = Callable[..., tuple[int, ...]]

_HALVES = Struct("<QQ")
_CODES = {8: "b", 16: "h", 32: "i", 64: "q"}
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Lane:
    """The type of a register's lanes."""

    bits: int
    signed: bool

    @property
    def count(self) -> int:
        return 128 // self.bits

    def _structure(self, *, signed: bool) -> Struct:
        code = _CODES[self.bits]
        return Struct(f"<{self.count}{code if signed else code.upper()}")

    def splitter(self) -> Split:
        if self.bits == 128:
            high_bit = 1 << 127 if self.signed else 0
            return lambda low, high: (((low | high << 64) ^ high_bit) - high_bit,)
        unpack, pack = self._structure(signed=self.signed).unpack, _HALVES.pack
        return lambda low, high: unpack(pack(low, high))

    def joiner(self) -> Join:
        """From lanes as unsigned numbers."""
        if self.bits == 128:
            return lambda value: (value & _WORD, value >> 64)
        pack, unpack = self._structure(signed=False).pack, _HALVES.unpack
        return lambda *lanes: unpack(pack(*lanes))


_INTEGER_LANES = {"b": 8, "h": 16, "w": 32, "d": 64, "q": 128, "l": 64}
_FLOAT_LANES = {"h": 16, "s": 32, "d": 64}


def _lane(name: str, *, floats: bool) -> Lane:
    """The lane type for one part of a suffix. Floating-point numbers are unsigned patterns."""
    if name in _FLOAT_LANES and (floats or name == "s"):
        return Lane(_FLOAT_LANES[name], signed=False)
    return Lane(_INTEGER_LANES[name[0]], signed=not name.endswith("u"))


# ---------------------------------------------------------------- the members of the families


@dataclass(frozen=True, slots=True)
class Instruction:
    """One opcode: `word` has all operand fields zero, except the bit that marks the lane of a `us`."""

    name: str
    word: int
    operands: str
    expression: str
    result: Lane
    sources: tuple[Lane, ...]
    floats: bool

    @property
    def long_result(self) -> bool:
        """Whether the result is one number of the whole register."""
        return self.operands == "jv"


#: operands -> the lowest bit of the opcode, in which the members of a family differ
_OPCODE_BIT = {"jk": 15, "jka": 20, "jkc": 20, "j": 10, "jv": 10, "u5": 15, "i5": 15, "us": 10, "u8": 18}


def members(table: str, *, floats: bool) -> Iterator[Instruction]:
    """The instructions of a table."""
    for line in filter(None, table.splitlines()):
        found = re.match(r"(\S+)\s+(\S+)\s+((?:[\w.]+:\w+\s+)+)(.+)", line)
        assert found is not None, line
        family, operands, groups, expression = found.groups()
        for group in groups.split():
            kind, opcode = group.split(":")
            for number, suffix in enumerate(KINDS.get(kind, kind).split()):
                parts = [_lane(part, floats=floats) for part in suffix.split(".")]
                sources = tuple(parts[1:]) or (parts[0],)
                step = sources[0].bits if operands == "us" else number
                word = int(opcode, 16) + (step << _OPCODE_BIT[operands])
                result = Lane(128, signed=False) if operands == "jv" else parts[0]
                yield Instruction(f"{family}.{suffix}", word, operands, expression, result, sources, floats)


@cache
def instructions() -> tuple[Instruction, ...]:
    """Every instruction of the tables."""
    return (*members(INTEGERS, floats=False), *members(FLOATS, floats=True))


@cache
def _by_opcode() -> dict[int, dict[int, Instruction]]:
    """Lowest bit of the opcode -> opcode -> instruction."""
    found: dict[int, dict[int, Instruction]] = {bit: {} for bit in (20, 18, 15, 10)}
    for instruction in instructions():
        if instruction.operands == "us":
            # Every value of the immediate is a separate opcode: its length depends on the mark above it.
            lane = instruction.sources[0].bits
            found[10] |= {(instruction.word >> 10) + u: instruction for u in range(lane)}
        else:
            bit = _OPCODE_BIT[instruction.operands]
            found[bit][instruction.word >> bit] = instruction
    return found


#: The sets of less, equal, unordered and greater for which vfcmp has an instruction.
_CONDITIONS = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12})


def decode(word: int) -> Instruction | None:
    """The instruction of a word if it is in the tables, else None."""
    for bit, table in _by_opcode().items():
        if (instruction := table.get(word >> bit)) is not None:
            valid = instruction.operands != "jkc" or word >> 16 & 15 in _CONDITIONS
            return instruction if valid else None
    return None


# ---------------------------------------------------------------- compiling

#: (J, K, A, D, immediate, rounding mode) -> the lanes of the result, or (lane, exceptions) pairs
Computation = Callable[..., list[Any]]


def _over(instruction: Instruction) -> dict[str, str]:
    """Lane variable -> the values it takes, in the order of the result's lanes."""
    source, result = instruction.sources[0], instruction.result
    if result.bits < source.bits:
        if instruction.floats:
            return {"j": "K + J"}
        return {"j": "J + D"} if instruction.operands == "us" else {"j": "J", "k": "K"}
    return {"j": "J", "k": "K", "a": "A", "d": "D"}


@cache
def _computation(instruction: Instruction) -> Computation:
    """The expression as a function of whole registers."""
    source, result, expression = instruction.sources[0], instruction.result, instruction.expression
    used = set(re.findall(r"\w+", expression))
    runs = {name: over for name, over in _over(instruction).items() if name in used}
    least, greatest = (-1 << result.bits - 1 if result.signed else 0), (1 << result.bits - result.signed) - 1
    expression = re.sub(r"\bsat\(", f"clamp({least}, {greatest}, ", expression)
    if not instruction.floats:
        expression = (
            f"{expression} & {(1 << result.bits) - 1}"
            if instruction.long_result
            else (f"({expression}) & {(1 << result.bits) - 1}")
        )
    variables = ", ".join(["i", *runs]) if runs else "i"
    ranges = ", ".join(["range(n)", *runs.values()])
    loop = f"for {variables} in zip({ranges})" if runs else "for i in range(n)"
    form = _FORMATS.get(source.bits if instruction.name.split(".")[-1][-1] in "hsd" else result.bits)
    constants = {
        "n": result.count,
        "N": result.bits,
        "S": source.bits,
        "mask": (1 << source.bits) - 1,
        "f": form,
        "clamp": lambda low, high, value: low if value < low else high if value > high else value,
    }
    text = f"lambda J, K, A, D, u, m: [{expression} {loop}]"
    compiled: Computation = eval(text, _FUNCTIONS | constants)
    return compiled


def _immediate(instruction: Instruction, word: int) -> int:
    match instruction.operands:
        case "us":
            return (word >> 10 & 0xFF) - instruction.sources[0].bits & instruction.sources[0].bits - 1
        case "u5":
            return word >> 10 & 31
        case "i5":
            return (word >> 10 & 31 ^ 16) - 16
        case "u8":
            return word >> 10 & 0xFF
        case _:
            return word >> 15 & 31


#: Letter of an operand -> the registers that hold its halves.
_Places = Mapping[str, tuple[str, str]]
#: The registers in which p-code stores the operands of an operation with postponed exceptions.
_POSTPONED: _Places = {letter: (f"cause_{letter}", f"cause_{letter}h") for letter in "jka"}


def _narrows(instruction: Instruction) -> bool:
    return instruction.result.bits < instruction.sources[0].bits


def _reader(instruction: Instruction, places: _Places) -> Callable[[Engine], list[tuple[int, ...] | None]]:
    """Readers for the lanes of J, K, A and D; None for operands that the expression does not use."""
    used, sources = set(re.findall(r"\w+", instruction.expression)), instruction.sources
    if _narrows(instruction):
        used |= {"K"} if instruction.floats else {"D"} if instruction.operands == "us" else set()
    old = sources[0] if _narrows(instruction) else instruction.result
    types = {"j": sources[0], "k": sources[-1], "a": sources[-1], "d": old}
    operands = [
        (*places[letter], lane.splitter()) if {letter, letter.upper()} & used else None
        for letter, lane in types.items()
    ]

    def lanes(engine: Engine) -> list[tuple[int, ...] | None]:
        read = engine.reg_read
        return [given and given[2](read(given[0]), read(given[1])) for given in operands]

    return lanes


#: Executes one instruction word on the engine's registers.
Action = Callable[[Engine], StopReason | None]


@lru_cache(maxsize=4096)
def action(word: int) -> Action | None:
    """The action for an instruction word; None if it is not a vector instruction of the tables."""
    instruction = decode(word)
    if instruction is None:
        return None
    places = {
        letter: (FLOAT_REGISTERS[word >> shift & 31], VECTOR_UPPER_HALVES[word >> shift & 31])
        for letter, shift in (("j", 5), ("k", 10), ("a", 15), ("d", 0))
    }
    low_d, high_d = places["d"]
    lanes, compute, join = _reader(instruction, places), _computation(instruction), instruction.result.joiner()
    u, keep = _immediate(instruction, word), (1 << instruction.result.bits) - 1
    zeros = [0] * (instruction.result.count // 2 if _narrows(instruction) and instruction.operands == "jk" else 0)

    def integers(engine: Engine) -> None:
        low, high = join(*compute(*lanes(engine), u, None), *zeros)
        engine.reg_write(low_d, low)
        engine.reg_write(high_d, high)

    def floats(engine: Engine) -> StopReason | None:
        mode = _ROUNDINGS[engine.reg_read("fcsr") >> 8 & 3]
        pairs: list[Result] = compute(*lanes(engine), u, mode)
        if report(engine, _together(pairs)):
            return StopReason.ARITHMETIC
        low, high = join(*(bits & keep for bits, _ in pairs))
        engine.reg_write(low_d, low)
        engine.reg_write(high_d, high)
        return None

    return floats if instruction.floats else integers


def _together(pairs: Iterable[Result]) -> int:
    """The exceptions that any lane raised."""
    return reduce(or_, (raised for _, raised in pairs))


def postponed_exceptions(engine: Engine, word: int) -> int:
    """The exceptions that the instruction `word` raises for the operands in cause_*, under rounding to nearest."""
    instruction = decode(word)
    assert instruction is not None
    operands = _reader(instruction, _POSTPONED)(engine)
    return _together(_computation(instruction)(*operands, 0, Rounding.NEAREST_EVEN))


def report(engine: Engine, raised: int) -> bool:
    """Write the exceptions of a floating-point instruction to fcsr: Cause, and Flags unless one is enabled.

    Returns whether one is enabled: the destination must then not be written.
    """
    fcsr = engine.reg_read("fcsr") & ~(0x1F << 24) | raised << 24
    engine.reg_write("cause_word", 0)
    trapped = bool(raised & fcsr)
    engine.reg_write("fcsr", fcsr if trapped else fcsr | raised << 16)
    return trapped

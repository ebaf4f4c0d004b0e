"""Floating-point helpers of libgcc and compiler-rt: arithmetic, comparison and conversion.

GCC internals manual, "Routines for floating point emulation". A helper is an operation on exact values
(`emu.libc.ieee`) and a tuple of machine modes: sf and df for float and double, si, di and ti for integers.

On Arm these helpers use the base standard, floats in integer registers, even where the program is hard-float
(Run-time ABI for the Arm Architecture, section 5.1.1): there `float` is declared as a uint32_t with its bits.
Elsewhere they follow the usual convention. `eabi` exports the same operations under Arm's names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from emu.libc.ieee import DOUBLE, HALF, QUAD, SINGLE, Format
from emu.libc.integers import wrapped
from emu.libc.table import Condition, has_aeabi, register, wide

if TYPE_CHECKING:
    from emu.libc.library import Libc

#: An exact value: a Fraction, or a float zero, infinity or NaN.
Exact: TypeAlias = "Fraction | float"

FORMATS: dict[str, Format] = {"hf": HALF, "sf": SINGLE, "df": DOUBLE, "tf": QUAD}
#: Integer mode -> (signed type, unsigned type, bits)
INTEGERS: dict[str, tuple[str, str, int]] = {
    "si": ("int", "unsigned", 32),
    "di": ("int64_t", "uint64_t", 64),
    "ti": ("__int128", "unsigned __int128", 128),
}
_BITS_TYPES = {"hf": "uint16_t", "sf": "uint32_t", "df": "uint64_t", "tf": "unsigned __int128"}
_NATIVE_TYPES = {"sf": "float", "df": "double"}


# ---------------------------------------------------------------- exact arithmetic


def _is_special(*values: Exact) -> bool:
    return any(isinstance(v, float) for v in values)


def _as_float(value: Exact) -> float:
    """A float of the same class and sign, for cases that only depend on these."""
    return value if isinstance(value, float) else -1.0 if value < 0 else 1.0


def add(a: Exact, b: Exact) -> Exact:
    if not _is_special(a, b):
        return a + b or 0.0
    if isinstance(a, float) and isinstance(b, float):
        return a + b
    special, other = (a, b) if isinstance(a, float) else (b, a)
    return other if special == 0 else special


def subtract(a: Exact, b: Exact) -> Exact:
    return add(a, -b)


def multiply(a: Exact, b: Exact) -> Exact:
    if _is_special(a, b):
        return _as_float(a) * _as_float(b)
    return a * b


def divide(a: Exact, b: Exact) -> Exact:
    if not _is_special(a, b):
        return a / b
    x, y = _as_float(a), _as_float(b)
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)
    return x / y


def magnitude(a: Exact) -> Exact:
    return -a if a < 0 else a


def negate(a: Exact) -> Exact:
    return -a


def unordered(a: Exact, b: Exact) -> bool:
    return a != a or b != b  # only a NaN differs from itself


def three_way(a: Exact, b: Exact) -> int:
    """-1, 0 or 1; the caller handles NaNs."""
    return (a > b) - (a < b)


def power(a: Exact, n: int) -> Exact:
    """a**n as in __powidf2; rounded once, while libgcc rounds at each multiplication."""
    if isinstance(a, float):
        base: float = a
        if base == 0 and n < 0:
            return math.copysign(math.inf, base) if n % 2 else math.inf
        return base**n
    if not a or abs(a) == 1 or abs(n) <= _EXACT_POWER:
        return Fraction(a) ** n
    return _large_power(Fraction(a), n)


_EXACT_POWER = 64
_POWER_BITS = 1024  # bits kept of each product, enough for the rounding of every format
_POWER_RANGE = 40_000  # binary exponents beyond which every format has infinity or zero


def _large_power(a: Fraction, n: int) -> Exact:
    """a**n for an `a` whose denominator is a power of two, by squaring, in bounded time for all `n`."""
    sign = -1 if a < 0 and n % 2 else 1
    significand, exponent = abs(a.numerator), 1 - a.denominator.bit_length()
    result, scale = 1, 0

    def cut(value: int, exponent: int) -> tuple[int, int]:
        excess = max(value.bit_length() - _POWER_BITS, 0)
        return value >> excess, exponent + excess

    left = abs(n)
    while left:
        if left & 1:
            result, scale = cut(result * significand, scale + exponent)
        significand, exponent = cut(significand * significand, 2 * exponent)
        left >>= 1
    magnitude = scale + result.bit_length()
    if abs(magnitude) > _POWER_RANGE:
        return math.copysign(math.inf if (magnitude > 0) == (n > 0) else 0.0, sign)
    value = Fraction(result) * Fraction(2) ** scale
    return sign * (value if n > 0 else 1 / value)


def truncate(value: Exact, bits: int, *, signed: bool) -> int:
    """To an integer, towards zero, saturating; a NaN is 0 (what Arm and RISC-V convert it to)."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if isinstance(value, float):
        return 0 if math.isnan(value) or value == 0 else high if value > 0 else low
    return min(max(math.trunc(value), low), high)


# ---------------------------------------------------------------- exporting an operation on modes


def _both(first: Condition, second: Condition) -> Condition:
    return lambda isa: first(isa) and second(isa)


class Side:
    """How a family of helpers passes floats: as C's types, or as integers with their bits."""

    def __init__(
        self, on: Condition, *, as_bits: bool, has_128_bits: bool = True, family: str = "softfloat"
    ) -> None:
        self.on = on
        self.has_128_bits = has_128_bits  #: whether an ISA with this convention has 128-bit integers
        self.family = family
        self.as_bits = as_bits

    def ctype(self, mode: str) -> str:
        """C type of a mode: a float mode, an integer mode (u in front: unsigned), or a type's own name."""
        if mode in FORMATS:
            return _BITS_TYPES[mode] if self.as_bits or mode not in _NATIVE_TYPES else _NATIVE_TYPES[mode]
        if mode.removeprefix("u") in INTEGERS:
            signed, unsigned, _ = INTEGERS[mode.removeprefix("u")]
            return unsigned if mode.startswith("u") else signed
        return mode

    def _decode(self, mode: str, value: int | float) -> Exact:
        if mode not in FORMATS:
            return value
        if isinstance(value, int):
            return FORMATS[mode].exact(value)
        return value if not math.isfinite(value) or value == 0 else Fraction(value)

    def _encode(self, mode: str, value: Exact | int) -> int | float:
        if mode in FORMATS:
            form = FORMATS[mode]
            bits = form.round(value)
            if self.ctype(mode) == _BITS_TYPES[mode]:
                return bits
            exact = form.exact(bits)
            return float(exact)
        stem = mode.removeprefix("u")
        if stem in INTEGERS:
            return wrapped(int(value), INTEGERS[stem][2], signed=not mode.startswith("u"))
        return int(value)

    def export(self, name: str, modes: Sequence[str], operation: Callable[..., Exact | int]) -> None:
        """Export `operation` on exact values; `modes` are the result's, then each parameter's."""
        result, *parameters = modes
        on = self.on
        if {"ti", "uti", "tf"} & set(modes):
            if not self.has_128_bits:
                return
            on = _both(on, wide)

        def call(libc: Libc, *args: int | float) -> int | float:
            values = [self._decode(mode, value) for mode, value in zip(parameters, args, strict=True)]
            return self._encode(result, operation(*values))

        declared = ", ".join(map(self.ctype, parameters))
        register(name, f"{self.ctype(result)} {name}({declared})", call, on, family=self.family)


NATIVE = Side(lambda isa: not has_aeabi(isa), as_bits=False)
ARM = Side(has_aeabi, as_bits=True, has_128_bits=False)

#: name with {} for the mode -> operation; F is that mode.
ARITHMETIC: dict[str, tuple[str, Callable[..., Exact | int]]] = {
    "__add{}3": ("F F F", add),
    "__sub{}3": ("F F F", subtract),
    "__mul{}3": ("F F F", multiply),
    "__div{}3": ("F F F", divide),
    "__neg{}2": ("F F", negate),
    "__powi{}2": ("F F si", power),
}


def _comparison(when_unordered: int) -> Callable[[Exact, Exact], int]:
    return lambda a, b: when_unordered if unordered(a, b) else three_way(a, b)


#: The result of each comparison for a NaN is chosen so that the test its name suggests fails.
COMPARISONS: dict[str, Callable[[Exact, Exact], int]] = {
    "__eq{}2": _comparison(1), "__ne{}2": _comparison(1), "__lt{}2": _comparison(1), "__le{}2": _comparison(1),
    "__cmp{}2": _comparison(1), "__gt{}2": _comparison(-1), "__ge{}2": _comparison(-1),
    "__unord{}2": lambda a, b: int(unordered(a, b)),
}  # fmt: skip


def identity(a: Exact | int) -> Exact | int:
    return a


def of_integer(value: int) -> Exact:
    return Fraction(value) if value else 0.0


def _fixing(bits: int, *, signed: bool) -> Callable[[Exact], int]:
    return lambda value: truncate(value, bits, signed=signed)


def export_modes(side: Side, modes: Sequence[str]) -> None:
    """Export every helper on the given float modes, and the conversions among them."""
    for mode in modes:
        for name, (shape, operation) in ARITHMETIC.items():
            side.export(name.format(mode), [mode if m == "F" else m for m in shape.split()], operation)
        for name, compare in COMPARISONS.items():
            side.export(name.format(mode), ["int", mode, mode], compare)
        for integer, (_, _, bits) in INTEGERS.items():
            side.export(f"__fix{mode}{integer}", [integer, mode], _fixing(bits, signed=True))
            side.export(f"__fixuns{mode}{integer}", [f"u{integer}", mode], _fixing(bits, signed=False))
            side.export(f"__float{integer}{mode}", [mode, integer], of_integer)
            side.export(f"__floatun{integer}{mode}", [mode, f"u{integer}"], of_integer)


for _side in (NATIVE, ARM):
    export_modes(_side, ("sf", "df"))
    _side.export("__extendsfdf2", ["df", "sf"], identity)
    _side.export("__truncdfsf2", ["sf", "df"], identity)
# A _Float16 argument is in a vector register on most ISAs; Arm alone passes its bits.
for _name, _modes in {
    "__gnu_h2f_ieee": ("sf", "hf"),
    "__gnu_f2h_ieee": ("hf", "sf"),
    "__extendhfsf2": ("sf", "hf"),
    "__truncsfhf2": ("hf", "sf"),
    "__truncdfhf2": ("hf", "df"),
}.items():
    ARM.export(_name, _modes, identity)

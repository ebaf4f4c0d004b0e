"""The host's IEEE 754 arithmetic against the machine's own FPU and against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.loongarch64.softfloat import DOUBLE, INEXACT, OVERFLOW, SINGLE, UNDERFLOW, Format, Rounding

#: Patterns spread over all exponents, or close to one another, or special.
doubles = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.integers(0x3FE0 << 48, 0x4050 << 48),
    st.sampled_from([0, 1 << 63, 1, 0x7FF << 52, 0x7FF8 << 48, 0xFFF << 52, 0x10 << 48, (0x7FF << 52) - 1]),
)
singles = st.one_of(
    st.integers(0, (1 << 32) - 1),
    st.integers(0x3F00 << 16, 0x4200 << 16),
    st.sampled_from([0, 1 << 31, 1, 0x7F80 << 16, 0x7FC0 << 16, 0x80 << 16, 0x7F7FFFFF]),
)
#: The same examples each time, whatever the load of the machine.
steady = settings(derandomize=True, deadline=None)
FORMATS = {"double": (DOUBLE, np.uint64, np.float64), "single": (SINGLE, np.uint32, np.float32)}
OPERATIONS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}


def exact(form: Format, bits: int) -> Fraction:
    number = form.unpack(bits)
    return Fraction(number.shifted(number.exponent)) * Fraction(2) ** number.exponent


def is_finite(form: Format, bits: int) -> bool:
    return bits & form.infinity != form.infinity


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("precision", FORMATS)
@steady
@given(data=st.data())
def test_results_to_nearest_are_those_of_the_fpu(precision: str, operation: str, data: st.DataObject) -> None:
    form, unsigned, floating = FORMATS[precision]
    patterns = doubles if precision == "double" else singles
    x, y = data.draw(patterns), data.draw(patterns)
    with np.errstate(all="ignore"):
        a, b = np.array([x, y], unsigned).view(floating)
        expected = int(np.asarray(OPERATIONS[operation](a, b)).view(unsigned))
    bits, _ = getattr(form, operation)(x, y, Rounding.NEAREST_EVEN)
    # which NaN is made is each machine's own affair
    assert bits == expected or (form.is_nan(bits) and form.is_nan(expected))


@steady
@given(x=doubles, y=doubles, z=doubles, rounding=st.sampled_from(Rounding))
def test_a_fused_result_is_a_neighbour_of_the_exact_one_on_the_side_asked_for(
    x: int, y: int, z: int, rounding: Rounding
) -> None:
    if not all(is_finite(DOUBLE, bits) for bits in (x, y, z)):
        return
    bits, flags = DOUBLE.multiply_add(x, y, z, rounding, negate_z=False, negate=False)
    true = exact(DOUBLE, x) * exact(DOUBLE, y) + exact(DOUBLE, z)
    if flags & OVERFLOW:
        assert bits & ~(1 << 63) in (DOUBLE.infinity, DOUBLE.infinity - 1)
        assert abs(true) > exact(DOUBLE, DOUBLE.infinity - 1)
        return
    got = exact(DOUBLE, bits)
    assert (got != true) == bool(flags & INEXACT)
    least = Fraction(2) ** -1022
    assert not flags & UNDERFLOW or (got != true and abs(true) < least)
    if rounding is Rounding.UP:
        assert got >= true
    elif rounding is Rounding.DOWN:
        assert got <= true
    elif rounding is Rounding.TO_ZERO:
        assert abs(got) <= abs(true)
    unit = Fraction(2) ** max(DOUBLE.least_exponent, _exponent(true) - 52) if true else Fraction(1)
    assert abs(got - true) <= (unit / 2 if rounding is Rounding.NEAREST_EVEN else unit)


def _exponent(value: Fraction) -> int:
    """floor(log2(|value|))."""
    guess = abs(value.numerator).bit_length() - value.denominator.bit_length()
    return guess if abs(value) >= Fraction(2) ** guess else guess - 1


@steady
@given(x=doubles)
def test_a_square_root_is_the_greatest_number_not_above_the_true_one(x: int) -> None:
    if not is_finite(DOUBLE, x) or x >> 63:
        return
    bits, flags = DOUBLE.square_root(x, Rounding.DOWN)
    value = exact(DOUBLE, x)
    assert exact(DOUBLE, bits) ** 2 <= value < exact(DOUBLE, bits + 1) ** 2
    square = isqrt(value.numerator) ** 2 == value.numerator and isqrt(value.denominator) ** 2 == value.denominator
    assert square or flags & INEXACT


@steady
@given(x=doubles)
def test_narrowing_and_widening_agree_with_the_fpu(x: int) -> None:
    with np.errstate(all="ignore"):
        expected = int(np.array([x], np.uint64).view(np.float64).astype(np.float32).view(np.uint32)[0])
    bits, _ = SINGLE.convert(x, DOUBLE, Rounding.NEAREST_EVEN)
    assert bits == expected or (SINGLE.is_nan(bits) and SINGLE.is_nan(expected))
    if not SINGLE.is_nan(bits):
        back, flags = DOUBLE.convert(bits, SINGLE, Rounding.NEAREST_EVEN)
        assert (flags, SINGLE.convert(back, DOUBLE, Rounding.UP)) == (0, (bits, 0))


@steady
@given(value=st.integers(-1 << 63, (1 << 63) - 1))
def test_integers_convert_as_the_fpu_converts_them(value: int) -> None:
    bits, flags = DOUBLE.from_integer(value, Rounding.NEAREST_EVEN)
    assert bits == int(np.array([value], np.int64).astype(np.float64).view(np.uint64)[0])
    assert bool(flags) == (exact(DOUBLE, bits) != value)
    if not flags:
        assert DOUBLE.to_integer(bits, 64, Rounding.TO_ZERO) == (value & (1 << 64) - 1, 0)

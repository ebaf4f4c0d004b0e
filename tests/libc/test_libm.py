"""libm: values from mpmath at 60 digits, within the bounds that are promised; special cases of annex F."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from emu.calls.values import WideFloat
from emu.isa.registry import ISAS
from emu.libc.errno import Errno
from emu.libc.fenv import Raised
from emu.libc.ieee import DOUBLE, QUAD, Rounding, as_long_double, double_bits, exact, long_double
from emu.libc.parse import parse_real
from tests.libc.fake import Harness, Values

#: name -> argument -> 40 digits (mpmath 1.4, which is another implementation).
_DIGITS = {
    "lgamma": {
        "2.5": "0.2846828704729191596324946696827019243201",
        "-3.75": "-1.317267942446363673850078716594418237750",
        "1.0000152587890625": "-0.000008807420580197905194061157631901679899078",
        "170.5": "704.0044277342046707917900288362859176897",
    },
    "tgamma": {
        "2.5": "1.329340388179137020473625612505858887098",
        "-3.75": "0.2678661288614166025553406637524167482732",
        "0.0078125": "127.4304564114296588115383352230100404938",
    },
    "j0": {
        "2.5": "-0.04838377646819799632728777885120343363181",
        "30.25": "-0.05443267228961778012567481770450249329573",
        "1000.5": "0.01948655998713013737311748338817276950550",
    },
    "y1": {
        "2.5": "0.1459181379667857988787599405358775712761",
        "0.125": "-5.199936112534774995959287448765799209948",
        "300.75": "0.002586600424353211404581354606606053396109",
    },
    "sin": {
        "1e22": "-0.8522008497671888017727058937530293682618",
        "0.5": "0.4794255386042030002732879352155713880818",
    },
    "exp": {"1": "2.718281828459045235360287471352662497757"},
    "atan": {"3": "1.249045772398254425829917077281090123078"},
    "erfc": {"4.5": "0.0000000001966160441542887476279160367664332660578"},
    "log1p": {"0.0009765625": "0.0009760859730554588959608249080171866726118"},
}


@pytest.mark.parametrize("name", _DIGITS)
def test_values_are_those_of_an_arbitrary_precision_library(name: str) -> None:
    for text, digits in _DIGITS[name].items():
        known = Fraction(digits)
        for arch in ("x86_64", "aarch64", "arm"):
            host, data = Harness(arch), ISAS[arch].data
            form, _ = long_double(data)
            argument = as_long_double(Fraction(text), data)
            found = exact(host.call(name + "l", argument))
            if exact(argument) == Fraction(text):
                assert abs(found - known) <= abs(known) / 2**form.fraction_bits, (name, arch, text)


@pytest.mark.parametrize("arch", ISAS)
def test_long_double_functions_are_exact_to_the_format(arch: str) -> None:
    host, data = Harness(arch), ISAS[arch].data
    form, size = long_double(data)

    def call(name: str, *values: Any) -> Fraction | float:
        wide = [as_long_double(v if v in (math.inf, -math.inf) else Fraction(v), data) for v in values]
        if ISAS[arch].long_double_by_value:
            return exact(host.call(name, *wide))
        places = [host.place(form.round(exact(v)).to_bytes(16, "little")) for v in wide]
        result = host.buffer(size)
        assert host.call(name, result, *places) == result
        return form.exact(int.from_bytes(host.memory.read(result, form.size), "little"))

    ulp = Fraction(1, 2**form.fraction_bits)
    third = exact(as_long_double(Fraction(1, 3), data))
    euler = parse_real(b"2.718281828459045235360287471352662497757").value
    assert abs(Fraction(call("sqrtl", 2)) ** 2 - 2) <= 4 * ulp
    assert abs(Fraction(call("expl", 1)) - Fraction(euler)) <= 2 * ulp
    assert call("fmal", third, 3, -1) == third * 3 - 1
    assert call("fmodl", 5, third) == 5 % third
    assert call("nextafterl", 1, 2) == 1 + ulp
    assert call("nextafterl", 1, 0) == 1 - ulp / 2
    assert call("nextafterl", form.exact(form.largest), math.inf) == math.inf
    assert call("roundl", 2.5) == 3
    assert call("rintl", 2.5) == 2
    assert call("logbl", 0.3) == -2
    assert call("powl", -2, 3) == -8
    assert math.isnan(call("logl", -1))
    assert call("atan2l", 0.0, -1) == exact(
        as_long_double(parse_real(b"3.14159265358979323846264338327950288").value, data)
    )


def _raised(host: Harness, arch: str) -> Raised:
    facts = ISAS[arch].libc.float_environment
    value = host.call("fetestexcept", facts.flags_mask)
    host.call("feclearexcept", facts.flags_mask)
    return Raised(sum(1 << n for n, bit in enumerate(facts.flag_bits) if value & bit))


@pytest.mark.parametrize("arch", ISAS)
def test_exceptions_are_raised_as_annex_f_has_them(arch: str) -> None:
    host = Harness(arch)
    host.call("fesetenv", (1 << 8 * ISAS[arch].data.pointer_size) - 1)
    invalid, pole = Raised.INVALID, Raised.DIVISION_BY_ZERO
    over, under, inexact = Raised.OVERFLOW | Raised.INEXACT, Raised.UNDERFLOW | Raised.INEXACT, Raised.INEXACT
    rows = [
        ("log", (0.0,), pole),
        ("log", (-1.0,), invalid),
        ("sqrt", (-1.0,), invalid),
        ("exp", (1000.0,), over),
        ("exp", (-1000.0,), under),
        ("pow", (0.0, -1.0), pole),
        ("pow", (-8.0, 0.3), invalid),
        ("atanh", (1.0,), pole),
        ("tgamma", (-1.0,), invalid),
        ("tgamma", (200.0,), over),
        ("lgamma", (0.0,), pole),
        ("sin", (1.0,), inexact),
        ("sin", (math.inf,), invalid),
        ("rint", (1.5,), inexact),
        ("nearbyint", (1.5,), Raised(0)),
        ("lrint", (1e30,), invalid),
        ("floor", (1.5,), Raised(0)),
        ("nextafter", (1.7976931348623157e308, math.inf), over),
        ("y0", (0.0,), pole),
        ("y0", (-1.0,), invalid),
        ("sqrt", (4.0,), Raised(0)),
        ("exp2", (3.0,), Raised(0)),
        ("ldexp", (1.0, -5000), under),
        ("ldexp", (1.0, 3), Raised(0)),
        ("ldexp", (1.3, -2), Raised(0)),
        ("sin", (5e-324,), under),
        ("atan2", (2.2250738585072014e-308, 1.7e308), under),
        ("atanh", (1e-310,), under),
        ("fma", (1e-200, 1e-200, 5e-324), under),
        ("hypot", (0.0, 5e-324), Raised(0)),
        ("fdim", (0.1, -0.7), inexact),
        ("sqrt", (1.0000000000000002,), inexact),
        ("rint", (0.5,), inexact),
        ("log", (1.0,), Raised(0)),
        ("lgamma", (1e308,), over),
        ("nextafterf", (3.4028234663852886e38, math.inf), over),
        ("log", (math.nan,), Raised(0)),
    ]
    for name, arguments, wanted in rows:
        host.call(name, *arguments)
        assert _raised(host, arch) == wanted, (name, arguments)


@pytest.mark.parametrize("arch", ISAS)
def test_what_ieee_754_rounds_is_rounded_as_the_cpu_does(arch: str) -> None:
    host, modes = Harness(arch), ISAS[arch].libc.float_environment.modes
    for rounding in Rounding:
        host.call("fesetround", modes[rounding])
        root = Fraction(host.call("sqrt", 2.0))
        below = Fraction(1414213562373095048801688724209698, 10**33)
        neighbours = [DOUBLE.exact(DOUBLE.round(below, way)) for way in (Rounding.DOWN, Rounding.UP)]
        nearest = min(neighbours, key=lambda value: abs(Fraction(value) - below))
        assert root == {Rounding.NEAREST: nearest, Rounding.UP: neighbours[1]}.get(rounding, neighbours[0])
        whole = [host.call(name, -2.5) for name in ("rint", "nearbyint", "lrint")]
        assert whole == [{Rounding.NEAREST: -2, Rounding.UP: -2, Rounding.ZERO: -2}.get(rounding, -3)] * 3
        assert host.call("round", -2.5) == -3


@pytest.mark.parametrize("arch", ISAS)
def test_scaling_rounds_in_the_direction_and_overflows_as_it_says(arch: str) -> None:
    """ldexp is scaleB of IEEE 754 (5.3.3), which rounds as arithmetic does."""
    host, modes = Harness(arch), ISAS[arch].libc.float_environment.modes
    largest, smallest = math.ldexp(2.0**53 - 1, 971), 5e-324
    rows = {
        ("ldexp", smallest, -1): {Rounding.NEAREST: 0.0, Rounding.UP: smallest},
        ("scalbn", 0.5, -1074): {Rounding.NEAREST: 0.0, Rounding.UP: smallest},
        ("scalbln", -171.5, -1074): dict.fromkeys((Rounding.UP, Rounding.ZERO), -171 * smallest),
        ("ldexp", 1e300, 5000): dict.fromkeys((Rounding.DOWN, Rounding.ZERO), largest),
        ("scalbn", -1e300, 5000): dict.fromkeys((Rounding.UP, Rounding.ZERO), -largest),
    }
    otherwise = {-171.5: -172 * smallest, 1e300: math.inf, -1e300: -math.inf}
    for (name, value, exponent), results in rows.items():
        for way in Rounding:
            host.call("fesetround", modes[way])
            expected = results.get(way, otherwise.get(value, 0.0))
            assert host.call(name, value, exponent) == expected, (name, value, way)
            assert bool(Raised.OVERFLOW & _raised(host, arch)) == (abs(value) == 1e300)


def test_a_nan_through_pointers_keeps_its_sign(host: Harness) -> None:
    negative, place = math.copysign(math.nan, -1), host.buffer(8)
    for name in ("frexp", "modf", "lgamma_r"):
        assert math.copysign(1, host.call(name, negative, place)) == -1, name
    assert host.call("sscanf", b"-nan", b"%lf", Values(place)) == 1
    assert host.memory.read_uint(place, 8) == 0xFFF8 << 48


def test_an_angle_that_underflows_is_out_of_range(host: Harness) -> None:
    assert host.call("atan2", 5e-324, 1e300) == 0
    assert host.libc.errno == Errno.ERANGE


def test_signs_of_zeros_and_infinities() -> None:
    host = Harness()
    rows = {
        ("tgamma", -0.0): -math.inf,
        ("lgamma", -0.0): math.inf,
        ("j1", -0.0): -0.0,
        ("y1", 0.0): -math.inf,
        ("floor", -0.0): -0.0,
        ("cbrt", -0.0): -0.0,
        ("atan2", -0.0, -1.0): -math.pi,
        ("fmod", -6.0, 3.0): -0.0,
        ("remainder", -6.0, 3.0): -0.0,
        ("pow", -0.0, -3.0): -math.inf,
        ("jn", 1, -0.0): -0.0,
        ("fdim", 1.0, 2.0): 0.0,
    }
    for (name, *arguments), wanted in rows.items():
        assert double_bits(host.call(str(name), *arguments)) == double_bits(wanted), name


def test_wide_values_beyond_doubles_are_finite() -> None:
    host = Harness("aarch64")
    huge = WideFloat.of(QUAD.round(Fraction(10) ** 4000), ISAS["aarch64"].data.long_double)
    assert host.call("__finitel", huge) == 1
    assert host.call("__isinfl", huge) == 0
    assert host.call("ilogbl", huge) == 13287
    assert abs(Fraction(exact(host.call("log10l", huge))) - 4000) < Fraction(1, 10**25)


@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64", "riscv32"])
def test_a_nan_has_the_sign_of_the_isas_arithmetic(arch: str) -> None:
    host = Harness(arch)
    for name, arguments in (("sqrt", [-1.0]), ("fmod", [1.0, 0.0]), ("pow", [-8.0, 0.5]), ("sin", [math.inf])):
        assert math.copysign(1, host.call(name, *arguments)) == (-1 if arch in ("x86_64", "i386") else 1), name
    assert math.copysign(1, host.call("acos", 2.0)) == 1, "glibc makes this one another way"
    assert math.copysign(1, host.call("sin", math.copysign(math.nan, -1))) == -1
    assert math.copysign(1, host.call("fabs", math.copysign(math.nan, -1))) == 1

"""Long double in its own format, wide formatted output and input, rounding directions: values from glibc 2.36."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.calls.values import WideFloat
from emu.isa.convention import BINARY128, X87, FloatFormat
from emu.isa.registry import ISAS
from emu.libc.encoding import LC_ALL
from emu.libc.errno import Errno
from emu.libc.ieee import QUAD, Rounding, as_long_double, exact
from emu.libc.ieee import X87 as EXTENDED
from tests.libc.fake import Harness, Values

_THIRD = {X87: EXTENDED.round(Fraction(1, 3)), BINARY128: QUAD.round(Fraction(1, 3))}
_PI = Fraction(314159265358979323846264338327950288419716939937510, 10**50)
_ZERO, _UP, _DOWN = Rounding.ZERO, Rounding.UP, Rounding.DOWN


def _printed(template: bytes, *arguments: float | int, arch: str = "x86_64") -> bytes:
    host = Harness(arch)
    out = host.buffer(1 << 16)
    host.call("snprintf", out, 1 << 16, template, Values(*arguments))
    return host.string(out)


@pytest.mark.parametrize(
    ("form", "template", "wanted"),
    [
        (X87, b"%La %.25Lf %.21Lg", b"0xa.aaaaaaaaaaaaaabp-5 0.3333333333333333333423684 0.333333333333333333342"),
        (X87, b"%.0La %.3La %LA", b"0xbp-5 0xa.aabp-5 0XA.AAAAAAAAAAAAAABP-5"),
        (BINARY128, b"%La", b"0x1.5555555555555555555555555555p-2"),
        (BINARY128, b"%.40Le", b"3.3333333333333333333333333333333331728392e-01"),
        (BINARY128, b"%Lg|%-12Lf|%012.3Lf", b"0.333333|0.333333    |00000000.333"),
    ],
)
def test_long_double_prints_its_own_digits(form: FloatFormat, template: bytes, wanted: bytes) -> None:
    value = WideFloat.of(_THIRD[form], form)
    assert _printed(template, *[value] * template.count(b"%")) == wanted


@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64", "riscv64", "loongarch64"])
def test_strtold_keeps_what_printf_prints(arch: str) -> None:
    host = Harness(arch)
    value = host.call("strtold", b"3.14159265358979323846264338327950288419716939937510", 0)
    assert isinstance(value, WideFloat)
    assert exact(value) == exact(as_long_double(_PI, ISAS[arch].data))
    place = host.buffer(16)
    host.call("sscanf", b"3.14159265358979323846264338327950288419716939937510", b"%Lf", Values(place))
    form = EXTENDED if ISAS[arch].data.long_double == X87 else QUAD
    assert int.from_bytes(host.memory.read(place, form.size), "little") == value.bits


@given(st.integers(0, (1 << 128) - 1))
def test_a_long_double_passes_through_python_unchanged(bits: int) -> None:
    from emu.calls.values import decode_float, encode_float

    assert encode_float(decode_float(bits, BINARY128), BINARY128) == bits
    assert encode_float(decode_float(bits, X87), X87) == bits & (1 << 80) - 1


@pytest.mark.parametrize("arch", ISAS)
def test_printf_and_strtod_round_as_the_cpu_does(arch: str) -> None:
    host = Harness(arch)
    modes = ISAS[arch].libc.float_environment.modes
    rows = {
        _ZERO: (b"0.000 -0.000 2 1.2e+00", "0x1.9999999999999p-4", float.fromhex("0x1.fffffffffffffp+1023")),
        _UP: (b"0.001 -0.000 3 1.3e+00", "0x1.999999999999ap-4", float("inf")),
        _DOWN: (b"0.000 -0.001 2 1.2e+00", "0x1.9999999999999p-4", float.fromhex("0x1.fffffffffffffp+1023")),
    }
    for rounding, (text, tenth, huge) in rows.items():
        assert host.call("fesetround", modes[rounding]) == 0
        assert host.call("fegetround") == modes[rounding]
        out = host.buffer(64)
        host.call("snprintf", out, 64, b"%.3f %.3f %.0f %.1e", Values(0.0005, -0.0005, 2.5, 1.25))
        assert host.string(out) == text
        assert host.call("strtod", b"0.1", 0) == float.fromhex(tenth)
        assert host.call("strtod", b"1e400", 0) == huge


def test_wide_output_counts_characters() -> None:
    host = Harness()
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    out = host.buffer(400)
    count = host.call("swprintf", out, 100, host.wide("[%5s|%-4ls|%.2ls|%lc|%d]"), Values(
        host.text("äö".encode()), host.wide("é"), host.wide("日本語"), 0x20AC, 42))  # fmt: skip
    assert host.memory.read(out, 4 * count).decode("utf-32-le") == "[   äö|é   |日本|€|42]"
    assert host.call("swprintf", out, 3, host.wide("%d"), Values(12345)) == -1
    assert host.memory.read(out, 12).decode("utf-32-le") == "12\0"


def test_wide_input_counts_characters() -> None:
    host = Harness()
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    narrow, wide, count = host.buffer(64), host.buffer(64), host.buffer(4)
    text, template = host.wide("äöü日本 x"), host.wide("%2s%2ls%n")
    assert host.call("swscanf", text, template, Values(narrow, wide, count)) == 2
    assert host.string(narrow) == "äö".encode()
    assert host.memory.read(wide, 12).decode("utf-32-le") == "ü日\0"
    assert host.memory.read_uint(count, 4) == 4


def test_scanf_stores_wide_characters_for_l() -> None:
    host = Harness()
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    wide, one = host.buffer(64), host.buffer(64)
    assert host.call("sscanf", "häuser €".encode(), b"%ls %lc", Values(wide, one)) == 2
    assert host.memory.read(wide, 28).decode("utf-32-le") == "häuser\0"
    assert host.memory.read(one, 4).decode("utf-32-le") == "€"


def test_a_state_that_no_character_begins_with_is_refused() -> None:
    host = Harness()
    state = host.place(b"\3\0\0\0abc\0")
    assert host.call("mbrtowc", 0, b"d", 1, state) == (1 << 64) - 1
    assert host.libc.errno == Errno.EILSEQ

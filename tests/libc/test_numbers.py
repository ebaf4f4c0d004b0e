"""strto*, sscanf and friends agree with the host's glibc."""

from __future__ import annotations

import ctypes
import math
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emu.libc.ieee import DOUBLE, QUAD, SINGLE, X87, bits_double, bits_single, double_bits, single_bits
from tests.libc.fake import Harness, Values

_INTEGER_TEXT = st.text(" \t+-0123456789abcdefxXzZ.b", max_size=24).map(str.encode)
_REAL_TEXT = st.one_of(
    st.text(" +-0123456789.eExXpPabcfinty()_", max_size=20).map(str.encode),
    st.floats().map(lambda x: repr(x).encode()),
    st.floats().map(lambda x: x.hex().encode()),
    st.tuples(st.integers(0, 10**40), st.integers(-400, 400)).map(lambda p: b"%de%d" % p),
)


def _ours(name: str, text: bytes, *rest: int) -> tuple[int | float, int, int]:
    """(value, bytes consumed, errno)"""
    host = Harness()
    start, end = host.text(text), host.buffer(8)
    value = host.call(name, start, end, *rest)
    return value, host.memory.read_uint(end, 8) - start, host.libc.errno


def _theirs(glibc: ctypes.CDLL, name: str, restype: type, text: bytes, *rest: int) -> tuple[int | float, int, int]:
    function = getattr(glibc, name)
    function.restype = restype
    start, end = ctypes.create_string_buffer(text), ctypes.c_void_p()
    ctypes.set_errno(0)
    value = function(start, ctypes.byref(end), *rest)
    return value, (end.value or 0) - ctypes.addressof(start), ctypes.get_errno()


@given(
    st.sampled_from(["strtol", "strtoul", "strtoll", "strtoull"]),
    _INTEGER_TEXT,
    st.sampled_from([0, 8, 10, 16, 36]),
)
@example("strtol", b"-9223372036854775809", 10)
@example("strtoul", b"-18446744073709551615", 10)
@example("strtoul", b"18446744073709551616", 0)
@example("strtol", b"0x", 0)
@example("strtol", b"0xg", 16)
def test_integers_with_base_end_and_errno(glibc: ctypes.CDLL, name: str, text: bytes, base: int) -> None:
    if b"0b" in text.lower() and base == 0:
        return  # C23's prefix, which an older glibc does not know
    restype = ctypes.c_ulong if "u" in name else ctypes.c_long
    value, consumed, error = _theirs(glibc, name, restype, text, base)
    if consumed == 0:
        error = 0  # glibc sets EINVAL where the standard leaves errno alone
    assert _ours(name, text, base) == (value, consumed, error)


@pytest.mark.parametrize("width", ["strtol", "atoi"])
def test_a_32_bit_long_saturates_at_32_bits(width: str) -> None:
    host = Harness("arm")
    args = (0, 10) if width == "strtol" else ()
    assert host.call(width, b"99999999999", *args) == 2**31 - 1


def _same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


@given(st.sampled_from(["strtod", "strtof"]), _REAL_TEXT)
@example("strtof", b"1.00000005960464477540")  # just above the middle of two floats: one rounding only
@example("strtof", b"1.000000059604644775390625")
@example("strtod", b"0x1p-1074")
@example("strtod", b"0x1.8p-1075")
@example("strtod", b"4.9e-324")
@example("strtod", b"1e400")
@example("strtod", b"nan(abc)x")
@example("strtod", b"infinit")
@example("strtod", b"0x.8")
@example("strtod", b"1e+")
def test_reals_round_once_and_report_range(glibc: ctypes.CDLL, name: str, text: bytes) -> None:
    restype = ctypes.c_double if name == "strtod" else ctypes.c_float
    value, consumed, error = _theirs(glibc, name, restype, text)
    ours, our_consumed, our_error = _ours(name, text)
    assert _same(ours, value)
    assert our_consumed == consumed
    # Whether a result that rounds up to the least normal number underflows is the implementation's choice.
    if abs(value) != (2.0**-1022 if name == "strtod" else 2.0**-126):
        assert our_error == error


_INTEGER_FORMATS = [b"%d", b"%d %d", b"%i%n", b"%x", b"%o,%u", b"%3d%2d", b"%*d%d", b"%hd %hhd", b"%ld", b"%llx"]
_STRING_FORMATS = [
    b"%s", b"%s %s", b"%[abc]%s", b"%[^,],%s", b"%3s%c", b"%c%c", b"%5[a-z ]", b"a%sb", b" x%n%s",
]  # fmt: skip


@given(st.text(" -+0123456789abcxyz.,", max_size=16).map(str.encode), st.sampled_from(_INTEGER_FORMATS))
def test_sscanf_integers(glibc: ctypes.CDLL, text: bytes, template: bytes) -> None:
    theirs = [ctypes.c_longlong(-1) for _ in range(3)]
    expected = glibc.sscanf(text, template, *(ctypes.byref(t) for t in theirs))
    host = Harness()
    ours = [host.place(b"\xff" * 8) for _ in range(3)]
    assert host.call("sscanf", text, template, Values(*ours)) == expected
    assert [host.memory.read(o, 8) for o in ours] == [bytes(t) for t in theirs]


@given(st.text(" abcxyz,;12\t", max_size=16).map(str.encode), st.sampled_from(_STRING_FORMATS))
def test_sscanf_strings(glibc: ctypes.CDLL, text: bytes, template: bytes) -> None:
    theirs = [ctypes.create_string_buffer(b"\xee" * 32, 32) for _ in range(3)]
    expected = glibc.sscanf(text, template, *theirs)
    host = Harness()
    ours = [host.place(b"\xee" * 32) for _ in range(3)]
    assert host.call("sscanf", text, template, Values(*ours)) == expected
    assert [host.memory.read(o, 32) for o in ours] == [t.raw for t in theirs]


@given(st.one_of(st.floats(allow_nan=False), st.integers(-999, 999)).map(lambda x: repr(x).encode()))
def test_sscanf_reals(glibc: ctypes.CDLL, text: bytes) -> None:
    double, single = ctypes.c_double(-1), ctypes.c_float(-1)
    glibc.sscanf(text + b" " + text, b"%lf %f", ctypes.byref(double), ctypes.byref(single))
    host = Harness()
    ours = host.buffer(8), host.buffer(4)
    assert host.call("sscanf", text + b" " + text, b"%lf %f", Values(*ours)) == 2
    assert host.memory.read(ours[0], 8) == bytes(double)
    assert host.memory.read(ours[1], 4) == bytes(single)


@given(st.integers(0, (1 << 64) - 1))
def test_double_bits_round_trip_through_exact_values(bits: int) -> None:
    value = bits_double(bits)
    if not math.isnan(value):
        assert DOUBLE.round(DOUBLE.exact(bits)) == bits == double_bits(value)


@given(st.floats(allow_nan=False))
def test_rounding_to_single_agrees_with_the_processor(value: float) -> None:
    expected = struct.unpack("<I", bytes(ctypes.c_float(value)))[0]
    assert SINGLE.round(DOUBLE.exact(double_bits(value))) == expected == single_bits(value)
    assert bits_single(expected) == ctypes.c_float(value).value


@given(st.floats(allow_nan=False))
def test_long_doubles_hold_every_double(value: float) -> None:
    if (host := {63: (X87, 10), 112: (QUAD, 16)}.get(np.finfo(np.longdouble).nmant)) is not None:
        form, size = host
        assert bytes(ctypes.c_longdouble(value))[:size] == form.round(value).to_bytes(size, "little")
    for form in (X87, QUAD):
        assert _same(float(form.exact(form.round(value))), value)


@pytest.mark.parametrize(
    "text",
    [
        b" " * 300 + b"42",
        b" " * 255 + b"-42",
        b"0" * 300 + b"7",
        b"1" * 252 + b"e5",
        b"1" * 255 + b".5e-300x",
    ],
)
@pytest.mark.parametrize("name", ["strtol", "strtod"])
def test_long_numbers_are_read_to_their_end(glibc: ctypes.CDLL, name: str, text: bytes) -> None:
    restype, rest = (ctypes.c_long, (10,)) if name == "strtol" else (ctypes.c_double, ())
    assert _ours(name, text, *rest) == _theirs(glibc, name, restype, text, *rest)

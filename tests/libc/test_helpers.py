"""Compiler helpers: integers against Python, floats against the host's processor."""

from __future__ import annotations

import ctypes
import math
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emu.errors import GuestAbort
from emu.libc.ieee import QUAD, bits_double, bits_single, double_bits
from tests.libc.fake import Harness

_I64 = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-9, 9))
_U64 = st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 9))
_ARM, _RISCV = Harness("arm"), Harness("riscv64")
#: Doubles with every class well represented, as bits.
_DOUBLES = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.floats().map(double_bits),
    st.integers(-20, 20).map(lambda n: double_bits(float(n))),
)
_SINGLES = st.one_of(
    st.integers(0, (1 << 32) - 1), st.floats(width=32).map(lambda x: struct.unpack("<I", struct.pack("<f", x))[0])
)


@given(_I64, _I64.filter(bool))
@example(-(1 << 63), -1)
def test_64_bit_division_truncates_and_wraps(a: int, b: int) -> None:
    quotient = ctypes.c_int64(abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)).value
    assert _ARM.call("__divdi3", a, b) == quotient
    assert _ARM.call("__moddi3", a, b) == int(math.copysign(1, a)) * (abs(a) % abs(b))
    assert ctypes.c_int64(_ARM.call("__aeabi_ldivmod", a, b)).value == quotient
    remainder = _ARM.machine.cpu.values["r3"] << 32 | _ARM.machine.cpu.values["r2"]
    assert ctypes.c_int64(remainder).value == _ARM.call("__moddi3", a, b)


@given(_U64, _U64.filter(bool))
def test_unsigned_division_stores_its_remainder(a: int, b: int) -> None:
    place = _ARM.buffer(8)
    assert _ARM.call("__udivmoddi4", a, b, place) == a // b
    assert _ARM.memory.read_uint(place, 8) == a % b


@given(st.integers(0, (1 << 128) - 1), st.integers(1, (1 << 128) - 1))
def test_128_bit_division_on_64_bit_isas(a: int, b: int) -> None:
    assert _RISCV.call("__udivti3", a, b) == a // b
    assert _RISCV.call("__umodti3", a, b) == a % b
    assert _ARM.libc.lookup("__udivti3") is None


@given(st.integers(0, (1 << 64) - 1))
def test_bits_are_counted(a: int) -> None:
    assert _ARM.call("__popcountdi2", a) == bin(a).count("1")
    assert _ARM.call("__bswapdi2", a) == int.from_bytes(a.to_bytes(8, "big"), "little")
    if a:
        assert _ARM.call("__clzdi2", a) == 64 - a.bit_length()
        assert _ARM.call("__ctzdi2", a) == _ARM.call("__ffsdi2", a) - 1 == (a & -a).bit_length() - 1


def test_division_by_zero_and_trapping_overflow_abort() -> None:
    for name, args in (("__divdi3", (1, 0)), ("__aeabi_idivmod", (1, 0)), ("__addvsi3", (2**31 - 1, 1))):
        with pytest.raises(GuestAbort, match=r"division by zero|signed overflow"):
            _ARM.call(name, *args)


def test_idivmod_packs_the_remainder_high() -> None:
    assert _ARM.call("__aeabi_idivmod", -7, 2) == (0xFFFF_FFFF << 32) | 0xFFFF_FFFD


def _equal_bits(ours: int, theirs: int, nan: int) -> bool:
    return ours == theirs or (ours & nan == nan and theirs & nan == nan)


@given(_DOUBLES, _DOUBLES)
def test_double_arithmetic_agrees_with_the_processor(a: int, b: int) -> None:
    x, y = np.float64(bits_double(a)), np.float64(bits_double(b))
    with np.errstate(all="ignore"):
        results = {"add": x + y, "sub": x - y, "mul": x * y, "div": x / y}
    for name, expected in results.items():
        bits = _ARM.call(f"__aeabi_d{name}", a, b)
        assert _equal_bits(bits, double_bits(float(expected)), 0x7FF8 << 48), name
        assert bits == _ARM.call(f"__{name}df3", a, b)


@given(_SINGLES, _SINGLES)
def test_single_arithmetic_agrees_with_the_processor(a: int, b: int) -> None:
    x, y = np.array([a, b], dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        results = {"add": x + y, "sub": x - y, "mul": x * y, "div": x / y}
    for name, expected in results.items():
        bits = _ARM.call(f"__aeabi_f{name}", a, b)
        assert _equal_bits(bits, int(np.float32(expected).view(np.uint32)), 0x7FC0_0000), name


@given(_DOUBLES, _DOUBLES)
def test_comparisons_fail_for_nans(a: int, b: int) -> None:
    x, y = bits_double(a), bits_double(b)
    expected = {"eq": x == y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "un": x != x or y != y}
    for name, truth in expected.items():
        assert _ARM.call(f"__aeabi_dcmp{name}", a, b) == truth, name
    assert (_ARM.call("__ltdf2", a, b) < 0) == (x < y)
    assert (_ARM.call("__gedf2", a, b) >= 0) == (x >= y)
    _ARM.call("__aeabi_cdcmple", a, b)
    flags = _ARM.machine.cpu.values["cpsr"]
    assert bool(flags & 1 << 30) == (x == y)
    assert bool(flags & 1 << 29) == (not x < y)


@given(_DOUBLES)
def test_conversions_truncate_and_saturate(a: int) -> None:
    x = bits_double(a)
    if not math.isnan(x):
        clamped = min(max(x, -(2.0**63)), 2.0**63)
        assert _ARM.call("__aeabi_d2lz", a) == min(int(clamped), (1 << 63) - 1)
        assert _ARM.call("__aeabi_d2uiz", a) == int(min(max(x, 0), 2.0**32 - 1))
        with np.errstate(all="ignore"):
            assert _ARM.call("__aeabi_d2f", a) == int(np.float64(x).astype(np.float32).view(np.uint32))
            assert _ARM.call("__aeabi_d2h", a) == int(np.float64(x).astype(np.float16).view(np.uint16))


@given(_I64)
def test_integers_round_to_nearest_even(a: int) -> None:
    assert bits_double(_ARM.call("__aeabi_l2d", a)) == float(a)
    assert bits_single(_ARM.call("__aeabi_l2f", a)) == float(np.int64(a).astype(np.float32))
    assert _RISCV.call("__floatdidf", a) == float(a)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_quad_arithmetic_is_exact_where_double_is_not(x: float, y: float) -> None:
    a, b = QUAD.round(x), QUAD.round(y)
    assert _RISCV.call("__extenddftf2", x) == a
    assert _RISCV.call("__trunctfdf2", a) == x
    total = QUAD.exact(_RISCV.call("__addtf3", a, b))
    if math.isfinite(x) and math.isfinite(y) and abs(x) < 1e300 and abs(y) < 1e300:
        assert float(total) == x + y


def test_power_helpers() -> None:
    assert _RISCV.call("__powidf2", 2.0, -3) == 0.125
    assert _RISCV.call("__powidf2", -3.0, 3) == -27.0
    assert _RISCV.call("__powidf2", 10.0, 2**31 - 1) == math.inf


def test_eabi_memset_takes_its_value_last() -> None:
    place = _ARM.buffer(8)
    assert _ARM.call("__aeabi_memset", place, 4, 0x61) is None
    assert _ARM.memory.read(place, 5) == b"aaaa\0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ldadd", 0x105),
        ("swp", 5),
        ("ldclr", 0x100 & ~5),
        ("ldeor", 0x105),
        ("ldset", 0x105),
    ],
)
def test_outline_atomics_answer_the_old_value(name: str, expected: int) -> None:
    host = Harness("aarch64")
    place = host.place((0x100).to_bytes(8, "little"))
    assert host.call(f"__aarch64_{name}8_acq_rel", 5, place) == 0x100
    assert host.memory.read_uint(place, 8) == expected


def test_compare_exchange_reports_what_it_found() -> None:
    host = Harness()
    place, expected = host.place(b"\5\0\0\0"), host.place(b"\4\0\0\0")
    assert host.call("__atomic_compare_exchange_4", place, expected, 9, 5, 5) == 0
    assert host.memory.read_uint(expected, 4) == 5
    assert host.call("__atomic_compare_exchange_4", place, expected, 9, 5, 5) == 1
    assert host.call("__atomic_fetch_nand_4", place, 8, 5) == 9
    assert host.memory.read_uint(place, 4) == ~8 & 0xFFFF_FFFF


_UNARY = [
    "acos", "asin", "atan", "acosh", "asinh", "atanh", "cos", "sin", "tan", "cosh", "sinh", "tanh", "exp",
    "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "ceil", "floor", "trunc", "round",
    "rint", "logb", "tgamma", "lgamma", "erf", "erfc", "fabs",
]  # fmt: skip
_BINARY = ["pow", "atan2", "fmod", "remainder", "hypot", "fmax", "fmin", "fdim", "copysign", "nextafter"]
_OPERANDS = st.one_of(st.floats(), st.integers(-4, 4).map(float))


@given(st.sampled_from(_UNARY), st.one_of(st.floats(), st.integers(-30, 30).map(lambda n: n / 2)))
def test_libm_agrees_with_the_hosts_within_two_ulp(glibc: ctypes.CDLL, name: str, x: float) -> None:
    libm = ctypes.CDLL("libm.so.6")
    function = getattr(libm, name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    ours, theirs = _RISCV.call(name, x), function(x)
    if math.isfinite(ours) and math.isfinite(theirs):
        assert abs(ours - theirs) <= (20 if "gamma" in name else 2) * math.ulp(theirs)
        assert math.copysign(1, ours) == math.copysign(1, theirs)
    else:
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@given(st.sampled_from(_BINARY), _OPERANDS, _OPERANDS)
def test_binary_libm_agrees_with_the_hosts_within_an_ulp(
    glibc: ctypes.CDLL, name: str, x: float, y: float
) -> None:
    function = getattr(ctypes.CDLL("libm.so.6"), name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * 2
    ours, theirs = _RISCV.call(name, x, y), function(x, y)
    if math.isfinite(ours) and math.isfinite(theirs):
        assert abs(ours - theirs) <= math.ulp(theirs)
    else:
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@given(st.floats(width=32), st.floats(width=32))
def test_nextafterf_is_the_hosts(glibc: ctypes.CDLL, x: float, y: float) -> None:
    function = ctypes.CDLL("libm.so.6").nextafterf
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * 2
    ours, theirs = _RISCV.call("nextafterf", x, y), function(x, y)
    assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))

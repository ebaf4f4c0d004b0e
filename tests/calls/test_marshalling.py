"""What Python values become, what is refused, and in which words. No CPU takes part."""

from __future__ import annotations

import ctypes
import math
import struct
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.calls.plan import VaList, plan_call
from emu.calls.values import decode_float, encode_float
from emu.errors import CallError
from emu.isa.convention import BINARY32, BINARY64, BINARY128, X87
from emu.isa.registry import ISAS, convention
from tests.calls.fake import RETURN_TO, TOP, FakeMachine
from tests.grouping import each

ARCHES = tuple(ISAS)
FLOATS = st.floats(allow_nan=False)


def _first(arch: str, ctype: str, value: object) -> tuple[FakeMachine, int]:
    """The machine entered with one argument, and that argument as the callee reads it."""
    machine = FakeMachine(arch)
    plan = plan_call(arch, f"void f({ctype} x)")
    machine.enter(plan, value)
    (found,) = plan.arguments(machine)
    assert isinstance(found, int)
    return machine, found


# ---------------------------------------------------------------- there and back

_VALUES: dict[str, st.SearchStrategy[object]] = {
    "char": st.integers(0, 127), "signed char": st.integers(-128, 127),
    "short": st.integers(-(1 << 15), (1 << 15) - 1), "unsigned short": st.integers(0, (1 << 16) - 1),
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "unsigned int": st.integers(0, (1 << 32) - 1), "long long": st.integers(-(1 << 63), (1 << 63) - 1),
    "unsigned long long": st.integers(0, (1 << 64) - 1), "void *": st.integers(0, (1 << 32) - 1),
    "float": st.floats(width=32, allow_nan=False), "double": FLOATS, "bool": st.integers(0, 1),
    "__int128": st.integers(-(1 << 127), (1 << 127) - 1), "long double": FLOATS,
}  # fmt: skip
_ONLY_64 = {"__int128"}
_PROMOTED = {"char", "signed char", "short", "unsigned short", "float", "bool"}


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, str, list[object], list[tuple[str, object]]]:
    arch = draw(st.sampled_from(ARCHES))
    types = [
        name
        for name in _VALUES
        if not (name in _ONLY_64 and convention(arch).word_size == 4)
        and not (name == "long double" and arch == "riscv32")
    ]
    named = draw(st.lists(st.sampled_from(types), max_size=20))
    values = [draw(_VALUES[name]) for name in named]
    extras: list[tuple[str, object]] = []
    variadic: bool = draw(st.booleans())
    if named and variadic:
        wide: list[str] = [name for name in types if name not in _PROMOTED]
        chosen: list[str] = draw(st.lists(st.sampled_from(wide), max_size=12))
        extras = [(name, draw(_VALUES[name])) for name in chosen]
        named.append("...")
    return arch, f"void({', '.join(named) or 'void'})", values, extras


@given(_calls())
def test_the_callee_reads_what_the_caller_passed(
    call: tuple[str, str, list[object], list[tuple[str, object]]],
) -> None:
    arch, prototype, values, extras = call
    machine = FakeMachine(arch)
    plan = plan_call(arch, prototype)
    machine.enter(plan, *values, *extras)
    found: list[Any] = list(plan.arguments(machine))
    if prototype.endswith("...)"):
        rest = found.pop()
        found += [rest.take(name) for name, _ in extras]
    assert found == values + [value for _, value in extras]


@given(st.sampled_from(ARCHES), st.data())
def test_the_caller_reads_the_result_the_callee_left(arch: str, data: st.DataObject) -> None:
    ctype = data.draw(st.sampled_from([name for name in _VALUES if name not in ("__int128", "long double")]))
    value = data.draw(_VALUES[ctype])
    machine = FakeMachine(arch)
    plan = plan_call(arch, f"{ctype} f(void)")
    machine.enter(plan)
    assert plan.leave(machine, value, "f") == RETURN_TO
    assert plan.result(machine) == value
    assert machine.registers["sp"] % convention(arch).stack_alignment == 0
    assert machine.registers["fptag"] == 0xFFFF


@pytest.mark.parametrize("arch", ARCHES)
def test_the_stack_is_aligned_at_the_call_and_the_red_zone_left_alone(arch: str) -> None:
    rules = convention(arch)
    for count in range(14):
        machine = FakeMachine(arch)
        entry = machine.enter(plan_call(arch, f"void({', '.join(['int'] * count) or 'void'})"), *range(count))
        pushed = 0 if rules.link_register else rules.word_size
        assert (entry.sp + pushed) % rules.stack_alignment == 0
        assert entry.sp + len(entry.stack) <= TOP - rules.red_zone


# ---------------------------------------------------------------- floats in every format


@given(FLOATS)
def test_every_double_survives_the_wider_formats(value: float) -> None:
    for fmt in (BINARY64, X87, BINARY128):
        back = decode_float(encode_float(value, fmt), fmt)
        assert back == value
        assert math.copysign(1, back) == math.copysign(1, value)


@given(FLOATS)
def test_x87_patterns_are_those_of_numpy_longdouble(value: float) -> None:
    if np.finfo(np.longdouble).nmant != 63:
        pytest.skip("numpy's longdouble is not the x87 format on this host")
    assert encode_float(value, X87).to_bytes(10, "little") == np.longdouble(value).tobytes()[:10]


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 0xFFFF))
def test_x87_patterns_round_as_numpy_rounds_them(mantissa: int, top: int) -> None:
    if np.finfo(np.longdouble).nmant != 63:
        pytest.skip("numpy's longdouble is not the x87 format on this host")
    if top & 0x7FFF:
        mantissa |= 1 << 63  # without it the pattern is one the 387 and later refuse
    raw = mantissa | top << 64
    with np.errstate(all="ignore"):
        expected = float(np.frombuffer(raw.to_bytes(16, "little"), np.longdouble)[0])
    assert struct.pack("<d", decode_float(raw, X87)) == struct.pack("<d", expected) or math.isnan(expected)


@given(st.integers(1, (1 << 15) - 2), st.integers(0, (1 << 112) - 1))
def test_binary128_rounds_to_the_nearest_double(exponent: int, fraction: int) -> None:
    exact = Fraction((1 << 112) + fraction, 1 << 112) * Fraction(2) ** (exponent - 16383)
    try:
        expected = exact.numerator / exact.denominator
    except OverflowError:
        expected = math.inf
    assert decode_float(exponent << 112 | fraction, BINARY128) == expected


@given(FLOATS)
def test_float_arguments_round_as_c_does(value: float) -> None:
    assert encode_float(value, BINARY32).to_bytes(4, "little") == bytes(ctypes.c_float(value))


@pytest.mark.parametrize("fmt", [BINARY32, BINARY64, X87, BINARY128])
def test_nan_and_infinity_pass_through_every_format(fmt: object) -> None:
    for value in (math.inf, -math.inf, math.nan):
        back = decode_float(encode_float(value, fmt), fmt)  # type: ignore[arg-type]
        assert math.isnan(back) if math.isnan(value) else back == value


# ---------------------------------------------------------------- pointers


@pytest.mark.parametrize("arch", ARCHES)
@each(
    ("ctype", "value", "expected"),
    [
        ("const char *", "h\u00e9", "h\u00e9".encode() + b"\0"),
        ("const wchar_t *", "h\u00e9", "h\u00e9\0".encode("utf-32-le")),
        ("void *", b"raw\0bytes", b"raw\0bytes\0"),
        ("void *", bytearray(b"four"), b"four"),
        ("uint8_t *", np.arange(5, dtype=np.uint8), bytes(range(5))),
        ("int *", np.arange(3, dtype=np.int32), b"\0\0\0\0\1\0\0\0\2\0\0\0"),
        ("void *", memoryview(b"seen"), b"seen"),
    ],
    ids=["str", "wide str", "bytes", "bytearray", "uint8 array", "int32 array", "memoryview"],
)
def test_buffers_are_copied_in(arch: str, ctype: str, value: object, expected: bytes) -> None:
    machine, address = _first(arch, ctype, value)
    assert machine.read(address, len(expected)) == expected
    assert address % 16 == 0


@pytest.mark.parametrize(
    "value", [np.int64(77), SimpleNamespace(address=77), 77, True], ids=["numpy", "symbol", "int", "bool"]
)
def test_numbers_and_objects_with_an_address_are_pointers(value: object) -> None:
    assert _first("arm", "void *", value)[1] == (1 if value is True else 77)


def test_null_is_none() -> None:
    assert _first("riscv32", "char *", None)[1] == 0


def test_writable_buffers_are_copied_back_and_read_only_ones_not() -> None:
    machine = FakeMachine("x86_64")
    plan = plan_call("x86_64", "void f(void *a, void *b, void *c)")
    array, data, fixed = np.zeros(3, np.uint8), bytearray(3), b"abc"
    machine.enter(plan, array, data, fixed)
    for address in plan.arguments(machine):
        assert isinstance(address, int)
        machine.write(address, b"xyz")
    machine.finish(copy_back=True)
    assert array.tobytes() == data == b"xyz"
    assert fixed == b"abc"


def test_a_call_that_did_not_return_copies_nothing_back_and_frees_what_it_borrowed() -> None:
    machine = FakeMachine("aarch64")
    data = bytearray(100_000)
    machine.enter(plan_call("aarch64", "void f(void *)"), data)
    assert len(machine.live) == 1
    machine.write(next(iter(machine.live)), b"x")
    machine.finish(copy_back=False)
    assert not machine.live
    assert not any(data)


def test_a_refused_argument_gives_back_what_earlier_ones_borrowed() -> None:
    machine = FakeMachine("aarch64")
    with pytest.raises(CallError):
        machine.enter(plan_call("aarch64", "void f(void *, int)"), bytearray(100_000), "no")
    assert len(machine.live) == 1
    machine.finish(copy_back=False)
    assert not machine.live


# ---------------------------------------------------------------- refusals


@each(
    ("prototype", "args", "message"),
    [
        ("int f(int count)", (1 << 31 << 1,), r"argument 1 \(count\) of f: 4294967296 does not fit int"),
        ("int f(int, unsigned char b)", (0, 256), r"argument 2 \(b\) of f: 256 does not fit unsigned char"),
        ("int f(int, unsigned char b)", (0, -129), r"-129 does not fit unsigned char"),
        ("int(int)", (1.0,), r"argument 1: 1\.0 is a float and does not convert to int"),
        ("int(int)", ("7",), r"argument 1: '7' \(str\) does not convert to int"),
        ("int(int)", (None,), r"argument 1: None \(NoneType\) does not convert to int"),
        ("int(double)", ("7",), r"argument 1: '7' does not convert to double"),
        ("int(double)", (10**400,), r"does not convert to double"),
        ("int(void *)", (1.5,), r"argument 1: 1\.5 is a float"),
        ("int(void *)", (1 << 64,), r"does not fit void \*"),
        ("int(void *)", (object,), r"\(type\) does not convert to void \*"),
        ("int(void *)", (np.zeros((4, 4))[:, 1],), r"not contiguous"),
        ("int f(int)", (), r"int f\(int\) takes 1 argument, 0 given"),
        ("int f(int, int)", (1, 2, 3), r"takes 2 arguments, 3 given"),
        ("int f(void)", (1,), r"takes 0 arguments, 1 given"),
        ("int f(char *, ...)", (), r"takes at least 1 argument, 0 given"),
        ("int f(char *, ...)", (0, 1 << 64), r"argument 2 of f: 18446744073709551616 does not fit long long"),
        ("int f(char *, ...)", (0, ("int", 1 << 40)), r"argument 2 of f: 1099511627776 does not fit int"),
        ("int f(char *, ...)", (0, ("stuff", 1)), r"unknown type name 'stuff'"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(prototype: str, args: tuple[object, ...], message: str) -> None:
    with pytest.raises(CallError, match=message):
        FakeMachine("x86_64").enter(plan_call("x86_64", prototype), *args)


@pytest.mark.parametrize(
    ("arch", "prototype", "message"),
    [
        ("x86_64", "int f(int n, struct pair p)", r"f\(.*\): argument 2 p: struct pair is incomplete"),
        ("arm", "struct pair f(int)", r"struct pair is incomplete: its members are not known"),
        ("i386", "div_t div(int, int)", r"div_t is incomplete"),
        ("i386", "int f(int __attribute__((vector_size(8))) v)", r"do not agree on how i386 passes int __attr"),
        ("x86_64", "float __attribute__((vector_size(32))) f(void)", r"vectors of 8 or 16 bytes can be passed"),
    ],
)
def test_what_cannot_be_passed_is_refused_by_name(arch: str, prototype: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        plan_call(arch, prototype)


@pytest.mark.parametrize("value", ["text", 1.5, 1 << 40, object()], ids=["str", "float", "too big", "object"])
def test_a_host_result_that_does_not_fit_names_the_host_function(value: object) -> None:
    machine = FakeMachine("x86_64")
    plan = plan_call("x86_64", "int(void)")
    machine.enter(plan)
    with pytest.raises(CallError, match="result of host function answer"):
        plan.leave(machine, value, "answer")


@pytest.mark.parametrize("arch", ARCHES)
def test_none_is_zero_and_anything_is_void(arch: str) -> None:
    machine = FakeMachine(arch)
    for result, value, expected in (("int", None, 0), ("void *", None, 0), ("bool", "", 0), ("void", "x", None)):
        plan = plan_call(arch, f"{result}(void)")
        machine.enter(plan)
        if value == "":
            with pytest.raises(CallError):
                plan.leave(machine, value, "f")
            continue
        plan.leave(machine, value, "f")
        assert plan.result(machine) == expected


def test_a_host_function_may_return_an_object_with_an_address() -> None:
    machine = FakeMachine("arm")
    plan = plan_call("arm", "char *(void)")
    machine.enter(plan)
    plan.leave(machine, SimpleNamespace(address=0x4000), "f")
    assert plan.result(machine) == 0x4000


# ---------------------------------------------------------------- odds and ends


def test_thumb_bit_of_the_return_address_is_kept() -> None:
    machine = FakeMachine("arm")
    plan = plan_call("arm", "void(void)")
    machine.enter(plan)
    machine.registers["lr"] = 0x8001
    assert plan.leave(machine, None) == 0x8001


@pytest.mark.parametrize("arch", ["riscv64", "riscv32"])
def test_floats_are_nan_boxed_on_riscv(arch: str) -> None:
    machine = FakeMachine(arch)
    plan = plan_call(arch, "float(float)")
    machine.enter(plan, 1.0)
    assert machine.registers["fa0"] == 0xFFFF_FFFF_3F80_0000
    plan.leave(machine, -1.0)
    assert machine.registers["fa0"] == 0xFFFF_FFFF_BF80_0000


@pytest.mark.parametrize("arch", ["riscv64", "loongarch64"])
def test_unsigned_ints_are_sign_extended_on_riscv_and_loongarch(arch: str) -> None:
    machine = FakeMachine(arch)
    machine.enter(plan_call(arch, "void(unsigned int, unsigned short)"), 0x8000_0000, 0x8000)
    assert machine.registers["a0"] == 0xFFFF_FFFF_8000_0000
    assert machine.registers["a1"] == 0x8000


def test_a_variadic_call_counts_its_vector_registers_in_rax() -> None:
    machine = FakeMachine("x86_64")
    plan = plan_call("x86_64", "int(double, ...)")
    for extras, count in (((), 1), ((1.0, 2, 3.0), 3), ((1.0,) * 12, 8)):
        machine.enter(plan, 0.5, *extras)
        assert machine.registers["rax"] == count


def test_a_va_list_parameter_arrives_as_one() -> None:
    machine = FakeMachine("i386")
    plan = plan_call("i386", "int(int, va_list)")
    machine.write(0x2000, struct.pack("<idiq", -7, 2.5, 3, -(1 << 40)))
    machine.enter(plan, 4, 0x2000)
    count, arguments = plan.arguments(machine)
    assert count == 4
    assert isinstance(arguments, VaList)
    taken = [arguments.take(ctype) for ctype in ("int", "double", "char", "long long")]
    assert taken == [-7, 2.5, 3, -(1 << 40)]


@pytest.mark.parametrize(("first", "second"), [("unsigned char", "bool"), ("bool", "unsigned char")])
def test_types_of_one_size_do_not_share_a_plan(first: str, second: str) -> None:
    machine = FakeMachine("x86_64")
    for ctype in (first, second):
        plan = plan_call("x86_64", f"{ctype} shared_{first[0]}({ctype})")
        machine.enter(plan, 4)
        assert plan.arguments(machine) == ((1,) if ctype == "bool" else (4,))


def test_plans_are_made_once() -> None:
    assert plan_call("arm", "int(int)") is plan_call("arm", "int(int)")

"""Compiled code and Python understand each other, both ways, for every shape of signature on every target.

The fixture `abi` weights each argument differently, so two swapped or one misread change the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from emu import Machine
from emu.errors import CallError
from emu.library import Library
from tests.fixtures import TARGETS, arch_of, fixture

BIG = 0x123456789ABCDEF0
I8, I16, I32, I64 = "int8_t", "int16_t", "int32_t", "int64_t"


def _weighted(values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in enumerate(values, 1))


def _list(ctype: str, count: int) -> str:
    return ", ".join([ctype] * count)


#: (function, prototype, arguments, result)
CALLS: list[tuple[str, str, tuple[object, ...], float]] = [
    ("i8", "int8_t(int8_t)", (127,), -128),
    ("i8", "int8_t(int8_t)", (-2,), -1),
    ("u8", "uint8_t(uint8_t)", (255,), 0),
    ("u8", "uint8_t(uint8_t)", (-2,), 255),
    ("i16", "int16_t(int16_t)", (32767,), -32768),
    ("u16", "uint16_t(uint16_t)", (65534,), 65535),
    ("i32", "int32_t(int32_t)", (0x7FFFFFFF,), -(1 << 31)),
    ("u32", "uint32_t(uint32_t)", (0xFFFFFFFE,), 0xFFFFFFFF),
    ("i64", "int64_t(int64_t)", (BIG,), BIG + 1),
    ("i64", "int64_t(int64_t)", ((1 << 64) - 2,), -1),
    ("u64", "uint64_t(uint64_t)", (-2,), (1 << 64) - 1),
    ("native_long", "long(long)", (-5,), -6),
    ("boolean", "bool(int)", (3,), 1),
    ("boolean", "bool(int)", (-3,), 0),
    ("f32", "float(float)", (1.5,), 3.0),
    ("f32", "float(float)", (1e300,), math.inf),
    ("f64", "double(double)", (1.25,), 2.5),
    ("f64", "double(double)", (3,), 6.0),
    ("f64", "double(double)", (-0.0,), -0.0),
    ("f64", "double(double)", (5e-324,), 1e-323),
    ("pointer", "void *(void *)", (None,), 1),
    ("pointer", "void *(void *)", (0xFFFFFFF0,), 0xFFFFFFF1),
    ("widen_i8", "int32_t(int8_t)", (-100,), -100),
    ("widen_i8", "int32_t(int8_t)", (156,), -100),
    ("widen_u8", "uint32_t(uint8_t)", (-1,), 255),
    ("widen_i16", "int32_t(int16_t)", (-30000,), -30000),
    ("widen_u16", "uint32_t(uint16_t)", (-1,), 65535),
    ("widen_i32", "int64_t(int32_t)", (0xFFFFFFFF,), -1),
    ("widen_u32", "uint64_t(uint32_t)", (-1,), 0xFFFFFFFF),
    ("ints10", f"int({_list('int', 10)})", tuple(range(-3, 7)), _weighted(range(-3, 7))),
    ("longs10", f"int64_t({_list(I64, 10)})", tuple(range(1 << 40, (1 << 40) + 10)),
     _weighted(range(1 << 40, (1 << 40) + 10))),
    ("floats10", f"float({_list('float', 10)})", tuple(range(10)), _weighted(range(10))),
    ("doubles10", f"double({_list('double', 10)})", (0.5, *range(9)), _weighted((0.5, *range(9)))),
    ("bytes10", f"int64_t({_list('int8_t, uint8_t', 5)})", (-1, 255, -2, 254, -3, 253, -4, 252, -5, 251),
     _weighted((-1, 255, -2, 254, -3, 253, -4, 252, -5, 251))),
    ("mixed", "double(int, double, float, int64_t, float, int, double)",
     (1, 2.5, 3.5, -(1 << 40), 5.25, 6, 7.75),
     _weighted((1, 2.5, 3.5, -(1 << 40), 5.25, 6, 7.75))),
    ("mixed18", f"double({_list('int, double', 9)})", tuple(range(18)), _weighted(range(18))),
    ("backfill", "float(float, double, float, double, float)", (1.5, 2.5, 3.5, 4.5, 5.5),
     _weighted((1.5, 2.5, 3.5, 4.5, 5.5))),
    ("floats_then_doubles", f"double({_list('float', 9)}, {_list('double', 4)}, float)", tuple(range(14)),
     _weighted(range(14))),
    ("pair_first", "int64_t(int64_t, int)", (BIG, -1), BIG - 2),
    ("pair_second", "int64_t(int, int64_t)", (1, BIG >> 2), 1 + 2 * (BIG >> 2)),
    ("pair_third", "int64_t(int, int, int64_t)", (1, 2, 1 << 40), 5 + 3 * (1 << 40)),
    ("pair_fourth", "int64_t(int, int, int, int64_t)", (1, 2, 3, -(1 << 40)), 14 - 4 * (1 << 40)),
    ("pair_after", "int64_t(int, int64_t, int)", (1, 1 << 40, 3), 10 + 2 * (1 << 40)),
    ("pair_eighth", f"int64_t({_list('int', 7)}, int64_t, int)", (*range(7), 1 << 40, -9),
     _weighted((*range(7), 1 << 40, -9))),
    ("pair_on_stack", f"int64_t({_list('int', 9)}, int64_t, int)", (*range(9), 1 << 40, 7),
     _weighted((*range(9), 1 << 40, 7))),
    ("high_half", "uint64_t(uint64_t)", (BIG,), BIG >> 32),
    ("int64_to_double", "double(int64_t)", (-(1 << 52),), -float(1 << 52)),
    ("sum_bytes", "int64_t(const uint8_t *, size_t)", (bytes(range(200)), 200), sum(range(200))),
    ("text_length", "size_t(const char *)", ("h\u00e9llo",), 6),
    ("text_length", "size_t(const char *)", (b"",), 0),
    ("sum_ints", "int(int, ...)", (3, 10, -20, 30), _weighted((10, -20, 30))),
    ("sum_ints", "int(int, ...)", (0,), 0),
    ("sum_ints", "int(int, ...)", (12, *range(12)), _weighted(range(12))),
    ("sum_longs", "int64_t(int, ...)", (9, *(("int64_t", value << 33) for value in range(9))),
     _weighted(range(9)) * (1 << 33)),
    ("sum_longs", "int64_t(int, ...)", (2, 1 << 40, -(1 << 40)), -(1 << 40)),
    ("sum_doubles", "double(int, ...)", (3, 0.5, 1.5, 2.5), _weighted((0.5, 1.5, 2.5))),
    ("sum_doubles", "double(int, ...)", (12, *(value / 2 for value in range(12))), _weighted(range(12)) / 2),
    ("sum_doubles", "double(int, ...)", (1, ("float", 0.5)), 0.5),
    ("sum_mixed", "double(const char *, ...)",
     ("ildsids", 1, ("long long", 2), 3.5, "four", 5, 6.5, b"seven"),
     _weighted((1, 2, 3.5, 4, 5, 6.5, 5))),
    ("after_named_double", "double(double, int, ...)", (0.25, 2, 1.5, 2.5), 0.25 + _weighted((1.5, 2.5))),
    ("forward_vsum", "int(int, ...)", (12, *range(1, 13)), _weighted(range(1, 13))),
    ("forward_rest", "int(int, ...)", (10, *range(10)), _weighted(range(1, 10))),
    ("forward_vmixed", "double(const char *, ...)",
     ("idlsdlidddddddi", 1, 2.5, ("int64_t", 1 << 40), "abc", 4.5, ("int64_t", -5), 6, *([0.5] * 7), 9),
     _weighted((1, 2.5, 1 << 40, 3, 4.5, -5, 6, *([0.5] * 7), 9))),
    ("call_i8", "int64_t(int8_t)", (-7,), -8),
    ("call_u8", "uint64_t(uint8_t)", (0,), 255),
    ("call_i16", "int64_t(int16_t)", (-32768,), 32767),
    ("call_u16", "uint64_t(uint16_t)", (0,), 65535),
    ("call_i32", "int64_t(int32_t)", (0,), -1),
    ("call_u32", "uint64_t(uint32_t)", (0,), 0xFFFFFFFF),
    ("call_i64", "int64_t(int64_t)", (0,), -1),
    ("call_u64", "uint64_t(uint64_t)", (0,), (1 << 64) - 1),
    ("call_f32", "float(float)", (1.5,), 1.5),
    ("call_f64", "double(double)", (0.1,), 0.1 - 1 + 1),
    ("call_pointer", "void *(void *)", (8,), 7),
    ("call_nothing", "int(int)", (4,), 5),
    ("call_ints10", "int(void)", (), _weighted(range(1, 11))),
    ("call_doubles10", "double(void)", (), _weighted((1.5, *range(2, 11)))),
    ("call_floats10", "float(void)", (), _weighted((1.5, *range(2, 11)))),
    ("call_mixed", "double(void)", (), _weighted((1, 2.5, 3.5, -4, 5.25, 6, 7.75))),
    ("call_pair_second", "int64_t(void)", (), BIG - 1),
    ("call_pair_fourth", "int64_t(void)", (), BIG - 6),
    ("call_pair_eighth", "int64_t(void)", (), BIG - 37),
    ("call_backfill", "float(void)", (), _weighted((1.5, 2.5, 3.5, 4.5, 5.5))),
    ("call_text", "int(void)", (), len("from the guest")),
    ("call_variadic", "int(void)", (), 5),
    ("live_across", "double(int, int, int, int, double, double, double)", (1, 2, 3, 4, 0.5, 1.5, 2.5),
     5 + 13 * 2 + 25 * 3 + 45 * 4 + (0.75 + 1.5) + (3.75 + 2.5) * 2 + (8.75 + 0.5) * 3),
    ("bounce", "int(int)", (20,), 20),
    ("deep_recursion", "int(int)", (100,), 100),
]  # fmt: skip


class Host:
    """The Python functions the fixture imports."""

    def __init__(self) -> None:
        self.machine: Machine
        self.library: Library
        self.variadic: list[object] = []

    def _mixed(self, kinds: int, arguments: Any) -> list[float]:
        taken: list[float] = []
        for kind in self.machine.memory.read_cstring(kinds).decode():
            value = arguments.take({"i": "int", "l": "int64_t", "d": "double", "s": "const char *"}[kind])
            taken.append(len(self.machine.memory.read_cstring(value)) if kind == "s" else value)
        return taken

    def variadic_call(self, kinds: int, arguments: Any) -> int:
        self.variadic = list(self._mixed(kinds, arguments))
        return len(self.variadic)

    def bounce(self, depth: int) -> object:
        return self.library.function("bounce", "int(int)")(depth)

    def qsort(self, base: int, count: int, size: int, compare: int) -> None:
        def key_less(left: int, right: int) -> bool:
            result = self.machine.call(compare, "int(const void *, const void *)", left, right)
            return result is not None and result < 0

        memory = self.machine.memory
        for end in range(count - 1, 0, -1):
            for at in range(end):
                low, high = base + at * size, base + (at + 1) * size
                if key_less(high, low):
                    first, second = memory.read(low, size), memory.read(high, size)
                    memory.write(low, second)
                    memory.write(high, first)

    def symbols(self) -> dict[str, Any]:
        """Each of C type T takes one T and gives one less."""
        less_one = {
            f"host_{name}": (lambda value: value - 1, f"{ctype} f({ctype})")
            for name, ctype in (
                ("i8", I8), ("u8", "uint8_t"), ("i16", I16), ("u16", "uint16_t"), ("i32", I32),
                ("u32", "uint32_t"), ("i64", I64), ("u64", "uint64_t"), ("f32", "float"), ("f64", "double"),
                ("pointer", "void *"),
            )
        }  # fmt: skip
        less_one["host_i16"] = (lambda value: (value - 1) % 0x8000, "int16_t f(int16_t)")
        return less_one | {
            "host_nothing": (lambda: None, "void(void)"),
            "host_ints10": (lambda *a: int(_weighted(a)), f"int({_list('int', 10)})"),
            "host_doubles10": (lambda *a: _weighted(a), f"double({_list('double', 10)})"),
            "host_floats10": (lambda *a: _weighted(a), f"float({_list('float', 10)})"),
            "host_mixed": (
                lambda *a: _weighted(a), "double(int, double, float, int64_t, float, int, double)",
            ),
            "host_pair_second": (lambda a, b: b - a, "int64_t(int, int64_t)"),
            "host_pair_fourth": (lambda *a: a[3] - sum(a[:3]), "int64_t(int, int, int, int64_t)"),
            "host_pair_eighth": (
                lambda *a: a[7] - sum(a[:7]) - a[8], f"int64_t({_list('int', 7)}, int64_t, int)",
            ),
            "host_backfill": (lambda *a: _weighted(a), "float(float, double, float, double, float)"),
            "host_text": (lambda text: len(self.machine.memory.read_cstring(text)), "int(const char *)"),
            "host_variadic": (self.variadic_call, "int(const char *, ...)"),
            "host_vsum": (
                lambda count, rest: int(_weighted([rest.take("int") for _ in range(count)])),
                "int(int, va_list)",
            ),
            "host_vmixed": (
                lambda kinds, rest: _weighted(self._mixed(kinds, rest)), "double(const char *, va_list)",
            ),
            "host_bounce": (self.bounce, "int(int)"),
            "qsort": (self.qsort, "void(void *, size_t, size_t, void *)"),
        }  # fmt: skip


@pytest.fixture(scope="module", params=TARGETS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    target: str = request.param
    host = Host()
    with Machine(arch_of(target)) as machine:
        host.machine = machine
        host.library = machine.load(fixture(target, "abi"), symbols=host.symbols())
        yield host


def test_every_call_gives_what_c_says(host: Host) -> None:
    wrong = []
    for function, prototype, arguments, expected in CALLS:
        result = host.library.function(function, prototype)(*arguments)
        same_kind = isinstance(result, float) == prototype.startswith(("float", "double"))
        if result != expected or not same_kind or math.copysign(1, result) != math.copysign(1, expected):
            wrong.append((function, prototype, arguments, result, expected))
    assert not wrong


def test_bytearray_is_copied_back(host: Host) -> None:
    data = bytearray(range(200))
    assert host.library.function("reverse_bytes", "void(uint8_t *, size_t)")(data, 200) is None
    assert data == bytes(reversed(range(200)))


def test_buffers_beyond_the_stack_share_come_from_the_heap_and_go_back(host: Host) -> None:
    data = bytearray(range(256)) * 1024
    blocks = host.machine.heap.live_blocks
    host.library.function("reverse_bytes", "void(uint8_t *, size_t)")(data, len(data))
    assert data == bytes(reversed(range(256))) * 1024
    assert host.machine.heap.live_blocks == blocks


def test_the_same_bytearray_twice_is_one_buffer(host: Host) -> None:
    data = bytearray(8)
    compare = host.machine.define("same", (lambda a, b: int(a == b), "int(void *, void *)"))
    assert host.machine.call(compare, "int(void *, void *)", data, data) == 1
    assert host.machine.call(compare, "int(void *, void *)", data, bytearray(8)) == 0


def test_a_string_result_is_an_address(host: Host) -> None:
    address = host.library.function("shout", "char *(const char *)")("hello")
    assert isinstance(address, int)
    assert host.machine.memory.read_cstring(address) == b"HELLO"


def test_variadic_arguments_arrive_one_by_one(host: Host) -> None:
    host.library.function("call_variadic", "int(void)")()
    assert host.variadic == [1, 0x2_0000_0003, 4.5, 4, 6.5]


def test_the_guest_calls_back_what_it_is_given(host: Host) -> None:
    machine = host.machine
    double = machine.define("double_it", (lambda value: 2 * value, "int(int)"))
    assert host.library.function("call_me_back", "int(void *, int)")(double, 21) == 43
    scaled = machine.define("scaled", (lambda value, by: value * by, "double(double, int)"))
    assert host.library.function("call_me_back_double", "double(void *, double)")(scaled, 1.5) == 5.5
    wide = machine.define("wide", (lambda by, value: value * by, "int64_t(int, int64_t)"))
    back = host.library.function("call_me_back_long", "int64_t(void *, int64_t)")
    assert back(wide, 1 << 40) == (7 << 40) + 1
    assert host.library.function("call_me_often", "int(void *, int)")(double, 100) == 9900


def test_a_floating_result_can_be_returned_any_number_of_times(host: Host) -> None:
    """The x87 stack has eight registers: a result that is not popped, or pushed badly, shows by the ninth."""
    through = host.library.function("call_f64", "double(double)")
    assert [through(value + 0.5) for value in range(20)] == [value + 0.5 for value in range(20)]


def test_the_guest_sorts_with_a_guest_comparator(host: Host) -> None:
    values = [5, -3, 900000, 0, 7]
    data = bytearray(b"".join(value.to_bytes(4, "little", signed=True) for value in values))
    host.library.function("sort_ints", "void(int *, size_t)")(data, len(values))
    found = [int.from_bytes(data[at : at + 4], "little", signed=True) for at in range(0, len(data), 4)]
    assert found == sorted(values)


def test_an_exception_of_a_host_function_reaches_the_caller(host: Host) -> None:
    def refuse(value: int) -> int:
        raise LookupError("not today")

    address = host.machine.define("refuse", (refuse, "int(int)"))
    with pytest.raises(LookupError, match="not today"):
        host.library.function("call_me_back", "int(void *, int)")(address, 1)
    assert host.library.function("call_nothing", "int(int)")(1) == 2


def test_a_host_result_out_of_range_names_the_function(host: Host) -> None:
    address = host.machine.define("generous", (lambda value: 1 << 40, "int(int)"))
    with pytest.raises(CallError, match=r"result of host function generous: 1099511627776 does not fit int"):
        host.library.function("call_me_back", "int(void *, int)")(address, 1)

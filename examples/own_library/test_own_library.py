"""A library's tests, in Python, on each of its targets: `pytest examples/own_library`.

The plug-in of relink-emu builds own.c for every target, and gives each test the library in its state after the
load (see docs/pytest.md).
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from emu import CallError, GuestFault, Library, UnresolvedCall
from emu.pytest_plugin.control import Guest

pytestmark = pytest.mark.relink("own.c", arches="all thumb", cflags="-Wall -Werror")


def test_numbers(lib: Library) -> None:
    assert lib.add(2, 3) == 5
    assert lib.thrice(-7) == -21


def test_a_static_function_by_its_name(lib: Library) -> None:
    assert lib.tripled(5) == 15


def test_a_structure_by_value(lib: Library) -> None:
    point = lib.moved((1, 2), 10, 20)
    assert point == (11, 22)
    assert (point.x, point.y) == (11, 22)
    assert lib.moved({"x": 5}, 1, -1) == (6, -1)
    assert lib.moved(point, 0, 0) == point


def test_structures_in_structures(lib: Library) -> None:
    assert lib.area(((0, 0), (30, 40))) == 1200
    segment = lib.types.segment(to={"x": 100_000, "y": 100_000})
    assert lib.area(segment) == 10_000_000_000


def test_floating_point_structures(lib: Library) -> None:
    assert lib.product((1.5, 2.0), (0.0, 1.0)) == (-2.0, 1.5)
    turned = lib.conjugate({"q": [1, 2, 3, 4]})
    assert list(turned.q) == [1, -2, -3, -4]


def test_complex_numbers(lib: Library) -> None:
    assert lib.turned(1 + 2j) == -2 + 1j


def test_a_union(lib: Library) -> None:
    word = lib.as_word(1.0)
    assert word.bits == 0x3F80_0000
    assert bytes(word.bytes) == b"\0\0\x80\x3f"


def test_an_enumerator_by_name(lib: Library) -> None:
    assert lib.volume("LOUD") == 110
    assert lib.volume(lib.types.level.NORMAL) == 50


def test_a_ring_buffer(lib: Library) -> None:
    ring = lib.types.ring()
    accepted = [lib.ring_put(ring, byte) for byte in range(10)]
    assert accepted == [1] * 7 + [0] * 3
    assert [lib.ring_get(ring) for _ in range(8)] == [*range(7), -1]
    assert ring.head == ring.tail == 7


def test_a_checksum(lib: Library) -> None:
    assert lib.crc32(b"123456789", 9) == zlib.crc32(b"123456789")


def test_a_filter_with_bit_fields(lib: Library) -> None:
    state = lib.types.filter(gain=0.5, order=3)
    assert [lib.filter_step(state, 1.5) for _ in range(3)] == [0.75, 1.0, 1.0]
    assert (state.order, state.clipped) == (3, 1)


def test_arrays(lib: Library) -> None:
    values = [1.0, 2.0]
    lib.scale(values, 2, 2.5)
    assert values == [2.5, 5.0]
    array = np.array([1.0, 2.0, 4.0])
    lib.scale(array, 3, 0.5)
    assert array.tolist() == [0.5, 1.0, 2.0]


def test_a_python_callback(lib: Library) -> None:
    seen = []

    def visitor(where: object, context: int) -> int:
        seen.append(tuple(where))  # type: ignore[call-overload]
        return context

    assert lib.visit([(1, 2), (3, 4)], 2, visitor, 21) == 42
    assert seen == [(1, 2), (3, 4)]


def test_structures_behind_an_ellipsis(lib: Library) -> None:
    point = lib.types.point
    assert lib.sum_points(2, point(1, 2), point(3, 4)) == 46


def test_a_function_of_the_device_that_takes_and_gives_structures(lib: Library, guest: Guest) -> None:
    ask = guest.mock("ask", side_effect=lambda origin, z, n: (origin.x + n, origin.y + int(z.re * z.im)))
    assert lib.asked(7) == (110, 201)
    assert ask.calls == [((3, 4), (1.5, -2.0), 7)]


def test_without_the_device_there_is_no_answer(lib: Library, guest: Guest) -> None:
    with guest.raises(UnresolvedCall, symbol="ask"):
        lib.asked(7)


def test_which_function_another_calls(lib: Library, guest: Guest) -> None:
    moved = guest.spy("moved")
    guest.mock("ask", returns=(1, 2))
    assert lib.asked(0) == (101, 202)
    assert moved.calls == [((1, 2), 100, 200)]


def test_a_null_pointer_is_a_fault(lib: Library, guest: Guest) -> None:
    with guest.raises(GuestFault, symbol="ring_get"):
        lib.ring_get(None)


def test_variables(lib: Library) -> None:
    origin, table = lib.symbols["origin"], lib.symbols["table"]
    assert origin.value == (3, 4)
    origin.x = 30
    assert lib.symbols["origin"].x == 30
    assert list(table) == [1, 2, 3, 5, 8]
    table[4] = 13
    assert table[4] == 13
    record = lib.symbols["records"][1]
    assert record.name.string() == "first"
    assert record.tag == b"aa"
    assert record.next.contents.place == (5, 6)


BAD = [
    ("moved", ((1, 2, 3), 0, 0), r"argument 1 \(p\) of moved: 3 values for 2 members of struct point"),
    ("moved", ({"x": 1, "z": 2}, 0, 0), r"struct point has no member 'z'"),
    ("moved", ((1, 1 << 40), 0, 0), r"argument 1 \(p\) of moved, member y: 1099511627776 does not fit int"),
    ("volume", ("PURPLE",), r"argument 1 \(level\) of volume: enum level has no 'PURPLE'"),
    ("visit", ([], 0, lambda where: 0, 0), r"argument 3 \(visitor\) of visit: .* does not take the 2 arguments"),
    ("scale", (["x"], 1, 1.0), r"argument 1 \(values\) of scale, element 0: 'x' does not convert to double"),
]


def test_each_test_has_the_variables_as_they_are_after_the_load(lib: Library) -> None:
    assert lib.symbols["origin"].value == (3, 4)
    assert lib.symbols["calls"].value == 0


@pytest.mark.relink(kind="o")
def test_the_same_as_a_relocatable_object(lib: Library, guest: Guest) -> None:
    guest.mock("ask", returns=(5, 6))
    assert lib.asked(0) == (105, 206)
    assert lib.thrice(-7) == -21
    assert lib.crc32(b"123456789", 9) == zlib.crc32(b"123456789")
    assert lib.symbols["origin"].value == (3, 4)


def test_what_does_not_fit_is_told(lib: Library) -> None:
    for function, arguments, message in BAD:
        with pytest.raises(CallError, match=message):
            lib[function](*arguments)

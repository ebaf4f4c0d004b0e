"""What Python programmers pass: numbers and buffers of ctypes and numpy, callables, records with odd ends."""

from __future__ import annotations

import array
import ctypes
import enum
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from emu import CallError, GuestFault, Library, Machine
from tests.objects.build import compiled

_SOURCE = """
typedef __builtin_va_list va_list;
struct point { int x, y; };
struct flexible { char n; short data[]; };
struct old { int n; short data[0]; };
struct tagged { int tag; union { int i; float f; struct { short low, high; }; }; };
struct operations { int (*add)(int, int); };
int sum(const int *p, int n) { int s = 0; while (n--) s += *p++; return s; }
int length(const char *s) { int n = 0; if (!s) return -1; while (*s++) n++; return n; }
unsigned char byte(unsigned char x) { return x; }
char letter(char c) { return c; }
double real(double x) { return x; }
void out(int *a, double *b) { *a = 42; *b = 2.5; }
void out_pointer(struct point **p) { static struct point found = {7, 8}; *p = &found; }
int texts(const char *const *v) { int t = 0; for (; *v; v++) t += length(*v); return t; }
int points(const struct point *p, int n) { int t = 0; while (n--) t += p->x * p->y, p++; return t; }
int flexible(const struct flexible *f) { int t = 0; for (int i = 0; i < f->n; i++) t += f->data[i]; return t; }
int old(struct old *f) { int t = 0; for (int i = 0; i < f->n; i++) t += f->data[i]++; return t; }
int by_value(struct flexible f) { return f.n; }
struct real { double d; double x[]; };
struct zero { double d; double x[0]; };
double real_by_value(struct real r) { return r.d; }
double zero_by_value(struct zero r) { return r.d; }
double real_parts(const double _Complex *z, int n)
{ double s = 0; while (n--) s += __real__ *z++; return s; }
long double wide(const long double *p) { return *p; }
int low(struct tagged t) { return t.low; }
int operate(const struct operations *o) { return o->add(3, 4); }
int twice(int (*f)(int), int x) { return f(f(x)); }
static int (*kept)(int);
void keep(int (*f)(int)) { kept = f; }
int call_kept(int x) { return kept(x); }
static int triple(int x) { return 3 * x; }
int (*multiplier(void))(int) { return triple; }
int wrong(int *p, int n) { return *p + n; }
int ints(int n, ...)
{
    va_list l; int s = 0;
    __builtin_va_start(l, n);
    while (n--) s += __builtin_va_arg(l, int);
    __builtin_va_end(l);
    return s;
}
double reals(int n, ...)
{
    va_list l; double s = 0;
    __builtin_va_start(l, n);
    while (n--) s += __builtin_va_arg(l, double);
    __builtin_va_end(l);
    return s;
}
"""


class Index:
    def __index__(self) -> int:
        return 7


class Colour(enum.IntEnum):
    RED = 3


class Pair(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int))


@pytest.fixture(scope="module", params=["x86_64", "i386", "aarch64", "arm", "riscv64"])
def lib(request: pytest.FixtureRequest) -> Iterator[Library]:
    with Machine(str(request.param)) as machine:
        yield machine.load(compiled(str(request.param), _SOURCE, "-g", "-w"))


def machine_arch(lib: Library) -> str:
    return lib.image.architecture.name


def test_numbers_of_other_libraries(lib: Library) -> None:
    given: list[Any] = [True, Index(), Colour.RED, np.uint8(200), np.int64(-1), np.bool_(True), np.array(5)]
    assert [lib.byte(value) for value in [*given, ctypes.c_int(6)]] == [1, 7, 3, 200, 255, 1, 5, 6]
    given = [1, Decimal("1.5"), Fraction(1, 2), np.float32(2.5), Index(), ctypes.c_double(3.5)]
    assert [lib.real(value) for value in given] == [1, 1.5, 0.5, 2.5, 7, 3.5]
    assert (lib.letter(b"a"), lib.letter("b")) == (97, 98)
    refused: list[Any] = [256, -129, 3.0, Decimal(3), "a", None, np.float32(3), [1]]
    for value in refused:
        with pytest.raises(CallError, match=r"argument 1 \(x\) of byte"):
            lib.byte(value)


def test_numbers_that_match_an_ellipsis(lib: Library) -> None:
    assert lib.reals(5, 1.5, np.float32(2.5), Fraction(1, 2), np.float64(1), ctypes.c_double(4)) == 9.5
    assert lib.ints(6, True, Index(), np.int64(5), np.bool_(True), ctypes.c_int(4), Colour.RED) == 21
    with pytest.raises(CallError, match="argument 2 of ints"):
        lib.ints(1, Decimal(3))


def test_buffers_have_the_elements_that_the_pointer_points_at(lib: Library) -> None:
    three = (ctypes.c_int * 3)(1, 2, 3)
    same: list[Any] = [[1, 2, 3], (1, 2, 3), array.array("i", [1, 2, 3]), three, np.array([1, 2, 3], np.int32)]
    assert [lib.sum(value, 3) for value in same] == [6] * 5
    assert lib.points((Pair * 2)(Pair(1, 2), Pair(3, 4)), 2) == 14
    assert lib.points(np.array([(1, 2), (3, 4)], [("x", "i4"), ("y", "i4")]), 2) == 14
    refused: list[tuple[Any, str]] = [
        (array.array("h", [1]), "2-byte"),
        (np.array([1], np.int64), "8-byte"),
        (np.array([1], ">i4"), "big-endian"),
        (np.array([1], np.float32), "4-byte 'f'"),
        (np.arange(6, dtype=np.int32)[::2], "contiguous"),
        (np.array([1, "a"], object), "addresses of this process"),
        (np.array([1], "M8[s]"), "does not convert"),
        (np.array([1j]), "16-byte"),
        ("ab", "str"),
        (1.5, "float"),
        (range(3), "range"),
        ({1}, "set"),
        (object(), "object"),
    ]
    for value, why in refused:
        with pytest.raises(CallError, match=why):
            lib.sum(value, 1)


def test_buffers_of_wide_and_complex_numbers(lib: Library) -> None:
    assert lib.real_parts(np.array([1 + 2j, 3 + 4j]), 2) == 4
    for other in (np.array([1j], np.complex64), np.array([1.0])):
        with pytest.raises(CallError, match="is none of double _Complex"):
            lib.real_parts(other, 1)
    quadruple = ("aarch64", "riscv64", "riscv32", "loongarch64")
    host = {63: ("x86_64",), 112: quadruple}.get(np.finfo(np.longdouble).nmant, ())
    if machine_arch(lib) in host:
        assert lib.wide(np.array([1.5], np.longdouble)) == 1.5
    else:  # the host's long double is another one
        with pytest.raises(CallError, match="is none of long double"):
            lib.wide(np.array([1.5], np.longdouble))


def test_pointers_of_ctypes_are_what_they_point_at(lib: Library) -> None:
    number, real = ctypes.c_int(1), ctypes.c_double(1)
    lib.out(ctypes.byref(number), ctypes.pointer(real))
    assert (number.value, real.value) == (42, 2.5)
    assert lib.length(ctypes.c_char_p(b"abcd")) == 4
    assert lib.length(ctypes.c_void_p(None)) == -1
    assert lib.sum(ctypes.POINTER(ctypes.c_int)(), 0) == 0
    with pytest.raises(CallError, match="addresses of this process"):
        lib.texts((ctypes.c_char_p * 2)(b"abc", None))


def test_results_behind_pointers(lib: Library) -> None:
    numbers, reals = [0], np.zeros(1)
    lib.out(numbers, reals)
    assert (numbers, reals.tolist()) == ([42], [2.5])
    places: list[Any] = [None]
    lib.out_pointer(places)
    assert places[0].contents == (7, 8)
    assert lib.texts(["abc", b"de", None]) == 5


def test_flexible_array_members_take_elements(lib: Library) -> None:
    types = lib.types
    assert lib.flexible({"n": 3, "data": [1, 2, 3]}) == 6
    record = types.flexible(n=2, data=[4, 5])
    assert (lib.flexible(record), list(record.data), len(record.data)) == (9, [4, 5], 2)
    old = types.old(n=2, data=(1, 2))
    assert (lib.old(old), list(old.data)) == (3, [2, 3])
    with pytest.raises(IndexError):
        _ = record.data[2]
    if machine_arch(lib) == "x86_64":
        with pytest.raises(CallError, match="do not agree on how x86_64 passes struct flexible"):
            lib.by_value((2,))
        return
    assert lib.by_value(types.flexible(n=2)) == 2
    assert lib.real_by_value((2.5,)) == lib.zero_by_value((2.5,)) == 2.5
    with pytest.raises(CallError, match="without its flexible array"):
        lib.by_value(record)


def test_one_member_of_an_anonymous_union(lib: Library) -> None:
    assert lib.low({"tag": 1, "low": 5, "high": 6}) == lib.low((1, 5)) == 5
    with pytest.raises(CallError, match="i and f of struct tagged are members of a union"):
        lib.low({"i": 1, "f": 2.0})


def test_functions_given_to_the_guest(lib: Library) -> None:
    assert lib.twice(lib.multiplier(), 2) == 18
    assert lib.multiplier()(5) == 15
    assert lib.operate({"add": lambda a, b: a * b}) == 12
    with pytest.raises(CallError, match=r"does not take the 1 arguments"):
        lib.twice(lambda a, b: 1, 2)
    with pytest.raises(CallError, match=r"wrong\(int \*p, int n\) is not called as int"):
        lib.twice(lib.wrong, 2)
    with pytest.raises(CallError, match="does not convert to int"):
        lib.twice(lambda x: 2.5, 2)
    with pytest.raises(ZeroDivisionError):
        lib.twice(lambda x: x // 0, 2)


def test_a_callback_that_is_called_too_late_is_named(lib: Library) -> None:
    def handler(x: int) -> int:
        return x

    lib.keep(handler)
    assert lib.twice(lambda x: x + 1, 1) == 3, "another callback does not take its place"
    with pytest.raises(GuestFault, match="callback handler, which is no longer valid"):
        lib.call_kept(1)

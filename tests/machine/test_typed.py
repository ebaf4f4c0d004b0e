"""Typed calls, variables and callbacks: what Python gives and gets, how long it lives, what is refused."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from emu import CallError, Library, Machine
from emu.calls.annotations import float64, int32, pointer
from emu.calls.types import same_type
from relink.errors import UnresolvedSymbol, UseAfterUnload
from tests.objects.build import compiled

SOURCE = """
struct point { int x, y; };
struct node { struct node *next; const char *name; struct point at; unsigned flags : 3, mode : 5; char tag[8];
              float q[4]; short grid[2][3]; };
union word { unsigned bits; float value; };
typedef int (*visitor)(struct point, void *);
struct point origin = {3, 4};
struct node last = {0, "last", {5, 6}, 1, 2, "tag", {1, 2, 3, 4}, {{1, 2, 3}, {4, 5, 6}}},
            first = {&last, "first"};
struct node *head = &first;
int table[5] = {1, 2, 3, 5, 8};
static int hidden = 7;
static visitor kept;
extern struct point asked(struct point p, int n);
int add(int a, int b) { hidden++; return a + b; }
struct point moved(struct point p, int dx) { p.x += dx; return p; }
int visit(visitor f, struct point p, void *context) { return f(p, context); }
void keep(visitor f) { kept = f; }
int call_kept(int n) { struct point p = {n, 1}; return kept(p, 0); }
struct point relay(int n) { return asked(origin, n); }
int total(const struct point *points, int count) { int n = 0; while (count--) n += points[count].x; return n; }
void swap(struct point *p) { int x = p->x; p->x = p->y; p->y = x; }
double sum(double **rows, int count) { double n = 0; while (count--) n += *rows[count]; return n; }
union word as_word(float value) { union word w; w.value = value; return w; }
const char *text(const struct node *node) { return node->name; }
int read_hidden(void) { return hidden; }
"""
TARGETS = ("x86_64", "i386", "arm", "riscv32", "loongarch64")


@pytest.fixture(scope="module", params=TARGETS)
def lib(request: pytest.FixtureRequest) -> Iterator[Library]:
    arch = str(request.param)
    with Machine(arch) as machine:
        types = machine.types("struct point { int x, y; };")
        asked = (
            lambda p, n: {"x": p.x * n, "y": p.y},
            types.prototype("struct point asked(struct point p, int n)"),
        )
        yield machine.load(compiled(arch, SOURCE, "-g"), symbols={"asked": asked})


def machine_of(lib: Library) -> Any:
    return lib._machine


def test_functions_tell_their_signature_and_source(lib: Library) -> None:
    assert inspect.signature(lib.moved) == inspect.signature(lib["moved"])
    assert str(inspect.signature(lib.add)) == "(a: 'int', b: 'int', /) -> 'int'"
    prototype, _, where = (inspect.getdoc(lib.moved) or "").partition("\n\n")
    assert prototype == "struct point moved(struct point p, int dx)"
    assert ".c:" in where
    assert "<code>int add(int a, int b)</code>" in lib.add._repr_html_()
    assert {"add", "moved", "function"} <= set(dir(lib))
    assert "moved" in lib._repr_html_()
    with pytest.raises(AttributeError, match="no_such"):
        _ = lib.no_such
    assert not hasattr(lib, "_private")


def test_records_are_values_of_python(lib: Library) -> None:
    point = lib.types.point
    p = point(1, y=2)
    assert (p.x, p[1], p["y"], len(p), list(p), repr(p)) == (1, 2, 2, 2, [1, 2], "point(x=1, y=2)")
    assert p == (1, 2) == point(1, 2)
    assert p != (1, 3)
    p.x = -1
    assert bytes(p) == bytes.fromhex("ffffffff02000000")
    match p:
        case point(x=-1, y=y):
            assert y == 2
    assert "<td>-1</td>" in p._repr_html_()
    node = lib.types.node(tag=b"abc", q=[1.5], grid=[[1], [2, 3]], mode=31)
    assert (node.tag, list(node.q), list(node.grid[1]), node.mode) == (b"abc", [1.5, 0, 0, 0], [2, 3, 0], 31)
    assert node.grid.numpy().tolist() == [[1, 0, 0], [2, 3, 0]]
    node.q[1:3] = [7, 8]
    assert node.q.numpy().sum() == 16.5
    node.at.y = 9
    assert node.at == (0, 9)
    with pytest.raises(AttributeError, match="has no attribute 'z'"):
        p.z = 1
    with pytest.raises(
        CallError, match=r"struct node.mode: 32 does not fit 5 bits|member mode: 32 does not fit 5"
    ):
        node.mode = 32
    with pytest.raises(CallError, match="5 elements do not fit"):
        node.q = [1, 2, 3, 4, 5]
    with pytest.raises(CallError, match="give one member"):
        lib.types.word(bits=1, value=2.0)


def test_variables_are_seen_as_what_they_hold(lib: Library) -> None:
    symbols = lib.symbols
    assert symbols["hidden"].value == lib.read_hidden()
    assert symbols["origin"].value == (3, 4)
    symbols["origin"].y = 40
    assert lib.relay(2) == (6, 40)
    symbols["origin"].value = (3, 4)
    assert [*symbols["table"]] == [1, 2, 3, 5, 8]
    symbols["table"][0] = 10
    assert (len(symbols["table"]), symbols["table"][-5]) == (5, 10)
    symbols["table"][0] = 1
    assert symbols["table"].as_type("unsigned char[2]").value == [1, 0]
    head = symbols["head"].value
    assert head.contents.name.string() == "first"
    assert head.contents.next.contents.tag == b"tag"
    assert head.contents.next[0].grid[1][2] == 6
    assert lib.text(head) == symbols["first"].value.name
    assert lib.text(head.contents.next).string() == "last"
    with pytest.raises(CallError, match="NULL"):
        _ = head.contents.next.contents.next.contents
    with pytest.raises(IndexError):
        _ = symbols["table"][5]
    view = machine_of(lib).view(symbols["origin"].address, lib.types.point)
    view.x = 33
    assert symbols["origin"].x == 33
    kept = copy.copy(view)
    view.x = 3
    assert (kept.x, symbols["origin"].x, kept.address) == (33, 3, None)


def test_what_points_at_structures_and_numbers(lib: Library) -> None:
    assert lib.total([(1, 2), {"x": 5}, lib.types.point(10, 0)], 3) == 16
    assert lib.total(((7, 0)), 1) == 7
    p = lib.types.point(1, 2)
    lib.swap(p)
    assert p == (2, 1)
    points = [(1, 2)]
    lib.swap(points)
    assert points == [(2, 1)]
    lib.swap(lib.symbols["origin"].value)
    assert lib.symbols["origin"].value == (4, 3)
    lib.swap(lib.symbols["origin"])
    assert lib.sum([[1.5], np.array([2.5])], 2) == 4.0
    with pytest.raises(CallError, match="is not what"):
        lib.swap(lib.types.word(bits=1))
    with pytest.raises(CallError, match="buffer of 8-byte"):
        lib.function("total", "int(const int *, int)")(np.array([1.0]), 1)


def test_a_callback_lives_as_long_as_its_call(lib: Library) -> None:
    traps = machine_of(lib).traps
    before = len(traps)
    assert lib.visit(lambda where, context: where.x * 10 + context, (4, 0), 2) == 42
    assert lib.visit(lambda *_: 7, (0, 0), None) == 7
    assert len(traps) == before
    prototype = lib.types.prototype("int(struct point, void *)")
    address = machine_of(lib).callback(lambda where, context: where.x + where.y, prototype)
    lib.keep(address)
    assert lib.call_kept(41) == 42
    with pytest.raises(ZeroDivisionError):
        lib.visit(lambda where, context: 1 // 0, (0, 0), None)
    with pytest.raises(CallError, match="does not take the 2 arguments"):
        lib.visit(lambda where: 1, (0, 0), None)
    with pytest.raises(CallError, match="result of host function"):
        lib.visit(lambda where, context: "text", (0, 0), None)
    assert len(traps) == before + 1


def test_prototypes_meet_in_one_model(lib: Library) -> None:
    declared = lib.declared_prototype("moved")
    text = lib.function("moved", "struct point moved(struct point p, int dx)").prototype
    assert text == declared
    annotated = lib.function("moved", Callable[[lib.types.point, int32], lib.types.point])
    assert annotated((1, 2), 3) == (4, 2)
    pairs = zip(annotated.prototype.parameters, declared.parameters, strict=True)
    assert all(same_type(one.type, two.type) for one, two in pairs)
    header = machine_of(lib).types("struct point { int32_t x; int y; };").point
    assert lib.moved(header(1, 2), 1) == header(2, 2)
    assert not same_type(header._ctype_, lib.types.ctype("struct node"))
    assert str(lib.function("sum", Callable[[pointer, int32], float64]).prototype) == "double sum(void *, int32_t)"
    assert str(declared) == "struct point moved(struct point p, int dx)"
    with pytest.raises(CallError, match="stands for no C type"):
        lib.function("add", Callable[[object], int])
    with pytest.raises(CallError, match="incomplete"):
        lib.function("add", "int(struct nowhere)")(0)


def test_functions_of_a_library_that_is_gone() -> None:
    with Machine("x86_64") as machine:
        lib = machine.load(compiled("x86_64", "int add(int a, int b) { return a + b; }\n", "-g"))
        add = lib.add
        lib.close()
        with pytest.raises(UseAfterUnload):
            add(1, 2)
        with pytest.raises(UseAfterUnload):
            lib.add(1, 2)


NAMES = """
namespace ns {
int twice(int x) { return 2 * x; }
double twice(double x) { return 2 * x; }
int &next(int &r) { r++; return r; }
int taken(int &&r) { return r; }
template <class T> T most(T a, T b) { return a > b ? a : b; }
template int most<int>(int, int);
struct counter { int n; int add(int k); };
int counter::add(int k) { return n += k; }
int wide(const wchar_t *s) { int n = 0; while (*s++) n++; return n; }
int units(const char16_t *s) { int n = 0; while (*s++) n++; return n; }
wchar_t after(wchar_t c) { return c + 1; }
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "arm"])
def test_functions_of_cxx_by_their_names_in_the_source(arch: str) -> None:
    with Machine(arch) as machine:
        lib = machine.load(compiled(arch, NAMES, "-g", language="c++"))
        assert (lib["ns::twice(int)"](4), lib["ns::twice(double)"](1.5)) == (8, 3.0)
        with pytest.raises(UnresolvedSymbol, match=r"it may be ns::twice\(double\), ns::twice\(int\)"):
            _ = lib["ns::twice"]
        assert lib["ns::most<int>"](3, 4) == 4
        assert lib["ns::taken"](5) == 5
        number = [5]
        lib["ns::next"](number)
        assert number == [6]
        counter = lib.types.counter(7)
        assert (lib["ns::counter::add"](counter, 3), counter.n) == (10, 10)
        assert (lib["ns::wide"]("h\u00e9llo"), lib["ns::units"]("\U0001f600"), lib["ns::after"]("a")) == (5, 2, 98)


CXX = """
struct base { int a; double b; };
struct derived : base { float c; int size() const { return 1; } };
struct owner { int a; ~owner(); };
struct copied { int a; short b; copied(const copied &); copied(int x, int y) : a(x), b(y) {} };
struct holder { int before; copied inner[2]; };
struct virt { virtual int f() { return a * 2; } int a; };
enum class kind : unsigned char { one = 1, big = 200 };
static virt made;
extern "C" {
float third(derived d) { return d.c + d.a; }
int owns(int before, owner o, int after) { return before + o.a * 10 + after * 100; }
int copies(copied c) { c.a++; return c.a; }
int holds(holder h) { return h.before + h.inner[1].b; }
copied gives(int a, int b) { return copied(a, b); }
int relays(copied (*asked)(copied c, int n), int n) { copied c(n, 7); return asked(c, n + 1).b; }
virt &make(int a) { made.a = a; return made; }
int virtual_one(virt v) { return v.f(); }
int kinds(kind k) { return (int)k; }
int refers(const base &b) { return b.a; }
}
copied::copied(const copied &c) : a(c.a), b(c.b) {}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64"])
def test_classes_of_cxx(arch: str) -> None:
    def asked(c: Any, n: int) -> Any:
        c.b = 9  # the caller's own object
        return (c.a, n)

    with Machine(arch) as machine:
        path = compiled(arch, CXX, "-g", "-Wno-return-type-c-linkage", language="c++")
        lib = machine.load(path, allow_unresolved=True)
        assert lib.third({"c": 1.5, "a": 2}) == 3.5
        assert lib.kinds("big") == 200
        assert lib.refers((7, 1.0)) == 7
        assert lib.owns(1, (2,), 3) == 321
        assert lib.copies((4, 5)) == 5
        assert lib.holds((1, [(2, 3), (4, 5)])) == 6
        assert lib.gives(-3, 4) == (-3, 4)
        assert lib.relays(asked, 5) == 6
        kept = lib.gives(1, 2)
        assert lib.copies(kept) == 2
        assert kept.a == 1, "Python's object is copied"
        assert lib.virtual_one(lib.make(21).contents) == 42
        with pytest.raises(CallError, match="has virtual functions: give an object of the guest"):
            lib.virtual_one((1,))

"""Static functions are called right, or refused by name: compilers may pass their arguments as they like."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from emu import CallError, Machine, StaticFunctionWarning
from relink.errors import RelinkError
from tests.objects.build import compiled
from tests.toolcache import OUTPUT, made, text_file

_SOURCE = """
#define N static __attribute__((noinline))
struct pair { int a; double d; };
struct big { int v[5]; };
N int add(int a, int b) { return a * 3 + b; }
N double product(double a, double b) { return a * b + 1; }
N long long wide(long long a, int b) { return a - b; }
N int unused(int a, int b, int c) { return a - c; }
N int by_value(struct pair p) { return p.a + (int)p.d; }
N int by_pointer(struct pair *p) { return p->a + (int)p->d; }
N int constant(int a, int b) { return a * b; }
N struct pair give(int a, double b) { struct pair p = {a, b}; return p; }
N struct big give_big(int a) { struct big p = {{a, 2, 3, 4, a}}; return p; }
N int ignored(int *p, int a) { *p = a; return a * 7; }
N int many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j)
{ return a - b + c - d + e - f + g - h + i * j; }
N double half(int a) { return a / 2.0; }
N int always(int *p) { *p = 1; return 5; }
N int kept(int a, int b) { return a ^ b; }
N __attribute__((used)) int used(int a, int b) { return a ^ (b * 3); }
N int variadic(int n, ...)
{
    __builtin_va_list l; int s = 0;
    __builtin_va_start(l, n);
    while (n--) s += __builtin_va_arg(l, int);
    __builtin_va_end(l);
    return s;
}
int (*pointer)(int, int) = kept;
int entry(int x, double y, struct pair *p, int *q)
{
    struct pair z = give(x, y); struct big b = give_big(x);
    ignored(q, x);
    return add(x, 4 + x) + (int)product(y, y + 1) + (int)wide(x, x + 1) + unused(x, 99, x + 1) + by_value(*p)
        + by_pointer(p) + constant(x, 17) + z.a + b.v[0] + b.v[4] + many(x, 1 + x, x, 3, 4 + x, x, 6, x, 8 + x, x)
        + variadic(2, x, x) + (int)half(x) + always(q);
}
"""
_CALLS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "add": ((2, 3), 9),
    "product": ((2.0, 4.0), 9.0),
    "wide": ((1 << 40, 7), (1 << 40) - 7),
    "unused": ((10, 5, 3), 7),
    "by_value": (((3, 4.0),), 7),
    "by_pointer": (({"a": 3, "d": 4.0},), 7),
    "constant": ((3, 4), 12),
    "give": ((3, 4.0), (3, 4.0)),
    "give_big": ((3,), ([3, 2, 3, 4, 3],)),
    "ignored": (([0], 3), 21),
    "many": (tuple(range(10)), 68),
    "half": ((3,), 1.5),
    "always": (([0],), 5),
    "kept": ((5, 6), 3),
    "used": ((5, 6), 23),
    "variadic": ((3, 10, 20, 30), 60),
}
#: Functions that must be called, not refused.
_RIGHT = {
    "i386": {"kept", "used"},
    "riscv64": {"kept", "used", "add", "product", "wide", "by_value", "by_pointer", "give_big"},
    "x86_64": {"kept", "used", "add", "product", "wide", "by_value", "by_pointer", "half"},
    "arm": {"kept", "used", "add", "product", "wide", "by_value", "by_pointer", "half"},
}


def _answers(path: Path, arch: str) -> tuple[set[str], dict[str, str]]:
    """The functions that answered, all of them right, and why others did not."""
    right, refused = set(), {}
    with Machine(arch) as machine:
        library = machine.load(path)
        for name, (arguments, wanted) in _CALLS.items():
            try:
                assert library[name](*arguments) == wanted, name
                right.add(name)
            except (CallError, RelinkError) as error:
                refused[name] = str(error)
    return right, refused


@pytest.mark.parametrize("arch", _RIGHT)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_static_functions_answer_right_or_are_refused(arch: str, level: str) -> None:
    right, refused = _answers(compiled(arch, _SOURCE, "-g", "-w", level), arch)
    if level == "-O0":
        assert not refused
        return
    assert right >= _RIGHT[arch]
    assert "static, and the compiler replaced n by a constant" in refused["variadic"]
    assert "DW_CC_nocall" in refused["unused"]
    if arch == "i386":
        assert "add is static, and the compiler passes a in ecx, not on the stack" in refused["add"]
        assert "passes a in xmm0" in refused["product"]
        assert refused.keys() == _CALLS.keys() - _RIGHT[arch]


def _by_gcc(text: str, *flags: str, machine: str = "i686") -> Path:
    compiler = shutil.which(f"{machine}-linux-gnu-gcc")
    if compiler is None:
        pytest.skip(f"needs {machine}-linux-gnu-gcc")
    source = text_file(text, ".c")
    return made([compiler, "-g", "-fno-pic", "-ffreestanding", *flags, "-c", source, "-o", OUTPUT], [source])


def test_what_gcc_passes_in_registers_is_refused() -> None:
    right, refused = _answers(_by_gcc(_SOURCE, "-O2"), "i386")
    assert right >= {"kept", "used", "product"}
    assert "passes a in eax, not on the stack" in refused["add"]
    assert "the compiler made constant.constprop.0 of it" in refused["constant"]
    assert not _answers(_by_gcc(_SOURCE, "-O0"), "i386")[1]


def test_what_gcc_has_moved_to_two_registers_is_passed_by_the_abi() -> None:
    """GCC's DWARF names the registers that a value of two words is moved to, for the whole function."""
    path = _by_gcc("__int128 negated(__int128 a) { return -a; }\n", "-O1", machine="x86_64")
    with Machine("x86_64") as machine:
        assert machine.load(path).negated((7 << 100) + 5) == -(7 << 100) - 5


def test_functions_with_a_convention_of_their_own_are_refused() -> None:
    source = """
    __attribute__((regparm(3))) int by_register(int a, int b) { return a * 3 + b; }
    __attribute__((fastcall)) int fast(int a, int b) { return a * 3 + b; }
    int ordinary(int a, int b) { return a * 3 + b; }
    """
    with Machine("i386") as machine:
        library = machine.load(compiled("i386", source, "-g"))
        assert library.ordinary(2, 3) == 9
        with pytest.raises(CallError, match=r"by_register: the compiler passes a in eax, not on the stack"):
            _ = library.by_register
        with pytest.raises(RelinkError, match=r"fast does not follow the ABI's calling convention"):
            _ = library.fast
        with pytest.raises(CallError, match=r"by_register: the compiler passes a in eax"):
            library.function("by_register", "int(int, int)")


@pytest.mark.parametrize("arch", ["arm", "thumb"])
def test_functions_of_arms_base_standard_are_called_by_it(arch: str) -> None:
    """As compiler-rt's, in an image whose floating-point values are in registers of their own."""
    source = """
    __attribute__((pcs("aapcs"))) double scaled(float a, double b) { return a * b; }
    double ordinary(float a, double b) { return a * b; }
    """
    with Machine("arm") as machine:
        library = machine.load(compiled(arch, source, "-g"))
        assert library.scaled(1.5, 4.0) == library.ordinary(1.5, 4.0) == 6.0


@pytest.mark.parametrize("arch", ["i386", "x86_64"])
def test_nothing_is_known_of_static_functions_without_debug_information(arch: str) -> None:
    source = """
    static __attribute__((noinline, used)) int add(int a, int b) { return a * 3 + b; }
    __attribute__((visibility("hidden"))) int hidden(int a) { return a + 1; }
    int entry(int a) { return add(a, a); }
    """
    with Machine(arch) as machine:
        library = machine.load(compiled(arch, source, "-O2"))
        with pytest.warns(StaticFunctionWarning, match=r"add of .* is static"):
            assert library.function("add", "int(int, int)")(2, 3) == 9
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert library.function("hidden", "int(int)")(2) == 3
            assert library.function("entry", "int(int)")(2) == 8

"""Lazy binding: jump slots bound at their first call, by a trap of their own and through the PLT's header."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import GuestExit, UnresolvedCall
from relink.errors import UnresolvedSymbol, UseAfterUnload
from relink.relocate.lazy import BindMode
from tests.fixtures import TARGETS, arch_of, fixture, targets_of
from tests.grouping import by, each
from tests.objects.build import TARGETS as COMPILED
from tests.objects.build import compiled, linked
from toolchains.oracle.scenarios import CALLS

pytestmark = pytest.mark.sample(2)

LATER = [BindMode.LAZY, BindMode.FAITHFUL]

CALLER = """
double weigh(const char *format, ...);
int twice(int);
int indirect(int);
int absent(int);
__attribute__((weak)) int perhaps(int);
double floats(double a, double b, double c, double d) { return weigh("dddd", a, b, c, d) + twice(1); }
int through(int value) { return twice(value) + twice(value); }
int by_ifunc(int a, int b, int c) { return indirect(a) + b + c; }
int missing(int value) { return absent(value) + 1; }
int unlikely(int value) { return perhaps(value); }
"""

CALLEE = """
__attribute__((noinline)) static int resolved(int value) { return value * 3; }
int twice(int value) { return value * 2; }
static void *resolve(void) { volatile double scratch = 1.5; scratch *= 3; return resolved; }
int indirect(int) __attribute__((ifunc("resolve")));
double weigh(const char *format, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, format);
    double sum = 0;
    for (; *format; ++format) sum = sum * 10 + __builtin_va_arg(list, double);
    __builtin_va_end(list);
    return sum;
}
"""
#: What lld makes PLTs of other shapes with: landing pads, signed returns, a second PLT.
SHAPES = {
    "plain": ((), ()),
    "ibt": (("-fcf-protection=full",), ("-z", "force-ibt")),
    "bti": (("-mbranch-protection=standard",), ("-z", "force-bti")),
    "pac": (("-mbranch-protection=standard",), ("-z", "force-bti", "-z", "pac-plt")),
    "retpoline": ((), ("-z", "retpolineplt")),
}
_ONLY = {"ibt": ("x86_64", "i386"), "bti": ("aarch64",), "pac": ("aarch64",), "retpoline": ("x86_64", "i386")}
CASES = [(t, s) for s in SHAPES for t in COMPILED if t in _ONLY.get(s, COMPILED)]
SHAPED = by(("target", "shape"), CASES)
BINDINGS = each("binding", LATER)


def pair(target: str, shape: str = "plain", *flags: str) -> tuple[Path, Path]:
    """A library that calls, and one that is called; the first does not name the second."""
    cflags, ldflags = SHAPES[shape]
    caller = compiled(target, CALLER, "-fPIC", "-O1", *cflags)
    callee = compiled(target, CALLEE, "-fPIC", "-O1", *cflags)
    lib = linked(target, [caller], "-z", "lazy", "-soname", "libcaller.so", *ldflags, *flags)
    return lib, linked(target, [callee], "-soname", "libcallee.so", *ldflags)


@SHAPED
@BINDINGS
def test_calls_arrive_with_every_argument_and_once_by_the_trap(target: str, shape: str, binding: BindMode) -> None:
    caller, callee = pair(target, shape)
    with Machine(arch_of(target)) as machine:
        machine.load(callee)
        lib = machine.load(caller, binding=binding)
        floats = lib.function("floats", "double(double, double, double, double)")
        through = lib.function("through", "int(int)")
        by_ifunc = lib.function("by_ifunc", "int(int, int, int)")
        assert machine.first_calls == []
        for _ in range(2):
            assert floats(1.0, 2.0, 3.0, 4.0) == 1236.0
            assert through(21) == 84
            assert by_ifunc(5, 1000, 10000) == 11015
        firsts = [(call.symbol, call.provider, call.image) for call in machine.first_calls]
        assert firsts == [(name, str(callee), str(caller)) for name in ("weigh", "twice", "indirect")]
        seconds = [call.seconds for call in machine.first_calls]
        assert seconds == sorted(seconds)
        assert {bound.symbol for bound in lib.image.bindings()} >= {"weigh", "twice", "indirect"}
        assert lib.image.got_slot("twice", "PLT").provider == str(callee)


@pytest.mark.parametrize("target", COMPILED)
@each("count", [3, 100])
def test_what_an_unbound_slot_holds_is_no_addend(target: str, count: int) -> None:
    """`-z rel` makes REL tables, also where a jump slot is S + A: its word is an address in the PLT."""
    numbers = range(count)
    callees = "".join(f"int f{n}(int v) {{ return v + {n}; }}\n" for n in numbers)
    calls = "".join(f"int f{n}(int);\n" for n in numbers) + "int all(int v) {\n    return 0"
    calls += "".join(f" + f{n}(v)" for n in numbers) + ";\n}\n"
    flags = ("-fPIC", "-Wno-missing-prototypes")
    caller = linked(target, [compiled(target, calls, *flags)], "-z", "rel", "-z", "lazy")
    callee = linked(target, [compiled(target, callees, *flags)], "-z", "rel")
    for binding in BindMode:
        with Machine(arch_of(target), binding=binding) as machine:
            machine.load(callee)
            every = machine.load(caller).function("all", "int(int)")
            assert every(2) == every(2) == sum(numbers) + 2 * count


@pytest.mark.parametrize("target", COMPILED)
@BINDINGS
def test_every_register_reaches_the_function_as_the_caller_left_it(target: str, binding: BindMode) -> None:
    """What a host function finds at its trap is the same, bound early or late."""
    caller, _ = pair(target)
    found = []
    for when in (BindMode.NOW, binding):
        with Machine(arch_of(target)) as machine:
            cpu = machine.cpu
            vectors = {name for kind in machine.convention.float_arguments.values() for name in kind}
            names = sorted({*cpu.registers, *vectors} - {"pc", "sp"})
            seen: list[list[int]] = []

            def weigh() -> None:
                seen.append(cpu.read_registers(names))  # noqa: B023

            symbols = dict.fromkeys(("weigh", "twice", "indirect", "absent"), (weigh, "void(void)"))
            lib = machine.load(caller, binding=when, symbols=symbols)
            lib.function("floats", "double(double, double, double, double)")(1.25, 2.5, 3.75, 4.0)
            found.append(dict(zip(names, seen[0], strict=True)))
    early, late = found
    scratch = {name for name in early if early[name] != late[name]}
    # What PLT entries and their header use themselves (psABIs, "Procedure Linkage Table").
    allowed = {"x86_64": {"r11"}, "i386": set(), "aarch64": {"x16", "x17"}, "arm": {"r12"}}
    assert scratch <= allowed.get(arch_of(target), {"t0", "t1", "t2", "t3"})


@pytest.mark.parametrize("target", COMPILED)
@BINDINGS
def test_a_missing_function_is_missed_when_it_is_called(target: str, binding: BindMode) -> None:
    caller, callee = pair(target)
    with Machine(arch_of(target)) as machine:
        machine.load(callee)
        with pytest.raises(UnresolvedSymbol, match="absent"):
            machine.load(caller)
        lib = machine.load(caller, binding=binding)
        for function, symbol in (("missing", "absent"), ("unlikely", "perhaps")):
            with pytest.raises(UnresolvedCall, match=rf"{symbol} from .*") as raised:
                lib.function(function, "int(int)")(1)
            assert raised.value.symbol == symbol
        assert lib.function("through", "int(int)")(1) == 4
        late = compiled(target, "int absent(int value) { return value + 100; }\n", "-fPIC")
        machine.load(linked(target, [late]))
        assert lib.function("missing", "int(int)")(1) == 102


@pytest.mark.parametrize("target", COMPILED)
def test_an_image_that_asks_for_it_is_bound_at_once(target: str) -> None:
    caller, callee = pair(target, "plain", "-z", "now")
    with Machine(arch_of(target), binding="lazy") as machine:
        machine.load(callee)
        with pytest.raises(UnresolvedSymbol, match="absent"):
            machine.load(caller)
        lib = machine.load(caller, symbols={"absent": lambda value: value})
        assert lib.image.relocated.lazy is None
        assert lib.function("through", "int(int)")(21) == 84
        assert machine.first_calls == []


@pytest.mark.parametrize("target", COMPILED)
@BINDINGS
def test_who_was_called_stays_loaded(target: str, binding: BindMode) -> None:
    """A binding made late keeps its provider as one made early does; what was never called keeps nothing."""
    caller, callee = pair(target)
    with Machine(arch_of(target)) as machine:
        provider, user = machine.load(callee), machine.load(caller, binding=binding)
        assert user.function("through", "int(int)")(21) == 84
        provider.close()
        assert not provider.image.closed
        assert user.function("through", "int(int)")(21) == 84
        user.close()
        assert provider.image.closed

        provider, user = machine.load(callee), machine.load(caller, binding=binding)
        provider.close()
        assert provider.image.closed
        with pytest.raises(UnresolvedCall, match="twice"):
            user.function("through", "int(int)")(21)
        through = user.function("through", "int(int)")
        user.close()
        with pytest.raises(UseAfterUnload, match="through"):
            through(1)


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
@BINDINGS
def test_traps_are_given_back(target: str, binding: BindMode) -> None:
    caller, callee = pair(target)
    with Machine(arch_of(target)) as machine:
        machine.load(callee)
        counts = []
        for _ in range(4):
            lib = machine.load(caller, binding=binding)
            lib.function("through", "int(int)")(21)
            counts.append(len(machine.traps))
            lib.close()
        assert len(set(counts)) == 1
        traps = len(machine.traps)
        with pytest.raises(UnresolvedSymbol):
            machine.load(linked(target, [compiled(target, DATA, "-fPIC")]), binding=binding)
        assert len(machine.traps) == traps


DATA = "extern int nowhere; int f(int); int *p = &nowhere; int g(int v) { return f(v); }\n"


@pytest.mark.parametrize("target", TARGETS)
@BINDINGS
def test_what_compilers_and_linkers_made_runs_bound_late(target: str, binding: BindMode) -> None:
    with Machine(arch_of(target), library_path=[fixture(target, "basic").parent], binding=binding) as machine:
        lib = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value * 2})
        assert lib.image.relocated.lazy is not None
        assert [lib.function("awesome_func", "int(int)")(n) for n in (20, 21)] == [40, 42]
        assert [call.symbol for call in machine.first_calls] == ["my_host_function"]


NAMES = ("datarel", "plt_landing_pads", "deps/libtop", "versions/client_v2")


@by(("target", "name"), [(target, name) for name in NAMES for target in targets_of(name)])
@BINDINGS
def test_results_do_not_depend_on_when_calls_are_bound(target: str, name: str, binding: BindMode) -> None:
    """Of what both compilers and linkers make, PLTs with landing pads among it."""
    path, results = fixture(target, name), []
    folders = [path.parent, path.parent / "v2", path.parents[1] if "/" in name else path.parent]
    for when in (BindMode.NOW, binding):
        with Machine(arch_of(target), library_path=folders) as machine:
            lib = machine.load(path, binding=when, allow_unresolved=True)
            values = []
            for call in CALLS[name]:
                function, *texts = call.split(" ")
                arguments = [*map(int, texts), 0, 0, 0][:3]
                value = lib.function(function, "long(long, long, long)")(*arguments)
                values.append(value)
            results.append(values)
            assert bool(machine.first_calls) == (when is not BindMode.NOW)
    assert results[0] == results[1]


@pytest.mark.parametrize("target", ["x86_64", "aarch64"])
def test_a_host_function_may_raise_at_the_first_call(target: str) -> None:
    caller, callee = pair(target)

    def leave(value: int) -> int:
        raise GuestExit(value)

    with Machine(arch_of(target)) as machine:
        machine.load(callee)
        lib = machine.load(caller, binding="lazy", symbols={"absent": leave})
        for _ in range(2):
            with pytest.raises(GuestExit, match="status 7"):
                lib.function("missing", "int(int)")(7)
        assert lib.function("through", "int(int)")(21) == 84


SCRIPT = """
import ctypes, os, sys
lib = ctypes.CDLL(sys.argv[1], os.RTLD_LAZY)
base = next(int(line.split("-")[0], 16) for line in open("/proc/self/maps") if sys.argv[1] in line)
for offset in sys.argv[2:]:
    print((ctypes.c_uint64.from_address(base + int(offset)).value - base) % (1 << 64))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64" or ctypes.sizeof(ctypes.c_void_p) != 8,
    reason="the host's own ld.so is that of another architecture",
)
@pytest.mark.parametrize("shape", ["plain", "ibt"])
def test_faithful_slots_hold_what_ld_so_leaves_in_them(shape: str) -> None:
    caller, callee = pair("x86_64", shape)
    with Machine("x86_64") as machine:
        machine.load(callee)
        lib = machine.load(caller, binding="faithful")
        places = (
            [int(place) - lib.base for place in lib.image.relocated.lazy.place] if lib.image.relocated.lazy else []
        )
        ours = [machine.memory.read_uint(lib.base + place, 8) - lib.base for place in places]
    command = [sys.executable, "-c", SCRIPT, str(caller), *map(str, places)]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(places) == 5  # weigh, twice, indirect, absent, perhaps
    assert ours == [int(word) for word in theirs]

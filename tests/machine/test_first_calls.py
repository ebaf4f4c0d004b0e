"""First calls bound inside the engine, by answers that were looked up ahead of them: nobody can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from emu import Library, Machine
from emu.boards import Board, Device, Ram
from emu.cpu.unicorn import first_calls
from emu.errors import BudgetExceeded, GuestFault, UnresolvedCall
from emu.load import look_ahead
from emu.load.look_ahead import _Prepared
from relink.events import SymbolBound, on
from relink.relocate.lazy import BindMode, SlotBinding
from tests.cpu.fake import RecordingCpu
from tests.fixtures import arch_of
from tests.grouping import each
from tests.interrupts import interrupted
from tests.objects.build import TARGETS, compiled, linked

COUNT = 24
_ARGUMENTS = ", ".join([*(f"int i{n}" for n in range(9)), *(f"double d{n}" for n in range(9)), "long long last"])
_SUM = " + ".join(f"{n + 1} * i{n} + (int)({n + 1} * d{n})" for n in range(9)) + " + (int)last"
_GIVEN = ", ".join(["v"] * 9 + [f"{n}.5" for n in range(9)] + ["1LL << 33 | v"])
CALLER = (
    "\n".join(f"int f{n}({_ARGUMENTS}); int g{n}(int v) {{ return f{n}({_GIVEN}) + 1; }}" for n in range(COUNT))
    + "\nint all(int v) {\n    int sum = 0;\n"
    + "".join(f"    sum = sum * 3 + g{n}(v);\n" for n in range(COUNT))
    + "    return sum;\n}\n"
)


def callee(target: str, *, plus: int = 0, only: range = range(COUNT)) -> Path:
    body = "\n".join(f"int f{n}({_ARGUMENTS}) {{ return {_SUM} + {n + plus}; }}" for n in only)
    return linked(target, [compiled(target, body + "\n", "-fPIC")], "-soname", f"libcallee{plus}.so")


def caller(target: str, name: str = "libcaller.so") -> Path:
    objects = [compiled(target, CALLER, "-fPIC", "-fno-inline", "-Wno-missing-prototypes")]
    return linked(target, objects, "-z", "lazy", "-Bsymbolic-functions", "-soname", name)


@contextmanager
def loaded(
    target: str, *, binding: str = "lazy", of: Callable[[Machine], object] = lambda machine: None, **how: Any
) -> Iterator[tuple[Machine, Library]]:
    with Machine(arch_of(target)) as machine:
        of(machine)
        machine.load(callee(target))
        yield machine, machine.load(caller(target), binding=binding, **how)


def function(lib: Library, name: str) -> Callable[..., int]:
    return lib.function(name, "int(int)")


def firsts(machine: Machine) -> list[tuple[object, ...]]:
    calls = machine.first_calls
    seconds = [call.seconds for call in calls]
    assert seconds == sorted(seconds)
    return [(call.image, str(call.caller), call.symbol, call.provider, call.address) for call in calls]


def words(machine: Machine, lib: Library) -> list[int]:
    slots, size = lib.image.relocated.lazy, lib.image.architecture.word_size
    assert slots is not None
    return [machine.memory.read_uint(place, size) for place in slots.place.tolist()]


def by_traps(machine: Machine) -> None:
    machine.linker.observers.append(on(SymbolBound, lambda event: None))


@pytest.mark.parametrize("target", TARGETS)
@each("binding", [BindMode.LAZY, BindMode.FAITHFUL])
def test_what_is_bound_and_told_is_as_by_traps(target: str, binding: BindMode) -> None:
    with loaded(target, binding="now") as (_, lib):
        expected = function(lib, "all")(7)
    told = []
    for of in (by_traps, lambda machine: None):
        with loaded(target, binding=binding, of=of) as (machine, lib):
            unbound = words(machine, lib)
            for number in (0, 1, 2, 5):
                function(lib, f"g{number}")(7)
            now = words(machine, lib)
            changed = [before != after for before, after in zip(unbound, now, strict=True)]
            assert sum(changed) == 4
            assert function(lib, "all")(7) == expected == function(lib, "all")(7)
            names = [bound.symbol for bound in lib.image.bindings()][-COUNT:]
            assert sorted(names) == sorted(f"f{n}" for n in range(COUNT))
            told.append((firsts(machine), words(machine, lib), names, changed))
    assert told[0] == told[1]
    assert len(told[0][0]) == COUNT


@pytest.mark.parametrize("target", TARGETS)
def test_few_first_calls_stop_the_engine(target: str) -> None:
    with loaded(target) as (machine, lib):
        if machine.cpu.first_calls is None:
            pytest.skip("this engine, or this host, has no hook for first calls")
        cpu = RecordingCpu(machine.cpu)
        machine.parts.runner.execution = cpu
        function(lib, "all")(7)
        assert cpu.counts()["run"] <= 5  # one; one more for each of 3 traps; the end
        assert len(machine.first_calls) == COUNT


@pytest.mark.parametrize("target", ["x86_64", "thumb", "riscv32"])
def test_calls_are_recorded_where_a_signal_handler_raises(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While they are: otherwise what is bound in guest memory would be unknown to later swaps and unloads."""
    take, raised = _Prepared.take, [False, False, True]  # for each call that is recorded

    def interrupted(prepared: _Prepared, slot: int, address: int) -> SlotBinding:
        if raised and raised.pop(0):
            raise KeyboardInterrupt
        return take(prepared, slot, address)

    with loaded(target) as (machine, lib):
        unbound = words(machine, lib)
        monkeypatch.setattr(_Prepared, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            function(lib, "all")(7)
        slots = lib.image.relocated.lazy
        assert slots is not None
        bound = [slot for slot, word in enumerate(words(machine, lib)) if word != unbound[slot]]
        assert sorted(slots.bound) == bound
        function(lib, "all")(7)
        assert [call.symbol for call in machine.first_calls] == [f"f{n}" for n in range(COUNT)]


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_calls_are_recorded_when_somebody_asks(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the engine wait in a ring until then, others in a queue; where one is full, the next trap has all
    recorded.
    """
    told = []
    for of, most in ((by_traps, 1024), (lambda machine: None, 4), (lambda machine: None, 1024)):
        monkeypatch.setattr(first_calls, "_MOST", most)
        monkeypatch.setattr(look_ahead, "_MOST_BOUND", most)
        with loaded(target, of=of) as (machine, lib):
            slots = lib.image.relocated.lazy
            assert slots is not None
            function(lib, "all")(7)
            waiting = COUNT - len(slots.recorded)
            assert waiting <= 2 * most
            assert (waiting > 0) == (of is not by_traps)
            assert len(slots.bound) == len(slots.recorded) == COUNT
            assert list(slots.bound) == [slots.slot_at(place) for place in slots.place.tolist()]
            told.append(firsts(machine))
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("target", ["x86_64", "thumb", "riscv64"])
def test_a_provider_stays_for_calls_that_are_not_recorded_yet(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        provider = machine.load(callee(target, only=range(6)))
        later = machine.load(callee(target, plus=1000, only=range(6, COUNT)))
        lib = machine.load(caller(target), binding="lazy")
        result = function(lib, "all")(1)
        for library in (provider, later):
            library.close()
            assert not library.image.closed
        assert function(lib, "all")(1) == result


@pytest.mark.parametrize("target", ["x86_64", "thumb", "riscv64", "loongarch64"])
@each("change", ["unload", "source", "observer", "unsettled", "limit", "restore"])
def test_what_changes_between_two_calls_counts(target: str, change: str) -> None:
    """As if each call was looked up when it was made."""
    with loaded(target) as (machine, lib):
        later = machine.load(callee(target, plus=1000))
        function(lib, "g0")(1)
        function(lib, "g1")(1)
        before = function(lib, "g2")(1)  # g3, g4 ... are known
        seen: list[str] = []
        added = 0
        if change == "unload":
            later.close()
        elif change == "source":
            address = later.function("f3", "int(int)").address
            machine.linker.resolver.before.append(lambda request: address if request.name == "f3" else None)
            added = 1000
        elif change == "observer":
            machine.linker.observers.append(on(SymbolBound, lambda event: seen.append(event.symbol)))
        elif change == "unsettled":
            machine.linker.resolver.before.append(lambda request: seen.append(request.name))
        elif change == "restore":
            with machine.snapshot() as snapshot:
                function(lib, "g3")(1)
                later.close()
                assert len(machine.first_calls) == 4
                machine.restore(snapshot)
                assert len(machine.first_calls) == 3
        elif change == "limit":
            with pytest.raises(BudgetExceeded):
                machine.call(lib.function("all", "int(int)").address, "int(int)", 1, max_instructions=60)
        assert function(lib, "g3")(1) == before + 1 + added
        assert seen == (["f3"] if change in ("observer", "unsettled") else [])
        names = [call.symbol for call in machine.first_calls]
        assert names[:4] == ["f0", "f1", "f2", "f3"]
        assert function(lib, "g4")(1) == before + 2


def test_a_signal_handler_may_ask_for_first_calls_while_they_are_recorded() -> None:
    with loaded("x86_64") as (machine, lib):
        calls = [function(lib, f"g{n}") for n in range(COUNT)]
        snapshot = machine.snapshot()
        for number in count(1):
            for call in calls[:6]:  # three by traps, three looked up ahead
                call(1)
            passed = interrupted(
                lambda: machine.first_calls, number, starts=True, handler=lambda: list(machine.first_calls)
            )
            assert [call.symbol for call in machine.first_calls] == [f"f{n}" for n in range(6)], number
            if passed < number:
                break
            machine.restore(snapshot)
        assert number > 50


class Writes(Device):
    """Does something when the guest writes."""

    size = 0x20

    def __init__(self) -> None:
        super().__init__()
        self.action: Callable[[], object] = lambda: None

    def write(self, offset: int, size: int, value: int) -> None:
        self.action()


@pytest.mark.parametrize(("cpu", "target"), [("i386", "i386"), ("cortex-a53", "aarch64")])
def test_what_a_device_changes_counts_in_the_same_run(cpu: str, target: str) -> None:
    """The engine has called it, and binds no further call by what was looked up before."""
    names, device, seen = [f"f{n}" for n in range(7)], Writes(), list[str]()
    declared = "".join(f"int {name}(void);\n" for name in names)
    before, after = (" + ".join(f"{name}()" for name in part) for part in (names[:4], names[4:]))
    called = "".join(f"int {name}(void) {{ return {n}; }}\n" for n, name in enumerate(names))
    calls = f"int run(void) {{ int sum = {before}; *(volatile int *)0x40000000 = 1; return sum + {after}; }}\n"
    flags = ("-fPIC", "-Wno-missing-prototypes")
    library = linked(target, [compiled(target, called, *flags)], "-soname", "libcalled.so")
    caller = linked(target, [compiled(target, declared + calls, *flags)], "-z", "lazy")
    board = Board(cpu, memory=[Ram(0x2000_0000, 0x4_0000)], devices={0x4000_0000: device})
    with board.machine as machine:
        machine.load(library)
        lib = machine.load(caller, binding="lazy")
        observer = on(SymbolBound, lambda event: seen.append(event.symbol))
        device.action = lambda: machine.linker.observers.append(observer)
        assert lib.function("run", "int(void)")() == sum(range(7))
        assert seen == names[4:]
        assert [call.symbol for call in machine.first_calls] == names


@pytest.mark.parametrize("target", TARGETS)
def test_a_provider_that_goes_before_the_call_is_not_called(target: str) -> None:
    """g0 to g5 are bound to one library; g6 and others were looked up in one that goes before they are called."""
    with Machine(arch_of(target)) as machine:
        machine.load(callee(target, only=range(6)))
        other = machine.load(callee(target, plus=1000, only=range(6, COUNT)))
        lib = machine.load(caller(target), binding="lazy")
        for number in range(6):
            function(lib, f"g{number}")(1)
        other.close()
        assert other.image.closed
        with pytest.raises(UnresolvedCall, match="f6"):
            function(lib, "g6")(1)
        machine.load(callee(target, plus=2000, only=range(6, COUNT)))
        assert function(lib, "g6")(1) - function(lib, "g5")(1) == 2001


@pytest.mark.parametrize("target", TARGETS)
def test_limits_count_the_same_instructions(target: str) -> None:
    executed = []
    for of in (by_traps, lambda machine: None):
        with loaded(target, of=of) as (machine, lib):
            for number in range(3):
                function(lib, f"g{number}")(1)
            address = lib.function("all", "int(int)").address
            with pytest.raises(BudgetExceeded) as raised:
                machine.call(address, "int(int)", 1, max_instructions=700)
            executed.append((raised.value.executed, str(raised.value), firsts(machine)))
    assert executed[0] == executed[1]


@pytest.mark.parametrize("pair", [("arm", "thumb"), ("thumb", "arm")], ids="-to-".join)
def test_calls_change_between_arm_and_thumb(pair: tuple[str, str]) -> None:
    results = []
    for binding in ("now", "lazy"):
        with Machine("arm") as machine:
            machine.load(callee(pair[1]))
            lib = machine.load(caller(pair[0]), binding=binding)
            results.append([function(lib, "all")(5) for _ in range(2)])
    assert results[0] == results[1]


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_traces_and_breakpoints_see_what_traps_show(target: str) -> None:
    told = []
    for of in (by_traps, lambda machine: None):
        with loaded(target, of=of) as (machine, lib):
            for number in range(3):
                function(lib, f"g{number}")(1)
            with machine.trace() as trace:
                function(lib, "g3")(1)
            with machine.counting() as count, machine.coverage() as coverage:
                function(lib, "g4")(1)
            with machine.breakpoint(lib.function("g6", "int(int)")) as point:
                function(lib, "all")(1)
            told.append((str(trace), count.instructions, coverage.take().blocks, point.hits, firsts(machine)))
    assert told[0] == told[1]


MORE = """
__attribute__((noinline)) int f3(void *p) { return *(volatile int *)p; }
int f4(int v) { return v; }
"""
FAULTS = """
int f0(void); int f1(void); int f2(void); int f3(void *); int f4(int);
int ready(void) { return f0() + f1() + f2(); }
int falls(long v) { return f3((void *)v) + f4(1); }
"""


@pytest.mark.parametrize("target", TARGETS)
def test_a_fault_right_after_is_where_it_is(target: str) -> None:
    """In a function that has just been bound: its place, its caller, registers, and what can be called then."""
    plain = "int f0(void) { return 1; } int f1(void) { return 2; } int f2(void) { return 3; }\n"
    flags = ("-fPIC", "-Wno-missing-prototypes", "-fno-omit-frame-pointer", "-funwind-tables")
    called = linked(target, [compiled(target, plain + MORE, *flags)], "-soname", "libcalled.so")
    falls = linked(target, [compiled(target, FAULTS, *flags)], "-z", "lazy", "-soname", "libfalls.so")
    found = []
    for binding in ("now", "lazy"):
        with Machine(arch_of(target)) as machine:
            machine.load(called)
            lib = machine.load(falls, binding=binding)
            assert lib.function("ready", "int(void)")() == 6
            with pytest.raises(GuestFault) as raised:
                lib.function("falls", "int(long)")(0x40)
            fault = raised.value
            found.append((fault.pc - lib.base, fault.address, [frame.symbol for frame in fault.backtrace[:2]]))
            assert lib.function("falls", "int(long)")(lib.base) == machine.memory.read_uint(lib.base, 4) + 1
    assert found[0] == found[1]
    assert found[1][2][:1] == ["f3"]

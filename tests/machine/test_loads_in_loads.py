"""Loads and unloads in hooks, observers and host functions of a load: each is right, or refused, and where the
outer one fails, what was loaded inside it stays only where it can do without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import ConstructorFault, UnresolvedCall
from emu.library import Library
from relink.errors import LinkError, LoadOrderError
from relink.events import Event, ImageMapped, ImageRelocated, InitialiserStarting, on
from relink.relocate.handlers import RelocationHandler
from tests.fixtures import arch_of
from tests.fuzz.state import state
from tests.objects.build import TARGETS, compiled, linked

pytestmark = [pytest.mark.sample(4), pytest.mark.parametrize("target", TARGETS)]
_NOTES = """
void note(int);
__attribute__((constructor)) static void begin(void) { note(%d); }
__attribute__((destructor)) static void end(void) { note(-%d); }
"""
BASE = _NOTES % (1, 1) + "static __thread int t = 5; int base(void) { return 100 + t; }"
OUTER = (
    _NOTES % (2, 2)
    + """
int base(void);
static int one(void) { return 1; }
static void *resolve(void) { note(10); return (void *)one; }
int pick(void) __attribute__((ifunc("resolve")));
int outer(void) { return base() + pick(); }
"""
)
INNER = _NOTES % (3, 3) + "int base(void); int inner(void) { return base() + 7; }"
ALONE = _NOTES % (4, 4) + "int alone(void) { return 9; }"


class Stopped(Exception):
    """What ends the outer load."""


@cache
def _libraries(target: str) -> dict[str, Path]:
    base = linked(target, [compiled(target, BASE, "-fPIC")], "-soname", "libbase.so")

    def library(source: str, name: str) -> Path:
        return linked(target, [compiled(target, source, "-fPIC"), base], "-soname", name, "--no-as-needed")

    alone = linked(target, [compiled(target, ALONE, "-fPIC")], "-soname", "libalone.so")
    return {
        "libbase.so": base,
        "libouter.so": library(OUTER, "libouter.so"),
        "libinner.so": library(INNER, "libinner.so"),
        "libalone.so": alone,
    }


class Guest:
    """A machine with these libraries, which does `at[number]()` when guest code notes that number."""

    def __init__(self, target: str) -> None:
        self.at: dict[int, Callable[[], object]] = {}
        self.notes: list[int] = []
        self.machine = Machine(arch_of(target), libraries=_libraries(target))
        address = self.machine.define("note", (self._note, "void(int)"))
        self.machine.linker.resolver.after.append(lambda request: address if request.name == "note" else None)
        self.machine.load("libouter.so").close()
        self.notes.clear()
        self.before = state(self.machine)

    def _note(self, number: int) -> None:
        self.notes.append(number)
        if number in self.at:
            self.at.pop(number)()

    def load(self, name: str) -> Library:
        return self.machine.load(f"lib{name}.so")


def _call(library: Library, name: str) -> int:
    result = library.function(name, "int()")()
    assert isinstance(result, int)
    return result


def test_what_a_failing_load_s_constructor_has_loaded_stays_where_it_can_do_without(target: str) -> None:
    guest = Guest(target)
    loaded: list[Library] = []

    def constructor() -> None:
        loaded.extend([guest.load("inner"), guest.load("alone")])
        assert _call(loaded[0], "inner") == 112
        raise Stopped

    guest.at[2] = constructor
    with pytest.raises(Stopped):
        guest.load("outer")
    inner, alone = loaded
    assert inner.image.closed
    assert _call(alone, "alone") == 9
    alone.close()
    assert state(guest.machine) == guest.before
    assert _call(guest.load("outer"), "outer") == 106
    assert _call(guest.load("inner"), "inner") == 112


def test_what_a_failing_load_alone_has_kept_goes_with_its_destructors(target: str) -> None:
    guest = Guest(target)
    inner = guest.load("inner")

    def constructor() -> None:
        inner.close()
        raise Stopped

    guest.at[2] = constructor
    with pytest.raises(Stopped):
        guest.load("outer")
    assert guest.notes == [1, 3, 10, 2, -3, -1]
    assert state(guest.machine) == guest.before


def test_a_fault_of_such_a_destructor_does_not_hide_why_the_load_failed(target: str) -> None:
    guest = Guest(target)
    inner = guest.load("inner")

    def constructor() -> None:
        inner.close()
        raise Stopped

    guest.at[2] = constructor
    guest.at[-1] = lambda: guest.machine.call(8, "void()")
    with pytest.raises(Stopped) as caught:
        guest.load("outer")
    assert "ConstructorFault" in caught.value.__notes__[0]
    assert [image.soname for image in guest.machine.linker.images] == ["libbase.so"], "as after an unload"


def _in_a_resolver(guest: Guest, action: Callable[[], object]) -> None:
    guest.at[10] = action


def _before_relocation(guest: Guest, action: Callable[[], object]) -> None:
    pending = [action]

    def before(entries: object) -> None:
        if pending:
            pending.pop()()

    guest.machine.linker.relocation_handlers.append(RelocationHandler(before=before))


def _when_relocated(guest: Guest, action: Callable[[], object]) -> None:
    pending = [action]

    def relocated(event: Event) -> None:
        if pending:
            pending.pop()()

    guest.machine.linker.observers.append(on(ImageRelocated, relocated))


@pytest.mark.parametrize("place", [_in_a_resolver, _before_relocation, _when_relocated])
def test_what_cannot_run_yet_is_not_used_by_a_load_inside(target: str, place: Callable[..., None]) -> None:
    guest = Guest(target)
    refused: list[str] = []

    def action() -> None:
        for name in ("inner", "base", "outer"):
            with pytest.raises(LinkError, match="cannot be used yet") as caught:
                guest.load(name)
            refused.append(caught.value.image)
        assert _call(guest.load("alone"), "alone") == 9

    place(guest, action)
    outer = guest.load("outer")
    assert len(refused) == 3
    assert sorted(guest.notes) == [1, 2, 4, 10]
    assert _call(outer, "outer") == 106
    assert _call(guest.load("inner"), "inner") == 112


def test_a_load_inside_runs_constructors_that_are_due_first(target: str) -> None:
    guest = Guest(target)
    with guest.machine.loading("libouter.so") as outer:
        outer.advance(until="construct")
        assert _call(guest.load("inner"), "inner") == 112
        assert guest.notes == [10, 1, 3]
    assert guest.notes == [10, 1, 3, 2]


def test_no_destructor_runs_where_a_machine_is_closed_before_the_constructor_did(target: str) -> None:
    guest = Guest(target)
    guest.at[10] = guest.machine.close
    with pytest.raises(ConstructorFault, match="the CPU has been closed"):
        guest.load("outer")
    assert guest.notes == [10]


def test_a_machine_is_not_closed_by_an_observer_of_linking(target: str) -> None:
    guest = Guest(target)
    machine, refused = guest.machine, []

    def close(event: Event) -> None:
        with pytest.raises(LoadOrderError, match="map is running"):
            machine.close()
        refused.append(event)

    machine.linker.observers.append(on(ImageMapped, close))
    outer = guest.load("outer")
    assert len(refused) == 2
    assert _call(outer, "outer") == 106
    outer.close()
    assert guest.notes == [10, 1, 2, -2, -1]
    assert state(machine) == guest.before


def test_a_patch_of_a_load_that_fails_goes_with_it(target: str) -> None:
    guest = Guest(target)

    def patch(event: InitialiserStarting) -> None:
        if event.image.soname == "libouter.so":
            guest.machine.patch(event.image.symbol("outer"), lambda: 3)
            raise Stopped

    observer = on(InitialiserStarting, patch)
    guest.machine.linker.observers.append(observer)
    with pytest.raises(Stopped):
        guest.load("outer")
    assert not guest.machine.patcher.patches
    guest.machine.linker.observers.remove(observer)
    assert _call(guest.load("outer"), "outer") == 106


@pytest.mark.parametrize("binding", ["lazy", "faithful"])
def test_a_call_of_an_earlier_library_that_was_bound_in_a_failing_load_is_bound_again(
    target: str, binding: str
) -> None:
    code = "int plug(int); int use(int n) { return plug(n); }"
    old = linked(target, [compiled(target, code, "-fPIC")], "-soname", "libold.so", "-z", "lazy")
    code = _NOTES % (5, 5) + "int use(int); int plug(int n) { return n + 1; } int plugged(void) { return use(1); }"
    plug = linked(target, [compiled(target, code, "-fPIC"), old], "-soname", "libplug.so", "--no-as-needed")
    libraries = {"libold.so": old, "libplug.so": plug}
    at: list[Callable[[], object]] = []
    with Machine(arch_of(target), binding=binding, libraries=libraries) as machine:
        address = machine.define("note", (lambda number: at.pop()() if at else None, "void(int)"))
        machine.linker.resolver.after.append(lambda request: address if request.name == "note" else None)
        use = machine.load("libold.so").function("use", "int(int)")

        def constructor() -> None:
            assert use(1) == 2
            raise Stopped

        at.append(constructor)
        with pytest.raises(Stopped):
            machine.load("libplug.so")
        assert [image.soname for image in machine.linker.images] == ["libold.so"]
        with pytest.raises(UnresolvedCall, match="plug"):
            use(1)
        machine.load("libplug.so")
        assert use(1) == 2
    assert not machine.linker.images

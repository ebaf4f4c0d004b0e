"""Loads that stop between the machine's steps, and constructors that are left for later."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest

from emu import Machine
from emu.errors import ConstructorFault
from emu.library import Library
from emu.load.pending import RolledBack
from relink.events import Event, LoadFailed, on
from relink.module import Stage
from tests.fixtures import fixture

STEPS = ("publish", "prepare", "ifuncs", "tls", "construct")


def stage_of(library: Library) -> Stage:
    """A function, since type checkers take an attribute for what it was compared with before."""
    return library.image.stage


def started(machine: Machine, log: Library) -> list[int]:
    """The numbers constructors (and, negative, destructors) have noted in startup/liblog, in order."""
    count = log.symbols["startup_count"].read("int")
    assert isinstance(count, int)
    return list(struct.unpack(f"<{count}i", machine.memory.read(log.symbols["startup_order"].address, 4 * count)))


def state(machine: Machine) -> tuple[object, ...]:
    return (
        [(region.address, region.size) for region in machine.memory.regions],
        [image.name for image in machine.linker.images],
        len(machine.traps),
        len(machine.linker.tls.modules),
        len(machine.parts.host_symbols.owned),
    )


def test_a_load_stops_before_each_step_and_goes_on_where_it_stopped(machine: Machine, target: str) -> None:
    with machine.loading(fixture(target, "ctors")) as library:
        assert machine.memory.protection(library.base) is None, "linked, and the guest has not seen it"
        for step in STEPS:
            library.advance(until=step)
            assert library.next_step == step
        assert library.symbols["ctor_count"].read("int") == 0
        library.symbols["ctor_count"].write(1, "int")  # intervene: constructors count on from here
        assert stage_of(library) is Stage.RELOCATED
    assert library.next_step is None
    assert stage_of(library) is Stage.INITIALISED
    assert library.symbols["ctor_count"].read("int") == (5 if machine.arch.runs_init_fini else 4)


def test_what_a_library_imports_can_be_asked_before_its_constructors_run(machine: Machine, target: str) -> None:
    with machine.loading(fixture(target, "ifunc")) as library:
        library.advance(until="construct")
        assert library.next_step == "construct"
    symbols = {"my_host_function": lambda value: value * 2}
    with machine.loading(fixture(target, "basic"), symbols=symbols) as library:
        library.advance()
        assert library.function("awesome_func", "int(int)")(21) == 42


@pytest.mark.parametrize("way", ["roll back", "an exception"])
def test_a_load_undone_before_any_step_leaves_no_trace(machine: Machine, target: str, way: str) -> None:
    failures: list[Event] = []
    machine.linker.observers.append(on(LoadFailed, failures.append))
    before, symbols = state(machine), {"unused": lambda: 0}
    for step in (*STEPS, None):
        with suppress(KeyError), machine.loading(fixture(target, "startup/app"), symbols=symbols) as library:
            library.advance(until=step)
            if way == "an exception":
                raise KeyError
            library.roll_back()
            raise AssertionError("the block has been left")
        assert library.image.closed
        assert state(machine) == before, step
    assert len(failures) == len(STEPS) + 1
    with machine.loading(fixture(target, "ctors")) as library:
        pass
    assert not library.image.closed, "another load is not concerned"


def test_a_roll_back_leaves_the_blocks_of_its_own_load_only(machine: Machine, target: str) -> None:
    with machine.loading(fixture(target, "ctors")) as outer:
        with machine.loading(fixture(target, "bss")) as inner:
            outer.roll_back()
        raise AssertionError("the outer block has been left")
    assert inner.image.closed
    assert outer.image.closed
    assert not machine.linker.images
    assert issubclass(RolledBack, BaseException)
    assert not issubclass(RolledBack, Exception), "no `except Exception` of the block holds it"


def test_steps_have_names_and_are_done_once(machine: Machine, target: str) -> None:
    with machine.loading(fixture(target, "ctors")) as library:
        with pytest.raises(ValueError, match="'relocate' is not one of publish, prepare, ifuncs, tls, construct"):
            library.advance(until="relocate")
        library.advance(until="tls")
        with pytest.raises(ValueError, match="'publish' has been done"):
            library.advance(until="publish")
        library.advance(until="tls")  # it comes next: there is nothing to do
        assert library.next_step == "tls"


def test_a_step_that_fails_can_only_be_rolled_back(machine: Machine, target: str) -> None:
    log = machine.load(fixture(target, "startup/liblog"))
    before = state(machine)
    raised = 0
    with suppress(ConstructorFault), machine.loading(fixture(target, "ctor_fault")) as library:
        for _ in range(2):
            try:
                library.advance()
            except ConstructorFault:
                raised += 1
    assert raised == 2
    assert library.image.closed, "the end of the block raises it a third time"
    assert state(machine) == before
    assert log.image in machine.linker.images


def test_constructors_left_for_later_run_dependencies_first_and_once(machine: Machine, target: str) -> None:
    log = machine.load(fixture(target, "startup/liblog"))
    usual = machine.load(fixture(target, "startup/app"))
    order = started(machine, log)
    usual.close()
    noted = len(started(machine, log))
    app = machine.load(fixture(target, "startup/app"), run_initialisers=False)
    assert len(started(machine, log)) == noted
    assert stage_of(app) is Stage.RELOCATED
    app.run_initialisers()
    assert started(machine, log)[noted:] == order[1:]
    assert {image.stage for image in app.plan.images} == {Stage.INITIALISED}
    app.run_initialisers()
    assert len(started(machine, log)) == noted + len(order) - 1, "they have run"
    app.close()
    assert started(machine, log)[noted + len(order) - 1 :] == [-number for number in reversed(order[1:])]


def test_no_destructors_run_where_constructors_did_not(machine: Machine, target: str) -> None:
    log = machine.load(fixture(target, "startup/liblog"))
    noted = started(machine, log)
    machine.load(fixture(target, "startup/app"), run_initialisers=False).close()
    assert started(machine, log) == noted
    machine.load(fixture(target, "startup/app"), run_initialisers=False)
    machine.initialisers.finalise()
    assert started(machine, log) == noted or started(machine, log) == [*noted, -1], "liblog's own at most"


def test_a_load_initialises_what_it_needs_and_an_earlier_one_has_left(machine: Machine, target: str) -> None:
    """As ld.so does: whatever is needed has been initialised before the constructors of what needs it."""
    log = machine.load(fixture(target, "startup/liblog"))
    usual = machine.load(fixture(target, "startup/app"))
    order = started(machine, log)
    usual.close()
    noted = len(started(machine, log))
    base = machine.load(fixture(target, "startup/libbase"), run_initialisers=False)
    assert stage_of(base) is Stage.RELOCATED
    app = machine.load(fixture(target, "startup/app"))
    assert base.image in app.image.scope
    new = started(machine, log)[noted:]
    assert sorted(new) == sorted(order[1:])
    assert new.index(order[-1]) == len(new) - 1, "the root comes last"
    assert stage_of(base) is Stage.INITIALISED


def test_a_constructor_that_fails_later_leaves_the_library_to_be_closed(machine: Machine, target: str) -> None:
    log = machine.load(fixture(target, "startup/liblog"))
    library = machine.load(fixture(target, "ctor_fault"), run_initialisers=False)
    noted = started(machine, log)
    with pytest.raises(ConstructorFault, match="constructor"):
        library.run_initialisers()
    assert not library.image.closed
    assert stage_of(library) is Stage.RELOCATED
    after = started(machine, log)
    library.close()
    assert library.image.closed
    assert started(machine, log) == after, "no destructor of what never was constructed"
    assert after[: len(noted)] == noted

"""Hooks on a running machine: host functions as answers, events of running code, machines side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu import Machine
from emu.errors import CallError, ConstructorFault
from relink.events import (
    DestructorDone,
    DestructorStarting,
    Event,
    IfuncResolved,
    ImageLoaded,
    InitialiserDone,
    InitialiserStarting,
    LoadFailed,
    SymbolBound,
    on,
)
from relink.image import Symbol
from relink.relocate.handlers import RelocationHandler
from relink.resolve.reference_kind import ReferenceKind
from relink.resolve.sources import SymbolRequest
from tests.fixtures import fixture
from tests.machine.conftest import MakeMachine


def test_a_look_up_answers_with_a_host_function(machine: Machine, target: str) -> None:
    requests: list[SymbolRequest] = []

    def look(request: SymbolRequest) -> Callable[[int], int] | None:
        requests.append(request)
        return (lambda value: value * 2) if request.name == "my_host_function" else None

    library = machine.load(fixture(target, "basic"), symbols=look)
    assert library.function("awesome_func", "int(int)")(21) == 42
    (request,) = [r for r in requests if r.name == "my_host_function"]
    assert request.asking is library.image
    assert request.kind in (ReferenceKind.FUNCTION, ReferenceKind.UNKNOWN)
    before = len(machine.traps)
    library.close()
    assert len(machine.traps) == before - 1, "the trap goes with the load"


def test_a_machine_s_own_look_up_may_be_a_function(make_machine: MakeMachine, target: str) -> None:
    def look(request: SymbolRequest) -> object:
        return (lambda value: value + 1, "int(int)") if request.name == "my_host_function" else None

    machine = make_machine(symbols=look)
    assert machine.load(fixture(target, "basic")).function("awesome_func", "int(int)")(1) == 2


def test_late_symbols_fill_what_no_image_answers(machine: Machine, target: str) -> None:
    names = []

    def late(request: SymbolRequest) -> Callable[[int], int]:
        names.append(request.name)
        return lambda value: -value

    library = machine.load(fixture(target, "basic"), late_symbols=late)
    assert library.function("awesome_func", "int(int)")(3) == -3
    assert "my_host_function" in names
    assert "add" not in names, "the image answers that itself"


def test_a_guest_function_may_be_the_answer(machine: Machine, target: str) -> None:
    first = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: 0})
    bump = first.function("bump_zeroed", "int(int)")
    again = fixture(target, "basic").read_bytes()
    library = machine.load(again, name="again", symbols=lambda r: bump if r.name == "my_host_function" else None)
    awesome = library.function("awesome_func", "int(int)")
    assert (awesome(3), awesome(3)) == (1, 2)
    assert isinstance(bump.symbol, Symbol)
    first.close()
    assert awesome(3) == 3, "kept alive by the library that leads there"
    library.close()
    assert not machine.linker.images


def test_an_answer_that_means_nothing_undoes_the_load(machine: Machine, target: str) -> None:
    regions, traps = machine.memory.regions, len(machine.traps)
    with pytest.raises(CallError, match=r"my_host_function: 1\.5 is not an address, a callable"):
        machine.load(fixture(target, "basic"), symbols=lambda r: 1.5 if r.name == "my_host_function" else None)
    assert (machine.memory.regions, len(machine.traps)) == (regions, traps)


def test_one_answer_for_many_references_is_one_trap(machine: Machine, target: str) -> None:
    def host(value: int) -> int:
        return value

    before = len(machine.traps)
    machine.load(fixture(target, "basic"), symbols=lambda r: host if r.name == "my_host_function" else None)
    assert len(machine.traps) == before + 1


def test_constructors_and_destructors_are_told_before_and_after(machine: Machine, target: str) -> None:
    events: list[Event] = []
    machine.linker.observers.append(events.append)
    library = machine.load(fixture(target, "ctors"))
    ran = [event for event in events if isinstance(event, InitialiserStarting)]
    count = 4 if machine.arch.runs_init_fini else 3
    assert len(ran) == 2 * count
    assert [type(event) for event in ran] == [InitialiserStarting, InitialiserDone] * count
    assert all(one.address == other.address for one, other in zip(ran[::2], ran[1::2], strict=True))
    assert isinstance(events[-1], ImageLoaded)
    events.clear()
    library.close()
    ended = [event for event in events if isinstance(event, DestructorStarting)]
    assert [type(event) for event in ended[:2]] == [DestructorStarting, DestructorDone]
    assert all(library.image is event.image for event in ended)


def test_a_constructor_s_observer_can_look_at_the_guest_and_stop_the_load(machine: Machine, target: str) -> None:
    class Enough(Exception):
        pass

    def stop(event: InitialiserStarting) -> None:
        assert event.image.symbol("ctor_count").address
        raise Enough(event.which)

    regions, images = machine.memory.regions, list(machine.linker.images)
    machine.linker.observers.append(on(InitialiserStarting, stop))
    with pytest.raises(Enough):
        machine.load(fixture(target, "ctors"))
    assert (machine.memory.regions, machine.linker.images) == (regions, images)
    machine.linker.observers.clear()
    assert machine.load(fixture(target, "ctors"))


def test_a_constructor_that_faults_is_not_told_as_done(machine: Machine, target: str) -> None:
    events: list[Event] = []
    machine.linker.observers.append(events.append)
    with pytest.raises(ConstructorFault):
        machine.load(fixture(target, "ctor_fault"))
    assert isinstance(events[-1], LoadFailed)
    assert isinstance(events[-2], InitialiserStarting)
    assert not isinstance(events[-2], InitialiserDone)


def test_what_ifunc_resolvers_chose_is_told(machine: Machine, target: str) -> None:
    resolved: list[IfuncResolved] = []
    machine.linker.observers.append(on(IfuncResolved, resolved.append))
    library = machine.load(fixture(target, "ifunc"))
    assert resolved
    for event in resolved:
        assert event.image is library.image
        assert library.image.contains(event.answer)
        assert library.image.contains(event.resolver)
        assert event.places >= 1


@pytest.mark.parametrize("binding", ["lazy", "faithful"])
def test_a_slot_that_its_first_call_binds_is_told_once(machine: Machine, target: str, binding: str) -> None:
    bound: list[SymbolBound] = []
    machine.linker.observers.append(on(SymbolBound, bound.append))
    host = {"my_host_function": lambda value: value}
    library = machine.load(fixture(target, "basic"), symbols=host, binding=binding)
    assert not bound
    awesome = library.function("awesome_func", "int(int)")
    assert (awesome(1), awesome(2)) == (1, 2)
    if library.image.relocated.lazy is None:
        pytest.skip("calls nothing by way of a PLT")
    assert [(event.symbol, event.provider, event.image) for event in bound] == [
        ("my_host_function", None, library.image)
    ]
    assert bound[0].address in machine.traps


def test_the_trap_of_a_late_answer_goes_with_its_image(machine: Machine, target: str) -> None:
    def look(request: SymbolRequest) -> object:
        return (lambda value: value + 1) if request.name == "my_host_function" else None

    library = machine.load(fixture(target, "basic"), symbols=look, binding="lazy")
    if library.image.relocated.lazy is None:
        pytest.skip("calls nothing by way of a PLT")
    before = len(machine.traps)
    awesome = library.function("awesome_func", "int(int)")
    assert (awesome(1), awesome(2)) == (2, 3)
    assert len(machine.traps) == before + 1
    slots = len(library.image.relocated.lazy)
    library.close()
    assert len(machine.traps) == before - slots


def test_a_relocation_handler_makes_an_image_bind_at_once(machine: Machine, target: str) -> None:
    seen: list[str] = []
    handler = RelocationHandler(after=lambda entries: seen.extend(entries.names))
    library = machine.load(
        fixture(target, "basic"),
        symbols={"my_host_function": lambda value: value},
        binding="lazy",
        relocation_handlers=[handler],
    )
    assert library.image.relocated.lazy is None
    assert "my_host_function" in seen


def test_machines_share_nothing(make_machine: MakeMachine, target: str) -> None:
    """Two machines, interleaved: variables, TLS, host functions and the hosted C library's state."""
    one, two = make_machine(environment={"WHO": "one"}), make_machine(environment={"WHO": "two"})
    libraries = [
        machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value, n=n: value + n})
        for n, machine in enumerate((one, two))
    ]
    assert libraries[0].base == libraries[1].base
    for library, expected in zip(libraries, (10, 11), strict=True):
        assert library.function("awesome_func", "int(int)")(10) == expected
    libraries[0].function("set_counter", "void(int)")(100)
    assert libraries[0].function("get_counter", "int()")() == 100
    assert libraries[1].function("get_counter", "int()")() == 8
    threads = [machine.load(fixture(target, "tls_static")) for machine in (one, two)]
    threads[0].function("static_set", "void(int)")(7)
    assert threads[0].function("static_get", "int()")() == 14
    assert threads[1].function("static_get", "int()")() == 81
    assert threads[0].image.tls == threads[1].image.tls
    assert one.heap.malloc(64) == two.heap.malloc(64), "each heap begins at its own start"
    one.libc.errno = 5
    assert two.libc.errno == 0
    users = [machine.load(fixture(target, "libcuser")) for machine in (one, two)]
    for user, machine, content in zip(users, (one, two), (b"one", b"two"), strict=True):
        who = user.function("environment", "char *(const char *)")("WHO")
        assert isinstance(who, int)
        assert machine.memory.read_cstring(who) == content
    users[1].function("register_at_exit", "int()")()
    one.close()
    assert not one.libc.stdout.getvalue()
    assert libraries[1].function("awesome_func", "int(int)")(10) == 11
    assert threads[1].function("static_get", "int()")() == 81
    two.close()
    assert two.libc.stdout.getvalue() == b"at exit\n"

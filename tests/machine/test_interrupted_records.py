"""Signal handlers that raise at any point of an operation: no record of it is left in the machine's tables."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from emu import Library as Loaded
from emu import Machine
from emu.debug.observation import Hit
from relink.memory.address_space import Protection
from tests.fixtures import arch_of, fixture
from tests.interrupts import interrupted
from tests.linker.craft import Library


def _records(machine: Machine) -> dict[str, object]:
    """What an operation may leave: numbers of records, and whether the machine is in use."""
    runner, traps, observation = machine.runner, machine.traps, machine.parts.observation
    events: Any = machine.cpu.events
    return {
        "traps": len(traps),
        "addresses of traps": traps._next // traps.spacing - len(traps._free) - len(traps._freed),
        "blocks": machine.heap.blocks(),
        "mappings": len(machine.memory._anonymous),
        "threads": (machine.threads.alive.copy(), machine.threads.current, machine.threads.outer),
        "breakpoints": (dict(events._breakpoints), {*observation._breakpoints}),
        "watchpoints": (events._watches.copy(), len(observation._watchpoints)),
        "entries": dict(events._entries),
        "what events are for": (events._trap_reports, events.counting, len(events._recordings)),
        "observers": (len(machine.linker.observers), len(observation.listeners), len(observation.after_restore)),
        "lent": len(runner.lent),
        "interrupted functions": len(runner._suspended),
        "calls": runner.depth,
        "uses": runner.uses,
        "operation": (runner.in_operation, runner.shared),
    }


def _nothing(machine: Machine) -> None:
    pass


def _check_all(
    target: str,
    operation: Callable[[Machine, Loaded], None],
    every: int = 1,
    *,
    remove: Callable[[Machine], None] = _nothing,
) -> None:
    """Interrupt an operation that leaves nothing at one of `every` points. `remove` ends what has been made and
    was not ended: where a signal handler raises between the two, or before the end's first instruction.
    """
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf5"), allow_unresolved=True)

        def whole() -> None:
            operation(machine, library)

        whole()
        whole()  # what is made once is made
        before = _records(machine)
        for number in count(1, every):
            passed = interrupted(whole, number, starts=True)
            remove(machine)
            assert _records(machine) == before, number
            if passed < number:
                break
        assert number > 20
        whole()
        assert _records(machine) == before


def test_a_call_with_a_callback_and_a_large_buffer_leaves_no_record() -> None:
    buffer = bytearray(100_000)

    def call(machine: Machine, library: Loaded) -> None:
        assert library.visit(lambda context, name: 1, buffer, ["a", "b"], 2) == 2

    _check_all("x86_64", call)


def test_a_nested_call_leaves_no_record() -> None:
    def call(machine: Machine, library: Loaded) -> None:
        def visitor(context: int, name: bytes) -> int:
            return int(library.visit(lambda context, name: context, 1, ["c"], 1))

        assert library.visit(visitor, 20, ["a"], 1) == 1

    _check_all("x86_64", call, 3)


def _remove_points(machine: Machine) -> None:
    observation = machine.parts.observation
    for here in [*observation._breakpoints.values()]:
        for breakpoint in [*here]:
            breakpoint.remove()
    for watchpoint in [*observation._watchpoints]:
        watchpoint.remove()


def test_a_breakpoint_leaves_no_record() -> None:
    hits: list[object] = []

    def stop(machine: Machine, library: Loaded) -> None:
        with machine.breakpoint("point_by_value", action=hits.append):
            library.point_by_value((1, 2.5))
        assert hits.pop()

    _check_all("x86_64", stop, 3, remove=_remove_points)


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_a_watchpoint_leaves_no_record(target: str) -> None:
    hits: list[Hit] = []
    place: list[int] = []

    def watch(machine: Machine, library: Loaded) -> None:
        if not place:
            place.append(machine.memory.map_anonymous(0x1000))
        hits.clear()
        with machine.watch(place[0], 8, on="read", action=hits.append):
            assert library.visit(lambda context, name: 1, 0, place[0], 1) == 1
        assert [hit.access.size for hit in hits if hit.access] == [8]

    _check_all(target, watch, 17, remove=_remove_points)


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_memory_whose_permissions_change_stays_watched(target: str) -> None:
    hits: list[Hit] = []
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf5"), allow_unresolved=True)
        place = machine.memory.map_anonymous(0x1000)

        def read() -> None:
            hits.clear()
            assert library.visit(lambda context, name: 1, 0, place, 1) == 1
            assert len(hits) == 1, number

        def change() -> None:
            machine.cpu.protect(place, 0x1000, Protection.R)
            machine.cpu.protect(place, 0x1000, Protection.R | Protection.W)

        number = 0
        with machine.watch(place, 8, on="read", action=hits.append):
            read()
            change()
            for number in count(1):
                passed = interrupted(change, number, starts=True)
                read()
                if passed < number:
                    break
        assert number > 20


def test_a_thread_leaves_no_record() -> None:
    def use(machine: Machine, library: Loaded) -> None:
        thread = machine.new_thread()
        with machine.use_thread(thread):
            library.point_by_value((1, 2.5))
        machine.exit_thread(thread)

    def remove(machine: Machine) -> None:
        for thread in machine.threads.alive[1:]:
            machine.exit_thread(thread)

    _check_all("x86_64", use, remove=remove)


def test_a_dynamic_module_has_one_block_and_none_when_forgotten() -> None:
    with Machine("x86_64", dynamic_tls=True) as machine:
        image = machine.load(Library("x86_64", "libt.so", tls=(b"abc", 16, 8)).image()).image
        module, thread = image.tls, machine.threads.main
        assert module is not None
        assert not module.static
        before = machine.heap.blocks()
        for number in count(1):
            interrupted(lambda: machine.tls_block(image), number, starts=True)
            machine.threads.forget(module)
            assert machine.heap.blocks() == before
            places: list[int] = []
            passed = interrupted(
                lambda: places.append(machine.tls_block(image)),  # noqa: B023
                number,
                starts=True,
                handler=lambda: places.append(machine.tls_block(image)),  # noqa: B023
            )
            assert {*places} == {thread.blocks[module.id][0]}
            machine.threads.forget(module)
            assert machine.heap.blocks() == before
            if passed < number:
                break
        assert number > 10


def test_a_limit_is_not_that_of_the_next_run() -> None:
    def call(machine: Machine, library: Loaded) -> None:
        assert library.visit(lambda context, name: 1, 0, ["a"], 1, max_instructions=10_000) == 1

    def remove(machine: Machine) -> None:
        cpu: Any = machine.cpu
        assert not cpu._look.budget  # the next run is not ended by it

    _check_all("x86_64", call, 3, remove=remove)


@pytest.mark.parametrize("kind", ["trace", "coverage"])
def test_a_trace_and_coverage_leave_no_record(kind: str) -> None:
    begun: list[Any] = []

    def observe(machine: Machine, library: Loaded) -> None:
        begun.append(machine.trace() if kind == "trace" else machine.coverage(branches=True))
        with begun[-1]:
            library.point_by_value((1, 2.5))
        begun.clear()

    def remove(machine: Machine) -> None:
        while begun:
            begun.pop().stop()

    _check_all("x86_64", observe, 11, remove=remove)


def test_a_patch_and_a_redirection_leave_no_record() -> None:
    redirected: list[Loaded] = []

    def change(machine: Machine, library: Loaded) -> None:
        if not redirected:
            host = {"my_host_function": lambda value: value + 1}
            redirected.append(machine.load(fixture("x86_64", "basic"), symbols=host))
        awesome = redirected[0].function("awesome_func", "int(int)")
        with library.replace("a_long", lambda left, right: 5):
            assert library.a_long(1, 2) == 5
        with redirected[0].redirect("my_host_function", lambda value: value * 9):
            assert awesome(2) == 18

    def remove(machine: Machine) -> None:
        for patch in reversed(machine.patcher.patches.copy()):
            patch.undo()
        code = machine.memory.read(place, 16)
        assert codes.setdefault(place, code) == code
        assert not machine.patcher.patches

    codes: dict[int, bytes] = {}
    with Machine("x86_64") as fresh:
        place = fresh.load(fixture("x86_64", "basic-dwarf5"), allow_unresolved=True)["a_long"].address
    _check_all("x86_64", change, 5, remove=remove)

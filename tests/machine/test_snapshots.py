"""Snapshots: a machine returns to exactly the state it had, whatever happened since."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from emu import Machine
from emu.errors import CallAbandoned, HandleOutlived, SnapshotError
from relink.errors import MachineError, UseAfterUnload
from tests.fixtures import arch_of, fixture
from tests.machine.conftest import MakeMachine
from tests.state import differences, state_of

pytestmark = [pytest.mark.sample(2), pytest.mark.one_compiler]


def test_a_machine_returns_to_any_snapshot_in_any_order(machine: Machine, target: str) -> None:
    user = machine.load(fixture(target, "libcuser"))
    states = [state_of(machine)]
    snapshots = [machine.snapshot()]

    def note() -> None:
        states.append(state_of(machine))
        snapshots.append(machine.snapshot())
        assert not differences(states[-1], state_of(machine)), "taking a snapshot changes nothing"

    block = machine.heap.malloc(5000)
    machine.memory.write(block, b"five thousand" * 300)
    machine.libc.files["/new"] = bytearray(b"content")
    note()
    constructed = machine.load(fixture(target, "ctors"))
    note()
    machine.unload(user.image)
    note()
    machine.restore(snapshots[0])
    machine.load(fixture(target, "bss"))
    machine.heap.free(machine.heap.malloc(100))
    note()
    for number in (2, 0, 3, 1, 4, 2, 2, 0, 4, 1):
        machine.restore(snapshots[number])
        assert not differences(states[number], state_of(machine)), number
    machine.restore(snapshots[0])
    with pytest.raises(UseAfterUnload):
        _ = constructed.image.region
    assert user.image.region.size
    machine.restore(snapshots[2])
    assert constructed.image.region.size


def test_an_equal_copy_of_what_changed_is_no_excuse(machine: Machine, target: str) -> None:
    """An attribute refers to what it referred to then, also where it has a copy of that as it is now."""
    held: Any = machine.os
    held.events, held.nested = [1], {"of": {"one": [1]}}
    with machine.snapshot() as snapshot:
        held.events.append(2)
        held.events = list(held.events)
        held.nested["of"]["one"].append(2)
        held.nested = {"of": {"one": list(held.nested["of"]["one"])}}
        machine.restore(snapshot)
        assert (held.events, held.nested) == ([1], {"of": {"one": [1]}})
    del held.events, held.nested


def test_handles_made_since_are_dead_and_those_ended_since_alive(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), allow_unresolved=True)
    function = library.function("awesome_func", "int(int)")
    early, ended = machine.snapshot(), machine.new_thread()
    with_thread = machine.snapshot()
    machine.exit_thread(ended)
    machine.restore(with_thread)
    with machine.use_thread(ended):
        pass
    later = machine.new_thread()
    patch = machine.patch(function, lambda value: 5)
    assert function(1) == 5
    machine.restore(with_thread)
    with pytest.raises(HandleOutlived, match="Thread"), machine.use_thread(later):
        pass
    with pytest.raises(HandleOutlived, match="awesome_func"), patch.suspended():
        pass
    patch.undo()
    machine.restore(early)
    with pytest.raises(HandleOutlived), machine.use_thread(ended):
        pass
    machine.restore(with_thread)
    with machine.use_thread(ended):
        pass


def test_refused(make_machine: MakeMachine, target: str) -> None:
    machine, other = make_machine(), Machine(arch_of(target))
    snapshot, foreign = machine.snapshot(), other.snapshot()
    state = state_of(machine)
    snapshot.close()
    assert snapshot.closed
    junk: Any = "junk"
    wrong = (snapshot, "has been closed"), (foreign, "another machine"), (junk, "not a snapshot: .junk")
    for refused, problem in wrong:
        with pytest.raises(SnapshotError, match=problem):
            machine.restore(refused)
    assert not differences(state, state_of(machine))
    other.close()


def test_restoring_in_a_host_function_ends_the_calls(make_machine: MakeMachine, target: str) -> None:
    def restore(value: int) -> int:
        machine.restore(snapshot)
        return value

    machine = make_machine(symbols={"my_host_function": restore})
    library = machine.load(fixture(target, "basic"))
    snapshot, state = machine.snapshot(), state_of(machine)
    with pytest.raises(CallAbandoned):
        library.function("awesome_func", "int(int)")(1)
    assert not differences(state, state_of(machine))


@pytest.mark.parametrize("arch", ["x86_64", "loongarch64"])
def test_an_interrupted_restore_can_be_repeated(arch: str) -> None:
    """Interrupted at any line, as by Ctrl-C, a restore leaves a machine that can be restored."""
    with Machine(arch) as machine:
        first, state = machine.snapshot(), state_of(machine)
        block = machine.heap.malloc(30_000)
        machine.memory.write(block, b"second" * 5000)
        second, later = machine.snapshot(), state_of(machine)
        machine.memory.write(machine.stack.bottom, b"dirty")
        for turn in range(400):
            wanted, expected = ((first, state), (second, later))[turn % 2]
            if not _interrupted(lambda wanted=wanted: machine.restore(wanted), turn):  # type: ignore[misc]
                break
            repaired, same = ((first, state), (second, later), (wanted, expected))[turn % 3]
            machine.restore(repaired)
            assert turn % 5 or not differences(same, state_of(machine)), turn
        assert turn > 40


def _interrupted(action: Callable[[], object], number: int) -> bool:
    """Raise KeyboardInterrupt at a line of `emu.saved` that `action` runs; False when it runs fewer."""
    left = number

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if "/emu/saved/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_closed_machine_has_no_snapshots(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine()
    snapshot = machine.snapshot()
    machine.close()
    for refused in (machine.snapshot, lambda: machine.restore(snapshot)):
        with pytest.raises(MachineError, match="the machine has been closed"):
            refused()


def test_a_snapshot_that_a_host_function_refers_to_is_freed_with_its_machine() -> None:
    def used() -> weakref.ref[Machine]:
        machine = Machine("riscv64", symbols={"my_host_function": lambda value: snapshot})
        machine.load(fixture("riscv64", "basic"))
        snapshot = machine.snapshot()
        machine.close()
        return weakref.ref(machine)

    gone = used()
    gc.collect()
    assert gone() is None

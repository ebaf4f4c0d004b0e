"""`--snapshots N`: a snapshot before and after each of the first N operations on every machine of the tests.

After each operation the machine is taken back to the snapshot before it and then to the one after it, and must
have exactly the state that it had then. The test goes on from there, so it also shows that nothing is missing.
At the end of the run it is printed how many operations were tried so, and why others were not. A test for which
that cannot be is marked with the reason: `@pytest.mark.not_taken_back("counts the calls of the engine")`.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, ref

import pytest

from emu import Machine, Snapshot
from emu.boards import Board
from emu.errors import SnapshotFileError
from emu.run.runner import Runner
from relink.errors import MachineInUse
from tests.state import differences, state_of

_OPERATIONS = ("load", "adopt", "unload", "start", "patch", "redirect", "new_thread", "exit_thread", "swap")
_machines: WeakKeyDictionary[object, ref[Machine]] = WeakKeyDictionary()  # by parts, which they refer to
_done: Counter[int] = Counter()
_busy: set[int] = set()
_marked: list[str] = []  #: why the test that runs is left out
_PROPERTY = "relink-snapshots"
#: How many operations were tried, and were not for which reason.
counts: Counter[str] = Counter()

TRIED, BEYOND = "taken back to before and after them", "after the first N of their machine"
INSIDE = "part of an operation that was tried"
IN_CALL, IN_LOAD = "inside a call of the guest (no snapshot there)", "inside a load or unload (no snapshot there)"
FILED = "machines written to a file and read"
CLOSED, IN_USE = "of a closed machine", "from a second thread of the host, refused"


def install(limit: int) -> None:
    """Wrap the operations of machines."""
    made = Machine.__init__

    @functools.wraps(made)
    def __init__(machine: Machine, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        made(machine, *args, **kwargs)
        _machines[machine.runner] = _machines[machine.os] = ref(machine)
        _done[id(machine)] = 0

    Machine.__init__ = __init__  # type: ignore[method-assign, assignment]
    for name in _OPERATIONS:
        setattr(Machine, name, _wrapped(getattr(Machine, name), lambda machine: machine, limit))
    for owner, name in ((Runner, "call"), (Runner, "run_program"), (Board, "run"), (Board, "load")):
        setattr(owner, name, _wrapped(getattr(owner, name), _machine_of, limit))


def _machine_of(part: object) -> Machine | None:
    found = _machines.get(part)
    return None if found is None else found()


def _wrapped(method: Callable[..., Any], machine_of: Callable[[Any], Machine | None], limit: int) -> Any:
    @functools.wraps(method)
    def operation(owner: Any, *args: Any, **kwargs: Any) -> Any:
        machine = machine_of(owner)
        if machine is None:
            return method(owner, *args, **kwargs)
        reason = _reason_not_to(machine, limit)
        counts[reason or TRIED] += 1
        if reason is not None:
            return method(owner, *args, **kwargs)
        _done[id(machine)] += 1
        _busy.add(id(machine))
        try:
            return _tried(machine, lambda: method(owner, *args, **kwargs))
        finally:
            _busy.discard(id(machine))

    return operation


def _reason_not_to(machine: Machine, limit: int) -> str | None:
    runner = machine.runner
    if _marked:
        return f"of a test that {_marked[0]}"
    if id(machine) in _busy:
        return INSIDE
    if runner.depth:
        return IN_CALL
    if runner.in_operation or machine.linker.under_way:
        return IN_LOAD
    if _done[id(machine)] >= limit:
        return BEYOND
    try:
        machine.cpu.read_register("pc")
    except MachineInUse:
        return IN_USE
    except Exception:
        return CLOSED
    return None


def _tried(machine: Machine, operation: Callable[[], Any]) -> Any:
    before, state_before = machine.snapshot(), state_of(machine)
    error = result = None
    try:
        result = operation()
    except BaseException as raised:
        error = raised
    after, state_after = machine.snapshot(), state_of(machine)
    for snapshot, state in ((before, state_before), (after, state_after)):
        machine.restore(snapshot)
        found = differences(state, state_of(machine))
        assert not found, "\n".join(found[:10])
    if _done[id(machine)] == 1:
        _written_and_read(machine, after)
    if error is not None:
        raise error
    return result


class _Any(dict[str, Any]):
    """A host function for every name."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: object, default: object = None) -> Any:
        return _any

    def __bool__(self) -> bool:
        return True


def _any(*values: object) -> int:
    return 0


def _written_and_read(machine: Machine, snapshot: Snapshot) -> None:
    """A snapshot that can be written to a file is a machine again when it is read."""
    with tempfile.NamedTemporaryFile() as file:
        try:
            snapshot.save(file.name)
        except SnapshotFileError as error:
            counts[f"in a file: {str(error).rpartition(': ')[2]}"] += 1
            return
        Machine.from_snapshot(file.name, symbols=_Any()).close(run_destructors=False)
        counts[FILED] += 1


class Report:
    """A plug-in that prints how many operations were tried, and which tests have none that could be."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        marker = item.get_closest_marker("not_taken_back")
        _marked[:] = [] if marker is None else marker.args
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        yield
        # User properties travel from xdist's workers to the process that prints.
        item.user_properties.append((_PROPERTY, dict(counts)))
        counts.clear()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        total: Counter[str] = Counter()
        untried: Counter[tuple[str, str]] = Counter()
        for outcome in ("passed", "failed", "xfailed"):
            for report in terminalreporter.stats.get(outcome, ()):
                found = dict(dict(report.user_properties).get(_PROPERTY, {}))
                total.update(found)
                if found and TRIED not in found:
                    untried[report.nodeid.partition("[")[0], ", ".join(sorted(found))] += 1
        terminalreporter.section("snapshots around operations")
        for reason, number in total.most_common():
            terminalreporter.write_line(f"{number} {reason if reason in (TRIED, FILED) else f'not: {reason}'}")
        for (name, reasons), number in sorted(untried.items()):
            terminalreporter.write_line(f"none in {number} tests {name}: {reasons}")

"""`--snapshots N`: a snapshot before and after each of the first N operations on every machine of the tests.

After each operation the machine is taken back to the snapshot before it and then to the one after it, and must
have exactly the state that it had then. The test goes on from there, so it also shows that nothing is missing.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from emu import Machine
from emu.run.runner import Runner
from tests.state import differences, state_of

_OPERATIONS = ("load", "adopt", "unload", "start", "patch", "redirect", "new_thread", "exit_thread")
_machines: WeakKeyDictionary[Runner, Machine] = WeakKeyDictionary()
_done: Counter[int] = Counter()
_busy: set[int] = set()


def install(limit: int) -> None:
    """Wrap the operations of machines."""
    made = Machine.__init__

    @functools.wraps(made)
    def __init__(machine: Machine, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        made(machine, *args, **kwargs)
        _machines[machine.runner] = machine
        _done[id(machine)] = 0

    Machine.__init__ = __init__  # type: ignore[method-assign]
    for name in _OPERATIONS:
        setattr(Machine, name, _wrapped(getattr(Machine, name), lambda machine: machine, limit))
    for name in ("call", "run_program"):
        setattr(Runner, name, _wrapped(getattr(Runner, name), _machines.get, limit))


def _wrapped(method: Callable[..., Any], machine_of: Callable[[Any], Machine | None], limit: int) -> Any:
    @functools.wraps(method)
    def operation(owner: Any, *args: Any, **kwargs: Any) -> Any:
        machine = machine_of(owner)
        if machine is None or not _can_be_tried(machine, limit):
            return method(owner, *args, **kwargs)
        _done[id(machine)] += 1
        _busy.add(id(machine))
        try:
            return _tried(machine, lambda: method(owner, *args, **kwargs))
        finally:
            _busy.discard(id(machine))

    return operation


def _can_be_tried(machine: Machine, limit: int) -> bool:
    runner = machine.runner
    if id(machine) in _busy or _done[id(machine)] >= limit:
        return False
    return not (runner.depth or runner.in_operation or machine.linker.under_way)


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
    if error is not None:
        raise error
    return result

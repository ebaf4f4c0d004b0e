"""The machines of a worker: one for each library and target, given to tests one after the other."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emu import Library, Machine
from emu.build.targets import Target
from relink.errors import RelinkError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.calls.namespace import Types

MOST_MACHINES = 24  #: machines kept between tests, in each process
_CALLS = 16  #: calls kept for the report of a failure


@dataclass(frozen=True)
class GuestCall:
    """A call of the guest from a test: what was called, and how it ended."""

    address: int
    prototype: object
    arguments: tuple[object, ...]
    result: object
    error: BaseException | None = None


class Loaded:
    """A machine with a library, as a test uses it.

    `declared` are the prototypes of the marker's header. The state to which `reset` returns is that when this is
    made.
    """

    def __init__(
        self,
        machine: Machine,
        library: Library | None,
        target: Target,
        files: list[Path],
        declared: Types | None = None,
    ) -> None:
        self.machine = machine
        self.target = target
        self.files = files  #: of the library
        #: Another target's file of the library, whose debug information tells more; see `mocks`.
        self.sibling: Callable[[], Path | None] = lambda: None
        self.calls: deque[GuestCall] = deque(maxlen=_CALLS)  #: the last calls, oldest first
        #: Called with every call, besides (see `comparing`).
        self.hear: list[Callable[[GuestCall], object]] = []
        self.spent = False  #: whether no other test can use it
        self._closed: list[bool] = []  # whether a test has closed the machine
        self._library, self._declared = library, declared
        self._watch()
        self._images = frozenset(machine.linker.images)
        self._state = machine.snapshot()

    @property
    def library(self) -> Library:
        """The library. Fails the test when its marker names none."""
        if self._library is None:
            pytest.fail(
                "the fixture lib needs files: @pytest.mark.relink(sources='src/*.c'), or binary='{arch}/lib.so'",
                pytrace=False,
            )
        return self._library

    @property
    def loaded(self) -> Library | None:
        """The library, if the marker names one."""
        return self._library

    def _watch(self) -> None:
        """Keep the last calls that the test makes, and note when it closes the machine.

        The functions must not refer to this object: it would be part of the machine's state.
        """
        machine: Any = self.machine
        call, calls, close, noted = machine.runner.call_planned, self.calls, machine.close, self._closed
        hear = self.hear

        def note(made: GuestCall) -> None:
            calls.append(made)
            for each in hear:
                each(made)

        def watched(plan: Any, address: int, args: tuple[object, ...], *limits: Any) -> Any:
            try:
                result = call(plan, address, args, *limits)
            except BaseException as error:
                note(GuestCall(address, plan.prototype, args, None, error))
                raise
            note(GuestCall(address, plan.prototype, args, result))
            return result

        def closed(**options: Any) -> None:
            noted.append(True)
            close(**options)

        machine.runner.call_planned, machine.close = watched, closed  # of this one machine

    @property
    def reusable(self) -> bool:
        """Whether another test can use it: not after a failure, which may have stopped it anywhere."""
        return not (self.spent or self._closed)

    def reset(self) -> None:
        """Take back all that tests did since the load, and let the next have a library object of its own. Raises
        RelinkError.
        """
        self.rewind()
        if self._library is not None:
            self._library = self._library.renewed(self._images)
            if self._declared is not None:
                self._library.declare(self._declared)

    def rewind(self) -> None:
        """Return the machine to its state after the load. Raises RelinkError."""
        self.machine.restore(self._state)

    def close(self) -> None:
        """Free the machine. Destructors are not run: the library's state is what a test has left."""
        self._state.close()
        with suppress(RelinkError):  # of a machine that is in use, or closed
            self.machine.close(run_destructors=False)


class Pool:
    """Machines that are in no test's hands, the least recently used first."""

    def __init__(self) -> None:
        self._idle: OrderedDict[object, Loaded] = OrderedDict()

    def take(self, key: object, make: Callable[[], Loaded]) -> Loaded:
        """A machine in the state after its load. Raises what `make` raises."""
        loaded = self._idle.pop(key, None)
        if loaded is None:
            return make()
        try:
            loaded.reset()
        except RelinkError:  # a test has left it in a state that there is no return from
            loaded.close()
            return make()
        return loaded

    def give_back(self, key: object, loaded: Loaded) -> None:
        """Keep a machine for the next test that wants it."""
        if not loaded.reusable or key in self._idle:
            loaded.close()
            return
        self._idle[key] = loaded
        while len(self._idle) > MOST_MACHINES:
            self._idle.popitem(last=False)[1].close()

    def close(self) -> None:
        """Free all machines."""
        while self._idle:
            self._idle.popitem()[1].close()

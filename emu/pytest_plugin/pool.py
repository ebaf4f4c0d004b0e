"""The machines of a worker: one for each library and target, given to tests one after the other."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu import Library, Machine
from emu.build.targets import Target
from relink.records import dataclass

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
    """A machine with a library, as a test uses it."""

    def __init__(self, machine: Machine, library: Library | None, target: Target, files: list[Path]) -> None:
        self.machine = machine
        self.target = target
        self.files = files  #: of the library
        #: Another target's file of the library, whose debug information tells more; see `mocks`.
        self.sibling: Callable[[], Path | None] = lambda: None
        self.calls: deque[GuestCall] = deque(maxlen=_CALLS)  #: the last calls, oldest first
        self.failed = False  #: whether the test that has it now failed
        self._library = library
        self._watch()

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
        """Keep the last calls that the test makes."""
        call, calls = self.machine.runner.call, self.calls

        def watched(address: int, prototype: Any, *args: object, **limits: Any) -> Any:
            try:
                result = call(address, prototype, *args, **limits)
            except BaseException as error:
                calls.append(GuestCall(address, prototype, args, None, error))
                raise
            calls.append(GuestCall(address, prototype, args, result))
            return result

        runner: Any = self.machine.runner
        runner.call = watched  # of this one machine

    def reset(self) -> bool:
        """Take back all that tests did since the load; False where that cannot be done."""
        return False

    def close(self) -> None:
        """Free the machine. Destructors are not run: the library's state is what a test has left."""
        self.machine.close(run_destructors=False)


class Pool:
    """Machines that are in no test's hands, the least recently used first."""

    def __init__(self) -> None:
        self._idle: OrderedDict[object, Loaded] = OrderedDict()

    def take(self, key: object, make: Callable[[], Loaded]) -> Loaded:
        """A machine in the state after its load. Raises what `make` raises."""
        loaded = self._idle.pop(key, None)
        if loaded is not None:
            if loaded.reset():
                return loaded
            loaded.close()
        return make()

    def give_back(self, key: object, loaded: Loaded) -> None:
        """Keep a machine for the next test; not one whose test failed, which may have stopped it anywhere."""
        if loaded.failed or key in self._idle or not loaded.reset():
            loaded.close()
            return
        self._idle[key] = loaded
        while len(self._idle) > MOST_MACHINES:
            self._idle.popitem(last=False)[1].close()

    def close(self) -> None:
        """Free all machines."""
        while self._idle:
            self._idle.popitem()[1].close()

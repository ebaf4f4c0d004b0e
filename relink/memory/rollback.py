"""Steps to be made in reverse order, whatever some of them raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVarTuple

_Ts = TypeVarTuple("_Ts")
#: A function and its arguments.
Step: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


class Rollback:
    """As `contextlib.ExitStack`, for calls alone and in a fifth of its time.

    A call that raises is made once more, since a signal handler may have raised at any point of it, even before
    its first instruction: so each must be one that can be repeated. When several raise, the last exception is
    raised, with the others as its context.

    A signal handler may also raise where `close` begins. What must not be left undone calls it again:

        try:
            rest.close()
        finally:
            if rest.calls:
                rest.close()
    """

    __slots__ = ("calls",)

    def __init__(self, calls: Iterable[Step] = ()) -> None:
        self.calls = [*calls]  #: those that are left, the next one last

    def callback(self, function: Callable[[*_Ts], object], /, *args: *_Ts) -> None:
        """Add a call, which is made before those added earlier."""
        self.calls.append((function, args))

    def close(self) -> None:
        """Make all calls, last first."""
        calls = self.calls
        try:
            while calls:
                function, args = calls[-1]
                function(*args)
                del calls[-1]
        finally:
            if calls:
                self._repeat()

    def _repeat(self) -> None:
        """Make the last call again, then the others."""
        function, args = self.calls.pop()
        try:
            function(*args)
        finally:
            self.close()

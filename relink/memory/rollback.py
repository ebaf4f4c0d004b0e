"""Steps to be made in reverse order, whatever some of them raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeAlias, TypeVarTuple

_Ts = TypeVarTuple("_Ts")
#: A function and its arguments.
Step: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


class Rollback:
    """As `contextlib.ExitStack`, for calls alone and in a fifth of its time.

    As a context manager it makes the calls at the end of the block. When several raise, the last exception is
    raised, with the others as its context.
    """

    __slots__ = ("_calls",)

    def __init__(self, calls: Iterable[Step] = ()) -> None:
        self._calls = [*calls]

    def callback(self, function: Callable[[*_Ts], object], /, *args: *_Ts) -> None:
        """Add a call, which is made before those added earlier."""
        self._calls.append((function, args))

    def pop_all(self) -> None:
        """Forget all calls: what they would undo has been completed."""
        self._calls.clear()

    def close(self) -> None:
        """Make all calls, last first."""
        calls = self._calls
        try:
            while calls:
                # No call between the two: a signal handler's exception would come between them.
                function, args = calls[-1]
                del calls[-1]
                function(*args)
        finally:
            if calls:
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

"""The fixture `guest`: mocks, spies, expected faults, and what the guest printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from emu.errors import Frame
from relink.errors import RelinkError

if TYPE_CHECKING:
    from emu import Library, Machine
    from emu.calls.types import Prototype
    from emu.pytest_plugin.mocks import Mocked
    from emu.pytest_plugin.pool import GuestCall, Loaded


class Guest:
    """The guest of one test."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._mocks: list[Mocked] = []

    @property
    def machine(self) -> Machine:
        """The machine, as the fixture `machine`."""
        return self._loaded.machine

    @property
    def lib(self) -> Library:
        """The library, as the fixture `lib`."""
        return self._loaded.library

    @property
    def arch(self) -> str:
        """The name of the architecture."""
        return self._loaded.target.arch

    @property
    def target(self) -> str:
        """The name of the target, which differs from the architecture for Thumb."""
        return self._loaded.target.name

    @property
    def stdout(self) -> bytes:
        """What the guest has written to standard output."""
        return self.machine.libc.stdout.getvalue()

    @property
    def stderr(self) -> bytes:
        """What the guest has written to standard error."""
        return self.machine.libc.stderr.getvalue()

    @property
    def calls(self) -> list[GuestCall]:
        """The last calls of the guest from this test, oldest first."""
        return list(self._loaded.calls)

    # ------------------------------------------------------------ mocks

    def mock(
        self, name: str, prototype: str | Prototype | None = None, *, returns: Any = None, side_effect: Any = None
    ) -> Mocked:
        """Replace a function for the rest of the test: one that the library imports, or defines.

        `returns` and `side_effect` are `return_value` and `side_effect` of `unittest.mock.Mock`, and the result
        has its `call_args_list`, `assert_called_once_with` and so on, beside `calls`, a list of tuples of
        arguments. Without `returns` the result is zero. Raises MockError, PatchError.
        """
        from emu.pytest_plugin.mocks import mock

        return mock(self._loaded, name, prototype, returns, side_effect, self._mocks)

    def spy(self, name: str, prototype: str | Prototype | None = None) -> Mocked:
        """Watch the calls of a function, which runs as before: `calls` has the arguments, `results` the results.

        Raises MockError, PatchError.
        """
        from emu.pytest_plugin.mocks import spy

        return spy(self._loaded, name, prototype, self._mocks)

    def undo(self) -> None:
        """Undo all mocks and spies, the last first. The fixture does it at the end of the test."""
        while self._mocks:
            self._mocks[-1].undo()
            del self._mocks[-1]

    def reset(self) -> None:
        """Return to the state after the load, without mocks and spies: for each example of a hypothesis test."""
        self.undo()
        self._loaded.rewind()

    # ------------------------------------------------------------ expected errors

    @contextmanager
    def raises(
        self,
        expected: type[RelinkError],
        *,
        match: str | None = None,
        symbol: str | None = None,
        **attributes: object,
    ) -> Iterator[pytest.ExceptionInfo[Any]]:
        """Expect an error of the guest in the block, as `pytest.raises` does.

        `symbol` is the function in which it stopped (of `UnresolvedCall` the one that was called), other names are
        attributes of the error: `address=0`, `reason="read of unmapped memory"`, `status=1`.
        """
        __tracebackhide__ = True
        with pytest.raises(expected, match=match) as caught:
            yield caught
        if symbol is not None:
            attributes["symbol"] = symbol
        for name, value in attributes.items():
            found = _attribute(caught.value, name)
            if found != value and str(getattr(found, "value", found)) != str(value):
                pytest.fail(f"{name} of the error is {found!r}, not {value!r}: {caught.value}")


def _attribute(error: BaseException, name: str) -> object:
    if name == "symbol" and isinstance(frame := getattr(error, "frame", None), Frame):
        # After a jump to an invalid address the function is the caller's.
        frames = (frame, *getattr(error, "backtrace", ()))
        return next((each.symbol for each in frames if each.symbol is not None), None)
    if not hasattr(error, name):
        pytest.fail(f"{type(error).__name__} has no {name}: {error}")
    found: object = getattr(error, name)
    return found

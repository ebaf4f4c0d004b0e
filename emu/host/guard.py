"""What a failure of hosted code is to the guest that called it: typed, whatever the guest has passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.errors import BadGuestPointer, GuestAbort, StackExhausted
from relink.errors import AddressSpaceError, GuestAccessError, RelinkError


class Calls(Protocol):
    """What is asked of `emu.run.runner.Runner`."""

    @property
    def raised_in_call(self) -> BaseException | None:
        """What the last call out of a host function raised."""


def guarded(name: str, handler: Callable[[], int], calls: Calls) -> Callable[[], int]:
    """`handler`, a trap's of hosted code, with its failures typed. `name` is what errors call it.

    What a function of the guest's or the user's raises that it calls in turn passes through as it is.
    """

    def reached() -> int:
        try:
            return handler()
        except Exception as error:
            if error is calls.raised_in_call:
                raise
            typed = typed_error(name, error)
            if typed is error:
                raise
            raise typed from error

    return reached


def typed_error(name: str, error: Exception) -> Exception:
    """The caller's own fault for a bad pointer; `error` itself where it says what is wrong; else GuestAbort.

    The last is not expected: hosted code is to find out by itself that it cannot do what it is asked. That it did
    not is told with its cause, and does not pass for an exception of the user's own code.
    """
    if isinstance(error, GuestAccessError):
        return BadGuestPointer(name, error)
    if isinstance(error, AddressSpaceError):
        return GuestAbort(f"{name}: {error}")
    if isinstance(error, RelinkError):
        return error
    if isinstance(error, RecursionError):
        return StackExhausted()
    return GuestAbort(f"{name} failed on the host: {type(error).__name__}: {error}")

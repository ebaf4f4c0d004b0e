"""Turns exceptions of hosted functions into typed errors of the guest that called them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.errors import BadGuestPointer, GuestAbort, StackExhausted
from relink.errors import AddressSpaceError, GuestAccessError, RelinkError


class Calls(Protocol):
    """The part of `emu.run.runner.Runner` that is used here."""

    @property
    def raised_in_call(self) -> BaseException | None:
        """What the last call out of a host function raised."""


def guarded(name: str, handler: Callable[[], int], calls: Calls) -> Callable[[], int]:
    """Wrap the trap handler of a hosted function: its exceptions become typed errors that name it.

    Exceptions of guest functions and of the user's functions that it calls pass unchanged.
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
    """BadGuestPointer for a bad pointer, `error` itself if it is typed already, else GuestAbort.

    The last is a mistake in the hosted function, which should have checked its arguments. The error keeps its
    cause, and cannot be mistaken for an exception of the user's code.
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

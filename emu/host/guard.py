"""Conversion of exceptions in hosted functions into typed errors about the calling guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.errors import BadGuestPointer, GuestAbort, StackExhausted
from relink.errors import AddressSpaceError, GuestAccessError, RelinkError


class Calls(Protocol):
    """The part of `emu.run.runner.Runner` that is used here."""

    @property
    def raised_in_call(self) -> BaseException | None:
        """The exception of the last call from a host function."""


def guarded(name: str, handler: Callable[[], int], calls: Calls) -> Callable[[], int]:
    """Wrap the trap handler of a hosted function: its exceptions become typed errors with its name.

    Exceptions of the guest and user functions that it calls are passed on unchanged.
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
    """BadGuestPointer for a bad pointer, `error` itself if it is typed, else GuestAbort.

    The last means a bug in the hosted function, which should have checked its arguments. The error keeps its cause
    and differs from exceptions of the user's code.
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

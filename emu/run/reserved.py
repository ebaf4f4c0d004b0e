"""A machine that one thread has reserved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import current_thread, get_ident
from typing import NoReturn

from relink.errors import MachineError, MachineInUse


class Reservable:
    """The part of a `Runner` that says which thread uses the machine.

    What is reserved is given back by `self.uses -= 1` in a `finally` clause: a function that does it could be
    interrupted by a signal handler before its first instruction.
    """

    depth: int
    in_host: bool

    def __init__(self) -> None:
        self.closed = False
        self.uses = 0  #: how many times it is reserved
        self.user = 0  #: by the thread of this number
        self.file: str | None = None  #: the snapshot file that the machine was read from

    def reserve(self) -> None:
        """Reserve the machine for this thread until `self.uses -= 1`. Raises MachineInUse when another uses it."""
        thread = get_ident()
        # Without a call from here on: neither another thread nor a signal handler comes between.
        if self.uses and self.user != thread:
            raise used_elsewhere()
        self.user = thread
        self.uses += 1

    def close(self) -> None:
        """Raise MachineError from now on where the machine would be reserved."""
        self.closed = True
        self.reserve = _refuse_closed  # type: ignore[method-assign]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Reserve the machine for this thread during the block of a `with` statement.

        Raises MachineInUse when another thread uses it, or during a call outside of host functions.
        """
        self.reserve()
        try:
            if self.depth and not self.in_host:
                raise used_out_of_turn()
            yield
        except Exception as error:
            self.refuse(error)
            raise
        finally:
            self.uses -= 1

    def used_to_end(self) -> AbstractContextManager[None]:
        """`used`, for the end of what has begun: a machine that was closed meanwhile does not refuse it."""
        return nullcontext() if self.closed else self.used()

    def refuse(self, error: Exception) -> None:
        """Raise SnapshotFileError in place of an error that a forged snapshot file has caused."""
        if self.file is not None:
            from emu.run.unfit import refuse

            refuse(error, self.file)


def _refuse_closed() -> NoReturn:
    raise MachineError("the machine has been closed")


def used_elsewhere() -> MachineInUse:
    """The error for a machine that another thread uses."""
    return MachineInUse(f"another thread is using the machine, so {current_thread().name} cannot")


def used_out_of_turn() -> MachineInUse:
    """The error for a use during a call, outside of host functions."""
    return MachineInUse("a call of the guest is in progress: only host functions can use the machine now")

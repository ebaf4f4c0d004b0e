"""Jump slots bound at their first call without leaving the engine, by machine code (`native/first_calls.c`).

An unbound slot has the address of a trap, where nothing is mapped. This is the hook for fetches there. Where
Python has looked up ahead of the call what a slot is bound to, it writes that to the slot, notes the call for
Python, and has the engine go on at the function; all other traps stop the engine as they do without it. A slot is
bound so once: its answer is 0 afterwards.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Final, Protocol

from emu.cpu.hooks.host_code import host_function
from relink.arrays import U64

MONOTONIC: Final = 1  #: CLOCK_MONOTONIC, the clock of `time.perf_counter`
SPACING: Final = 16  #: bytes between traps


class FirstCallBlock(ctypes.Structure):
    """The traps of an image's slots, of which `answers` and `places` have one element each."""

    _fields_ = (
        ("start", ctypes.c_uint64),  #: the address of the first
        ("count", ctypes.c_uint64),
        ("answers", ctypes.c_void_p),  #: addresses of functions; 0: not known
        ("places", ctypes.c_void_p),  #: addresses of the slots
    )


class NotedCall(ctypes.Structure):
    """A call that the hook has bound."""

    _fields_ = (
        ("trap", ctypes.c_uint64),
        ("back", ctypes.c_uint64),  #: the return address, as it is in the register or on the stack
        ("target", ctypes.c_uint64),  #: the function
        ("seconds", ctypes.c_uint64),
        ("nanoseconds", ctypes.c_uint64),
    )

    trap: int
    back: int
    target: int
    seconds: int
    nanoseconds: int


class FirstCallData(ctypes.Structure):
    """The data of the hook. Functions are Unicorn's and the C library's; registers are numbers of Unicorn's."""

    _fields_ = (
        ("open", ctypes.c_uint64),  #: 0: all traps stop the engine
        ("count", ctypes.c_uint64),  #: of calls noted, ever
        ("taken", ctypes.c_uint64),  #: of them, those that Python needs no more
        ("most", ctypes.c_uint64),  #: the length of `calls`, which is a ring
        ("blocks", ctypes.c_uint64),
        ("block", ctypes.c_void_p),
        ("calls", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("load", ctypes.c_void_p),
        ("store", ctypes.c_void_p),
        ("clock", ctypes.c_void_p),
        ("set", ctypes.c_void_p),
        ("leave", ctypes.c_void_p),
        ("key", ctypes.c_uint32),
        ("word", ctypes.c_uint32),  #: bytes
        ("pc", ctypes.c_int32),
        ("link", ctypes.c_int32),  #: that of the return address; negative: it is on the stack
        ("sp", ctypes.c_int32),
        ("monotonic", ctypes.c_int32),
    )

    open: int
    count: int
    taken: int
    most: int
    blocks: int
    block: int
    calls: int


class FirstCalls(Protocol):
    """The hook of one CPU. Nothing is bound but in runs for which it has been opened."""

    def prepare(self, start: int, answers: U64, places: U64) -> None:
        """Bind the slots at `places` to `answers`, where these are not 0, when the traps from `start` on are
        reached. Answers may be added and taken away while the guest does not run.
        """

    def forget(self, start: int) -> None:
        """Undo `prepare`; nothing happens if there was none."""

    def open(self) -> None:
        """Bind calls in the next run, if that is without events and its instructions are not counted."""

    def close(self) -> None:
        """Have all traps stop the engine."""

    @property
    def count(self) -> int:
        """The number of calls bound so far."""

    @property
    def waiting(self) -> bool:
        """Whether `noted` has any."""

    def noted(self) -> Iterator[tuple[int, int, int, float]]:
        """(trap, return address, function, seconds as of `time.perf_counter`) of the calls bound so far, without
        those that have been iterated over or cleared. Where there is no room for more, traps stop the engine.
        """

    def clear(self) -> None:
        """Forget these calls."""


def first_call_hook() -> int | None:
    """The address of the hook; None on unsupported hosts."""
    return host_function("first_calls.bind")

"""Protocols for a running program and variadic arguments, as the hosted C library uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Program(Protocol):
    """A running program, for the C library's start-up code: `emu.linux.process.Process`."""

    @property
    def arguments(self) -> tuple[str, ...]: ...
    @property
    def auxv(self) -> Mapping[int, int]: ...
    @property
    def finisher(self) -> int:
        """The guest address of a function that runs all destructors."""

    def run_constructors(self, init: int) -> None: ...


class Arguments(Protocol):
    """Variadic arguments, taken one at a time as C types: `emu.calls.plan.VarArgs`, or a guest's va_list."""

    def take(self, ctype: str) -> int | float: ...

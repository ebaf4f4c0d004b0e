"""What the hosted C library uses of a running program and of variadic arguments, as protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Program(Protocol):
    """A program under way, as the C library's start-up sees it: `emu.linux.process.Process`."""

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

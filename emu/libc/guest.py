"""What the hosted C library needs of a machine, as protocols: `emu.machine.Machine` has it, so has a fake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from emu.memory.heap import Heap
from emu.ports import MappableMemory, Registers
from relink.arch import Architecture

if TYPE_CHECKING:
    from emu.linux.ldso import DynamicLoader


class Guest(Protocol):
    """The machine."""

    @property
    def arch(self) -> Architecture: ...
    @property
    def memory(self) -> MappableMemory: ...
    @property
    def cpu(self) -> Registers: ...
    @property
    def heap(self) -> Heap: ...
    @property
    def thread_pointer(self) -> int: ...
    @property
    def call_depth(self) -> int:
        """How many `call`s are under way, nested ones included."""

    @property
    def dynamic(self) -> DynamicLoader:
        """What serves dlopen and its kin."""

    def call(self, address: int, prototype: str, *args: int | float) -> int | float | None: ...


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

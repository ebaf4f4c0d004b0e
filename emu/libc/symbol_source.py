"""The hosted C library as a symbol source, searched after all images, so that a real C library comes first.

Compiled functions (`emu.libc.compiled`) are preferred to those in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.errors import Restart
from emu.host.guard import guarded
from emu.libc.compiled import CompiledLibrary, variant
from emu.libc.quick_heap import QuickHeap
from emu.memory.reach import reach_of
from relink.elf import Names
from relink.records import Assigned
from relink.resolve.sources import DataAddress, SymbolRequest, ThreadLocal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emu.host.symbols import HostSymbols
    from emu.isa.convention import CallingConvention
    from emu.libc.library import Libc
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.traps import TrapTable
    from relink.module import Module

#: Thread-local variables of the C library itself: offsets in its TLS module, of `TLS_SIZE` bytes.
ERRNO_OFFSET, H_ERRNO_OFFSET = 0, 4
_THREAD_LOCAL = {"errno": ERRNO_OFFSET, "h_errno": H_ERRNO_OFFSET}
TLS_SIZE = 16


class LibcSymbols(Assigned):
    """The exports of `Libc` as a `SymbolSource`."""

    def __init__(
        self,
        libc: Libc,
        memory: GuestMemory,
        traps: TrapTable,
        runner: Runner,
        host_symbols: HostSymbols,
        convention: CallingConvention,
    ) -> None:
        self._libc = libc
        self._memory = memory
        self._traps = traps
        self._runner = runner
        self._host_symbols = host_symbols
        self._addresses: dict[str, int | None] = {}
        self._in_python: dict[str, int | None] = {}
        self.compiled = CompiledLibrary(
            memory,
            variant(libc.isa, convention),
            self.in_python,
            lambda address: libc.call(address, "void(void)"),
        )
        self._quick_heap = QuickHeap(runner.cpu, libc.heap, libc.arch, self.compiled, libc.isa.libc.allocation)

    def may_know(self, names: Names) -> NDArray[np.bool_] | None:
        return None

    def knows(self, name: str) -> bool:
        return True

    def lookup(self, request: SymbolRequest) -> int | ThreadLocal | None:
        name = request.name
        if name in _THREAD_LOCAL:
            return ThreadLocal(_THREAD_LOCAL[name])
        if name not in self._addresses:
            compiled = self.compiled.lookup(name)
            self._addresses[name] = self.in_python(name) if compiled is None else compiled
        found = self._addresses[name]
        if isinstance(found, DataAddress) and request.asking is not None and request.asking.decoded.is_relocatable:
            return self._within_reach(found, request.asking)
        return found

    def _within_reach(self, data: DataAddress, image: Module) -> DataAddress:
        """The address of a variable for linked objects: a second mapping of its memory if it is out of range.

        Objects may be compiled for an executable, which has a copy of the variable in its data.
        """
        low, high = reach_of(image)
        if low <= data and data + data.size <= high:
            return data
        near = self._memory.mirror(data, low, high)
        return data if near is None else DataAddress.of(near, data.size)

    def is_function(self, address: int) -> bool:
        """Whether a guest address is that of a function of this library."""
        return address in self._traps or self.compiled.is_function(address)

    def in_python(self, name: str) -> int | None:
        """The address of `name` in the Python library: a function's trap, a variable's `DataAddress`, or None."""
        if name not in self._in_python:
            self._in_python[name] = self._python_address(name)
        return self._in_python[name]

    def _python_address(self, name: str) -> int | None:
        from emu.libc import table

        if table.is_function(name):
            return self._trap(name)
        found = self._libc.lookup(name)
        if isinstance(found, int):
            return DataAddress.of(found, self._libc.variable_size(name))
        return found if found is None else self._trap(name)

    def _trap(self, name: str) -> int:
        """A trap whose function is imported, and its prototype parsed, on the first call, because libraries import
        many functions but call few.
        """
        handler: Callable[[], int] | None = None

        def reached() -> int:
            nonlocal handler
            if handler is None:
                handler = self._host_symbols.handler(name, self._libc.symbols[name])
            try:
                pc = handler()
            except Restart:
                pc = trap
            return self._deliver(pc) if self._libc.signals_pending else pc

        handled = self._quick_heap.connecting(name, guarded(f"{name}()", reached, self._runner))
        trap = self._traps.add(name, handled, lambda: self._libc.symbols[name].prototype)
        return trap

    def _deliver(self, pc: int) -> int:
        from emu.libc.signal_delivery import Signals

        return self._libc.state(Signals).deliver(pc)

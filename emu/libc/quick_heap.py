"""The compiled malloc and free, performed without leaving the run where that can be (`Cpu.heap_calls`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.compiled import CompiledLibrary

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.memory.heap import Heap
    from relink.arch import Architecture

_FUNCTIONS = frozenset({"malloc", "free"})  #: the names of `emu.cpu.hooks.heap_hook.HeapFunction`


class QuickHeap:
    """Connects the compiled functions of one machine to its heap. `registers` is `LibcAbi.allocation`."""

    def __init__(
        self,
        cpu: Cpu,
        heap: Heap,
        arch: Architecture,
        compiled: CompiledLibrary,
        registers: tuple[str, str] | None,
    ) -> None:
        self._cpu, self._heap, self._arch = cpu, heap, arch
        self._compiled, self._registers = compiled, registers

    def connecting(self, name: str, handler: Callable[[], int]) -> Callable[[], int]:
        """The trap handler of a Python function that the compiled one of this name calls when nothing else helps,
        such as at its first call, in a new engine too (snapshots in files).
        """
        if name not in _FUNCTIONS or self._registers is None:
            return handler

        def reached() -> int:
            self._connect(name)
            return handler()

        return reached

    def _connect(self, name: str) -> None:
        from emu.cpu.hooks.heap_hook import HeapFunction

        place = self._compiled.lookup(f"__relink_{name}_place")
        calls, registers = self._cpu.heap_calls, self._registers
        if place is None or calls is None or registers is None:
            return
        address = place & self._arch.code_address_mask
        if not calls.has(address):
            calls.add(address, HeapFunction[name.upper()], self._heap.small, *registers)

"""Symbols the machine answers itself when no image does: the dynamic linker's own, and the hosted C library.

A library linked against libc.so.6 needs that name to be found; the names here are taken as found without
being looked for. libm and libgcc_s are only stood in for when there is no such file, since the real ones run
well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from emu.calls.plan import CallPlan, plan_call
from emu.host.guard import guarded
from emu.isa.registry import ISAS
from relink.elf import Names
from relink.resolve.sources import DataAddress, SymbolRequest, ThreadLocal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emu.host.functions import HostFunction
    from emu.isa.spec import Isa
    from emu.machine import Machine

#: SONAMEs of C libraries and their parts. An ISA's page has those that differ by ISA.
_LIBC = frozenset({"libc.so.6", "libc.so", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"})
_FALLBACKS = frozenset({"libm.so.6", "libgcc_s.so.1"})
#: Thread-local variables of the C library itself: offsets in its TLS module, of `TLS_SIZE` bytes.
_THREAD_LOCAL = {"errno": 0, "h_errno": 4}
_TLS_SIZE = 16


def host_libraries(isa: Isa, *, hosted_libc: bool = True) -> tuple[frozenset[str], frozenset[str]]:
    """SONAMEs a machine of that ISA stands in for: always, and when no file is found."""
    return (_LIBC.union(isa.libc.sonames), _FALLBACKS) if hosted_libc else (frozenset(), frozenset())


class Runtime:
    """A `SymbolSource` that comes after every image."""

    def __init__(self, machine: Machine, *, hosted_libc: bool) -> None:
        self._machine = machine
        self._hosted_libc = hosted_libc
        self._addresses: dict[str, int | None] = {}
        self._own: dict[str, Callable[[], int]] = {"__tls_get_addr": self._tls_get_addr}
        self._tls_register = ISAS[machine.arch.name].libc.tls_get_addr_register
        if self._tls_register is not None:
            # The GNU variant takes its argument in a register: what general-dynamic code really calls.
            self._own["___tls_get_addr"] = self._tls_get_addr_in_register
        maps = machine.link_maps
        #: What lies in guest memory: for debuggers, and programs that do as debuggers do.
        self._memory: dict[str, Callable[[], int]] = {
            "_r_debug": lambda: DataAddress(maps.debug),
            "_dl_debug_state": lambda: maps.breakpoint,
        }
        linker = machine.linker
        linker.resolver.host_tls = linker.tls.allocate_far(_TLS_SIZE, _TLS_SIZE)
        self._errno_offset = linker.resolver.host_tls.offset
        machine.threads.on_switch = self._place_errno
        self._place_errno()

    def _place_errno(self) -> None:
        self._machine.libc.errno_address = self._machine.thread_pointer + self._errno_offset

    @cached_property
    def _tls_plan(self) -> CallPlan:
        # Parsing the first prototype loads a C parser: not for a library that has no use for it.
        return plan_call(self._machine.arch.name, "void *__tls_get_addr(void *index)")

    def may_know(self, names: Names) -> NDArray[np.bool_] | None:
        return None

    def lookup(self, request: SymbolRequest) -> int | ThreadLocal | None:
        name = request.name
        if self._hosted_libc and name in _THREAD_LOCAL:
            return ThreadLocal(_THREAD_LOCAL[name])
        if name not in self._addresses:
            self._addresses[name] = self._bind(name)
        return self._addresses[name]

    def _bind(self, name: str) -> int | None:
        handler = self._own.get(name)
        if handler is not None:
            return self._machine.traps.add(name, guarded(f"{name}()", handler, self._machine.runner))
        if name in self._memory:
            return self._memory[name]()
        if not self._hosted_libc:
            return None
        found = self._machine.libc.lookup(name)
        if isinstance(found, int):
            return DataAddress.of(found, self._machine.libc.variable_size(name))
        return found if found is None else self._trap(name, found)

    def _trap(self, name: str, function: HostFunction) -> int:
        """A trap whose prototype is parsed when it is first reached: libraries import many functions, call few."""
        handler: Callable[[], int] | None = None

        def reached() -> int:
            nonlocal handler
            if handler is None:
                handler = self._machine.host_symbols.handler(name, function)
            return handler()

        return self._machine.traps.add(name, guarded(f"{name}()", reached, self._machine.runner))

    # ------------------------------------------------------------ thread-local storage

    def _tls_address(self, index: int) -> int:
        """The address a tls_index {module, offset} names (Drepper, section 3.4.2)."""
        machine = self._machine
        word = machine.arch.word_size
        module = machine.memory.read_uint(index, word)
        offset = machine.memory.read_uint(index + word, word) + machine.arch.tls.dtv_bias
        return machine.threads.address(module, offset) & machine.arch.address_mask

    def _tls_get_addr(self) -> int:
        (index,) = self._tls_plan.arguments(self._machine)
        assert isinstance(index, int)
        return self._tls_plan.leave(self._machine, self._tls_address(index))

    def _tls_get_addr_in_register(self) -> int:
        assert self._tls_register is not None
        index = self._machine.cpu.read_register(self._tls_register)
        return self._tls_plan.leave(self._machine, self._tls_address(index))

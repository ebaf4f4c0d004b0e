"""The dynamic linker's symbols: `__tls_get_addr`, and those for debuggers (`_r_debug`, `_dl_debug_state`).

They are searched after all images, as ld.so is last in a process's scope. Where the target's own ld.so (or musl,
which is both) is loaded as a library, nothing has initialised it. Then `__tls_get_addr` is searched before all
images, and `pthread_create`, which divides by the alignment of ld.so's thread-local storage, fails with EAGAIN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from emu.host.guard import guarded
from emu.isa.registry import ISAS
from relink.arrays import one_of
from relink.elf import Names
from relink.elf.names import gnu_hash_of
from relink.records import Assigned, cached_property
from relink.resolve.sources import DataAddress, SymbolRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emu.calls.plan import CallPlan
    from emu.debug.link_maps import LinkMaps
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.threads import Threads
    from emu.run.traps import TrapTable
    from relink.linker import Linker

_EAGAIN = 11


@lru_cache(maxsize=64)
def _hash_of(name: str) -> int:
    return gnu_hash_of(name.encode())


class LinkerSymbols(Assigned):
    """The dynamic linker's symbols as a `SymbolSource` of one machine."""

    def __init__(
        self, traps: TrapTable, runner: Runner, memory: GuestMemory, threads: Threads, link_maps: LinkMaps
    ) -> None:
        self._traps, self._runner, self._memory, self._threads = traps, runner, memory, threads
        self._addresses: dict[str, int] = {}
        functions = {"__tls_get_addr": self._tls_get_addr}
        self._tls_register = ISAS[memory.architecture.name].libc.tls_get_addr_register
        if self._tls_register is not None:
            # The GNU variant takes its argument in a register; general-dynamic code calls this one.
            functions["___tls_get_addr"] = self._tls_get_addr_in_register
        self.instead = frozenset((*functions, "pthread_create"))  #: what ld.so can only do when it has started
        self._known: dict[str, Callable[[], int]] = {
            **{name: partial(self._trap, name, function) for name, function in functions.items()},
            # Data in guest memory, for debuggers and programs that read the same structures.
            "_r_debug": lambda: DataAddress(link_maps.debug),
            "pthread_create": partial(self._trap, "pthread_create", self._pthread_create),
            "_dl_debug_state": lambda: link_maps.breakpoint,
        }

    @cached_property
    def _tls_plan(self) -> CallPlan:
        return self._runner.plan("void *__tls_get_addr(void *index)")

    def may_know(self, names: Names) -> NDArray[np.bool_] | None:
        return one_of(names.gnu_hash, map(_hash_of, self._known))

    def knows(self, name: str) -> bool:
        return name in self._known

    def lookup(self, request: SymbolRequest) -> int | None:
        return None if request.name == "pthread_create" else self.address(request.name)

    def address(self, name: str) -> int | None:
        """The address of one of the symbols, made on demand."""
        if name in self._known and name not in self._addresses:
            self._addresses[name] = self._known[name]()
        return self._addresses.get(name)

    def _trap(self, name: str, function: Callable[[], int]) -> int:
        return self._traps.add(name, guarded(f"{name}()", function, self._runner))

    # ------------------------------------------------------------ thread-local storage

    def _tls_address(self, index: int) -> int:
        """The address for a tls_index {module, offset} (Drepper, section 3.4.2)."""
        memory, arch = self._memory, self._memory.architecture
        module = memory.read_uint(index, arch.word_size)
        offset = memory.read_uint(index + arch.word_size, arch.word_size) + arch.tls.dtv_bias
        return self._threads.address(module, offset) & arch.address_mask

    def _tls_get_addr(self) -> int:
        (index,) = self._tls_plan.arguments(self._runner)
        assert isinstance(index, int)
        return self._tls_plan.leave(self._runner, self._tls_address(index))

    def _tls_get_addr_in_register(self) -> int:
        assert self._tls_register is not None
        index = self._runner.cpu.read_register(self._tls_register)
        return self._tls_plan.leave(self._runner, self._tls_address(index))

    # ------------------------------------------------------------ threads

    def _pthread_create(self) -> int:
        prototype = "int pthread_create(void *thread, const void *attributes, void *start, void *argument)"
        return self._runner.plan(prototype).leave(self._runner, _EAGAIN)


class InsteadOfLdso(Assigned):
    """The `SymbolSource` of what an image of ld.so, or of its C library, cannot do."""

    is_settled = True

    def __init__(self, own: LinkerSymbols, linker: Linker) -> None:
        self._own, self._linker = own, linker
        self._sonames = ISAS[linker.architecture.name].libc.sonames

    @cached_property
    def _hashes(self) -> NDArray[np.uint32]:
        return Names.of(sorted(self._own.instead)).gnu_hash

    @property
    def is_idle(self) -> bool:
        """Whether neither is loaded."""
        return not any(map(self._linker.known.has_soname, self._sonames))

    def may_know(self, names: Names) -> NDArray[np.bool_]:
        if self.is_idle:
            return np.zeros(len(names), np.bool_)
        hashes, found = names.gnu_hash, np.zeros(len(names), np.bool_)
        for known in self._hashes:  # a handful: quicker than np.isin
            found |= hashes == known
        return found

    def knows(self, name: str) -> bool:
        return name in self._own.instead and not self.is_idle

    def lookup(self, request: SymbolRequest) -> int | None:
        return self._own.address(request.name) if request.name in self._own.instead else None

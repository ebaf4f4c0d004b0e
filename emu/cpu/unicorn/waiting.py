"""A CPU on Unicorn before its engine is needed.

Loads only map memory. Unicorn takes 6 ms to load, the modules for it 20 to import, and an engine a quarter of one
to make, so all that waits for the first other use: a run, a register, an event. The object then becomes a
`UnicornCpu` itself, since others refer to it; from then on nothing is slower.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

from emu.cpu.closed import Closed
from emu.cpu.pages import PAGE_SIZE, PageMap, map_each
from emu.cpu.protocol import Pages, Protection
from emu.cpu.unicorn.checks import host_address, mapped_together
from emu.cpu.unicorn.isas import GDT_PAGE, ISAS, UnicornIsa
from relink.errors import AddressSpaceError, MachineError, MachineInUse

if TYPE_CHECKING:
    from emu.cpu.unicorn.cpu import UnicornCpu
    from relink.arrays import U8

_P = ParamSpec("_P")
_R = TypeVar("_R")
_BYTE = np.dtype(np.uint8)

_MODULE = "emu.cpu.unicorn.cpu"
_NOT_YET = "a signal handler cannot use the engine before the modules for it are imported"
_NO_LOCK = nullcontext()  #: where there is nothing to wait for


def _lock_of(cpu: WaitingCpu) -> AbstractContextManager[object]:
    lock: AbstractContextManager[object] = vars(cpu).get("_lock", _NO_LOCK)
    return lock


def _is_waiting(cpu: WaitingCpu) -> bool:
    """Whether there is no engine yet. Where it has just been made, the CPU becomes a `UnicornCpu`."""
    if cpu.__class__ is WaitingCpu and "_lock" not in vars(cpu):
        from emu.cpu.unicorn.cpu import UnicornCpu

        object.__setattr__(cpu, "__class__", UnicornCpu)
    return cpu.__class__ is WaitingCpu


def _while_waiting(
    method: Callable[Concatenate[WaitingCpu, _P], _R],
) -> Callable[Concatenate[WaitingCpu, _P], _R]:
    """Let a method that was taken before the engine was made, and is called afterwards, call `UnicornCpu`'s."""

    @functools.wraps(method)
    def called(self: WaitingCpu, /, *args: _P.args, **named: _P.kwargs) -> _R:
        with self.__dict__.get("_lock", _NO_LOCK):
            if (self.__class__ is WaitingCpu and "_lock" in self.__dict__) or _is_waiting(self):
                return method(self, *args, **named)
        return cast(_R, getattr(self, method.__name__)(*args, **named))

    return called


class WaitingCpu:
    """The part of a `Cpu` that needs no engine. Asked for anything else, it becomes a `UnicornCpu`: other threads
    wait for that meanwhile, signal handlers find it waiting as before.
    """

    page_size = page_cost = PAGE_SIZE
    shares_memory = True
    executed = 0

    def __init__(self, arch: str) -> None:
        vars(self).update(
            arch=arch, registers=ISAS[arch].printed, _isa=ISAS[arch], _pages=PageMap(), _traps=(0, 0),
            _thread_pointer=None, _changes=0, _lock=RLock(),
        )  # fmt: skip

    if TYPE_CHECKING:
        arch: str
        registers: tuple[str, ...]
        _isa: UnicornIsa
        _pages: PageMap
        _traps: tuple[int, int]
        _thread_pointer: int | None
        _changes: int  #: the number of changes of the others
        _lock: RLock  #: held while they change, and while the engine is made
    else:

        def __getattr__(self, name):
            """An attribute of the engine's, which is made for it."""
            if name.startswith("__"):
                raise AttributeError(name)
            WaitingCpu._make_engine(self)  # another thread may have made it meanwhile
            return getattr(self, name)

        def __setattr__(self, name, value):
            WaitingCpu._make_engine(self)
            setattr(self, name, value)

    def _make_engine(self) -> None:
        """Become a `UnicornCpu` with the same state. Raises UnicornError, MachineError for a closed CPU,
        MachineInUse while the modules of the engine are imported.
        """
        with _lock_of(self):
            while _is_waiting(self):
                state, changes = vars(self), self._changes
                made = self._engine()
                # A signal handler may have made it meanwhile, or changed something.
                if vars(self) is state and state["_changes"] == changes:
                    made.hand_over(self)
                    object.__setattr__(self, "__dict__", vars(made))
                    if state["_changes"] == changes:
                        continue
                    object.__setattr__(self, "__dict__", state)
                made.close()

    def _engine(self) -> UnicornCpu:
        """A `UnicornCpu` with the state of this one."""
        try:
            from emu.cpu.unicorn.cpu import UnicornCpu
        except ImportError as error:
            if _MODULE in sys.modules:  # by what a signal handler or a finaliser has interrupted
                raise MachineInUse(_NOT_YET) from error
            raise

        pages, traps, thread_pointer = self._pages, self._traps, self._thread_pointer
        if isinstance(pages, Closed):
            raise MachineError("the CPU has been closed")
        made = UnicornCpu(self.arch)
        try:
            if traps != (0, 0):
                made.set_trap_range(traps[0], traps[1] - traps[0])
            for start, end, memory, protection, _ in tuple(pages):
                made.map(start, end - start, protection, np.frombuffer(memory, _BYTE))
            if thread_pointer is not None:
                made.set_thread_pointer(thread_pointer)
        except BaseException:
            made.close()
            raise
        return made

    def _refuses(self, end: int) -> bool:
        """Whether the engine may have to refuse a mapping that ends there, for overlapping its own page."""
        return end > GDT_PAGE and self.arch == "i386"

    def _change(self, **values: object) -> None:
        vars(self).update(values, _changes=self._changes + 1)

    # ---------------------------------------------------------------- as UnicornCpu has them

    @_while_waiting
    def set_trap_range(self, start: int, size: int) -> None:
        """See `Cpu.set_trap_range`."""
        self._change(_traps=(start, start + size))

    @_while_waiting
    def set_thread_pointer(self, address: int) -> None:
        """See `Cpu.set_thread_pointer`."""
        self._change(_thread_pointer=address)

    @_while_waiting
    def map(self, address: int, size: int, protection: Protection, buffer: U8, *, zeroed: bool = False) -> None:
        """See `UnicornCpu.map`."""
        host_address(self._isa, self._traps, address, size, protection, buffer)
        if self._refuses(address + size):
            self._make_engine()
            self.map(address, size, protection, buffer)
            return
        self._pages.add(address, buffer.data, protection)
        self._change()

    @_while_waiting
    def map_all(self, regions: Sequence[tuple[int, U8, Sequence[Pages]]]) -> None:
        """See `UnicornCpu.map_all`."""
        found = mapped_together(self._isa, self._traps, regions)
        if found is None or self._refuses(found.pieces[-1].end) or not self._pages.add_all(found.pieces):
            map_each(self.map, regions)
        self.__dict__["_changes"] += 1

    @_while_waiting
    def protect(self, address: int, size: int, protection: Protection) -> None:
        """See `UnicornCpu.protect`."""
        self._pages.covering(address, size, "protect of unmapped memory")
        self._pages.protect(address, size, protection)
        self._change()

    @_while_waiting
    def unmap(self, address: int, size: int) -> None:
        """See `UnicornCpu.unmap`."""
        if not self._pages.remove_whole(address, size):
            if not self._pages.covering(address, size, "unmap of unmapped memory"):
                raise AddressSpaceError("the range is empty", address=address, size=size)
            self._pages.remove(address, size)
        self.__dict__["_changes"] += 1

    @_while_waiting
    def read(self, address: int, size: int) -> bytes:
        """See `Cpu.read`."""
        return self._pages.read(address, size)

    @_while_waiting
    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """See `Cpu.write`."""
        self._pages.write(address, data)

    @_while_waiting
    def extent(self, address: int, needed: Protection) -> int:
        """See `Cpu.extent`."""
        return self._pages.extent(address, needed)

    @_while_waiting
    def close(self) -> None:
        """See `UnicornCpu.close`."""
        self._change(_pages=Closed())

"""Python buffers that are copied to the guest for the duration of a call.

Small buffers are on the guest's stack, between the caller's frame and the arguments, so a call needs no
allocation; beyond `STACK_LIMIT` bytes per call, buffers are allocated on the guest heap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.calls.lending import lend
from emu.errors import CallError

if TYPE_CHECKING:
    from emu.calls.types import Pointer, Prototype
    from emu.isa.convention import CallingConvention
    from emu.ports import Guest, Memory

STACK_LIMIT = 64 * 1024  #: bytes of buffers on the stack per call
_ALIGNMENT = 16


class Buffers:
    """The buffers of one call. `bottom` is the lowest stack address used so far."""

    __slots__ = ("_back", "_callbacks", "_guest", "_heap", "_seen", "_top", "blocks", "bottom", "depth")

    def __init__(self, guest: Guest, top: int) -> None:
        self._guest = guest
        self.depth = guest.depth  #: of the call
        self._top = top
        self.bottom = top
        self.blocks: list[tuple[int, bytes]] = []  #: (stack address, contents)
        self._heap: list[int] = []
        self._back: list[tuple[int, int, Callable[[bytes], object]]] = []
        self._callbacks: list[int] = []
        self._seen: dict[int, int] = {}

    @property
    def memory(self) -> Memory:
        """The guest's memory."""
        return self._guest.memory

    def reserve(self, size: int, alignment: int) -> int:
        """The guest address of `size` bytes whose content does not matter. Raises CallError as `lend` does."""
        address = self.bottom - size & -max(alignment, _ALIGNMENT)
        if self._top - address > STACK_LIMIT:
            return self.lend(bytes(size), alignment)
        self.bottom = address
        return address

    def lend(self, data: bytes, alignment: int = _ALIGNMENT) -> int:
        """Copy `data` to the guest and return its address. Raises CallError when guest memory is exhausted."""
        address = self.bottom - len(data) & -max(alignment, _ALIGNMENT)
        if self._top - address <= STACK_LIMIT:
            self.bottom = address
            self.blocks.append((address, data))
            return address
        address = self._guest.heap.malloc(len(data))
        if not address:
            raise CallError(f"no guest memory for an argument of {len(data)} bytes")
        self._heap.append(address)  # without a call in between, as in `lend_callback`
        self._guest.memory.write(address, data)
        return address

    def lend_back(
        self, owner: object, data: bytes, store: Callable[[bytes], object], alignment: int = _ALIGNMENT
    ) -> int:
        """Copy `data`, the bytes of `owner`, to the guest; `finish` calls `store` with the bytes after the
        call.
        """
        address = self._seen.get(id(owner))
        if address is None:
            address = self._seen[id(owner)] = self.lend(data, alignment)
            self._back.append((address, len(data), store))
        return address

    def lend_callback(self, function: Callable[..., object], prototype: Prototype) -> int:
        """The guest address of a function that runs a Python function, for the duration of the call."""
        key = id(function)
        address = self._seen.get(key)
        if address is None:
            address = self._guest.callbacks.callback(function, prototype)
            self._callbacks.append(address)  # nothing between: a signal handler that raises would leave the trap
            self._seen[key] = address
        return address

    def lend_object(self, rules: CallingConvention, ctype: Pointer, label: str, value: object) -> int | None:
        """The guest address of an object's copy (see `emu.calls.lending`); None if it cannot be copied."""
        return lend(rules, ctype, label, value, self)

    def finish(self, *, copy_back: bool) -> None:
        """Copy writable buffers back (unless the call did not return), free callbacks and heap blocks. When it is
        interrupted, a second call frees what is left.
        """
        try:
            if copy_back:
                for address, size, store in self._back:
                    store(self._guest.memory.read(address, size))
        finally:
            if self._callbacks:
                self._guest.callbacks.remove(self._callbacks)
                self._callbacks = []
            heap = self._heap
            while heap:
                self._guest.heap.free(heap[-1])
                del heap[-1]

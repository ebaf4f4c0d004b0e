"""`Lender`: the interface with which encoders copy values to guest memory for the duration of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emu.calls.types import Pointer, Prototype
from emu.isa.convention import CallingConvention

if TYPE_CHECKING:
    from emu.ports import Memory


class Lender(Protocol):
    """Copies Python objects to the guest for one call (see `emu.calls.buffers.Buffers`)."""

    @property
    def memory(self) -> Memory:
        """The guest's memory."""

    def lend(self, data: bytes, alignment: int = ...) -> int:
        """Copy `data` to the guest and return its address. Raises CallError when guest memory is exhausted."""

    def lend_back(self, owner: object, data: bytes, store: Callable[[bytes], object], alignment: int = ...) -> int:
        """Copy `data`, the bytes of `owner`, to the guest; after the call, call `store` with the bytes there."""

    def lend_callback(self, function: Callable[..., object], prototype: Prototype) -> int:
        """The guest address of a function that runs a Python function."""

    def lend_object(self, rules: CallingConvention, ctype: Pointer, label: str, value: object) -> int | None:
        """The guest address of an object's copy (see `emu.calls.lending`); None if it cannot be copied."""

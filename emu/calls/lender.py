"""What encoders ask of a call for values that lie in guest memory as long as it lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.calls.types import Pointer, Prototype
from emu.isa.convention import CallingConvention


class Lender(Protocol):
    """Lends Python objects to the guest for one call (see `emu.calls.buffers.Buffers`)."""

    def lend(self, data: bytes, alignment: int = ...) -> int:
        """Copy `data` in; its guest address. Raises CallError when guest memory is exhausted."""

    def lend_back(self, owner: object, data: bytes, store: Callable[[bytes], object], alignment: int = ...) -> int:
        """Copy `data`, which stands for `owner`, in; afterwards give `store` what has become of it."""

    def lend_callback(self, function: Callable[..., object], prototype: Prototype) -> int:
        """The guest address of a function that runs a Python one."""

    def lend_object(self, rules: CallingConvention, ctype: Pointer, label: str, value: object) -> int | None:
        """The guest address of what an object is lent as (see `emu.calls.lending`); None where it is nothing."""

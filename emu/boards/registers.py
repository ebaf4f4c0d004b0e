"""Registers of devices, and their fields, as attributes of a device's class.

    class Timer(Device):
        control = Register(0x00)
        enable = control.field(0)
        prescaler = control.field(4, 3)           # bits 6 to 4
        count = Register(0x04, writable=0)

        @count.on_read
        def _count(self) -> int:
            return self.elapsed() >> self.prescaler

A register is an int in its device: `timer.control`; so is a field. The guest's reads return the value, or what
`on_read` returns; its writes change the bits in `writable`, clear bits in `clears` where a one is written, and
then call `on_write` with the value written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

_D = TypeVar("_D")
_ALL = 0xFFFF_FFFF


class Register:
    """A register at `offset` of `size` bytes, with the value `reset` after a reset."""

    def __init__(
        self, offset: int, *, size: int = 4, reset: int = 0, writable: int = _ALL, clears: int = 0
    ) -> None:
        self.offset, self.size, self.reset = offset, size, reset
        self.mask = (1 << 8 * size) - 1
        self.writable, self.clears = writable & self.mask, clears & self.mask
        self.name = ""
        self.reader: Callable[[Any], int] | None = None
        self.writer: Callable[[Any, int], object] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, device: None, owner: type) -> Register: ...
    @overload
    def __get__(self, device: Any, owner: type) -> int: ...
    def __get__(self, device: Any, owner: type) -> int | Register:
        if device is None:
            return self
        value: int = device.values[self.name]
        return value

    def __set__(self, device: Any, value: int) -> None:
        device.values[self.name] = value & self.mask

    def on_read(self, function: Callable[[_D], int]) -> Callable[[_D], int]:
        """Decorator: the value for a read of the guest."""
        self.reader = function
        return function

    def on_write(self, function: Callable[[_D, int], object]) -> Callable[[_D, int], object]:
        """Decorator: called after a write of the guest, with the value written."""
        self.writer = function
        return function

    def field(self, low: int, width: int = 1) -> Field:
        """Bits [low, low + width)."""
        return Field(self, low, width)

    def read(self, device: Any) -> int:
        """A read of the guest."""
        return self.reader(device) & self.mask if self.reader is not None else device.values[self.name]

    def write(self, device: Any, value: int) -> None:
        """A write of the guest."""
        old = device.values[self.name]
        device.values[self.name] = (old & ~self.writable | value & self.writable) & ~(value & self.clears)
        if self.writer is not None:
            self.writer(device, value)


class Field:
    """Some bits of a register, as an int."""

    def __init__(self, register: Register, low: int, width: int = 1) -> None:
        self.register, self.low, self.width = register, low, width
        self.mask = (1 << width) - 1

    @overload
    def __get__(self, device: None, owner: type) -> Field: ...
    @overload
    def __get__(self, device: Any, owner: type) -> int: ...
    def __get__(self, device: Any, owner: type) -> int | Field:
        if device is None:
            return self
        value: int = device.values[self.register.name]
        return value >> self.low & self.mask

    def __set__(self, device: Any, value: int) -> None:
        values, name = device.values, self.register.name
        values[name] = values[name] & ~(self.mask << self.low) | (value & self.mask) << self.low

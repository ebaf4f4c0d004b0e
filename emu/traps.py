"""Trap addresses: what the guest reaches when it leaves its own code.

Nothing is mapped in the trap range, so a jump there stops the CPU with every register as the guest left it.
Each address in use has a handler that acts in Python and tells where the guest goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from emu.errors import GuestAbort
from relink.arch import Architecture
from relink.errors import AddressSpaceError

#: Called when the guest reaches the trap; returns the address to resume at (on Arm bit 0 tells Thumb).
Handler: TypeAlias = Callable[[], int]

_SPACING = 16  #: bytes between traps: never an odd address, and room for any ISA's alignment
_RANGES = {32: (0xFE00_0000, 0x80_0000), 64: (0x3F_0000_0000, 0x1000_0000)}  #: (start, bytes) by word width


@dataclass(frozen=True, slots=True)
class Trap:
    """One trap in use."""

    name: str  #: what a backtrace calls it
    handler: Handler


def _never_handled() -> int:
    # The one of the innermost call ends a run and is not handled.
    raise GuestAbort("the guest returned to the host from a call that is not the innermost one")


class TrapTable:
    """Hands out addresses of the trap range. The first one, `return_address`, ends a call of the guest."""

    def __init__(self, arch: Architecture) -> None:
        self.start, self.size = _RANGES[arch.bits]
        self.return_address = self.start
        self._traps = {self.return_address: Trap("return to the host", _never_handled)}
        self._returns = [self.return_address]
        self._free: list[int] = []
        self._next = self.start + _SPACING

    def add(self, name: str, handler: Handler) -> int:
        """A new trap; its address. Raises AddressSpaceError when the range is used up."""
        if self._free:
            address = self._free.pop()
        else:
            address = self._next
            if address >= self.start + self.size:
                raise AddressSpaceError("the trap range is used up", address=self.start, size=self.size)
            self._next += _SPACING
        self._traps[address] = Trap(name, handler)
        return address

    def return_to(self, depth: int) -> int:
        """The trap that ends a call at a depth, from 1: each has its own, so that unwinders tell them apart."""
        while len(self._returns) < depth:
            self._returns.append(self.add("return to the host", _never_handled))
        return self._returns[depth - 1]

    def is_return(self, address: int) -> bool:
        """Whether an address ends a call."""
        return address in self._returns

    def remove(self, address: int) -> None:
        """Give a trap back."""
        del self._traps[address]
        self._free.append(address)

    def get(self, address: int) -> Trap | None:
        """The trap at exactly this address."""
        return self._traps.get(address)

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.start + self.size

    def __len__(self) -> int:
        return len(self._traps)

"""Hints at which Unicorn stops as if they were invalid: Arm's yield and wfe."""

from __future__ import annotations

from abc import abstractmethod

from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.registers import UnicornRegisters
from relink.errors import AddressSpaceError


class UnicornHints(UnicornRegisters):
    """The part of a `UnicornCpu` that tells hints from invalid instructions."""

    _look: StopRequest

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """See `Cpu.read`."""

    @abstractmethod
    def _run_one(self, pc: int) -> int:
        """Run one instruction; return Unicorn's status."""

    def _paused(self, begin: int, pc: int) -> bool:
        """Whether the engine only stopped at a hint (Arm's yield and wfe), which it reports as invalid."""
        if not any(self._before(pc, len(pause)) == pause for pause in self._isa.pauses):
            return False
        if self._is_behind(begin & ~1, pc):
            return True
        if self._look.budget:
            return False
        return (
            self._run_one(pc | self.code_state) == uc.UC_ERR_OK
        )  # a loop around a hint, or an invalid instruction

    def _is_behind(self, begin: int, pc: int) -> bool:
        """Whether a run from `begin` has stopped after the instruction before `pc`, and not at the one there."""
        look = self._look
        if look.budget:
            return bool(look.block_size) and pc == look.block + look.block_size
        return begin != pc

    def _before(self, pc: int, size: int) -> bytes:
        try:
            return self.read(pc - size, size)
        except AddressSpaceError:
            return b""

"""Errors of boards."""

from __future__ import annotations

from relink.errors import MachineError


class BoardError(MachineError):
    """A board cannot be built as described, or its guest did what the board cannot do."""


class MemoryMapError(BoardError):
    """The memory map is contradictory: regions overlap, are not aligned, or lie outside the address space."""


class FirmwareError(BoardError):
    """A firmware does not fit the board: no memory at its addresses, another CPU, no vector table."""


class DeviceError(BoardError):
    """The guest accessed a device in a way that the device does not allow; the message has the device's name."""


class NotModelled(BoardError):
    """The guest used a feature of the hardware that the board does not model, by its name."""


class PlaceLost(BoardError):
    """A signal handler raised while the board's CPU or devices were being changed: the guest cannot continue.

    `Board.reset`, `Board.power_cycle` and the return to a snapshot make the board usable again.
    """

    def __init__(self) -> None:
        super().__init__(
            "a signal handler has interrupted the board between two instructions, so its state is not that of "
            "the hardware: reset it, or restore a snapshot"
        )


class EmptyShare(BoardError):
    """A part of a sweep has no cut: there are more parts than contents of flash (see `PowerCuts.sweep`)."""


class NoSuchCut(BoardError):
    """A power cut that is to be repeated does not happen (see `PowerCuts.replay`)."""


class Deadlock(BoardError):
    """The guest waits for an interrupt, and there is no event that could cause one."""

    def __init__(self, pc: int, now: int) -> None:
        self.pc, self.now = pc, now
        super().__init__(f"waits for an interrupt at {pc:#x}, after {now} instructions, and none will come")


class Lockup(BoardError):
    """A fault in the handler of HardFault or NMI: the CPU has stopped for good. `pc` is where, `cause` the
    fault."""

    def __init__(self, pc: int, cause: str) -> None:
        self.pc, self.cause = pc, cause
        super().__init__(f"lockup at {pc:#x}: {cause}, where no exception can be taken")

"""A watchdog: the guest must write to it in time."""

from __future__ import annotations

from collections.abc import Callable

from emu.boards.device import Device
from emu.boards.errors import BoardError
from emu.boards.registers import Register


class WatchdogReset(BoardError):
    """The guest did not feed the watchdog in time."""

    def __init__(self, name: str, time: int) -> None:
        self.time = time
        super().__init__(f"{name} was not fed in time: it expired after {time} instructions")


class Watchdog(Device):
    """Registers: key 0, period 4 (in instructions). A write of 0xCCCC to key starts it, of 0xAAAA feeds it.

    When it expires `on_expiry` is called, for example `board.request_reset`; without one WatchdogReset is raised.
    It cannot be stopped but by a reset.
    """

    size = 8
    key = Register(0x00, size=4, writable=0)
    period = Register(0x04, reset=100_000)
    START, FEED = 0xCCCC, 0xAAAA

    def __init__(self, *, name: str = "watchdog", on_expiry: Callable[[], object] | None = None) -> None:
        super().__init__(name=name)
        self.on_expiry, self.feeds, self.running = on_expiry, 0, False

    @key.on_write
    def _key(self, value: int) -> None:
        if value == self.START:
            self.running = True
        elif value != self.FEED or not self.running:
            return
        self.feeds += value == self.FEED
        self.cancel()
        self.after(max(self.period, 1), self._expired)

    def _expired(self) -> None:
        if self.on_expiry is None:
            raise WatchdogReset(self.name, self.clock.now)
        self.on_expiry()

    def reset(self) -> None:
        super().reset()
        self.running = False

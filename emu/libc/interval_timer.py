"""The interval timer of real time (setitimer, alarm), which sends SIGALRM."""

from __future__ import annotations

SECOND = 1_000_000_000


class IntervalTimer:
    """Times are in nanoseconds; `now` is the guest's clock."""

    def __init__(self) -> None:
        self.interval = 0
        self._deadline: int | None = None

    @property
    def armed(self) -> bool:
        return self._deadline is not None

    def left(self, now: int) -> int:
        """The time until it expires; 0 if it is off."""
        return 0 if self._deadline is None else max(self._deadline - now, 0)

    def set(self, now: int, value: int, interval: int) -> None:
        """Start it; a `value` of 0 turns it off."""
        self.interval = interval
        self._deadline = now + value if value else None

    def expired(self, now: int) -> bool:
        """Whether it has expired since it was last asked; then it starts again, if it has an interval."""
        if self._deadline is None or now < self._deadline:
            return False
        self.set(now, self.interval, self.interval)
        return True

"""How long the phases of a load take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timings:
    """Seconds spent per phase of one load."""

    phases: dict[str, float] = field(default_factory=dict)

    def add(self, phase: str, seconds: float) -> None:
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    @property
    def total(self) -> float:
        return sum(self.phases.values())


class Clock:
    """Splits a load's time into phases."""

    def __init__(self) -> None:
        self.timings = Timings()
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap as this phase's."""
        now = time.perf_counter()
        self.timings.add(phase, now - self._last)
        self._last = now

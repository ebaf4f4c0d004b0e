"""The duration of the phases of a load."""

from __future__ import annotations

from relink.records import dataclass, field


@dataclass(slots=True)
class Timings:
    """Seconds spent per phase of one load."""

    phases: dict[str, float] = field(default_factory=dict)

    def add(self, phase: str, seconds: float) -> None:
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    @property
    def total(self) -> float:
        return sum(self.phases.values())

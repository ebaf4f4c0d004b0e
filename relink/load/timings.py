"""The duration of the phases of a load."""

from __future__ import annotations

from relink.records import dataclass, field


@dataclass(slots=True)
class Timings:
    """Seconds spent per phase of one load."""

    #: Whenever a part of a load begins or ends: the phase to which the time since the last one belongs (None:
    #: nothing of the load), and that of `time.perf_counter`.
    marks: list[tuple[str | None, float]] = field(default_factory=list)

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by phase."""
        found: dict[str, float] = {}
        last = 0.0
        for phase, now in self.marks:
            if phase is not None:
                found[phase] = found.get(phase, 0.0) + now - last
            last = now
        return found

    @property
    def total(self) -> float:
        return sum(self.phases.values())

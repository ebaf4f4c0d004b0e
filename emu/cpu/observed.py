"""The part of a `Cpu` that runs it with or without events."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from emu.cpu.protocol import Stop

if TYPE_CHECKING:
    from emu.cpu.engine_events import EngineEvents
    from emu.cpu.hooks.first_call_hook import FirstCalls


class ObservedEngine:
    """`Cpu.run`, `step`, `events` and `native`."""

    _observed: EngineEvents | None = None  #: once `events` has been used
    _first_calls: FirstCalls | None = None  #: once `first_calls` has been used
    has_devices = False  #: see `emu.cpu.observed_cpu`

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """Run from `pc` until a trap, a fault, an event or a limit; see `Cpu.run`.

        Raises MachineError for a limit on a host that has no stop hook.
        """
        observed = self._observed
        if observed is None or not observed.active:
            return self.run_engine(pc, max_instructions, timeout)
        if self._first_calls is not None:
            self._first_calls.close()
        return observed.run(pc, max_instructions, timeout)

    def repeats_accesses(self, _pc: int) -> bool:
        """See `emu.cpu.observed_cpu`."""
        return False

    def step(self, pc: int) -> Stop:
        """Run one instruction; see `Cpu.step`."""
        if self._observed is not None:
            self._observed.pass_over(pc)
        return self.run(pc, max_instructions=1)

    def discontinue(self, *, outermost: bool) -> None:
        """The guest will not continue where it is; see `Cpu.discontinue`."""
        if self._observed is not None:
            self._observed.discontinue(outermost=outermost)

    @property
    def events(self) -> EngineEvents:
        """See `emu.cpu.events.Events`."""
        if self._observed is None:
            self._observed = self._make_events()
        return self._observed

    @abstractmethod
    def run_engine(self, pc: int, max_instructions: int, timeout: float) -> Stop:
        """`run` without events."""

    @abstractmethod
    def _make_events(self) -> EngineEvents: ...

    @property
    @abstractmethod
    def native(self) -> Any:
        """See `Cpu.native`."""

"""The time of a board: the number of instructions since it was switched on.

An event at time n happens after n instructions, in every run. An instruction that accesses a device does so at the
time before it is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from emu.boards.errors import BoardError

if TYPE_CHECKING:
    from emu.cpu.protocol import DeviceCpu


NEVER: Final = 1 << 64


class Event:
    """Something that happens at a time (see `Clock.at`)."""

    __slots__ = ("action", "when")

    def __init__(self, when: int, action: Callable[[], object]) -> None:
        self.when = when
        self.action: Callable[[], object] | None = action  #: None once it has happened or was cancelled

    @property
    def is_pending(self) -> bool:
        return self.action is not None

    def cancel(self) -> None:
        """Nothing, where it has happened already."""
        self.action = None


def _whole(when: int) -> int:
    if not hasattr(when, "__index__"):
        raise BoardError(f"the time of an event is a whole number of instructions, not {when!r}")
    return when.__index__()


class Clock:
    """Instructions run so far, and what happens later. Events of one time happen in the order they were made."""

    def __init__(self, cpu: DeviceCpu) -> None:
        self._cpu = cpu
        self.time = 0  #: between runs of the engine
        self.due = NEVER  #: no event happens before this time
        self.events: list[tuple[int, int, Event]] = []  #: a heap of (time, number, event)
        self._order = 0
        self.in_run = False  #: whether the engine runs
        self.action: Callable[[], object] | None = None  #: the last one that has not come to its end
        self._asked = False  # whether anybody knows the time

    @property
    def now(self) -> int:
        """The number of instructions before the current one."""
        self._asked = True
        return self.time + self._cpu.position() if self.in_run else self.time

    def digest(self) -> object:
        """What of the time matters for what comes: nothing while nobody has asked for it and nothing waits for it
        (see `Machine.state_hash`).
        """
        return self.time if self._asked or self.events else None

    def at(self, when: int, action: Callable[[], object]) -> Event:
        """Call `action` after `when` instructions; when that is past, as soon as possible. Raises BoardError for a
        time that is no whole number, and what is no function.
        """
        if type(when) is not int:
            when = _whole(when)
        if not callable(action):
            raise BoardError(f"the action of an event is a function, not {action!r}")
        self._order += 1
        event = Event(when, action)
        heappush(self.events, (when, self._order, event))
        if when < self.due:
            self.due = when
        if self.in_run and self._cpu.in_access:
            self._cpu.end_after(when - self.time)
        return event

    def after(self, instructions: int, action: Callable[[], object]) -> Event:
        """Call `action` when this number of instructions has run from now on."""
        return self.at(self.now + _whole(instructions), action)

    @property
    def next(self) -> int | None:
        """The time of the next event."""
        events = self.events
        while events and events[0][2].action is None:
            heappop(events)
        if not events:
            self.due = NEVER
            return None
        self.due = due = events[0][0]
        return due

    def run_due(self) -> None:
        """Let the events happen whose time has come. Raises what they raise; the others remain."""
        events = self.events
        while events and events[0][0] <= self.time:
            _, _, event = heappop(events)
            action, event.action = event.action, None
            if action is not None:
                self.action = action
                action()
                self.action = None
        self.due = events[0][0] if events else NEVER

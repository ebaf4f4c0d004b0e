"""Exceptions of the M profile: which are pending, active, enabled, and how urgent (ARMv7-M ARM, B1.5.4, B3.4)."""

from __future__ import annotations

RESET, NMI, HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT = 1, 2, 3, 4, 5, 6
SVCALL, DEBUG_MONITOR, PENDSV, SYSTICK, FIRST_IRQ = 11, 12, 14, 15, 16
NAMES = {
    RESET: "Reset",
    NMI: "NMI",
    HARD_FAULT: "HardFault",
    MEM_MANAGE: "MemManage",
    BUS_FAULT: "BusFault",
    USAGE_FAULT: "UsageFault",
    SVCALL: "SVCall",
    DEBUG_MONITOR: "DebugMonitor",
    PENDSV: "PendSV",
    SYSTICK: "SysTick",
}
_FIXED = {RESET: -3, NMI: -2, HARD_FAULT: -1}
#: System exceptions that are always enabled.
_ALWAYS = frozenset({NMI, HARD_FAULT, SVCALL, DEBUG_MONITOR, PENDSV, SYSTICK})
LOWEST = 256  #: the priority of code outside all handlers


def name_of(exception: int) -> str:
    return NAMES.get(exception, f"IRQ {exception - FIRST_IRQ}")


class Nvic:
    """The state of all exceptions of a CPU with `lines` interrupts and `priority_bits` bits of priority."""

    def __init__(self, lines: int, priority_bits: int) -> None:
        self.lines, self.priority_bits = lines, priority_bits
        self.priority_mask = 0xFF & ~(0xFF >> priority_bits)
        self.reset()

    def reset(self) -> None:
        self.pending: set[int] = set()
        self.active: set[int] = set()
        self.enabled: set[int] = set(_ALWAYS)
        self.levels: set[int] = set()  #: lines that are high
        self.priority: dict[int, int] = dict(_FIXED)
        self.running = LOWEST  #: the group priority of the most urgent active handler
        self.set_grouping(0)

    def set_grouping(self, shift: int) -> None:
        """AIRCR.PRIGROUP."""
        self.group_shift, self._group_mask = shift, -2 << shift
        self._find_running()

    def _find_running(self) -> None:
        self.running = min(map(self.urgency, self.active), default=LOWEST)

    def set_priority(self, exception: int, value: int) -> None:
        if exception not in _FIXED:
            self.priority[exception] = value & self.priority_mask
            self._find_running()

    def priority_of(self, exception: int) -> int:
        return self.priority.get(exception, 0)

    def group(self, priority: int) -> int:
        """The part of a priority that decides about preemption."""
        return priority if priority < 0 else priority & self._group_mask

    def urgency(self, exception: int) -> int:
        """The group priority of an exception."""
        priority = self.priority.get(exception, 0)
        return priority if priority < 0 else priority & self._group_mask

    def set_line(self, number: int, level: bool) -> bool:
        """A line changes; whether an exception is pending now that was not."""
        exception = FIRST_IRQ + number
        if not level:
            self.levels.discard(exception)
            return False
        self.levels.add(exception)
        if exception in self.pending or exception in self.active:
            return False
        self.pending.add(exception)
        return True

    def most_urgent(self) -> int | None:
        """The pending and enabled exception of the highest priority; of equal ones that of the lowest number."""
        ready = self.pending & self.enabled
        if len(ready) < 2:
            return next(iter(ready), None)
        return min(ready, key=lambda exception: (self.priority_of(exception), exception))

    def acknowledge(self, exception: int) -> None:
        """A handler begins."""
        self.pending.discard(exception)
        self.active.add(exception)
        urgency = self.urgency(exception)
        if urgency < self.running:
            self.running = urgency

    def finish(self, exception: int) -> None:
        """A handler has returned. A line that is still high makes its interrupt pending again."""
        self.active.discard(exception)
        if self.active:
            self._find_running()
        else:
            self.running = LOWEST
        if exception in self.levels:
            self.pending.add(exception)

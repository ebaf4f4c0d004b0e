"""The part of `Events` that is the same for all engines: who asked for what, watched pages, runs with events.

**Watched memory.** A page with a watched range loses its permissions in the engine (not in the CPU's own records,
so nobody sees it). The guest's access then faults before the instruction has done anything; the page is opened,
the instruction runs alone with its accesses noted, and the page is closed again. Code that does not touch the page
runs at full speed, and the place is exact on every engine.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Final

from emu.cpu.events import Access, RawAccess, Recorded, Recording, Sink, Watch
from emu.cpu.observed_cpu import ObservedCpu
from emu.cpu.protocol import Protection, Stop, StopReason
from emu.cpu.watches import WatchIndex, described, value_of
from relink.errors import AddressSpaceError

PAGE_SIZE: Final = 4096
_MOST: Final = 1 << 62  #: more instructions than any run has
_WIDEST: Final = 64  #: no access reaches further than this from the address of its fault
_NEEDED: Final = {StopReason.READ_PROTECTED: Protection.R, StopReason.WRITE_PROTECTED: Protection.W}
_REACHED = StopReason.INSTRUCTION_LIMIT
_RAN_ON: Final = frozenset({_REACHED, StopReason.BLOCK, StopReason.TRAP, StopReason.SYSCALL})


class EngineEvents:
    """Implements `emu.cpu.events.Events` but for what each engine does in its own way (the abstract methods)."""

    single_steps: bool
    _reach = 0  #: bytes that an access may extend into a closed page without a fault

    def __init__(self, cpu: ObservedCpu, address_mask: int) -> None:
        self._cpu, self._mask = cpu, address_mask
        self.active = False  #: whether anything is asked for: `Cpu.run` looks at it
        self.watching = False  #: whether memory is watched: `Cpu.load` and `Cpu.store` look at it
        self.accesses: Sequence[Access] = ()
        self.retired = 0
        self._breakpoints: Counter[int] = Counter()
        self._entries: Counter[int] = Counter()
        self._watches: dict[Watch, int] = {}  #: how often each was asked for
        self._by_address = WatchIndex(self._watches, lambda watch: watch)
        self._guards: dict[int, Protection] = {}  #: closed page -> permissions that it has lost
        self._opened: Container[int] = ()  #: pages that are open for one instruction
        self._unsure: Iterable[int] = ()  #: pages that the engine may have otherwise
        self._stale_guards = False  #: whether watches have changed since `_guards` was made, or some are unsure
        self._recordings: list[Recording] = []
        self._by_host: list[Access] = []  #: accesses of host functions, not yet reported
        self._dirty = False  #: whether breakpoints or entries have changed since the last run
        self._changed: list[int] = []  #: their addresses, maybe more than once
        self._stepping = self._counting = self._step_is_due = False
        self._trap_reports = 0
        self._over: int | None = None
        self._faulted_at = 0  #: the data address of the last fault on a closed page
        self._last = -1  #: pc of the last stop
        self._continues: int | None = None  #: the same, while the guest may go on there

    # ---------------------------------------------------------------- what is asked for

    @property
    def stepping(self) -> bool:
        return self._stepping

    @stepping.setter
    def stepping(self, value: bool) -> None:
        self._stepping = value
        self._step_is_due = False
        self._update()

    @property
    def counting(self) -> bool:
        return self._counting

    @counting.setter
    def counting(self, value: bool) -> None:
        if value and not self._counting:
            self.retired = 0
        self._counting = value
        self._update()

    def report_traps(self, more: int) -> None:
        self._trap_reports += more  # without a call from here on, as in `_change`
        self._dirty = self.active = True

    def _update(self) -> None:
        self.active = bool(
            self._stepping
            or self._counting
            or self._trap_reports
            or self._breakpoints
            or self._entries
            or self._watches
            or self._stale_guards
            or self._recordings
            or self._dirty
            or self._by_host
        )

    def add_breakpoint(self, address: int) -> None:
        self._check_places()
        self._change(self._breakpoints, address, 1)

    def remove_breakpoint(self, address: int) -> None:
        self._change(self._breakpoints, address, -1)

    def add_entry(self, address: int) -> None:
        self._check_places()
        self._change(self._entries, address, 1)

    def remove_entry(self, address: int) -> None:
        self._change(self._entries, address, -1)

    def _change(self, places: Counter[int], address: int, by: int) -> None:
        address &= self._mask
        if by < 0 and address not in places:
            raise KeyError(f"there is no breakpoint at {address:#x}")
        # Without a call from here to the end: what a signal handler raises comes before all of this, or after.
        count = (places[address] if address in places else 0) + by  # noqa: SIM401 (a call)
        if count:
            places[address] = count
        else:
            del places[address]
        self._changed += [address]
        self._dirty = self.active = True

    def pass_over(self, pc: int) -> None:
        if self.active:  # otherwise the next run does not come here, and would not forget it
            self._over = pc & self._mask

    def discontinue(self, *, outermost: bool) -> None:
        self._over, self._step_is_due, self._continues = None, False, None
        if outermost:
            self._by_host = []

    # ---------------------------------------------------------------- watched memory

    def watch(self, watch: Watch) -> None:
        if watch.size <= 0 or not (watch.read or watch.write):
            raise AddressSpaceError("nothing to watch", address=watch.address, size=watch.size)
        self._cpu.read(watch.address, watch.size)  # raises unless all of it is mapped
        # Without a call from here on, as in `_change`.
        self._watches[watch] = self._watches[watch] + 1 if watch in self._watches else 1
        self._by_address.changes += 1
        self._stale_guards = self.watching = self.active = True

    def unwatch(self, watch: Watch) -> None:
        if watch not in self._watches:
            raise KeyError(f"{watch} is not watched")
        count = self._watches[watch] - 1  # without a call from here on, as in `_change`
        if count:
            self._watches[watch] = count
        else:
            del self._watches[watch]
        self._by_address.changes += 1
        self._stale_guards, self.active, self.watching = True, True, self._watches != {}

    def _guard_again(self) -> None:
        try:
            self._stale_guards = False
            wanted: dict[int, Protection] = {}
            for watch in [*self._watches]:
                lost = (Protection.R | Protection.W) if watch.read else Protection.W
                # An access that begins on the page before faults there or, on Unicorn, nowhere.
                for page in range(watch.address - self._reach & -PAGE_SIZE, watch.address + watch.size, PAGE_SIZE):
                    wanted[page] = wanted.get(page, Protection.NONE) | lost
            old = self._guards
            changed = {*self._unsure, *(page for page in {**old, **wanted} if old.get(page) != wanted.get(page))}
            self._guards, self._unsure = wanted, changed
            for page in changed:
                self._set_guard(page, wanted.get(page, Protection.NONE))
            self._unsure = ()
        except BaseException:  # as of a signal handler: the next run begins with this again
            self._stale_guards = True
            raise
        self._update()

    def _set_guard(self, page: int, lost: Protection) -> None:
        if (protection := self._protection(page)) is not None:
            self._protect_page(page, Protection(protection & ~lost))

    def _protection(self, page: int) -> Protection | None:
        """The permissions that the guest has on a page; None: it is unmapped."""
        if not self._cpu.extent(page, Protection.NONE):
            return None
        each = (Protection.R, Protection.W, Protection.X)
        return Protection(sum(one for one in each if self._cpu.extent(page, one)))

    def remapping(self, address: int, size: int) -> None:
        """Pages are about to be remapped: if no `remapped` follows, the next run closes them."""
        unsure = self._guarded(address, size)
        if unsure:
            self._unsure, self._stale_guards = (*self._unsure, *unsure), True

    def remapped(self, address: int, size: int) -> None:
        """The CPU has mapped these pages or changed their permissions: close the watched ones again."""
        for page in self._guarded(address, size):
            if page not in self._opened:
                self._set_guard(page, self._guards[page])

    def keeps_closed(self, address: int) -> bool:
        """Whether an access at `address` may touch a page that is closed now."""
        return bool(self._closed(address, self._opened))

    def _guarded(self, address: int, size: int) -> list[int]:
        pages = range(address, address + size, PAGE_SIZE)
        some, others = (pages, self._guards) if len(pages) < len(self._guards) else (self._guards, pages)
        return [page for page in some if page in others]

    def _hits_guard(self, stop: Stop) -> bool:
        """Whether a fault is only due to a closed page."""
        needed, address = _NEEDED.get(stop.reason), stop.address
        if needed is None or address is None or not self._guards:
            return False
        return bool(self._closed(address, ())) and bool(self._cpu.extent(address, needed))

    def _open_and_step(self, stop: Stop, timeout: float) -> Stop:
        """Run the instruction that met a closed page. `accesses` are then those that are watched."""
        opened: dict[int, bytes] = {}  #: page -> its content before
        self._opened, at = opened, stop.pc
        try:
            while True:
                self._faulted_at = stop.address or 0
                self._open(self._faulted_at, opened)
                self._over = at
                stop, raw = self._step_noting(self._resumed_at(stop), timeout)
                # An instruction may touch several closed pages. It has not done anything before the last is open.
                if not (
                    self._hits_guard(stop) and stop.address is not None and self._closed(stop.address, opened)
                ):
                    break
            for page in opened:
                self._set_guard(page, self._guards.get(page, Protection.NONE))
            self._stale_guards, self._unsure = False, ()
        finally:
            self._opened = ()
            if self._stale_guards:
                self._guard_again()
        found = self._watched(raw) if self._cpu.executed else ()
        accesses = tuple(described(self._cpu.read, at, each, opened) for each in found)
        self.accesses = accesses if stop.reason in _RAN_ON else ()
        if not self.accesses:  # it has led to where nothing can be fetched, as at the end of a Cortex-M's handler
            self._by_host += accesses
        return stop

    def _closed(self, address: int, opened: Container[int]) -> list[int]:
        """The closed pages that an access at `address` may touch."""
        pages = (address & -PAGE_SIZE, (address + _WIDEST - 1) & -PAGE_SIZE)
        return [page for page in pages if page in self._guards and page not in opened]

    def _open(self, address: int, opened: dict[int, bytes]) -> None:
        for page in self._closed(address, opened):
            self._stale_guards, self._unsure = True, (*self._unsure, page)
            self._set_guard(page, Protection.NONE)
        for page in (address & -PAGE_SIZE, (address & -PAGE_SIZE) + PAGE_SIZE):
            if page not in opened and self._protection(page) is not None:
                opened[page] = self._cpu.read(page, PAGE_SIZE)

    def _watched(self, accesses: Iterable[RawAccess]) -> list[RawAccess]:
        return [one for one in accesses if self._by_address.met(one.address, one.size, write=one.write)]

    def host_accesses(self, address: int, size: int, before: bytes, *, write: bool) -> None:
        """A host function has accessed memory for the guest; `before` is what was there."""
        if not size or not self._watched([RawAccess(address, size, write)]):
            return
        value = value_of(self._cpu.read(address, size))
        self._by_host.append(Access(self._last, address, size, value, value_of(before), write))

    # ---------------------------------------------------------------- running

    def run(self, pc: int, limit: int, timeout: float) -> Stop:
        """`Cpu.run`, with events."""
        if self._stale_guards:
            self._guard_again()
        if self._dirty:
            self._prepare()
            if (calls := self._cpu.heap_calls) is not None:
                calls.pause(self, bool(self._trap_reports))  # calls that get to no trap otherwise
            self._dirty = False
            self._update()
        at = pc & self._mask
        if self._by_host:
            self.accesses, self._by_host = tuple(self._by_host), []
            self._cpu.executed = 0
            return self._put(pc, Stop(StopReason.WATCH, at))
        if self._step_is_due:
            self._step_is_due = False
            self._cpu.executed = 0
            return self._put(pc, Stop(StopReason.STEP, at))
        passed = self._over
        try:
            stop = self._run(pc, 1 if self._stepping else limit, timeout)
        finally:
            self._over = None
        self._last = self._continues = stop.pc
        if stop.reason is StopReason.DEVICE:
            self._over = stop.pc  # the instruction runs again, as the same hit
        if self._trap_reports and stop.reason is StopReason.TRAP and stop.pc != passed:
            return Stop(StopReason.BREAK, stop.pc)
        if self._stepping:
            if stop.reason is _REACHED:
                return Stop(StopReason.STEP, stop.pc)
            self._step_is_due = stop.reason in (StopReason.TRAP, StopReason.SYSCALL)
        return stop

    def _run(self, pc: int, limit: int, timeout: float) -> Stop:
        cpu, executed, cut = self._cpu, 0, False
        budget = limit or (_MOST if self._counting or cpu.has_devices else 0)
        deadline = time.monotonic() + timeout if timeout > 0 else 0.0
        if self._over != pc & self._mask:
            self._over = None
        self._begins(pc, continues=pc & self._mask == self._continues)
        while True:
            left = max(deadline - time.monotonic(), 1e-6) if deadline else 0.0
            try:
                cpu.executed = 0
                stop = self._advance(pc, budget and budget - executed, left)
            except BaseException:
                self.retired += cpu.executed if cpu.has_devices else 0
                raise
            executed += cpu.executed if budget else 0
            if self._hits_guard(stop):
                repeats = cpu.repeats_accesses(stop.pc)
                if cut := self._ends_piece(executed) and not (repeats or stop.pc == pc & self._mask):
                    break
                stop = self._open_and_step(stop, left)
                executed += cpu.executed
                if self.accesses:
                    stop = Stop(StopReason.WATCH, stop.pc)
                    break
                on = stop.reason is _REACHED and (not budget or executed < budget)
            else:
                on = stop.reason is StopReason.BREAK and self._flush_full()
            cut = on and self._ends_piece(executed)
            if cut or not on:
                break
            pc = self._resumed_at(stop)
        cpu.executed = executed
        self.retired += executed
        self._ended(stop)
        return Stop(_REACHED, stop.pc) if cut else stop

    def _ends_piece(self, executed: int) -> bool:
        """Whether the run ends here, though it could go on: a device knows the time within one run only."""
        return self._cpu.has_devices and executed > 0

    def _put(self, pc: int, stop: Stop) -> Stop:
        """Set the program counter for a stop that is reported before anything runs."""
        self._set_pc(pc)
        return stop

    # ---------------------------------------------------------------- by the engine

    def _check_places(self) -> None:
        """Raise MachineError if this engine cannot stop at places here."""

    @abstractmethod
    def _prepare(self) -> None:
        """Tell the engine of changed breakpoints and entries."""

    @abstractmethod
    def _set_pc(self, pc: int) -> None:
        """Set the program counter; on Arm bit 0 is the state."""

    @abstractmethod
    def _resumed_at(self, stop: Stop) -> int:
        """The pc to continue at, with Arm's state."""

    @abstractmethod
    def _advance(self, pc: int, limit: int, timeout: float) -> Stop:
        """Run the engine, not stopping at `_over` when it begins there."""

    @abstractmethod
    def _protect_page(self, page: int, protection: Protection) -> None:
        """Set the engine's permissions of a page."""

    @abstractmethod
    def _step_noting(self, pc: int, timeout: float) -> tuple[Stop, list[RawAccess]]:
        """Run one instruction; return its accesses too."""

    def closing(self) -> None:
        """The CPU is being closed: end all recordings."""
        for recording in list(self._recordings):
            recording.close()

    def _begins(self, pc: int, *, continues: bool) -> None:
        """A run begins, perhaps where the last one has stopped: for the recordings."""

    def _ended(self, stop: Stop) -> None:
        """A run has ended: for the recordings."""

    def _flush_full(self) -> bool:
        """Flush logs that are full; False if none is: the stop had another cause."""
        return False

    @abstractmethod
    def record(self, what: Recorded, sink: Sink, low: int = 0, high: int = (1 << 64) - 1) -> Recording: ...

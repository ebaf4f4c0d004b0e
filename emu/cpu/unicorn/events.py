"""Events on Unicorn.

- Breakpoints are hooks of single instructions, and of a few ranges when there are many; entries are one hook
  before blocks. All are machine code that looks the address up (`emu.cpu.hooks.event_hooks`) and stops the engine
  exactly.
- Records are written by machine code too, and taken out after runs and whenever a log is full. New blocks are
  those that the engine has just translated (UC_HOOK_EDGE_GENERATED is called when a block is first reached from
  another).
- Watched memory is `emu.cpu.unicorn.closed_pages`.

Hooks take part in code that is translated while they exist: code is translated again when one comes or goes.
"""

from __future__ import annotations

import ctypes
from typing import Final

from emu.cpu.events import BEGAN, BEGAN_THUMB, Recorded, Recording, Sink
from emu.cpu.hooks.awkward_places import it_start, repeated_size
from emu.cpu.hooks.event_hooks import MOST_HOOKS, Places, event_hook, ranges
from emu.cpu.protocol import Stop, StopReason
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from emu.cpu.unicorn.closed_pages import ClosedPages
from emu.cpu.unicorn.hooked import HookedCpu
from emu.cpu.unicorn.isas import CPSR_IT
from emu.cpu.unicorn.lost_stores import check_run
from emu.cpu.unicorn.recording import KINDS, UnicornRecording
from relink.errors import MachineError

_EVERYWHERE: Final = (1, 0)
_LAST: Final = (1 << 64) - 1
_NO_TRIM: Final = frozenset({StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED})
_NOT_FETCHED: Final = _NO_TRIM | {StopReason.TRAP}


class UnicornEvents(ClosedPages):
    """`Events` of a UnicornCpu."""

    single_steps = False

    def __init__(self, cpu: HookedCpu, address_mask: int) -> None:
        super().__init__(cpu, address_mask)
        self._instructions, self._blocks = (Places(stop=api.EMU_STOP) for _ in range(2))
        self._hooks: dict[tuple[int, int], ctypes.c_size_t] = {}  #: (first, last) address -> hook for breakpoints
        self._wanted: set[tuple[int, int]] = set()  #: the ranges of `_hooks`, when the engine runs
        self._held: set[int] = set()  #: breakpoints when the hooks were made
        self._entry_hook: ctypes.c_size_t | None = None
        self._stale_logs = False  #: whether a recording has been added since the hooks were made
        self._hidden: set[int] = set()
        self._extra: set[int] = set()
        self._it_blocks: set[int] = set()  #: IT instructions whose blocks have breakpoints
        self._logs: list[UnicornRecording] = []
        self._known: set[int] = set()  #: addresses at which runs began, of which NEW_BLOCKS knows
        self._began = self._began_thumb = 0

    # ---------------------------------------------------------------- hooks

    def _check_places(self) -> None:
        event_hook("place")

    def _prepare(self) -> None:
        """Hooks are called in the order of their creation: those for places before those of logs, which then have
        no row for what was not begun.
        """
        count = len(self._changed)
        changed = dict.fromkeys(self._changed[:count])
        if any((address in self._breakpoints) != (address in self._held) for address in changed):
            self._place_breakpoints()
        for address in changed:
            self._blocks.update(address, self._entries)
        del self._changed[:count]
        moved = self._hooks.keys() != self._wanted
        if self._stale_logs or bool(self._entries) != (self._entry_hook is not None) or (self._logs and moved):
            self._renew()
        elif moved:
            self._move_hooks()
        self._stale_logs = False

    def _place_breakpoints(self) -> None:
        """Note where to stop."""
        places = self._places()
        self._instructions.fill(places)
        self._wanted, self._held = set(ranges(places)), set(self._breakpoints)

    def _move_hooks(self) -> None:
        """Remove the hooks for breakpoints that are not wanted, and add those that are."""
        for place in self._hooks.keys() - self._wanted:
            self._remove(self._hooks.pop(place))
        added = self._wanted - self._hooks.keys()
        for place in added:
            self._hooks[place] = self._add(uc.UC_HOOK_CODE, "place", self._instructions, place)
        if len(self._wanted) < MOST_HOOKS:
            for low, high in added:
                self._engine.drop_translations(low, high + 1)
        elif added:
            self._engine.drop_all_translations()

    def follow(self, address: int) -> None:
        """The inspector has hooked an instruction: make the breakpoint hooks of its address again, so that
        the engine calls them after the inspector's.
        """
        for place in [each for each in self._hooks if each[0] <= address <= each[1]]:
            self._dirty = True  # the hook is made by the next run where a signal handler raises before
            self._remove(self._hooks.pop(place))
            self._hooks[place] = self._add(uc.UC_HOOK_CODE, "place", self._instructions, place)

    def _places(self) -> set[int]:
        """The addresses to stop at before an instruction."""
        places = (self._breakpoints.keys() - self._hidden) | self._extra
        self._it_blocks = set()
        if self._engine.arch == "arm":
            for place in self._breakpoints:
                if (start := it_start(place, self._cpu.read)) is not None:
                    places.discard(place)
                    self._it_blocks.add(start)
        return places | self._it_blocks

    def _renew(self) -> None:
        """Create all hooks anew."""
        for log in self._logs:
            log.unhook(self._engine.handle)
        for place in [*self._hooks]:  # a hook that is not removed after that does no harm
            self._remove(self._hooks.pop(place))
        if (hook := self._entry_hook) is not None:
            self._entry_hook = None
            self._remove(hook)
        if self._entries:
            self._entry_hook = self._add(uc.UC_HOOK_BLOCK, "place", self._blocks, _EVERYWHERE)
        for place in self._wanted:
            self._hooks[place] = self._add(uc.UC_HOOK_CODE, "place", self._instructions, place)
        for log in self._logs:
            log.hook = self._add(log.kind, log.hook_name, log.log, log.place)
        self._engine.drop_all_translations()

    def record(self, what: Recorded, sink: Sink, low: int = 0, high: int = _LAST) -> Recording:
        event_hook(KINDS[what][1])
        if not low < high:
            raise MachineError(f"nothing to record in [{low:#x}, {high:#x})")
        log = UnicornRecording(self.end, what, sink, low, high)
        self._logs += [log]  # without a call from here on, as in `_change`
        self._recordings += [log]
        self._stale_logs = self._dirty = self.active = True
        return log

    def closing(self) -> None:
        super().closing()
        self._hooks.clear()
        self._entry_hook = self._reads = None

    def end(self, log: UnicornRecording) -> None:
        """A recording is closed."""
        log.unhook(self._engine.handle)
        self._logs[:] = [each for each in self._logs if each is not log]
        self._recordings[:] = [each for each in self._recordings if each is not log]
        if not any(log.what is Recorded.NEW_BLOCKS for log in self._logs):
            self._known.clear()
        self._update()

    def forget(self, low: int, high: int) -> None:
        """Code in [low, high) is about to change or to go: what begins there counts as new."""
        for log in self._logs:
            log.flush()
        if self._known:
            self._known = {pc for pc in self._known if not low - 4096 < pc < high}

    # ---------------------------------------------------------------- running

    def _advance(self, pc: int, limit: int, timeout: float) -> Stop:
        executed = 0
        while True:
            over, at = self._over, pc & self._mask
            left = limit and limit - executed
            if over is not None and over in self._breakpoints and (size := self._repeats(over)):
                stop = self._pass_repeated(over, over + size, left, timeout)
            elif self._it_blocks and (at in self._it_blocks or self._cpu.read_register("cpsr") & CPSR_IT):
                # Unicorn would stop at the end of the IT block only: go on one by one.
                if at != over and at in self._breakpoints:
                    self._cpu.executed = executed
                    return Stop(StopReason.BREAK, at)
                self._over = at
                stop = self._enter(pc, 1, timeout)
            else:
                stop = self._enter(pc, left, timeout)
            executed += self._cpu.executed
            on = stop.reason is StopReason.INSTRUCTION_LIMIT and (not limit or executed < limit)
            if stop.reason is StopReason.BREAK and stop.pc not in self._breakpoints:
                on = not (stop.pc in self._entries or any(log.log.full for log in self._logs))
            if on and self._ends_piece(executed):
                on, stop = False, Stop(StopReason.INSTRUCTION_LIMIT, stop.pc)
            if not on:
                if self._guards:
                    check_run(self._engine.seen, self._guards, stop)
                self._cpu.executed = executed
                return stop
            pc = self._resumed_at(stop)

    def _enter(self, pc: int, limit: int, timeout: float) -> Stop:
        over = _LAST if self._over is None else self._over
        self._instructions.skip = self._blocks.skip = over
        try:
            return self._engine.run_engine(pc, limit, timeout)
        finally:
            self._over = None
            self._instructions.stopped = self._blocks.stopped = 0

    def _repeats(self, pc: int) -> int:
        return repeated_size(pc, self._cpu.read) if self._engine.arch in ("x86_64", "i386") else 0

    def _pass_repeated(self, pc: int, end: int, limit: int, timeout: float) -> Stop:
        """Run a repeated instruction with a breakpoint to its end."""
        self._hidden, self._extra = {pc}, {end}
        self._place_breakpoints()
        self._prepare()
        try:
            return self._enter(pc, limit, timeout)
        finally:
            self._hidden, self._extra = set(), set()
            self._place_breakpoints()
            self._prepare()

    def stop(self, pc: int) -> Stop | None:
        """The Stop if one of the hooks here has stopped the engine. Called in `_advance`."""
        if not self.active:
            return None
        if self._instructions.stopped:
            self.interrupted(pc)
            return Stop(StopReason.BREAK, pc)
        full = next((number for number, log in enumerate(self._logs) if log.log.stopped), None)
        if full is not None:
            self._repeated_by(full, pc)
        return Stop(StopReason.BREAK, pc) if self._blocks.stopped or full is not None else None

    def _repeated_by(self, full: int, pc: int) -> None:
        """A log that is full has stopped the engine at `pc`: hooks that come before its own are called again."""
        kind = self._logs[full].kind
        for number, log in enumerate(self._logs):
            if number < full if log.kind == kind else kind == uc.UC_HOOK_CODE:
                log.interrupted(pc)

    def takes(self, pc: int, new_block: int) -> bool:
        """Whether the guest is to stop before an instruction at which `emu.cpu.hooks.inspector` has stopped it."""
        if new_block or not self.active or pc == self._instructions.skip or pc not in self._breakpoints:
            return False
        self._instructions.stopped = 1
        return True

    def interrupted(self, pc: int) -> None:
        """The instruction at `pc`, and the rest of its block, has not run: correct the logs."""
        for log in self._logs:
            log.interrupted(pc)

    def repeats(self, pc: int) -> None:
        """The instruction at `pc` has begun, and is run again from its start."""
        self.interrupted(pc)
        self._instructions.skip = self._blocks.skip = pc
        if self._step_log is not None:
            self._step_log.take()

    def ran_outside(self, pc: int, size: int) -> None:
        """The instruction at `pc` has been executed on the host, after `interrupted`."""
        self._ran_computed = True
        if self._instructions.skip == pc:
            self._instructions.skip = _LAST
        for log in self._logs:
            if log.what is Recorded.BLOCKS or (log.what is Recorded.INSTRUCTIONS and log.low <= pc < log.high):
                log.log.append(pc, size)

    def new_block(self) -> None:
        """The engine has stopped at a new block for another reason: keep room in the log."""
        for log in self._logs:
            if log.what is Recorded.NEW_BLOCKS and log.log.full:
                log.flush()

    def _begins(self, pc: int, *, continues: bool) -> None:
        self._began, self._began_thumb = pc & self._mask, BEGAN_THUMB if pc & ~self._mask else 0
        for log in self._logs:
            if continues:
                log.log.leave_block(self._began)
            else:
                log.log.before = 0
            log.began = len(log.log)

    def _ended(self, stop: Stop) -> None:
        fault = stop.reason is StopReason.DEVICE or (stop.reason.is_fault and stop.reason not in _NO_TRIM)
        if fault:
            self.interrupted(stop.pc)
        for log in self._logs:
            if log.what is Recorded.NEW_BLOCKS:
                self._correct(log, stop, stop.pc if fault else None)
            if log.log.full:
                log.flush()

    def left(self, pc: int) -> None:
        """A device has raised in an access of the instruction at `pc`, and ended the run."""
        if self.active:
            self._ended(Stop(StopReason.DEVICE, pc))

    def _correct(self, log: UnicornRecording, stop: Stop, fault: int | None) -> None:
        """Add where the run began, which is no edge. Of a block that faulted when it was new, the rest has not
        run: it is forgotten, so that it is new again.
        """
        if stop.reason in _NOT_FETCHED and (last := log.log.last()) is not None and last[0] == stop.pc:
            log.log.drop_last()
        new = len(log.log) - log.began
        if fault is not None and new > 0:
            last = log.log.last()
            assert last is not None
            if last[0] <= fault < last[0] + last[1]:
                log.log.change_last(1, fault - last[0])
                self._engine.drop_translations(last[0], last[0] + last[1])
        if stop.reason is StopReason.BREAK and stop.pc == self._began:
            return  # perhaps before it has run; the next run begins there too
        if self._began not in self._known:
            size = 0
            if fault is not None and new <= 0 and 0 <= fault - self._began < 4096:
                size = fault - self._began
            else:
                self._known.add(self._began)
            if size or fault != self._began:
                log.log.append(self._began, BEGAN | self._began_thumb | size, 0)

    def _flush_full(self) -> bool:
        full = [log for log in self._logs if log.log.full]
        for log in full:
            log.flush()
        return bool(full)

    def _set_pc(self, pc: int) -> None:
        self._engine.write_register("pc", pc)

    def _resumed_at(self, stop: Stop) -> int:
        return stop.pc | self._engine.state_bit()

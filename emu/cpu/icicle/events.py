"""Events on icicle, which has breakpoints and exact instruction limits, and no hooks.

- Breakpoints and entries are the engine's; to pass one over, it is removed while one instruction runs.
- New blocks are found by following the code: a block gets a breakpoint at its start until it first runs, and then
  the blocks that follow it get theirs. A branch by register has one for good, because its next target is not
  known.
- Blocks, edges and instructions in order are recorded in single steps: exact, and a hundred times slower than a
  run.
- Accesses of watched memory are decoded from the instruction that faults on a closed page.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

import numpy as np

from emu.cpu.engine_events import PAGE_SIZE, EngineEvents
from emu.cpu.events import RawAccess, Recorded, Recording, Sink
from emu.cpu.icicle.engine import Engine
from emu.cpu.loongarch64.decoding import Branch, branch, data_access
from emu.cpu.observed_cpu import ObservedCpu
from emu.cpu.protocol import Protection, Stop, StopReason
from relink.errors import AddressSpaceError, MachineError

_LAST: Final = (1 << 64) - 1
_ROWS: Final = 1 << 12
_NEVER, _SOON = float("inf"), 1e-6  #: a deadline; seconds
_LONGEST: Final = 1024  #: instructions in a block; longer ones are recorded in parts


class SteppedCpu(ObservedCpu, Protocol):
    """The part of an IcicleCpu that its events use."""

    @property
    def engine(self) -> Engine: ...
    def interpret(self) -> None: ...
    def write_register(self, name: str, value: int) -> None: ...
    def other_protection(self, page: int) -> None: ...


class _Recording:
    """Rows for one sink."""

    def __init__(self, events: IcicleEvents, what: Recorded, sink: Sink, low: int, high: int) -> None:
        self.what, self._sink = what, sink
        self._low, self._high = low, high
        self._rows: list[tuple[int, ...]] = []
        self._events: IcicleEvents | None = events

    def add(self, *row: int) -> None:
        if self._low <= row[-2] < self._high:
            self._rows.append(row)

    def shorten(self, address: int, size: int) -> None:
        """The last row, if it is that of the block at `address`, gets another size; 0: it goes."""
        if self._rows and self._rows[-1][0] == address:
            self._rows.pop()
            if size:
                self._rows.append((address, size))

    def full(self) -> bool:
        return len(self._rows) >= _ROWS

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._sink(np.array(rows, np.uint64))

    def close(self) -> None:
        if self._events is not None:
            self._events.end(self)
            self._events = None
            self.flush()


class IcicleEvents(EngineEvents):
    """`Events` of an IcicleCpu."""

    single_steps = True

    def __init__(self, cpu: SteppedCpu) -> None:
        super().__init__(cpu, _LAST)
        self._stepped = cpu
        self._set: set[int] = set()  #: breakpoints in the engine
        self._logs: list[_Recording] = []
        self._coming: set[int] = set()  #: starts of blocks that have not run
        self._seen: dict[int, int] = {}  #: start of a block that has run -> its size
        self._jumps: set[int] = set()  #: branches by register in blocks that have run
        self._before = 0  #: the end of the block that ran last; 0: none in this run

    # ---------------------------------------------------------------- breakpoints

    def _prepare(self) -> None:
        changed = len(self._changed)
        kinds = (self._breakpoints, self._entries, self._coming, self._jumps)
        for address in dict.fromkeys(self._changed[:changed]):
            wanted = any(address in kind for kind in kinds)
            if wanted and address not in self._set:
                self._stepped.engine.add_breakpoint(address)
                self._set.add(address)
            elif not wanted and address in self._set:
                self._stepped.engine.remove_breakpoint(address)
                self._set.discard(address)
        del self._changed[:changed]

    def rebuilt(self) -> None:
        """The engine has been rebuilt without translations."""
        for address in self._set:
            self._stepped.engine.remove_breakpoint(address)
            self._stepped.engine.add_breakpoint(address)
        self.guard_again()
        self.forget_blocks()

    def guard_again(self) -> None:
        """The engine's permissions have been set to others than those of watched pages."""
        for page, lost in self._guards.items():
            self._set_guard(page, lost)

    def forget_blocks(self) -> None:
        """Code has changed: all blocks count as new."""
        if self._seen or self._coming:
            self._changed += [*self._coming, *self._jumps]
            self._seen.clear()
            self._coming.clear()
            self._jumps.clear()
            self._dirty = self.active = True

    def record(self, what: Recorded, sink: Sink, low: int = 0, high: int = _LAST) -> Recording:
        if not low < high:
            raise MachineError(f"nothing to record in [{low:#x}, {high:#x})")
        log = _Recording(self, what, sink, low, high)
        if what is Recorded.NEW_BLOCKS:
            self.forget_blocks()
        self._logs += [log]  # without a call from here on: no signal handler comes between
        self._recordings += [log]
        self.active = True
        return log

    def end(self, log: _Recording) -> None:
        """A recording is closed."""
        self._logs[:] = [each for each in self._logs if each is not log]
        self._recordings[:] = [each for each in self._recordings if each is not log]
        if not any(log.what is Recorded.NEW_BLOCKS for log in self._logs):
            self.forget_blocks()
        self._update()

    # ---------------------------------------------------------------- running

    def _begins(self, pc: int, *, continues: bool) -> None:
        if not continues:
            self._before = 0

    def _advance(self, pc: int, limit: int, timeout: float) -> Stop:
        self._stepped.interpret()  # stops would compile code anew
        ordered = any(log.what is not Recorded.NEW_BLOCKS for log in self._logs)
        run = self._run_in_steps if ordered else self._run_to_places
        try:
            stop = run(pc, limit, time.monotonic() + timeout if timeout > 0 else _NEVER)
            self._set_pc(stop.pc)  # also where nothing has run
            return stop
        finally:
            self._over = None
            for log in self._logs:
                if log.full():
                    log.flush()

    def _run_to_places(self, pc: int, limit: int, deadline: float) -> Stop:
        """Run until a breakpoint that somebody asked for; at the others, find new blocks and go on."""
        new = any(log.what is Recorded.NEW_BLOCKS for log in self._logs)
        executed, over = 0, self._over
        unknown = new  # whether the block at `pc` may be new
        while True:
            if pc != over and (pc in self._breakpoints or pc in self._entries):
                stop = Stop(StopReason.BREAK, pc)
                break
            if unknown or pc in self._coming:
                self._reached(pc)
            if pc in self._set:
                unknown = pc in self._jumps
                stop = self._pass(pc)
            else:
                unknown = False
                left = limit and limit - executed
                seconds = 0.0 if deadline == _NEVER else max(deadline - time.monotonic(), _SOON)
                stop = self._stepped.run_engine(pc, left, seconds)
            if new and stop.reason.is_fault:
                self._faulted(stop.pc)
            executed += self._cpu.executed
            pc, over = stop.pc, None
            if self._dirty:  # the guest has changed its code
                self._prepare()
                self._dirty, unknown = False, new
            if stop.reason is not StopReason.BREAK and stop.reason is not StopReason.INSTRUCTION_LIMIT:
                break
            if limit and executed >= limit:
                stop = Stop(StopReason.INSTRUCTION_LIMIT, pc)
                break
            if time.monotonic() >= deadline:
                stop = Stop(StopReason.TIMEOUT, pc)
                break
        self._cpu.executed = executed
        return stop

    def _pass(self, pc: int) -> Stop:
        """Run one instruction, also at a breakpoint."""
        engine = self._stepped.engine
        if pc in self._set:
            engine.remove_breakpoint(pc)
        try:
            return self._stepped.run_engine(pc, 1, 0.0)
        finally:
            if pc in self._set:
                engine.add_breakpoint(pc)

    def _run_in_steps(self, pc: int, limit: int, deadline: float) -> Stop:
        """Run instruction by instruction, and record."""
        executed, over = 0, self._over
        start = pc
        while True:
            if pc != over and (pc in self._breakpoints or pc in self._entries):
                stop = Stop(StopReason.BREAK, pc)
                break
            over = None
            jump = self._branch_at(pc)
            stop = self._pass(pc)
            ran = self._cpu.executed
            executed += ran
            if ran:
                self._add(Recorded.INSTRUCTIONS, pc, 4)
                if jump is not None or stop.pc != pc + 4:
                    self._end_block(start, pc + 4)
                    start = stop.pc
            pc = stop.pc
            if stop.reason is not StopReason.INSTRUCTION_LIMIT or (limit and executed >= limit):
                break
            if time.monotonic() >= deadline:
                stop = Stop(StopReason.TIMEOUT, pc)
                break
        if start < pc and pc - start <= 4 * executed:
            self._end_block(start, pc)
        self._cpu.executed = executed
        return stop

    def _end_block(self, start: int, end: int) -> None:
        self._add(Recorded.BLOCKS, start, end - start)
        self._add(Recorded.EDGES, self._before, start, end - start)
        self._before = end
        if start not in self._seen:
            self._seen[start] = end - start
            self._add(Recorded.NEW_BLOCKS, start, end - start)

    def _add(self, what: Recorded, *row: int) -> None:
        for log in self._logs:
            if log.what is what:
                log.add(*row)
                if log.full():
                    log.flush()

    # ---------------------------------------------------------------- new blocks

    def _branch_at(self, pc: int) -> Branch | None:
        try:
            return branch(int.from_bytes(self._cpu.read(pc, 4), "little"), pc)
        except AddressSpaceError:
            return None

    def _reached(self, pc: int) -> None:
        """The guest is about to run from `pc`: note a block that has not run, and expect those that follow it."""
        if pc in self._seen:
            return
        self._coming.discard(pc)
        jump, end = None, pc
        while jump is None and end < pc + 4 * _LONGEST and self._cpu.extent(end, Protection.X):
            jump = self._branch_at(end)
            end += 4
        if end == pc:
            return
        self._seen[pc] = end - pc
        self._add(Recorded.NEW_BLOCKS, pc, end - pc)
        next_ones = []
        if jump is None or jump.falls_through:
            next_ones.append(end)
        if jump is not None and jump.target is not None:
            next_ones.append(jump.target & _LAST)
        elif jump is not None:
            self._jumps.add(end - 4)
        self._coming.update(one for one in next_ones if one not in self._seen)
        self._changed += [pc, end - 4, *next_ones]
        self._prepare()

    def _faulted(self, pc: int) -> None:
        """The block that has been noted last may have stopped before its end."""
        last = next(reversed(self._seen), None)
        if last is None or not last <= pc < last + self._seen[last]:
            return
        del self._seen[last]
        self._coming.add(last)
        self._changed += [last]
        self._dirty = self.active = True
        for log in self._logs:
            if log.what is Recorded.NEW_BLOCKS:
                log.shorten(last, pc - last)

    # ---------------------------------------------------------------- watched memory

    def _protect_page(self, page: int, protection: Protection) -> None:
        self._stepped.other_protection(page)
        self._stepped.engine.mem_protect(page, PAGE_SIZE, protection)

    def _step_noting(self, pc: int, timeout: float) -> tuple[Stop, list[RawAccess]]:
        word = int.from_bytes(self._cpu.read(pc, 4), "little")
        access = data_access(word, lambda number: self._cpu.read_register(f"r{number}"))
        stop = self._pass(pc)
        if self._logs and self._cpu.executed:
            self._add(Recorded.INSTRUCTIONS, pc, 4)
            self._end_block(pc, pc + 4)
        if access is None:
            return stop, []
        address = self._faulted_at if access.address is None else access.address & _LAST
        kinds = ([False] if access.reads else []) + ([True] if access.writes else [])
        return stop, [RawAccess(address, access.size, write) for write in kinds]

    def _set_pc(self, pc: int) -> None:
        self._stepped.write_register("pc", pc)

    def _resumed_at(self, stop: Stop) -> int:
        return stop.pc

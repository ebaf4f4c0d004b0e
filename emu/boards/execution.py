"""Running the guest on a board: a CPU with devices, time and interrupts around it.

`run` is that of `Cpu` and takes its place in a machine. It returns for what a machine handles (traps, limits,
faults that the profile does not take) and does all else itself:

- the run is cut into pieces that end at the next event of the clock, exactly;
- between two pieces events happen and interrupts are taken;
- while an interrupt is pending that an instruction could enable, pieces are single blocks of code, since such an
  instruction ends its block;
- an instruction that waits moves the clock to the next event.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from emu.boards.clock import NEVER
from emu.boards.errors import BoardError, Deadlock, Lockup, PlaceLost
from emu.boards.profile import Interrupts
from emu.cpu.protocol import EVENTS, Stop, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.boards.bus import Bus
    from emu.boards.clock import Clock
    from emu.boards.profile import Profile
    from emu.cpu.protocol import Access, DeviceCpu


class BoardStopped(Exception):
    """Ends `Board.run`, with the guest ready to continue."""


class Execution:
    """Runs one board's guest (`emu.ports.Execution`)."""

    def __init__(self, cpu: DeviceCpu, clock: Clock, bus: Bus, profile: Profile) -> None:
        self._cpu, self._clock, self._bus, self._profile = cpu, clock, bus, profile
        self.executed = 0  #: instructions of the last run
        self._ran = 0  #: instructions of the current piece
        self.pc = 0  #: where a guest that was stopped continues
        self.stopping = False  #: set to end the current run of `Board.run` after this instruction
        #: Resets the board; returns where the guest starts.
        self.reset: Callable[[], int] = profile.reset
        #: Surrounds an access that a device performs outside the engine.
        self.perform = bus.perform
        #: Whether a signal handler has raised where the state of the board was not between two instructions.
        self.torn = False
        self._raised: BaseException | None = None  #: what leaves the run before the next instruction
        self._in_piece = False  #: whether the engine runs, or is about to
        self._asking = False  #: whether `until` is being asked, or a device outside the engine
        #: Asked at each stop: whether `Board.run` is to end.
        self.until: Callable[[], bool] | None = None

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """See `Cpu.run`. Raises what devices and events raise, Deadlock, Lockup; `pc` is then where the guest
        would continue. Raises PlaceLost as `Board.run` does.
        """
        if self.torn:
            raise PlaceLost
        outer = self._raised, self._asking  # of a run in which a device calls the guest
        self._raised, self._asking, self._in_piece, self._clock.action = None, False, False, None
        self._profile.changed = True  # the machine may have returned to a snapshot
        self.torn = True
        self.pc = pc
        try:
            return self._pieces(max_instructions, timeout)
        except BaseException as error:
            self.torn = not self._is_exact(error)
            raise
        finally:
            self._raised, self._asking = outer

    def _pieces(self, max_instructions: int, timeout: float) -> Stop:
        deadline = time.monotonic() + timeout if timeout else 0.0
        profile, clock, cpu, done, idle = self._profile, self._clock, self._cpu, 0, 0
        try:
            while True:
                if self._raised is not None:
                    raise self._raised
                asked = self.until is not None or self.stopping or profile.resetting
                if asked or profile.changed or clock.due <= clock.time:
                    self._between()
                if max_instructions and done >= max_instructions:
                    stop = Stop(StopReason.INSTRUCTION_LIMIT, profile.code_address(self.pc))
                    self.torn = False
                    return stop
                left = max(deadline - time.monotonic(), 1e-6) if timeout else 0.0
                try:
                    stop = self._piece(max_instructions - done if max_instructions else 0, left)
                finally:
                    done += self._ran
                reason = stop.reason
                if reason is StopReason.INSTRUCTION_LIMIT or reason is StopReason.BLOCK:
                    self.pc = stop.pc | cpu.code_state
                elif reason is StopReason.WAIT:
                    self._wait(stop)
                    done += 1
                else:
                    after = None if id(reason) in _ENDS else profile.stopped(stop)
                    if after is None:
                        self.pc = stop.pc | cpu.code_state
                        self.torn = False
                        return stop
                    idle = 0 if self._ran else idle + 1
                    if idle > _MOST_IDLE:
                        raise Lockup(stop.pc, f"{reason.value} at each exception handler")
                    self.pc = after
        finally:
            self.executed = done

    def _between(self) -> None:
        """Run the events, and take the interrupts, that are due between two instructions."""
        profile, clock = self._profile, self._clock
        if clock.due <= clock.time:
            clock.run_due()
        if profile.sleeps:
            self._sleep()
        if profile.resetting:
            self.pc = self.reset()
        if self.until is not None:
            self._asking, self.torn = True, False
            self.stopping = self.until() or self.stopping
            self._asking, self.torn = False, True
        if self.stopping:
            self.stopping = False
            raise BoardStopped
        if profile.changed:
            profile.changed = False
            state = profile.interrupts()
            if state is Interrupts.READY:
                self.pc = profile.take(self.pc)
                state = profile.interrupts() if profile.changed else Interrupts.NONE
            self._cpu.stops_at_blocks = profile.changed = state is Interrupts.MASKED

    def _piece(self, limit: int, timeout: float) -> Stop:
        """Run up to the next event. An instruction in which a device has ended the run is finished."""
        clock, cpu = self._clock, self._cpu
        self._in_piece = True
        if clock.events:
            event, _, first = clock.events[0]
            if first.action is None:
                event = clock.next or NEVER
            until_event = event - clock.time if event > clock.time else 1
            if not limit or limit > until_event:
                limit = until_event
        clock.in_run = True
        cpu.kept = _NOTHING_RAN
        try:
            stop = cpu.run_piece(self.pc, limit, timeout)
        except BaseException as error:
            stop = self._after(error)
        finally:
            clock.in_run = False
            self._ran = cpu.executed
            clock.time += self._ran
        if stop.reason is StopReason.DEVICE:
            stop = self._finished(stop, timeout)
        self._in_piece = False
        return stop

    def _after(self, error: BaseException) -> Stop:
        """The stop to which a run of the engine has come that raised `error`. Raises that where there is none."""
        kept = self._cpu.kept
        if kept is _NOTHING_RAN:
            self._cpu.executed, self._raised = 0, error
            raise error
        if kept is None or kept[0] is not error:
            self.pc = self._cpu.read_register("pc")
            raise error
        self._cpu.kept, self._raised = None, error
        stop = kept[1]
        return stop if stop.reason is not StopReason.TIMEOUT else Stop(StopReason.INSTRUCTION_LIMIT, stop.pc)

    def _is_exact(self, error: BaseException) -> bool:
        """Whether `error`, which leaves the run, was raised between two instructions or by code of the user, who
        may raise in it.
        """
        if isinstance(error, BoardStopped | BoardError):
            return True
        if self._asking:
            return not self.torn
        for bus in (self._bus, self._profile.ports):
            if bus is not None and bus.failed is not None and bus.failed[1] is error:
                return not _is_of_cpu(type(bus.failed[0]))
        action = self._clock.action
        if action is not None:
            return not _is_of_cpu(action)
        if self._in_piece and not self._profile.in_run:
            return True  # of a call, which is over: the firmware has its registers back
        return error is self._raised

    def _finished(self, stop: Stop, timeout: float) -> Stop:
        """Finish the instruction in which a device has ended the run."""
        while stop.reason is StopReason.DEVICE:
            self.pc = stop.pc | self._cpu.code_state
            if (access := self._cpu.deferred) is not None:
                self._cpu.answer(self._outside(access))
            stop = self._engine(timeout)
        return stop

    def _outside(self, access: Access) -> int:
        """Perform an access outside the engine, where the device may run the guest."""
        pc, ran = self.pc, self._ran
        self._asking, self.torn = True, False
        try:
            value = self.perform(access)
        finally:
            self.pc, self._ran = pc, ran
        self._asking, self.torn = False, True
        return value

    def _engine(self, timeout: float) -> Stop:
        """Run one instruction."""
        clock, cpu = self._clock, self._cpu
        clock.in_run = True
        try:
            return cpu.run(self.pc, max_instructions=1, timeout=timeout)
        except BaseException as error:
            return self._after(error)
        finally:
            clock.in_run = False
            clock.time += cpu.executed
            self._ran += cpu.executed

    def _wait(self, stop: Stop) -> None:
        """Let time pass until an interrupt ends the wait."""
        clock, profile = self._clock, self._profile
        clock.time += 1  # the instruction itself
        self.pc = profile.after_wait(stop)
        clock.run_due()
        if not self._woken():
            clock.time -= 1
            self.pc = stop.pc | self._cpu.code_state
            raise Deadlock(stop.pc, clock.time)
        profile.changed = True

    def _sleep(self) -> None:
        """Wait before an instruction. A stop or a reset does not end it."""
        profile = self._profile
        if not self._woken():
            raise Deadlock(profile.code_address(self.pc), self._clock.time)
        profile.sleeps, profile.changed = not profile.wakes(), True

    def _woken(self) -> bool:
        """Let time pass up to what ends a wait; False when nothing will."""
        clock, profile = self._clock, self._profile
        while not (profile.wakes() or self.stopping or profile.resetting):
            event = clock.next
            if event is None:
                return False
            clock.time = max(event, clock.time)
            clock.run_due()
        return True


def _is_of_cpu(code: object) -> bool:
    """Whether a class or function is a part of a CPU's model, which is not prepared for exceptions anywhere."""
    module: str = getattr(code, "__module__", "")
    return module.startswith("emu.boards.") and not module.startswith("emu.boards.peripherals")


#: `DeviceCpu.kept` until the engine is started.
_NOTHING_RAN = (None, Stop(StopReason.INSTRUCTION_LIMIT, 0))
#: Exceptions without an instruction between them: a CPU whose handlers cannot be fetched takes them for ever.
_MOST_IDLE = 8
#: These are for the caller; by identity, since comparing or hashing members of an enumeration is slow.
_ENDS = frozenset(map(id, (StopReason.TRAP, *EVENTS, StopReason.TIMEOUT)))

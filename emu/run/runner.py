"""Calls into the guest: where they start, what they may use up, what happens on the way, how they end.

A call sets registers and runs until the guest comes to the return trap of its depth. Other traps and system calls
it meets are answered in between, outside the engine, so what answers them may call the guest again, to any depth.

Signal handlers and finalisers come in at any moment. Where they may call the guest is where a host function may:
`in_host` says so. Elsewhere in a call registers hold what the next step needs, and they are refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock, current_thread
from typing import TYPE_CHECKING, Any

from emu.calls.plan import CallPlan, plan_call
from emu.calls.prototypes import Prototype
from emu.cpu.protocol import Cpu, Stop, StopReason
from emu.errors import BadGuestPointer, BudgetExceeded, Frame, GuestUnwinding, StackExhausted
from emu.isa.convention import CallingConvention
from emu.memory.guest_memory import GuestMemory
from emu.memory.heap import Heap
from emu.run.budget import Budget
from emu.run.stack import Stack
from emu.run.traps import TrapTable
from relink.errors import MachineError, MachineInUse, RelinkError

if TYPE_CHECKING:
    from emu.ports import Callbacks

#: How many calls out of host functions may be under way at once, and below which number none is looked at.
_DEEPEST, _SHALLOW = 1000, 8
#: Frames of Python's stack that a host function is left, to run in and to say what has happened.
_FRAMES_LEFT = 150
#: What a refused access is called, by (whether it wrote, whether the page is mapped).
_ACCESSES = {
    (False, False): StopReason.READ_UNMAPPED,
    (False, True): StopReason.READ_PROTECTED,
    (True, False): StopReason.WRITE_UNMAPPED,
    (True, True): StopReason.WRITE_PROTECTED,
}


def _is_deep() -> bool:
    """Whether Python's own stack is nearly used up."""
    try:
        sys._getframe(max(sys.getrecursionlimit() - _FRAMES_LEFT, 0))
    except ValueError:
        return False
    return True


class Runner:
    """The calls of one machine: one outermost at a time, and those that host functions make within it.

    `max_instructions` and `timeout` (seconds) bound an outermost call that does not say otherwise; 0: no bound.
    `frame` names the code at an address, with its source line; `describe_fault` makes the error for a stop that is
    a fault. `syscall` is given the address of a system-call instruction, `resume` a C++ exception that leaves a
    host function for the guest; both return the address the guest goes on at.
    """

    def __init__(
        self,
        cpu: Cpu,
        memory: GuestMemory,
        heap: Heap,
        traps: TrapTable,
        stack: Stack,
        convention: CallingConvention,
        *,
        max_instructions: int = 0,
        timeout: float = 0.0,
        frame: Callable[[int], Frame],
        describe_fault: Callable[[Stop], RelinkError],
        syscall: Callable[[int], int],
        resume: Callable[[GuestUnwinding], int],
    ) -> None:
        self.cpu, self.memory, self.heap = cpu, memory, heap  #: what an `emu.ports.Guest` has
        self.callbacks: Callbacks  #: set by who makes host functions, which are made with this
        self.max_instructions, self.timeout = max_instructions, timeout
        self.depth = 0  #: how many calls are under way
        self.in_host = False  #: in a call: whether a host function runs, which may call the guest
        self._user = RLock()  # held by the thread that uses the machine
        self._traps = traps
        self._stack = stack
        self._arch = convention.arch
        self._frame = frame
        self._describe_fault = describe_fault
        self._syscall = syscall
        self._resume = resume
        self._link = link = convention.link_register
        #: What an interrupted guest function needs to return, and all that a fault in a nested call may spoil.
        self._returns_through = ("sp",) if link is None else ("sp", link)
        self._interrupted = (*self._returns_through, *cpu.registers[:-1], *convention.preserved_floats)
        self._suspended: list[Sequence[int]] = []  #: `_interrupted` of each guest function that waits for the host
        self._budget = Budget(0, 0.0)
        self._sharing = False  #: whether outermost calls have one budget together
        self._shared: Budget | None = None  #: that budget, once the first of them has begun
        self._reached = 0  #: the trap or system call that is being answered
        self.raised_in_call: BaseException | None = None  #: what the last nested call that failed raised

    # ------------------------------------------------------------ calls

    def call(
        self,
        address: int,
        prototype: Prototype | str,
        *args: object,
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call a guest function and return its result. A nested call has the limits of the outermost one.

        See `Machine.call` for what is raised.
        """
        plan = plan_call(self._arch, prototype)
        if not self._user.acquire(blocking=False):
            raise self._used_elsewhere()
        try:
            if self.depth:
                return self._call_nested(plan, address, args)
            self._budget = self._new_budget(max_instructions, timeout)
            if self.memory.damaged:
                self.memory.repair()
            self.depth = 1
            try:
                return self._enter(plan, address, args, self._stack.top)
            finally:
                self.depth = 0
        finally:
            self._user.release()

    @contextmanager
    def used(self) -> Iterator[None]:
        """While the block runs the machine is this thread's.

        Raises MachineInUse where it is another's, or in the middle of a call, outside of host functions.
        """
        if not self._user.acquire(blocking=False):
            raise self._used_elsewhere()
        try:
            if self.depth and not self.in_host:
                raise self._used_out_of_turn()
            yield
        finally:
            self._user.release()

    def _used_elsewhere(self) -> MachineInUse:
        return MachineInUse(f"another thread is using the machine, so {current_thread().name} cannot")

    @staticmethod
    def _used_out_of_turn() -> MachineInUse:
        return MachineInUse("the guest is in the middle of a call: only its host functions can use it now")

    def _call_nested(self, plan: CallPlan, address: int, args: Sequence[object]) -> Any:
        """A call out of a host function: the interrupted guest function finds its registers as they were."""
        if not self.in_host:
            raise self._used_out_of_turn()
        if self.depth >= _DEEPEST or (self.depth > _SHALLOW and _is_deep()):
            raise StackExhausted
        cpu = self.cpu
        before = cpu.read_registers(self._interrupted)
        self.depth += 1
        self._suspended.append(before)
        try:
            result = self._enter(plan, address, args, before[0])
            # The callee kept what its ABI says; the interrupted function returns through these.
            cpu.write_registers(zip(self._returns_through, before, strict=False))
        except BaseException as error:
            cpu.write_registers(zip(self._interrupted, before, strict=True))
            self.raised_in_call = error
            raise
        finally:
            self.depth -= 1
            self._suspended.pop()
            self.in_host = True
        return result

    def _enter(self, plan: CallPlan, address: int, args: Sequence[object], sp: int) -> Any:
        self.in_host = False
        end = self._traps.return_to(self.depth)
        entry = plan.enter(self, args, sp, end)
        returned = False
        try:
            if entry.stack:
                self.cpu.write(entry.sp, entry.stack)
            self.cpu.write_registers(entry.registers)
            self.run(address, end)
            result = plan.result(self, entry.result_at)
            returned = True
        finally:
            if entry.buffers is not None:
                entry.finish(copy_back=returned)
        return result

    def _new_budget(self, max_instructions: int | None, timeout: float | None) -> Budget:
        shares = self._sharing and max_instructions is None and timeout is None
        if shares and self._shared is not None:
            return self._shared
        budget = Budget(
            self.max_instructions if max_instructions is None else max_instructions,
            self.timeout if timeout is None else timeout,
        )
        if shares:
            self._shared = budget
        return budget

    @contextmanager
    def one_budget(self) -> Iterator[None]:
        """Have the outermost calls made inside share what one may use up: constructors of a load, handlers at an
        end. It begins with the first of them."""
        if self.depth or self._sharing:
            yield
            return
        self._sharing = True
        try:
            yield
        finally:
            self._sharing, self._shared = False, None

    def run_program(
        self, entry: int, registers: Mapping[str, int], max_instructions: int | None, timeout: float | None
    ) -> None:
        """Run a program from its entry, with these registers, until it exits: GuestExit.

        Raises MachineError when a call is under way.
        """
        with self.used():
            if self.depth:
                raise MachineError("a program cannot be run out of a host function")
            self._budget = self._new_budget(max_instructions, timeout)
            self.depth = 1
            self.in_host = False
            try:
                self.cpu.write_registers(registers)
                self.run(entry, self._traps.return_to(1))
            finally:
                self.depth = 0

    # ------------------------------------------------------------ until it ends

    def run(self, pc: int, end: int) -> None:
        """Run from `pc` until the guest comes to `end`, a return trap; other traps and system calls are answered.

        Registers are as they have been set. Raises GuestFault, BudgetExceeded, and what a trap's handler raises.
        """
        run, traps, budget = self.cpu.run, self._traps, self._budget
        while True:
            if budget.bounded:
                if budget.overdue:  # a short stretch could come to its end before the engine looks at the clock
                    raise self._stopped(Stop(StopReason.TIMEOUT, pc))
                if budget.spent:
                    raise self._stopped(Stop(StopReason.INSTRUCTION_LIMIT, pc))
                stop = run(pc, max_instructions=budget.instructions, timeout=budget.seconds_left())
                if budget.limit:
                    budget.spend(self.cpu.executed, on_host=0)
            else:
                stop = run(pc)
            if stop.reason is StopReason.TRAP:
                if stop.pc == end:
                    return
                trap = traps.get(stop.pc)
                if trap is None:
                    raise self._stopped(Stop(StopReason.FETCH_UNMAPPED, stop.pc, stop.pc))
            elif stop.reason is StopReason.SYSCALL:
                trap = None
            elif stop.reason is StopReason.FETCH_UNMAPPED and (fixed := traps.get(stop.pc)) is not None:
                trap = fixed
            else:
                raise self._stopped(stop)
            if budget.limit and trap is not None:
                budget.spend(0, on_host=1)
                if budget.instructions < 0:
                    raise self._stopped(Stop(StopReason.INSTRUCTION_LIMIT, stop.pc))
            if budget.overdue:
                raise self._stopped(Stop(StopReason.TIMEOUT, stop.pc))
            self._reached = stop.pc
            try:
                pc = self._syscall(stop.pc) if trap is None else trap.handler()
            except GuestUnwinding as unwinding:
                if unwinding.depth == self.depth:
                    raise
                pc = self._resume(unwinding)
                self.in_host = False
            except BadGuestPointer as bad:
                raise self._stopped(
                    Stop(_ACCESSES[bad.error.write, bad.error.mapped], stop.pc, bad.error.address)
                ) from bad
            except StackExhausted as deep:
                raise self._stopped(Stop(StopReason.STACK_EXHAUSTED, stop.pc)) from deep

    def check_budget(self) -> None:
        """Raise BudgetExceeded where the call under way has used up its time. Cheap: for what works long."""
        if self._budget.overdue:
            raise self._stopped(Stop(StopReason.TIMEOUT, self._reached))

    @property
    def seconds_left(self) -> float | None:
        """What the call under way has left of its time; None where it has no limit."""
        return self._budget.seconds_left() if self._budget.deadline else None

    @property
    def executed(self) -> int | None:
        """How many instructions the guest has run in the last outermost call, or that under way, exactly; host
        functions not counted. None where it had no `max_instructions`."""
        return self._budget.executed if self._budget.limit else None

    def _stopped(self, stop: Stop) -> RelinkError:
        """The exception for a guest that did not get to its end."""
        if stop.reason in (StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT):
            budget = self._budget
            executed = budget.executed if budget.limit else None
            return BudgetExceeded(budget.describe(stop.reason), self._frame(stop.pc), executed)
        return self._describe_fault(stop)

    # ------------------------------------------------------------ where calls come from

    def return_address(self) -> int:
        """Where the guest function that has just been entered (a trap) will return to."""
        arch = self.memory.architecture
        if self._link is not None:
            address = self.cpu.read_register(self._link)
        else:
            address = self.memory.read_uint(self.cpu.read_register("sp"), arch.word_size)
        return address & arch.code_address_mask

    def host_callers(self) -> list[tuple[int, int]]:
        """(canonical frame address, place it returns to) of each call of a host function that has called the
        guest in turn, outermost first."""
        if self._link is not None:
            return [(before[0], before[1]) for before in self._suspended]
        word = self.memory.architecture.word_size
        return [(before[0] + word, self.memory.read_uint(before[0], word)) for before in self._suspended]

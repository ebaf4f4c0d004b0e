"""Calls into the guest: start, limits, traps and system calls, end.

A call sets registers and runs the guest until it reaches the return trap of its depth. Other traps and system
calls are handled outside the engine, so their handlers may call the guest again, to any depth.

Python signal handlers and finalisers may run at any time. They may call the guest only while a host function runs
(`in_host`); at other times during a call the registers are in use, and the call is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emu.cpu.protocol import EVENTS, Cpu, Stop, StopReason
from emu.errors import BadGuestPointer, BudgetExceeded, CallError, Frame, GuestUnwinding, StackExhausted
from emu.isa.convention import CallingConvention
from emu.memory.guest_memory import GuestMemory
from emu.memory.heap import Heap
from emu.run.budget import UNLIMITED, BudgetedCalls
from emu.run.reserved import used_out_of_turn
from emu.run.stack import Stack
from emu.run.traps import TrapTable
from relink.errors import MachineError, RelinkError

if TYPE_CHECKING:
    from emu.calls.plan import CallPlan
    from emu.calls.types import Prototype
    from emu.ports import Callbacks, Execution, Lent

_TRAP = StopReason.TRAP  # attributes of an enumeration are slow
#: Limit for nested calls from host functions, and the depth from which Python's stack is checked.
_DEEPEST, _SHALLOW = 1000, 8
#: Frames of Python's stack reserved for a host function and for reporting errors.
_FRAMES_LEFT = 150
#: The description of a refused access, by (write, page mapped).
_ACCESSES = {
    (False, False): StopReason.READ_UNMAPPED,
    (False, True): StopReason.READ_PROTECTED,
    (True, False): StopReason.WRITE_UNMAPPED,
    (True, True): StopReason.WRITE_PROTECTED,
}


def _is_deep() -> bool:
    """Whether Python's stack is nearly exhausted."""
    try:
        sys._getframe(max(sys.getrecursionlimit() - _FRAMES_LEFT, 0))
    except ValueError:
        return False
    return True


#: Types whose values belong to no machine.
_PLAIN = frozenset({int, float, bool, str, bytes, bytearray, memoryview, type(None), tuple, list, dict})


class Runner(BudgetedCalls):
    """The calls of one machine: one outermost call at a time, and nested calls from host functions.

    - `max_instructions`, `timeout` (seconds): default limits of an outermost call; 0 for none;
    - `frame`: describes the code at an address, with its source line;
    - `describe_fault`: makes the exception for a stop that is a fault;
    - `syscall`: called with the address of a system-call instruction;
    - `resume`: called with a C++ exception that leaves a host function for the guest. Both return the address at
      which the guest continues.
    """

    #: Called when the outermost call has ended, if set: for what cannot be done during a call.
    at_end: Callable[[], object] | None = None
    at_call: Callable[[], object] | None = None  #: called before each outermost call
    #: Set by `at_call`: what to do after the call, or before the next where a signal handler has interrupted that.
    unfinished: Callable[[], object] | None = None
    #: Called for each event (`emu.cpu.events`), between two instructions; the guest continues at its pc. Set by
    #: whoever asks the CPU for events.
    on_event: Callable[[Stop], object] | None = None
    entry: Callable[..., Stop] | None = None  #: takes the place of `execution.run`, which it calls
    _calls = call_number = 0  #: number of calls so far; that of the innermost one in progress

    def __init__(
        self,
        cpu: Cpu,
        execution: Execution,
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
        self.cpu, self.memory, self.heap = cpu, memory, heap  #: the parts of an `emu.ports.Guest`
        self.callbacks: Callbacks  #: set by who makes host functions, which are made with this
        super().__init__(max_instructions, timeout)
        self.lent: list[Lent] = []  #: those of the calls in progress, innermost last
        self.execution, self._traps, self._stack = execution, traps, stack
        self._arch = self.convention_name = convention.arch
        self._frame = frame
        self._describe_fault, self._syscall, self._resume = describe_fault, syscall, resume
        self._link = link = convention.link_register
        #: Registers that an interrupted guest function needs to return, and all that a fault may change.
        self._returns_through = ("sp",) if link is None else ("sp", link)
        self._interrupted = (*self._returns_through, *cpu.registers[:-1], *convention.preserved_floats)
        #: values of the `_interrupted` registers of each guest function that waits for the host
        self._suspended: list[Sequence[int]] = []
        #: Called for each fault: returns where the guest continues, or None for an unhandled fault.
        self.on_fault: Callable[[Stop], int | None] = lambda stop: None
        #: Raises ForeignObject for objects of another machine; set by who knows what this one's are.
        self.check_objects: Callable[..., object] = lambda *values: None
        #: Whether the guest waits in the middle of a function: a nested call then preserves all registers.
        self.between_instructions = False
        self.raised_in_call: BaseException | None = None  #: the exception of the last nested call that failed

    # ------------------------------------------------------------ calls

    def call(
        self,
        address: int,
        prototype: Prototype | str,
        *args: object,
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """As `Machine.call`. A nested call has the limits of the outermost one."""
        if type(address) is not int:
            self.check_objects(address)
            if not hasattr(address, "__index__"):
                raise CallError(f"{address!r} is no address; use library.function() for a name")
        return self.call_planned(self.plan(prototype), address, args, max_instructions, timeout)

    def plan(self, prototype: Prototype | str) -> CallPlan:
        """The plan of a prototype, for `call_planned`."""
        from emu.calls.plan import plan_call  # with all modules for C types: few loads call anything

        return plan_call(self._arch, prototype)

    def call_planned(
        self,
        plan: CallPlan,
        address: int,
        args: tuple[object, ...],
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """`call`, by the plan of a prototype. All calls from Python come here: who watches calls replaces it."""
        for value in args:
            if value.__class__ not in _PLAIN:
                self.check_objects(*args)
                break
        self.reserve()
        try:
            if self.depth:
                return self._call_nested(plan, address, args)
            if max_instructions or timeout or self.max_instructions or self.timeout or self.in_operation:
                self._budget = self._new_budget(max_instructions, timeout)
            else:
                self._budget = UNLIMITED
            if self.memory.damaged:
                self.memory.repair()
            try:
                if self.unfinished is not None:
                    self.finish()
                self.depth = 1
                if self.at_call is not None:
                    self.at_call()
                return self._enter(plan, address, args, self._stack.top)
            finally:
                try:
                    if self.lent:
                        self._take_back(None)
                finally:
                    self.depth = 0
                    if self.unfinished is not None:
                        self.finish()
                if self.at_end is not None:
                    self.at_end()
        except Exception as error:
            if self.file is not None:
                self.refuse(error)
            raise
        finally:
            self.uses -= 1

    def finish(self) -> None:
        """Do what a call has left to be done after it."""
        if self.unfinished is not None and not self.depth:
            self.unfinished()
            self.unfinished = None

    def _call_nested(self, plan: CallPlan, address: int, args: Sequence[object]) -> Any:
        """A call from a host function; restores the registers of the interrupted guest function."""
        if not self.in_host:
            raise used_out_of_turn()
        if self.depth >= _DEEPEST or (self.depth > _SHALLOW and _is_deep()):
            raise StackExhausted
        cpu = self.cpu
        before = cpu.read_registers(self._interrupted)
        everything, number = cpu.save() if self.between_instructions else None, self.call_number
        depth = self.depth
        try:
            self._suspended.append(before)
            self.depth = depth + 1
            result = self._enter(plan, address, args, before[0])
            if everything is not None:
                cpu.restore(everything)
            # The callee preserves the registers of its ABI; the interrupted function also needs these to return.
            cpu.write_registers(zip(self._returns_through, before, strict=False))
        except BaseException as error:
            if everything is not None:
                cpu.restore(everything)
            cpu.write_registers(zip(self._interrupted, before, strict=True))
            self.raised_in_call = error
            raise
        finally:
            self.depth, self.call_number = depth, number
            del self._suspended[depth - 1 :]
            self.in_host = True
            self.between_instructions = everything is not None
        return result

    def _enter(self, plan: CallPlan, address: int, args: Sequence[object], sp: int) -> Any:
        self.in_host = self.between_instructions = False
        self._calls = self.call_number = self._calls + 1
        end = self._traps.return_address if self.depth == 1 else self._traps.return_to(self.depth)
        buffers, returned = None, False
        try:
            names, values, stack, bottom, buffers, result_at = plan.enter(self, args, sp, end)
            if stack:
                self.cpu.write(bottom, stack)
            self.cpu.set_registers(names, values)
            self.run(address, end)
            result = plan.result(self, result_at)
            returned = True
        finally:
            if not returned:
                self.in_host = False
                self.cpu.discontinue(outermost=self.depth == 1)
            if self.lent:
                self._take_back(buffers if returned else None)
        return result

    def _take_back(self, returned: Lent | None) -> None:
        """Finish the buffers of the call in progress (`returned`, if it has returned), and those that are left of
        nested ones, whose end was interrupted.
        """
        lent = self.lent
        while lent and (buffers := lent[-1]).depth >= self.depth:
            buffers.finish(copy_back=buffers is returned)
            if lent and lent[-1] is buffers:
                del lent[-1]

    def run_program(
        self, entry: int, registers: Mapping[str, int], max_instructions: int | None, timeout: float | None
    ) -> None:
        """Run a program from its entry point with these registers until it raises GuestExit.

        Raises MachineError during a call.
        """
        with self.used():
            if self.depth:
                raise MachineError("a program cannot be run from a host function")
            self._budget = self._new_budget(max_instructions, timeout)
            self.depth = 1
            self.in_host = False
            try:
                self.cpu.write_registers(registers)
                self.run(entry, self._traps.return_to(1))
            finally:
                self.depth = 0
                self.cpu.discontinue(outermost=True)
                if self.at_end is not None:
                    self.at_end()

    # ------------------------------------------------------------ until it ends

    def run(self, pc: int, end: int) -> None:
        """Run from `pc`, with the current registers, to `end`, a return trap; traps and system calls are handled.

        Raises GuestFault, BudgetExceeded, and exceptions of trap handlers.
        """
        traps, budget = self._traps, self._budget
        while True:
            run = self.entry or self.execution.run
            if budget.bounded:
                if budget.overdue:  # a short run may end before the engine checks the clock
                    raise self._stopped(Stop(StopReason.TIMEOUT, pc))
                if budget.spent:
                    raise self._stopped(Stop(StopReason.INSTRUCTION_LIMIT, pc))
                stop = run(pc, max_instructions=budget.instructions, timeout=budget.seconds_left())
                if budget.limit:
                    budget.spend(self.execution.executed, on_host=0)
            else:
                stop = run(pc)
            if stop.reason is _TRAP:
                if stop.pc == end:
                    return
                handler = traps.handler(stop.pc)
                if handler is None:
                    raise self._stopped(Stop(StopReason.FETCH_UNMAPPED, stop.pc, stop.pc))
            elif stop.reason is StopReason.SYSCALL:
                handler = None
            elif stop.reason is StopReason.FETCH_UNMAPPED and (fixed := traps.handler(stop.pc)) is not None:
                handler = fixed
            else:
                pc = self._handled(stop)
                continue
            if budget.limit and handler is not None:
                budget.spend(0, on_host=1)
                if budget.instructions < 0:
                    raise self._stopped(Stop(StopReason.INSTRUCTION_LIMIT, stop.pc))
            if budget.bounded and budget.overdue:
                raise self._stopped(Stop(StopReason.TIMEOUT, stop.pc))
            self._reached = stop.pc
            try:
                pc = self._syscall(stop.pc) if handler is None else handler()
            except GuestUnwinding as unwinding:
                if unwinding.depth == self.depth:
                    raise
                pc = self._resume(unwinding)
                self.in_host = False
            except BadGuestPointer as bad:
                pc = self._fault_of_host(bad, stop.pc)
            except StackExhausted as deep:
                raise self._stopped(Stop(StopReason.STACK_EXHAUSTED, stop.pc)) from deep

    def _event(self, stop: Stop) -> int:
        """Report an event and return where the guest continues. Exceptions end the call."""
        self._reached = stop.pc
        self.in_host = self.between_instructions = True
        try:
            if self.on_event is not None:
                self.on_event(stop)
        finally:
            self.in_host = self.between_instructions = False
        pc = self.cpu.read_register("pc")
        if stop.reason is not StopReason.WATCH and pc & self.memory.architecture.code_address_mask == stop.pc:
            self.cpu.events.pass_over(pc)
        return pc

    def _handled(self, stop: Stop) -> int:
        """Return where the guest continues after an event or a fault. Raises the fault where it is unhandled."""
        if stop.reason in EVENTS:
            return self._event(stop)
        after = self.on_fault(stop)
        if after is None:
            raise self._stopped(stop)
        return after

    def _fault_of_host(self, bad: BadGuestPointer, pc: int) -> int:
        """Like `_handled`, for a bad pointer that the guest gave to a hosted function, which is called again after
        a signal handler.
        """
        fault = Stop(_ACCESSES[bad.error.write, bad.error.mapped], pc, bad.error.address)
        after = self.on_fault(fault)
        if after is None:
            raise self._stopped(fault) from bad
        self.in_host = False
        return after

    def _stopped(self, stop: Stop) -> RelinkError:
        """The exception for a guest that stopped before the end of its call."""
        if stop.reason in (StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT):
            budget = self._budget
            executed = budget.executed if budget.limit else None
            return BudgetExceeded(budget.describe(stop.reason), self._frame(stop.pc), executed)
        return self._describe_fault(stop)

    # ------------------------------------------------------------ where calls come from

    def return_address(self) -> int:
        """The return address of the guest function just entered (a trap)."""
        arch = self.memory.architecture
        if self._link is not None:
            address = self.cpu.read_register(self._link)
        else:
            address = self.memory.read_uint(self.cpu.read_register("sp"), arch.word_size)
        return address & arch.code_address_mask

    def host_callers(self) -> list[tuple[int, int]]:
        """(canonical frame address, return address) of each host function that has called the guest, outermost
        first.
        """
        if self._link is not None:
            return [(before[0], before[1]) for before in self._suspended]
        word = self.memory.architecture.word_size
        return [(before[0] + word, self.memory.read_uint(before[0], word)) for before in self._suspended]

"""The debugger's session: it stops the guest, lets GDB look at it, and runs it on, or back.

The guest runs in the thread that calls it, which answers GDB's packets at each stop. A call from Python is the
unit of history: before it, a snapshot is taken; to go back, the call is abandoned, the machine returns to the
snapshot, and the call is made again up to an earlier instruction. Host functions are called again then: what they
do outside the machine happens again.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from emu.cpu.protocol import Stop, StopReason
from emu.debug.gdb.commands import Commands, Resume, Texts
from emu.debug.gdb.execution import SlicedExecution
from emu.debug.gdb.objects import ObjectList
from emu.debug.gdb.packets import Connection, Disconnected
from emu.debug.gdb.target import RegisterFile, description
from emu.errors import DebuggerKilled, SnapshotError
from relink.memory.rollback import Rollback
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.calls.plan import CallPlan
    from emu.cpu.protocol import Cpu
    from emu.debug.link_maps import LinkMaps
    from emu.debug.observation import Observation
    from emu.isa.spec import Isa
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.traps import TrapTable
    from relink.linker import Linker

_SIGNALS = {
    StopReason.INVALID_INSTRUCTION: 4,
    StopReason.TIMEOUT: 14,
}
_SIGSEGV, _SIGTRAP, _SIGINT = 11, 5, 2
_BEGIN = b"T05replaylog:begin;"  #: the reason of a stop at the beginning of a call, on the way back


class History(Protocol):
    """The snapshots of a machine."""

    def snapshot(self) -> Any:
        """The present state."""

    def restore(self, snapshot: Any) -> None:
        """Return to a state."""


class Parts(Protocol):
    """The parts of a machine that a debugger uses."""

    @property
    def cpu(self) -> Cpu: ...
    @property
    def memory(self) -> GuestMemory: ...
    @property
    def runner(self) -> Runner: ...
    @property
    def traps(self) -> TrapTable: ...
    @property
    def linker(self) -> Linker: ...
    @property
    def link_maps(self) -> LinkMaps: ...
    @property
    def observation(self) -> Observation: ...


class _Rewind(BaseException):
    """Raised to abandon a call: it is made again up to position `goal`, where GDB gets the stop reply `reason`;
    with `search`, to the last stop before.
    """

    def __init__(self, goal: int, reason: bytes | None = None, *, search: bool = False) -> None:
        super().__init__("the debugger goes back")
        self.goal, self.reason, self.search = goal, reason, search


@dataclass
class _Search:
    """Making a call again to find the last stop before position `end`."""

    end: int
    found: int = 0
    reason: bytes = _BEGIN  #: of the stop at `found`


class Debugger:
    """One debugging session of a machine, which is under it until `close`. Use it as a context manager.

    `port` is the TCP port of the loopback interface on which it waits for GDB.
    """

    def __init__(self, parts: Parts, isa: Isa, history: History, auxv: bytes, program: str, port: int = 0) -> None:
        self._parts, self._history = parts, history
        self._closed = self._attached = False
        self._entry: int | None = None  # the first instruction of a call, where there is a breakpoint
        self._connection: Connection | None = None
        self._interrupted = False
        self._search: _Search | None = None
        self._arrival: bytes | None = None  # the reason of the stop at the goal
        self._first = False  # whether the next stop is the one at a call's first instruction
        self._has_history = False
        self._told = False  # whether the debugger has been told of a stop
        runner = parts.runner
        mask = parts.memory.architecture.code_address_mask
        objects = ObjectList(lambda: parts.linker.images, parts.link_maps.link_map_address)
        texts = Texts(
            lambda: description(isa.gdb).encode(),
            lambda: objects.xml().encode(),
            lambda: auxv,
            lambda: program.encode("utf-8", "surrogateescape"),
        )
        traps = range(parts.traps.start, parts.traps.start + parts.traps.size)
        registers = RegisterFile(isa.gdb, parts.cpu, 1 if parts.memory.architecture.code_address_bits else 0)
        self._commands = Commands(registers, parts.memory, parts.cpu.events, objects, texts, mask, traps)
        self._execution = SlicedExecution(runner.execution, parts.cpu, mask, lambda: self._interrupted)
        self._inner_call, self._inner_fault = runner.call_planned, runner.on_fault
        self._call_before = vars(runner).get(
            "call_planned"
        )  # of another that watches calls, as the pytest plug-in
        patched: Any = runner
        self._socket = socket.create_server(("127.0.0.1", port))
        try:
            self.port: int = self._socket.getsockname()[1]
            steps = self._let_go, self._end_call, self._take_leave, self._wake, self._socket.close, objects.close
            self._rest = Rollback((step, ()) for step in reversed(steps))  #: of `close`
            # Without a call from here to the end: no signal handler can leave the machine half under a debugger.
            patched.call_planned, patched.on_fault = self._call, self._fault
            runner.execution = self._execution
            parts.observation.listeners += [self._event]
            self._attached = True
        except BaseException:
            self._socket.close()
            raise

    @property
    def command(self) -> str:
        """A shell command that starts GDB and connects it."""
        return f"gdb-multiarch -ex 'set sysroot /' -ex 'target remote 127.0.0.1:{self.port}' -ex sharedlibrary"

    # ------------------------------------------------------------ calls

    def _call(
        self,
        plan: CallPlan,
        address: int,
        args: tuple[object, ...],
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """`Runner.call_planned` under the debugger, without its time limit."""
        if self._parts.runner.depth or not self._wait():
            return self._inner_call(plan, address, args, max_instructions, timeout)
        try:
            before = self._history.snapshot()
        except SnapshotError:  # in a load, whose constructors are calls: they have no history
            before = None
        self._end_call()  # of a call that a signal handler has ended here
        self._execution.begin()
        self._first, self._has_history = True, before is not None
        start = address & self._parts.memory.architecture.code_address_mask
        try:
            while True:
                self._parts.cpu.events.add_breakpoint(start)
                self._entry = start  # without a call between
                try:
                    result = self._inner_call(plan, address, args, max_instructions, 0.0)
                    if self._search is None:
                        return result
                    rewind = _Rewind(self._search.found, self._search.reason)  # from the return to the host
                except _Rewind as wanted:
                    rewind = wanted
                self._leave_entry()
                assert before is not None
                self._history.restore(before)
                self._go_back(rewind)
        finally:
            self._end_call()
            if before is not None:
                before.close()

    def _end_call(self) -> None:
        """Forget what only the call in progress needs. May be repeated: where a signal handler interrupts it, the
        next call or `close` does so.
        """
        self._search = self._arrival = None
        self._has_history = self._first = False
        self._leave_entry()
        self._execution.end()
        self._parts.cpu.events.stepping = False

    def _leave_entry(self) -> None:
        """Remove the breakpoint at a call's first instruction."""
        if (start := self._entry) is not None:
            self._parts.cpu.events.remove_breakpoint(start)
            self._entry = None  # without a call between

    def _go_back(self, rewind: _Rewind) -> None:
        self._execution.begin()
        self._execution.goal = rewind.goal
        self._search = _Search(rewind.goal) if rewind.search else None
        self._arrival = rewind.reason
        self._parts.cpu.events.stepping = False

    def _wait(self) -> bool:
        """Wait for a debugger, the first time; whether there is one."""
        if self._closed:
            return False
        if self._connection is None:
            try:
                client, _ = self._socket.accept()
            except OSError:
                if self._closed:  # by another thread
                    return False
                raise
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = Connection(client, self._interrupt)
        return not self._connection.gone

    def _interrupt(self) -> None:
        self._interrupted = True

    # ------------------------------------------------------------ stops

    def _event(self, stop: Stop) -> None:
        """A breakpoint, watched memory, or a step: see `emu.cpu.events`."""
        position, goal = self._execution.position, self._execution.goal
        if self._search is not None:
            if stop.reason is StopReason.STEP:
                search, self._search = self._search, None
                raise _Rewind(search.found, search.reason)
            if position < self._search.end and (reason := self._reason(stop)) is not None:
                self._search.found, self._search.reason = position, reason
            return
        if goal is not None:
            return  # on the way back
        if self._first:
            self._first = False
            self._talk(self._signal(_SIGTRAP), tell=not self._is_fresh())
        elif (reason := self._reason(stop)) is not None:
            self._talk(reason)

    def _is_fresh(self) -> bool:
        """Whether the debugger has just connected: it asks for the reason of the stop itself."""
        fresh, self._told = not self._told, True
        return fresh

    def _reason(self, stop: Stop) -> bytes | None:
        """The stop reply for an event; None for an event that GDB did not ask for."""
        if stop.reason is StopReason.STEP:
            arrival, self._arrival = self._arrival, None
            number, self._interrupted = (_SIGINT if self._interrupted else _SIGTRAP), False
            return arrival or self._signal(number)
        if stop.reason is StopReason.WATCH:
            for each in self._parts.cpu.events.accesses:
                if (told := self._commands.watch_of(each.address, each.size, write=each.write)) is not None:
                    return told
            return None
        return b"T05swbreak:;" if self._commands.is_breakpoint(stop.pc) else None

    def _fault(self, stop: Stop) -> int | None:
        """A fault: GDB sees it before the guest's own handler, or before it ends the call."""
        if self._search is None and self._execution.goal is None and self._parts.runner.depth:
            runner = self._parts.runner
            runner.in_host = runner.between_instructions = True
            try:
                self._talk(self._signal(_SIGNALS.get(stop.reason, _SIGSEGV)))
            finally:
                runner.in_host = runner.between_instructions = False
        return self._inner_fault(stop)

    @staticmethod
    def _signal(number: int) -> bytes:
        return b"T%02x" % number

    def _talk(self, reason: bytes, *, tell: bool = True) -> None:
        """Let the debugger look, and resume as it says."""
        connection, events = self._connection, self._parts.cpu.events
        if connection is None or connection.gone:
            return
        self._interrupted = False
        while True:
            try:
                resume = self._commands.converse(connection, reason, tell=tell)
            except Disconnected:
                resume = Resume.DETACH
            except BaseException:  # of a signal handler: it ends a call that GDB shows as stopped
                self._leave()
                raise
            if resume is Resume.KILL:
                self._leave()
                raise DebuggerKilled
            if resume is Resume.DETACH:
                self._leave()
                return
            if resume in (Resume.REVERSE_STEP, Resume.REVERSE_CONTINUE):
                position = self._execution.position
                if position and self._has_history:
                    back = resume is Resume.REVERSE_STEP
                    raise _Rewind(position - 1 if back else position, search=not back)
                reason, tell = _BEGIN, True
                continue
            events.stepping = resume is Resume.STEP
            return

    def _leave(self) -> None:
        """End the connection; the guest goes on without breakpoints."""
        self._commands.forget()
        self._parts.cpu.events.stepping = False
        if self._connection is not None:
            self._connection.close()

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """End the session: report to GDB that the program has exited, and close the connection. May be called
        again, also after an exception of a signal handler has interrupted it.
        """
        self._closed = True
        rest = self._rest
        try:
            rest.close()
        finally:
            if rest.calls:
                rest.close()

    def _let_go(self) -> None:
        """Give the machine its own functions back."""
        runner: Any = self._parts.runner
        observation = self._parts.observation
        others = [listener for listener in observation.listeners if listener != self._event]
        if self._attached:  # without a call from here on, as in `__init__`
            if self._call_before is None:
                del runner.call_planned
            else:
                runner.call_planned = self._call_before
            runner.on_fault, runner.execution = self._inner_fault, self._execution.inner
            observation.listeners = others
            self._attached = False

    def _take_leave(self) -> None:
        """Tell GDB that the program has exited."""
        if self._connection is not None and not self._connection.gone:
            self._connection.send(b"W00")
        self._leave()

    def _wake(self) -> None:
        """Let a thread that waits for GDB go on."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

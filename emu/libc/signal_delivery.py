"""Signals of one machine: actions, masks, what is pending, and the entry and return of handlers.

The hosted C library (`emu.libc.signals`) and the kernel (`emu.linux.syscalls.signals`) share this: a program may
use both. A handler runs as guest code on a frame that Linux would have made (`emu.libc.signal_frame`), on the
interrupted stack or the one that sigaltstack gave. Signals are those the guest sends itself, its own faults, and
interval timers. They are delivered when a system call or a hosted function returns: no other process exists, and
nothing interrupts running code.

Source: Linux, kernel/signal.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection, Stop, StopReason
from emu.errors import GuestAbort, Restart
from emu.libc.errno import Errno, FileError
from emu.libc.file_node import USER_ID
from emu.libc.interval_timer import SECOND, IntervalTimer
from emu.libc.process import PROCESS_ID
from emu.libc.signal_frame import Interruption, pop, push, uses
from emu.libc.signal_numbers import (
    DEFAULT,
    FIRST_QUEUED,
    IGNORE,
    IGNORED,
    MOST_PENDING,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SA_RESTORER,
    SA_SIGINFO,
    SI_KERNEL,
    SI_TKILL,
    SIGABRT,
    SIGALRM,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGSEGV,
    SIGTRAP,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    SYNCHRONOUS,
    UNBLOCKABLE,
    Action,
    Pending,
    name_of,
)
from emu.libc.signal_stack import NO_STACK, AlternateStack
from relink.errors import AddressSpaceError, RelinkError

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.libc.library import Libc
    from emu.run.traps import TrapTable

#: Stop -> (signal, si_code): SEGV_MAPERR, SEGV_ACCERR, BUS_ADRALN, FPE_INTDIV. 0: the ISA's own code.
_FAULTS = {
    StopReason.READ_UNMAPPED: (SIGSEGV, 1),
    StopReason.WRITE_UNMAPPED: (SIGSEGV, 1),
    StopReason.FETCH_UNMAPPED: (SIGSEGV, 1),
    StopReason.READ_PROTECTED: (SIGSEGV, 2),
    StopReason.WRITE_PROTECTED: (SIGSEGV, 2),
    StopReason.FETCH_PROTECTED: (SIGSEGV, 2),
    StopReason.UNALIGNED: (SIGBUS, 1),
    StopReason.INVALID_INSTRUCTION: (SIGILL, 0),
    StopReason.ARITHMETIC: (SIGFPE, 1),
    StopReason.BREAKPOINT: (SIGTRAP, 0),
}


class Signals:
    """The signals of one machine."""

    def __init__(self, libc: Libc) -> None:
        self.libc = libc
        self.actions: dict[int, Action] = {}
        self.mask = 0
        self.pending: list[Pending] = []
        self.alternate = AlternateStack(libc.isa.kernel.signals.least_stack)
        self.timer = IntervalTimer()
        engine = libc.engine  #: None without a machine
        self.cpu: Cpu | None = None if engine is None else engine.cpu
        self.traps: TrapTable | None = None if engine is None else engine.traps
        self._mask_to_restore: int | None = None  #: the mask before sigsuspend
        self._code: dict[str, int] = {}  #: address of the code that makes a system call to end a handler
        self._aborting = False
        self._after_abort = 0
        libc.at_start.append(self.reset)

    # ------------------------------------------------------------ state

    def action(self, number: int) -> Action:
        return self.actions.get(number, Action(DEFAULT))

    def set_action(self, number: int, action: Action) -> None:
        """Set an action; a pending signal that is now ignored is dropped."""
        self.actions[number] = action
        if self._is_ignored(number):
            self.pending = [each for each in self.pending if each.number != number]

    def reset(self) -> None:
        """The state of a new process."""
        self.actions, self.mask, self.pending = {}, 0, []
        self.alternate.stack, self.timer = NO_STACK, IntervalTimer()
        self._mask_to_restore, self._aborting = None, False
        self.libc.signals_pending = False

    def block(self, mask: int) -> None:
        """Replace the mask; signals it no longer blocks are delivered when the calling function returns."""
        self.mask = mask & ~UNBLOCKABLE
        self._look_again()

    def _look_again(self) -> None:
        self.libc.signals_pending = bool(self.pending) or self.timer.armed or self._mask_to_restore is not None

    def _is_ignored(self, number: int) -> bool:
        handler = self.action(number).handler
        return handler == IGNORE or (handler == DEFAULT and number in IGNORED)

    def _is_caught(self, number: int) -> bool:
        return not self._is_ignored(number)

    def is_blocked(self, number: int) -> bool:
        return bool(self.mask >> (number - 1) & 1)

    # ------------------------------------------------------------ sending

    def send(self, number: int, code: int = SI_TKILL, value: int = 0) -> None:
        """Make a signal pending. Raises GuestAbort where it ends the process at once, FileError EAGAIN where too
        many are queued.
        """
        if self._is_ignored(number) and not self.is_blocked(number):
            return
        if not self.is_blocked(number) and self.action(number).handler == DEFAULT:
            raise self.fatal(number)
        if number >= FIRST_QUEUED or all(each.number != number for each in self.pending):
            if len(self.pending) >= MOST_PENDING:
                raise FileError(Errno.EAGAIN)
            self.pending.append(Pending(number, code, value))
        self.libc.signals_pending = True

    def fatal(self, number: int, why: str = "") -> GuestAbort:
        """The error of a process that a signal ends."""
        return GuestAbort(f"the guest was ended by its own {name_of(number)}{why}")

    def abort(self) -> bool:
        """Have a handler of SIGABRT run, if there is one, and the program end when it returns."""
        if self.cpu is None or self.action(SIGABRT).handler in (DEFAULT, IGNORE):
            return False
        self.mask &= ~(1 << (SIGABRT - 1))
        self._aborting = True
        self.send(SIGABRT)
        return True

    def take(self, wanted: int) -> Pending | None:
        """Remove a pending signal of a set, as sigwait does; None if none is pending."""
        self._expire()
        found = min((each for each in self.pending if wanted >> (each.number - 1) & 1), default=None, key=_order)
        if found is not None:
            self.pending.remove(found)
            self._look_again()
        return found

    # ------------------------------------------------------------ waiting

    def wait(self, action: str) -> None:
        """The guest waits for what only a signal can end. Raises Restart, or FileError EINTR, when one comes:
        GuestAbort when none can.
        """
        self._expire()
        if not self._deliverable() and not (self._is_caught(SIGALRM) and self.skip_to_timer(~self.mask)):
            raise GuestAbort(f"deadlock: the only thread waits {action}")
        first = self._deliverable()
        if first is not None and self.action(first.number).flags & SA_RESTART:
            raise Restart
        raise FileError(Errno.EINTR)

    def pause(self, action: str, mask: int | None = None, limit: int | None = None) -> None:
        """Wait, with another mask until a handler has run: `limit` nanoseconds, or until a signal comes. No
        handler restarts it. Raises as `wait`.
        """
        before = self.mask
        if mask is not None:
            self._mask_to_restore = before
            self.block(mask)
        try:
            if limit is None:
                self.wait(action)
            elif self.sleep(limit) or self._deliverable():
                raise FileError(Errno.EINTR)
        except Restart:
            raise FileError(Errno.EINTR) from None
        except GuestAbort:
            self._mask_to_restore = None
            self.block(before)
            raise

    def sleep(self, nanoseconds: int, wanted: int = 0) -> int:
        """Let the guest's time pass, until the interval timer's signal comes, if that is delivered or in the set
        `wanted`; return how much of it is left.

        It takes no time on the host: the guest's clock goes forward.
        """
        now = self.libc.clock()
        passed = min(nanoseconds, self.timer.left(now))
        self._pass_time(now, passed)
        if self._deliverable() or any(wanted >> (each.number - 1) & 1 for each in self.pending):
            return nanoseconds - passed
        self._pass_time(now + passed, nanoseconds - passed)
        return 0

    def _pass_time(self, now: int, nanoseconds: int) -> None:
        self.libc.slept += nanoseconds
        self._expire(now + nanoseconds)

    def set_timer(self, value: int, interval: int) -> None:
        """Start or stop the interval timer; times in nanoseconds."""
        self.timer.set(self.libc.clock(), value, interval)
        self._look_again()

    def alarm(self, seconds: int) -> int:
        """alarm: returns the seconds left of an earlier one, rounded, but not to 0."""
        left = self.timer.left(self.libc.clock())
        self.set_timer(seconds * SECOND, 0)
        return max((left + SECOND // 2) // SECOND, 1) if left else 0

    def skip_to_timer(self, wanted: int) -> bool:
        """Let the time pass until the interval timer expires, if its signal is one of a set; whether it was."""
        if not self.timer.armed or not wanted >> (SIGALRM - 1) & 1:
            return False
        now = self.libc.clock()
        self._pass_time(now, self.timer.left(now))
        return True

    def _expire(self, now: int | None = None) -> None:
        if self.timer.armed and self.timer.expired(self.libc.clock() if now is None else now):
            self.send(SIGALRM, SI_KERNEL)
            self._look_again()

    # ------------------------------------------------------------ delivery

    def _deliverable(self) -> Pending | None:
        """The pending signal that is delivered next."""
        ready = (each for each in self.pending if not self.is_blocked(each.number))
        return min(ready, default=None, key=_order)

    def deliver(self, pc: int) -> int:
        """Return where to continue: at a handler, or at `pc`. As in Linux all signals that are not blocked get
        frames, one on another, so that the last one's handler runs first. Raises GuestAbort.
        """
        self._expire()
        while (signal := self._deliverable()) is not None:
            self.pending.remove(signal)
            action = self.action(signal.number)
            if self._is_ignored(signal.number):
                continue
            if action.handler == DEFAULT:
                raise self.fatal(signal.number)
            if signal.number == SIGABRT and self._aborting:
                self._aborting = False
                pc = self._end_of_abort()
            try:
                pc = self._enter(signal.number, action, pc, self._sent_info(signal))
            except AddressSpaceError as error:
                raise self.fatal(SIGSEGV, f": no stack for the handler of {name_of(signal.number)}") from error
        if self._mask_to_restore is not None:
            self.mask, self._mask_to_restore = self._mask_to_restore, None
        self._look_again()
        return pc

    def fault(self, stop: Stop) -> int | None:
        """Return the handler at which a faulting guest continues, or None where it has none for this fault."""
        if stop.reason not in _FAULTS or self.cpu is None:
            return None
        abi, arch = self.libc.isa.kernel.signals, self.libc.arch
        number, code = _FAULTS[stop.reason]
        action = self.action(number)
        if action.handler in (DEFAULT, IGNORE) or self.is_blocked(number):
            return None
        pc, address = stop.pc, stop.pc if stop.address is None else stop.address
        if stop.reason is StopReason.INVALID_INSTRUCTION:
            code = abi.illegal
        elif stop.reason is StopReason.BREAKPOINT:
            code, pc = abi.trap, pc + abi.trap_length
        if code == SI_KERNEL:
            address = 0
        if abi.thumb is not None:
            register, bit = abi.thumb
            pc = pc & arch.code_address_mask | bool(self.cpu.read_register(register) & bit)
        info = self._info(number, code, address.to_bytes(self.libc.word, "little"))
        try:
            return self._enter(number, action, pc, info, stop.reason, address)
        except RelinkError:  # no stack is left for a handler: report the fault itself
            return None

    def _info(self, number: int, code: int, rest: bytes) -> bytes:
        """siginfo_t: number, errno, code, and what depends on the code."""
        head = b"".join(each.to_bytes(4, "little", signed=True) for each in (number, 0, code))
        return head.ljust(16 if self.libc.word == 8 else 12, b"\0") + rest

    def _sent_info(self, signal: Pending) -> bytes:
        """The siginfo_t of a signal that was sent: the sender's ids, none for the kernel, and the value."""
        ids = (0, 0) if signal.code == SI_KERNEL else (PROCESS_ID, USER_ID)
        sender = b"".join(each.to_bytes(4, "little") for each in ids)
        return self._info(signal.number, signal.code, sender + signal.value.to_bytes(self.libc.word, "little"))

    def info(self, signal: Pending) -> bytes:
        """The whole siginfo_t of a signal, for sigwaitinfo."""
        return self._sent_info(signal).ljust(128, b"\0")

    def _enter(
        self,
        number: int,
        action: Action,
        pc: int,
        info: bytes,
        fault: StopReason | None = None,
        address: int = 0,
    ) -> int:
        """Make a frame, and set the registers for the handler; return its address."""
        libc, cpu = self.libc, self.cpu
        if cpu is None:
            raise GuestAbort(f"{name_of(number)}: there is no machine to run its handler")
        abi, convention = libc.isa.kernel.signals, libc.isa.convention
        top = cpu.read_register("sp") - convention.red_zone
        stack = self.alternate.seen_from(cpu.read_register("sp"))
        if action.flags & SA_ONSTACK and not stack.flags & (SS_ONSTACK | SS_DISABLE):
            top = stack.start + stack.size
        kind = uses(abi, bool(action.flags & SA_SIGINFO))
        mask = self.mask if self._mask_to_restore is None else self._mask_to_restore
        what = Interruption(number, info, pc, mask, stack, fault, address)
        restorer = action.restorer if action.flags & SA_RESTORER else self._ending(kind.call, kind.return_code)
        start = push(cpu, abi, kind, top, what, libc.word)
        if kind.return_at is not None:
            cpu.store(start + kind.return_at, restorer.to_bytes(libc.word, "little"))
        self._mask_to_restore = None
        if stack.flags & SS_AUTODISARM:
            self.alternate.stack = NO_STACK
        info_at, context_at = (start + (each or 0) for each in (kind.info, kind.context))
        values = {**abi.entry, **dict(zip(abi.arguments, (number, info_at, context_at), strict=True)), "sp": start}
        if convention.link_register is not None:
            values[convention.link_register] = restorer
        if abi.frame_record is not None:
            values[abi.frame_record[0]] = start + abi.frame_record[1]
        if abi.cleared is not None:
            register, bits = abi.cleared
            values[register] = cpu.read_register(register) & ~bits
        cpu.write_registers(values)
        self.mask |= (action.mask | (0 if action.flags & SA_NODEFER else 1 << (number - 1))) & ~UNBLOCKABLE
        if action.flags & SA_RESETHAND:
            self.actions.pop(number, None)
        return action.handler

    def _ending(self, call: str, code: bytes) -> int:
        """The address of the kernel's own code that ends a handler."""
        if call not in self._code:
            page = self.libc.mappings.map_anonymous(
                self.libc.arch.page_size, Protection.R | Protection.X, name="[sigreturn]"
            )
            self.libc.mappings.write(page, code)
            self._code[call] = page
        return self._code[call]

    def returned(self, call: str) -> int:
        """`rt_sigreturn` or `sigreturn`: restore what the frame at the stack pointer has; return where the guest
        continues. Raises GuestAbort for a frame that cannot be read.
        """
        assert self.cpu is not None
        abi = self.libc.isa.kernel.signals
        kind = abi.plain if abi.plain is not None and call == abi.plain.call else abi.frame
        try:
            restored = pop(self.cpu, abi, kind, self.libc.word)
        except AddressSpaceError as error:
            raise self.fatal(SIGSEGV, f": {call} without a frame at the stack pointer") from error
        self.block(restored.mask)
        if restored.stack is not None:
            self.alternate.set(self.cpu.read_register("sp"), *restored.stack)
        return self.deliver(restored.pc) if self.libc.signals_pending else restored.pc

    def _end_of_abort(self) -> int:
        """The address at which the guest continues when a handler of SIGABRT returns that abort() called."""
        if not self._after_abort:
            assert self.traps is not None
            self._after_abort = self.traps.add("the end of abort", _handler_returned)
        return self._after_abort


def _order(signal: Pending) -> tuple[bool, int]:
    return signal.number not in SYNCHRONOUS, signal.number


def _handler_returned() -> int:
    raise GuestAbort("abort() called, and the handler of SIGABRT returned")

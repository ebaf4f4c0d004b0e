"""Signals: those a program sends to itself, and those raised by its own faults (SIGSEGV, SIGILL, SIGFPE, SIGTRAP).

A handler runs as guest code on the interrupted stack, or the one that sigaltstack gave, not as a call from Python,
so that siglongjmp may leave it.
It is entered with its three arguments as the ABI passes them and a return address that restores all registers;
after a fault the faulting instruction is then run again. Its ucontext_t argument is filled with zeros, and changes
a handler makes to it have no effect. Nothing is asynchronous: no other process, timer or terminal exists.

Sources: signal(7), sigaction(2); glibc, bits/types/siginfo_t.h, bits/sigaction.h, bits/siginfo-consts.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.protocol import Stop, StopReason
from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.file_node import USER_ID
from emu.libc.process import PROCESS_ID
from emu.libc.table import export
from emu.libc.threads import Threads
from relink.errors import RelinkError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cpu.protocol import CpuContext
    from emu.libc.library import Libc

SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGSTOP = 4, 5, 6, 7, 8, 9, 11, 13, 19
#: By default these are ignored: SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
_IGNORED = frozenset({17, 18, 23, 28})
_DEFAULT, _IGNORE, _ERROR = 0, 1, -1
LARGEST = 64
INTERNAL = 1 << 31 | 1 << 32  #: the mask of glibc's own signals, 32 and 33, which programs cannot use or block
SIGNAL_SET = 128  #: bytes of glibc's sigset_t
_SA_SIGINFO, _SA_ONSTACK, _SA_NODEFER, _SA_RESETHAND = 4, 0x0800_0000, 0x4000_0000, 0x8000_0000
_SS_ONSTACK, _SS_DISABLE = 1, 2
_LEAST_STACK = 2048  #: bytes of an alternate stack (MINSIGSTKSZ)
_INFO, _CONTEXT = 128, 1024  #: bytes of siginfo_t, and of room for a ucontext_t
_SI_USER, _SI_TKILL = 0, -6  #: of kill, and of raise
_PROTOTYPE = "void(int, void *, void *)"

#: Stop -> (signal, si_code): SEGV_MAPERR, SEGV_ACCERR, BUS_ADRALN, ILL_ILLOPN, FPE_INTDIV, TRAP_BRKPT.
_FAULTS = {
    StopReason.READ_UNMAPPED: (SIGSEGV, 1),
    StopReason.WRITE_UNMAPPED: (SIGSEGV, 1),
    StopReason.FETCH_UNMAPPED: (SIGSEGV, 1),
    StopReason.READ_PROTECTED: (SIGSEGV, 2),
    StopReason.WRITE_PROTECTED: (SIGSEGV, 2),
    StopReason.FETCH_PROTECTED: (SIGSEGV, 2),
    StopReason.UNALIGNED: (SIGBUS, 1),
    StopReason.INVALID_INSTRUCTION: (SIGILL, 2),
    StopReason.ARITHMETIC: (SIGFPE, 1),
    StopReason.BREAKPOINT: (SIGTRAP, 1),
}


@dataclass(frozen=True, slots=True)
class Action:
    """The action that sigaction set for a signal."""

    handler: int
    mask: int
    flags: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The state that a handler has interrupted."""

    context: CpuContext
    pc: int
    mask: int
    aborts: bool = False  #: the program ends when the handler returns


class Signals:
    """The actions, the signal mask and the pending signals of one machine."""

    def __init__(self, libc: Libc) -> None:
        self.libc = libc
        self.actions: dict[int, Action] = {}
        self.mask = 0
        self.pending: list[int] = []
        self.alternate = range(0)  #: the stack that sigaltstack gave
        self._codes: dict[int, int] = {}  #: si_code of pending signals
        self.engine = libc.engine
        #: By whether the handler is on the alternate stack; keyed by the stack pointer that it returns with.
        self._frames: dict[bool, dict[int, Interrupted]] = {False: {}, True: {}}
        self._return: int | None = None
        self._aborting = False

    def abort(self) -> bool:
        """Have a handler of SIGABRT run, if there is one, and the program end when it returns."""
        if self.engine is None or self.action(SIGABRT).handler in (_DEFAULT, _IGNORE):
            return False
        self.mask &= ~(1 << (SIGABRT - 1))
        self._aborting = True
        self.send(SIGABRT)
        return True

    def action(self, number: int) -> Action:
        return self.actions.get(number, Action(_DEFAULT, 0, 0))

    def on_alternate(self) -> bool:
        """Whether the guest runs on the alternate stack."""
        return self.engine is not None and self.engine.cpu.read_register("sp") - 1 in self.alternate

    def send(self, number: int, code: int = _SI_TKILL) -> None:
        """Make a signal pending, or take its default action. Raises GuestAbort where that ends the process."""
        handler = self.action(number).handler
        if handler == _IGNORE or (handler == _DEFAULT and number in _IGNORED):
            return
        if handler == _DEFAULT and not self.mask >> (number - 1) & 1:
            raise GuestAbort(f"raise({number}) called")
        if number not in self.pending:
            self.pending.append(number)
            self._codes[number] = code
        self.libc.signals_pending = True

    def deliver(self, pc: int) -> int:
        """Return where to continue: at the handler of a pending signal that is not blocked, else at `pc`."""
        ready = next((number for number in self.pending if not self.mask >> (number - 1) & 1), None)
        self.libc.signals_pending = False
        if ready is None:
            return pc
        self.pending.remove(ready)
        self.libc.signals_pending = bool(self.pending)
        action = self.action(ready)
        if action.handler == _IGNORE:
            return pc
        if action.handler == _DEFAULT:
            raise GuestAbort(f"raise({ready}) called")
        return self._enter(ready, action, pc, self._codes.get(ready, _SI_USER), None)

    def fault(self, stop: Stop) -> int | None:
        """Return the handler at which a faulting guest continues, or None where it has none for this fault."""
        if stop.reason not in _FAULTS or self.engine is None:
            return None
        number, code = _FAULTS[stop.reason]
        action = self.action(number)
        if action.handler in (_DEFAULT, _IGNORE) or self.mask >> (number - 1) & 1:
            return None
        try:
            return self._enter(number, action, self._resumed(stop.pc), code, stop.address or 0)
        except RelinkError:  # no stack is left for a handler: report the fault itself
            return None

    def _resumed(self, pc: int) -> int:
        """The address that runs the instruction at `pc` again: on Arm with the Thumb bit, taken from CPSR."""
        assert self.engine is not None
        arch = self.libc.arch
        if not arch.code_address_bits:
            return pc
        thumb = self.engine.cpu.read_register("cpsr") >> 5 & 1
        return pc & arch.code_address_mask | thumb

    def _enter(self, number: int, action: Action, pc: int, code: int, address: int | None) -> int:
        """Save all registers and make a frame for the handler; return its address. `address`: of a fault."""
        engine, libc = self.engine, self.libc
        if engine is None:
            raise GuestAbort(f"signal {number}: there is no machine to run its handler")
        cpu, word = engine.cpu, libc.word
        sp, before = cpu.read_register("sp") - engine.red_zone, self.on_alternate()
        now = before or bool(action.flags & _SA_ONSTACK and self.alternate)
        top = ((self.alternate.stop if now and not before else sp) - _INFO - _CONTEXT) & -64
        info = number.to_bytes(4, "little") + bytes(4) + code.to_bytes(4, "little", signed=True)
        sender = PROCESS_ID.to_bytes(4, "little") + USER_ID.to_bytes(4, "little")
        cause = sender if address is None else address.to_bytes(word, "little")
        info = info.ljust(16 if word == 8 else 12, b"\0") + cause
        cpu.store(top, info.ljust(_INFO + _CONTEXT, b"\0"))
        aborts = self._aborting and number == SIGABRT
        self._aborting = self._aborting and not aborts
        saved = Interrupted(cpu.save(), pc, self.mask, aborts)
        plan = engine.runner.plan(_PROTOTYPE)
        entry = plan.enter(engine.runner, (number, top, top + _INFO), top, self._returning())
        if entry.stack:
            cpu.store(entry.sp, bytes(entry.stack))
        cpu.set_registers(entry.names, entry.values)
        if not before:
            self._frames[True].clear()
        self._frames[now] = {at: frame for at, frame in self._frames[now].items() if at > top} | {top: saved}
        self.mask |= action.mask | (0 if action.flags & _SA_NODEFER else 1 << (number - 1))
        if action.flags & _SA_RESETHAND:
            self.actions.pop(number, None)
        return action.handler

    def _returning(self) -> int:
        if self._return is None:
            assert self.engine is not None
            self._return = self.engine.traps.add("return from a signal handler", self._returned)
        return self._return

    def _returned(self) -> int:
        assert self.engine is not None
        cpu = self.engine.cpu
        sp, frames = cpu.read_register("sp"), self._frames[self.on_alternate()]
        at = min((at for at in frames if at >= sp - 64), default=None)
        if at is None:
            raise GuestAbort("a return from a signal handler that was never entered")
        interrupted = frames.pop(at)
        if interrupted.aborts:
            raise GuestAbort("abort() called, and the handler of SIGABRT returned")
        cpu.restore(interrupted.context)
        self.mask = interrupted.mask
        return self.deliver(interrupted.pc) if self.pending else interrupted.pc


def _state(libc: Libc) -> Signals:
    return libc.state(Signals)


def _valid(number: int) -> bool:
    return 0 < number <= LARGEST


def blocked(libc: Libc) -> int:
    """The mask of blocked signals: bit n - 1 for signal n."""
    return _state(libc).mask


def block(libc: Libc, mask: int) -> None:
    """Replace the mask; signals it no longer blocks are delivered when the calling function returns."""
    signals = _state(libc)
    signals.mask = mask & ~(1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1) | INTERNAL)
    libc.signals_pending = bool(signals.pending)


def leaves_alternate(libc: Libc, stack: int) -> bool:
    """Whether a jump to a stack pointer leaves the alternate stack."""
    signals = _state(libc)
    return signals.on_alternate() and stack not in signals.alternate


# ---------------------------------------------------------------- actions


@export("void *signal(int number, void *handler)", alias=("bsd_signal", "__sysv_signal", "sysv_signal", "ssignal"))
def signal(libc: Libc, number: int, handler: int) -> int:
    if not _valid(number) or number in (SIGKILL, SIGSTOP):
        return libc.fail(Errno.EINVAL, libc.arch.address_mask)
    signals = _state(libc)
    before = signals.action(number).handler
    signals.actions[number] = Action(handler, 0, 0)
    return before


@export("int sigaction(int number, const void *action, void *old)", alias=("__sigaction",))
def sigaction(libc: Libc, number: int, action: int, old: int) -> int:
    """struct sigaction has the handler, a sigset_t and sa_flags."""
    if not _valid(number) or (action and number in (SIGKILL, SIGSTOP)):
        return libc.fail(Errno.EINVAL)
    signals, word = _state(libc), libc.word
    before = signals.action(number)
    if action:
        handler, mask = libc.pointer(action), libc.memory.read_uint(action + word, 8)
        signals.actions[number] = Action(handler, mask, libc.memory.read_uint(action + word + SIGNAL_SET, 4))
    if old:
        libc.set_pointer(old, before.handler)
        libc.memory.write(old + word, before.mask.to_bytes(8, "little").ljust(SIGNAL_SET, b"\0"))
        libc.memory.write_uint(old + word + SIGNAL_SET, 4, before.flags)
    return 0


@export("int siginterrupt(int number, int flag)", alias=("sigignore",))
def siginterrupt(libc: Libc, number: int, flag: int = 0) -> int:
    return 0 if _valid(number) else libc.fail(Errno.EINVAL)


@export("int sigaltstack(const void *stack, void *old)")
def sigaltstack(libc: Libc, stack: int, old: int) -> int:
    """stack_t has the address, flags and the size."""
    signals, word = _state(libc), libc.word
    before, inside = signals.alternate, signals.on_alternate()
    if stack:
        start, size = libc.pointer(stack), libc.pointer(stack + 2 * word)
        flags = libc.memory.read_uint(stack + word, 4)
        if inside or flags & ~(_SS_ONSTACK | _SS_DISABLE) or (not flags & _SS_DISABLE and size < _LEAST_STACK):
            wrong = Errno.EPERM if inside else Errno.EINVAL if flags & ~3 else Errno.ENOMEM
            return libc.fail(wrong)
        signals.alternate = range(0) if flags & _SS_DISABLE else range(start, start + size)
    if old:
        flags = _SS_ONSTACK if inside else 0 if before else _SS_DISABLE
        libc.memory.write(
            old, b"".join(each.to_bytes(word, "little") for each in (before.start, flags, len(before)))
        )
    return 0


# ---------------------------------------------------------------- sending


@export("int raise(int number)", alias=("gsignal",))
def raise_(libc: Libc, number: int) -> int:
    """The handler runs before raise returns; without one the signal's default action is taken."""
    if not number:
        return 0
    if not _valid(number):
        return libc.fail(Errno.EINVAL)
    _state(libc).send(number)
    return 0


@export("void abort(void)")
def abort(libc: Libc) -> None:
    """A handler of SIGABRT runs first; siglongjmp may leave it."""
    if not _state(libc).abort():
        reason = " after pthread_create failed: the hosted C library has a single thread"
        raise GuestAbort("abort() called" + (reason if libc.state(Threads).refused else ""))


@export("int kill(int process, int number)", alias=("killpg",))
def kill(libc: Libc, process: int, number: int) -> int:
    """Send a signal to the program itself; there is no other process."""
    if process not in (PROCESS_ID, -PROCESS_ID, 0, -1):
        return libc.fail(Errno.ESRCH)
    if number and not _valid(number):
        return libc.fail(Errno.EINVAL)
    if number:
        _state(libc).send(number, _SI_USER)
    return 0


@export("int tgkill(int group, int thread, int number)")
def tgkill(libc: Libc, group: int, thread: int, number: int) -> int:
    return kill(libc, thread, 0) or raise_(libc, number)


@export("int pthread_kill(unsigned long thread, int number)")
def pthread_kill(libc: Libc, thread: int, number: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    if number and not _valid(number):
        return Errno.EINVAL
    if number:
        _state(libc).send(number)
    return 0

"""Actions for signals, and signals that a program sends to itself (see `emu.libc.signal_delivery`).

Sources: signal(7), sigaction(2); glibc, bits/siginfo_t.h, bits/sigaction.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.process import PROCESS_ID
from emu.libc.signal_delivery import Signals
from emu.libc.signal_numbers import (
    IGNORE,
    LARGEST,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SA_RESTORER,
    SI_QUEUE,
    SI_TKILL,
    SI_USER,
    SIGKILL,
    SIGSTOP,
    Action,
)
from emu.libc.table import export
from emu.libc.threads import Threads

if TYPE_CHECKING:
    from emu.libc.library import Libc

INTERNAL = 1 << 31 | 1 << 32  #: the mask of glibc's own signals, 32 and 33, which programs cannot use or block
SIGNAL_SET = 128  #: bytes of glibc's sigset_t
_ERROR = -1


def _state(libc: Libc) -> Signals:
    return libc.state(Signals)


def is_usable(number: int) -> bool:
    """Whether programs may use a signal with glibc's functions."""
    return 0 < number <= LARGEST and not INTERNAL >> (number - 1) & 1


def blocked(libc: Libc) -> int:
    """The mask of blocked signals: bit n - 1 for signal n."""
    return _state(libc).mask


def block(libc: Libc, mask: int) -> None:
    """Replace the mask; signals it no longer blocks are delivered when the calling function returns."""
    _state(libc).block(mask & ~INTERNAL)


# ---------------------------------------------------------------- actions


def _signal(libc: Libc, number: int, handler: int, flags: int) -> int:
    if not is_usable(number) or number in (SIGKILL, SIGSTOP) or handler == libc.arch.address_mask:
        return libc.fail(Errno.EINVAL, libc.arch.address_mask)
    signals = _state(libc)
    before = signals.action(number).handler
    signals.set_action(number, Action(handler, 0, flags))
    return before


@export("void *signal(int number, void *handler)", alias=("bsd_signal", "ssignal"))
def signal(libc: Libc, number: int, handler: int) -> int:
    return _signal(libc, number, handler, SA_RESTART)


@export("void *__sysv_signal(int number, void *handler)", alias=("sysv_signal",))
def sysv_signal(libc: Libc, number: int, handler: int) -> int:
    """The handler runs once, and its signal is not blocked meanwhile."""
    return _signal(libc, number, handler, SA_RESETHAND | SA_NODEFER)


@export("int sigaction(int number, const void *action, void *old)", alias=("__sigaction",))
def sigaction(libc: Libc, number: int, action: int, old: int) -> int:
    """struct sigaction has the handler, a sigset_t and sa_flags."""
    if not is_usable(number) or (action and number in (SIGKILL, SIGSTOP)):
        return libc.fail(Errno.EINVAL)
    signals, word = _state(libc), libc.word
    before = signals.action(number)
    if action:
        handler, mask = libc.pointer(action), libc.memory.read_uint(action + word, 8)
        flags = libc.memory.read_uint(action + word + SIGNAL_SET, 4) & ~SA_RESTORER
        signals.set_action(number, Action(handler, mask, flags))
    if old:
        libc.set_pointer(old, before.handler)
        libc.memory.write(old + word, before.mask.to_bytes(8, "little").ljust(SIGNAL_SET, b"\0"))
        libc.memory.write_uint(old + word + SIGNAL_SET, 4, before.flags & ~SA_RESTORER)
    return 0


@export("int siginterrupt(int number, int flag)")
def siginterrupt(libc: Libc, number: int, flag: int) -> int:
    """Clear or set SA_RESTART."""
    if not is_usable(number):
        return libc.fail(Errno.EINVAL)
    signals = _state(libc)
    old = signals.action(number)
    flags = old.flags & ~SA_RESTART | (0 if flag else SA_RESTART)
    signals.set_action(number, Action(old.handler, old.mask, flags, old.restorer))
    return 0


@export("int sigignore(int number)")
def sigignore(libc: Libc, number: int) -> int:
    return _ERROR if _signal(libc, number, IGNORE, 0) == libc.arch.address_mask else 0


@export("void *sigset(int number, void *handler)")
def sigset(libc: Libc, number: int, handler: int) -> int:
    """System V's: SIG_HOLD (2) blocks the signal; a handler unblocks it. Returns SIG_HOLD if it was blocked."""
    signals, hold = _state(libc), 2
    was_blocked = is_usable(number) and signals.is_blocked(number)
    before = signals.action(number).handler
    if handler != hold:
        before = _signal(libc, number, handler, 0)
    elif not is_usable(number):
        return libc.fail(Errno.EINVAL, libc.arch.address_mask)
    if before != libc.arch.address_mask:
        bit = 1 << (number - 1)
        block(libc, signals.mask | bit if handler == hold else signals.mask & ~bit)
    return hold if was_blocked else before


@export("int sigaltstack(const void *stack, void *old)")
def sigaltstack(libc: Libc, stack: int, old: int) -> int:
    """stack_t has the address, flags and the size."""
    alternate, word, sp = _state(libc).alternate, libc.word, libc.registers.read_register("sp")
    before = alternate.seen_from(sp)
    if stack:
        start, size = libc.pointer(stack), libc.pointer(stack + 2 * word)
        flags = libc.memory.read_uint(stack + word, 4)
        if (wrong := alternate.set(sp, start, flags, size)) is not None:
            return libc.fail(wrong)
    if old:
        libc.memory.write(old, b"".join(each.to_bytes(word, "little") for each in before))
    return 0


# ---------------------------------------------------------------- sending


@export("int raise(int number)", alias=("gsignal",))
def raise_(libc: Libc, number: int) -> int:
    """The handler runs before raise returns; without one the signal's default action is taken."""
    if number and not 0 < number <= LARGEST:
        return libc.fail(Errno.EINVAL)
    return _send(libc, number, SI_TKILL)


def _send(libc: Libc, number: int, code: int, value: int = 0) -> int:
    return attempt(libc, lambda: _state(libc).send(number, code, value)) if number else 0


@export("void abort(void)")
def abort(libc: Libc) -> None:
    """A handler of SIGABRT runs first; siglongjmp may leave it."""
    if not _state(libc).abort():
        reason = " after pthread_create failed: the hosted C library has a single thread"
        raise GuestAbort("abort() called" + (reason if libc.state(Threads).refused else ""))


@export("int kill(int process, int number)", alias=("killpg",))
def kill(libc: Libc, process: int, number: int) -> int:
    """Send a signal to the program itself; there is no other process."""
    return sigqueue_as(libc, process, number, SI_USER, 0)


def sigqueue_as(libc: Libc, process: int, number: int, code: int, value: int) -> int:
    """Send a signal with a si_code and a value."""
    if not 0 <= number <= LARGEST:
        return libc.fail(Errno.EINVAL)
    if process not in (PROCESS_ID, -PROCESS_ID, 0, -1):
        return libc.fail(Errno.ESRCH)
    return _send(libc, number, code, value)


@export("int sigqueue(int process, int number, void *value)")
def sigqueue(libc: Libc, process: int, number: int, value: int) -> int:
    return sigqueue_as(libc, process if process > 0 else 1, number, SI_QUEUE, value)


@export("int tgkill(int group, int thread, int number)")
def tgkill(libc: Libc, group: int, thread: int, number: int) -> int:
    if group <= 0 or thread <= 0:
        return libc.fail(Errno.EINVAL)
    if (group, thread) != (PROCESS_ID, PROCESS_ID):
        return libc.fail(Errno.ESRCH)
    return raise_(libc, number)


@export("int pthread_kill(unsigned long thread, int number)")
def pthread_kill(libc: Libc, thread: int, number: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    if number and not is_usable(number):
        return Errno.EINVAL
    return raise_(libc, number) and Errno.EAGAIN


@export("int pthread_sigqueue(unsigned long thread, int number, void *value)")
def pthread_sigqueue(libc: Libc, thread: int, number: int, value: int) -> int:
    if thread != libc.thread_pointer:
        return Errno.ESRCH
    if not 0 <= number <= LARGEST:
        return Errno.EINVAL
    return _send(libc, number, SI_QUEUE, value) and Errno.EAGAIN

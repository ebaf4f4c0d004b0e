"""Masks of signals, and waiting for signals (see `emu.libc.signal_delivery`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno, FileError
from emu.libc.files import attempt
from emu.libc.readiness import duration
from emu.libc.signal_delivery import Signals
from emu.libc.signal_numbers import (
    LARGEST,
    NO_SIGNAL,
    Pending,
)
from emu.libc.signals import INTERNAL, SIGNAL_SET, block, blocked, is_usable
from emu.libc.table import export
from emu.libc.timed import register_timed

if TYPE_CHECKING:
    from emu.libc.library import Libc


@export("int sigemptyset(void *mask)")
def sigemptyset(libc: Libc, mask: int) -> int:
    libc.memory.write(mask, bytes(SIGNAL_SET))
    return 0


@export("int sigfillset(void *mask)")
def sigfillset(libc: Libc, mask: int) -> int:
    every = (1 << 8 * SIGNAL_SET) - 1 & ~INTERNAL
    libc.memory.write(mask, every.to_bytes(SIGNAL_SET, "little"))
    return 0


def _set_signal(libc: Libc, mask: int, number: int, *, member: bool) -> int:
    bit = 1 << (number - 1) if 0 < number <= LARGEST else 0
    if not bit or bit & INTERNAL:
        return libc.fail(Errno.EINVAL)
    old = libc.memory.read_uint(mask, 8)
    libc.memory.write_uint(mask, 8, old | bit if member else old & ~bit)
    return 0


@export("int sigaddset(void *mask, int number)")
def sigaddset(libc: Libc, mask: int, number: int) -> int:
    return _set_signal(libc, mask, number, member=True)


@export("int sigdelset(void *mask, int number)")
def sigdelset(libc: Libc, mask: int, number: int) -> int:
    return _set_signal(libc, mask, number, member=False)


@export("int sigismember(const void *mask, int number)")
def sigismember(libc: Libc, mask: int, number: int) -> int:
    if not 0 < number <= LARGEST:
        return libc.fail(Errno.EINVAL)
    return libc.memory.read_uint(mask, 8) >> (number - 1) & 1


@export("int sigisemptyset(const void *mask)")
def sigisemptyset(libc: Libc, mask: int) -> int:
    return int(not any(libc.memory.read(mask, SIGNAL_SET)))


def _combine(libc: Libc, result: int, a: int, b: int, *, both: bool) -> int:
    first, second = (libc.memory.read_uint(each, SIGNAL_SET) for each in (a, b))
    libc.memory.write_uint(result, SIGNAL_SET, first & second if both else first | second)
    return 0


@export("int sigorset(void *result, const void *a, const void *b)")
def sigorset(libc: Libc, result: int, a: int, b: int) -> int:
    return _combine(libc, result, a, b, both=False)


@export("int sigandset(void *result, const void *a, const void *b)")
def sigandset(libc: Libc, result: int, a: int, b: int) -> int:
    return _combine(libc, result, a, b, both=True)


@export("int sigprocmask(int how, const void *mask, void *old)")
def sigprocmask(libc: Libc, how: int, mask: int, old: int) -> int:
    error = pthread_sigmask(libc, how, mask, old)
    return libc.fail(Errno(error)) if error else 0


@export("int pthread_sigmask(int how, const void *mask, void *old)")
def pthread_sigmask(libc: Libc, how: int, mask: int, old: int) -> int:
    """SIG_BLOCK, SIG_UNBLOCK and SIG_SETMASK are 0, 1, 2."""
    before = blocked(libc)
    if mask:
        bits = libc.memory.read_uint(mask, 8)
        if how not in (0, 1, 2):
            return Errno.EINVAL
        block(libc, (before | bits, before & ~bits, bits)[how])
    if old:
        libc.memory.write(old, before.to_bytes(8, "little").ljust(SIGNAL_SET, b"\0"))
    return 0


@export("int sigsetmask(int mask)")
def sigsetmask(libc: Libc, mask: int) -> int:
    """BSD's: the first 32 signals, the others not blocked; returns the former mask."""
    before = blocked(libc)
    block(libc, mask & 0xFFFF_FFFF)
    return before & 0xFFFF_FFFF


@export("int sigblock(int mask)")
def sigblock(libc: Libc, mask: int) -> int:
    before = blocked(libc)
    block(libc, before | mask & 0xFFFF_FFFF)
    return before & 0xFFFF_FFFF


@export("int sigpending(void *mask)")
def sigpending(libc: Libc, mask: int) -> int:
    bits = 0
    for each in libc.state(Signals).pending:
        bits |= 1 << (each.number - 1)
    libc.memory.write(mask, bits.to_bytes(8, "little").ljust(SIGNAL_SET, b"\0"))
    return 0


# ---------------------------------------------------------------- waiting


@export("int sigsuspend(const void *mask)", alias=("__sigsuspend",))
def sigsuspend(libc: Libc, mask: int) -> int:
    bits = libc.memory.read_uint(mask, 8)
    return attempt(libc, lambda: libc.state(Signals).pause(NO_SIGNAL, bits))


@export("int pause(void)")
def pause(libc: Libc) -> int:
    signals = libc.state(Signals)
    return attempt(libc, lambda: signals.pause(NO_SIGNAL))


@export("int sigpause(int mask)")
def sigpause(libc: Libc, mask: int) -> int:
    """BSD's: the first 32 signals of the mask."""
    signals = libc.state(Signals)
    kept = signals.mask >> 32 << 32
    return attempt(libc, lambda: signals.pause(NO_SIGNAL, kept | mask & 0xFFFF_FFFF))


@export("int __xpg_sigpause(int number)")
def xpg_sigpause(libc: Libc, number: int) -> int:
    if not is_usable(number):
        return libc.fail(Errno.EINVAL)
    signals = libc.state(Signals)
    return attempt(libc, lambda: signals.pause(NO_SIGNAL, signals.mask & ~(1 << (number - 1))))


@export("int sighold(int number)")
def sighold(libc: Libc, number: int) -> int:
    return _hold(libc, number, held=True)


@export("int sigrelse(int number)")
def sigrelse(libc: Libc, number: int) -> int:
    return _hold(libc, number, held=False)


def _hold(libc: Libc, number: int, *, held: bool) -> int:
    if not is_usable(number):
        return libc.fail(Errno.EINVAL)
    bit, mask = 1 << (number - 1), blocked(libc)
    block(libc, mask | bit if held else mask & ~bit)
    return 0


def wait_for(signals: Signals, wanted: int, limit: int | None = None) -> Pending:
    """The next pending signal of a set, waited for `limit` nanoseconds at most. Raises GuestAbort, or FileError:
    EAGAIN after this time, EINTR for another signal's handler.
    """
    found = signals.take(wanted)
    if found is None and limit is not None:
        left = signals.sleep(limit, wanted)
        found = signals.take(wanted)
        if found is None:
            raise FileError(Errno.EINTR if left else Errno.EAGAIN)
    while found is None:
        if not signals.skip_to_timer(wanted):
            signals.wait(NO_SIGNAL)
        found = signals.take(wanted)
    return found


def _of_mask(libc: Libc, mask: int, limit: int | None = None) -> Pending:
    return wait_for(libc.state(Signals), libc.memory.read_uint(mask, 8), limit)


@export("int sigwait(const void *mask, int *number)")
def sigwait(libc: Libc, mask: int, number: int) -> int:
    libc.memory.write_uint(number, 4, _of_mask(libc, mask).number)
    return 0


@export("int sigwaitinfo(const void *mask, void *info)")
def sigwaitinfo(libc: Libc, mask: int, info: int) -> int:
    return attempt(libc, lambda: _informed(libc, _of_mask(libc, mask), info))


def _informed(libc: Libc, signal: Pending, info: int) -> int:
    if info:
        libc.memory.write(info, libc.state(Signals).info(signal))
    return signal.number


def _sigtimedwait(libc: Libc, size: int, mask: int, info: int, timeout: int) -> int:
    return attempt(libc, lambda: _informed(libc, _of_mask(libc, mask, duration(libc, timeout, size)), info))


register_timed("sigtimedwait", "int {}(const void *mask, void *info, const void *timeout)", _sigtimedwait)


@export("int __libc_current_sigrtmin(void)")
def sigrtmin(libc: Libc) -> int:
    return 34


@export("int __libc_current_sigrtmax(void)")
def sigrtmax(libc: Libc) -> int:
    return LARGEST

"""Masks of signals, and waiting for signals (see `emu.libc.signals`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.errno import Errno
from emu.libc.signals import INTERNAL, LARGEST, SIGNAL_SET, Signals, block, blocked
from emu.libc.table import export

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


@export("int sigpending(void *mask)")
def sigpending(libc: Libc, mask: int) -> int:
    bits = sum(1 << (number - 1) for number in libc.state(Signals).pending)
    libc.memory.write(mask, bits.to_bytes(8, "little").ljust(SIGNAL_SET, b"\0"))
    return 0


@export("int sigsuspend(const void *mask)", alias=("pause", "sigpause"))
def sigsuspend(libc: Libc, mask: int) -> int:
    raise GuestAbort("deadlock: the program waits for a signal that no other process or thread can send")


@export("int sigwait(const void *mask, int *number)")
def sigwait(libc: Libc, mask: int, number: int) -> int:
    signals, wanted = libc.state(Signals), libc.memory.read_uint(mask, 8)
    found = next((each for each in signals.pending if wanted >> (each - 1) & 1), None)
    if found is None:
        raise GuestAbort("deadlock: the program waits for a signal that no other process or thread can send")
    signals.pending.remove(found)
    libc.memory.write_uint(number, 4, found)
    return 0


@export("int __libc_current_sigrtmin(void)")
def sigrtmin(libc: Libc) -> int:
    return 34


@export("int __libc_current_sigrtmax(void)")
def sigrtmax(libc: Libc) -> int:
    return LARGEST

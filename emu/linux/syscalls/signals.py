"""System calls for signals and the interval timer (see `emu.libc.signal_delivery`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.interval_timer import SECOND
from emu.libc.process import PROCESS_ID
from emu.libc.readiness import duration
from emu.libc.signal_delivery import Signals
from emu.libc.signal_masks import wait_for
from emu.libc.signal_numbers import (
    LARGEST,
    NO_SIGNAL,
    SI_TKILL,
    SI_USER,
    SIGKILL,
    SIGSTOP,
    UNBLOCKABLE,
    Action,
)
from emu.linux.syscalls.kernel import call

if TYPE_CHECKING:
    from emu.linux.syscalls.kernel import SystemCalls

_SET = 8  #: bytes of the kernel's sigset_t


def _state(kernel: SystemCalls) -> Signals:
    return kernel.libc.state(Signals)


def _set_of(kernel: SystemCalls, address: int, size: int) -> int | None:
    return kernel.get(address, _SET) if size == _SET else None


@call("rt_sigaction")
def rt_sigaction(kernel: SystemCalls, signal: int, action: int, old: int, size: int) -> int:
    """struct sigaction: handler, flags, on some ISAs restorer, mask."""
    if size != _SET or not 0 < signal <= LARGEST or (action and signal in (SIGKILL, SIGSTOP)):
        return -Errno.EINVAL
    signals, word = _state(kernel), kernel.word
    has_restorer = kernel.abi.sigaction_restorer
    mask_at = word * (3 if has_restorer else 2)
    before = signals.action(signal)
    if action:
        handler, flags = kernel.get(action), kernel.get(action + word)
        restorer = kernel.get(action + 2 * word) if has_restorer else 0
        mask = kernel.get(action + mask_at, _SET) & ~UNBLOCKABLE
        if old:
            kernel.memory.read(old, mask_at + _SET)
        signals.set_action(signal, Action(handler, mask, flags, restorer))
    if old:
        kernel.put(old, before.handler, before.flags, *((before.restorer,) if has_restorer else ()))
        kernel.put(old + mask_at, before.mask, size=_SET)
    return 0


@call("rt_sigprocmask")
def rt_sigprocmask(kernel: SystemCalls, how: int, new: int, old: int, size: int) -> int:
    """SIG_BLOCK, SIG_UNBLOCK and SIG_SETMASK are 0, 1, 2."""
    signals = _state(kernel)
    if size != _SET:
        return -Errno.EINVAL
    before = signals.mask
    if new:
        bits = kernel.get(new, _SET)
        if how not in (0, 1, 2):
            return -Errno.EINVAL
        signals.block((before | bits, before & ~bits, bits)[how])
    if old:
        kernel.put(old, before, size=_SET)
    return 0


@call("rt_sigpending")
def rt_sigpending(kernel: SystemCalls, mask: int, size: int) -> int:
    if size > _SET:
        return -Errno.EINVAL
    bits = 0
    for each in _state(kernel).pending:
        bits |= 1 << (each.number - 1)
    kernel.memory.write(mask, bits.to_bytes(_SET, "little")[:size])
    return 0


@call("rt_sigsuspend")
def rt_sigsuspend(kernel: SystemCalls, mask: int, size: int) -> int:
    wanted = _set_of(kernel, mask, size)
    if wanted is None:
        return -Errno.EINVAL
    _state(kernel).pause(NO_SIGNAL, wanted)
    return 0


@call("pause")
def pause(kernel: SystemCalls) -> int:
    _state(kernel).pause(NO_SIGNAL)
    return 0


def _sigtimedwait(kernel: SystemCalls, mask: int, info: int, timeout: int, size: int, time_size: int) -> int:
    wanted = _set_of(kernel, mask, size)
    if wanted is None:
        return -Errno.EINVAL
    found = wait_for(_state(kernel), wanted, duration(kernel.libc, timeout, time_size))
    if info:
        kernel.memory.write(info, _state(kernel).info(found))
    return found.number


@call("rt_sigtimedwait")
def rt_sigtimedwait(kernel: SystemCalls, mask: int, info: int, timeout: int, size: int) -> int:
    return _sigtimedwait(kernel, mask, info, timeout, size, kernel.word)


@call("rt_sigtimedwait_time64")
def rt_sigtimedwait_time64(kernel: SystemCalls, mask: int, info: int, timeout: int, size: int) -> int:
    return _sigtimedwait(kernel, mask, info, timeout, size, 8)


@call("sigaltstack")
def sigaltstack(kernel: SystemCalls, new: int, old: int) -> int:
    """stack_t: address, flags, size."""
    alternate, word, sp = _state(kernel).alternate, kernel.word, kernel.cpu.read_register("sp")
    before = alternate.seen_from(sp)
    if new:
        start, flags, size = (kernel.get(new + n * word) for n in range(3))
        if (wrong := alternate.set(sp, start, flags & 0xFFFF_FFFF, size)) is not None:
            return -wrong
    if old:
        kernel.put(old, *before)
    return 0


# ---------------------------------------------------------------- sending


def _send(kernel: SystemCalls, signal: int, code: int, value: int = 0) -> int:
    if signal:
        _state(kernel).send(signal, code, value)
    return 0


@call("kill")
def kill(kernel: SystemCalls, process: int, signal: int) -> int:
    """Send a signal to the program itself; there is no other process."""
    if not 0 <= signal <= LARGEST:
        return -Errno.EINVAL
    if kernel.signed(process, 4) not in (PROCESS_ID, 0, -1, -PROCESS_ID):
        return -Errno.ESRCH
    return _send(kernel, signal, SI_USER)


@call("tkill")
def tkill(kernel: SystemCalls, thread: int, signal: int) -> int:
    return tgkill(kernel, PROCESS_ID, thread, signal)


@call("tgkill")
def tgkill(kernel: SystemCalls, group: int, thread: int, signal: int) -> int:
    ids = kernel.signed(group, 4), kernel.signed(thread, 4)
    if min(ids) <= 0 or not 0 <= signal <= LARGEST:
        return -Errno.EINVAL
    return _send(kernel, signal, SI_TKILL) if ids == (PROCESS_ID, PROCESS_ID) else -Errno.ESRCH


@call("rt_sigqueueinfo")
def rt_sigqueueinfo(kernel: SystemCalls, process: int, signal: int, info: int) -> int:
    """siginfo_t: number, errno, code; then the sender's ids, which are this process's, and the value."""
    code = kernel.signed(kernel.get(info + 8, 4), 4)
    value = kernel.get(info + (16 if kernel.word == 8 else 12) + 8)
    if not 0 <= signal <= LARGEST:
        return -Errno.EINVAL
    return -Errno.ESRCH if process != PROCESS_ID else _send(kernel, signal, code, value)


@call("rt_tgsigqueueinfo")
def rt_tgsigqueueinfo(kernel: SystemCalls, group: int, thread: int, signal: int, info: int) -> int:
    return rt_sigqueueinfo(kernel, thread if group == thread else 0, signal, info)


# ---------------------------------------------------------------- the interval timer

_ITIMER_REAL = 0


@call("getitimer")
def getitimer(kernel: SystemCalls, which: int, value: int) -> int:
    """struct itimerval: interval and value, each seconds and microseconds. The timers of CPU time do not exist."""
    if which != _ITIMER_REAL:
        return -Errno.EINVAL if which > 2 else -Errno.ENOSYS
    timer = _state(kernel).timer
    interval = timer.interval if timer.armed else 0
    for at, time in ((value, interval), (value + 2 * kernel.word, timer.left(kernel.libc.clock()))):
        kernel.put(at, time // SECOND, -(-(time % SECOND) // 1000))
    return 0


@call("setitimer")
def setitimer(kernel: SystemCalls, which: int, new: int, old: int) -> int:
    numbers = [kernel.signed(kernel.get(new + n * kernel.word)) for n in range(4)] if new else [0] * 4
    if any(micro not in range(1_000_000) for micro in numbers[1::2]) or min(numbers[::2]) < 0:
        return -Errno.EINVAL
    if old or which != _ITIMER_REAL:
        error = getitimer(kernel, which, old)
        if error:
            return error
    interval, value = (numbers[n] * SECOND + numbers[n + 1] * 1000 for n in (0, 2))
    _state(kernel).set_timer(value, interval)
    return 0


@call("alarm")
def alarm(kernel: SystemCalls, seconds: int) -> int:
    """Returns the seconds that an earlier alarm had left, rounded, but never to 0."""
    return _state(kernel).alarm(seconds & 0xFFFF_FFFF)

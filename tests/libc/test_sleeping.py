"""Sleeping and waiting take no time on the host, but the guest's clock goes forward."""

from __future__ import annotations

import itertools
import struct

import pytest

from emu import Machine
from emu.libc.errno import Errno
from tests.fixtures import arch_of
from tests.libc.fake import Harness
from tests.objects.build import compiled

_SECOND = 1_000_000_000
_START = 1_700_000_000 * _SECOND
_TIMED_OUT = 4  #: thrd_timedout


def _at(host: Harness, nanoseconds: int) -> int:
    return host.place(struct.pack("<qq", *divmod(nanoseconds, _SECOND)))


@pytest.fixture
def stopped(host: Harness) -> Harness:
    """A library whose clock stands still but for what the guest waits."""
    host.libc.clock = lambda: _START
    return host


@pytest.mark.parametrize(
    ("name", "arguments", "nanoseconds"),
    [
        ("sleep", (3,), 3 * _SECOND),
        ("usleep", (1500,), 1_500_000),
        ("poll", (0, 0, 250), _SECOND // 4),
    ],
)
def test_a_sleep_moves_the_clock(
    stopped: Harness, name: str, arguments: tuple[int, ...], nanoseconds: int
) -> None:
    assert stopped.call(name, *arguments) == 0
    assert stopped.libc.clock() == _START + nanoseconds


@pytest.mark.parametrize("name", ["nanosleep", "thrd_sleep"])
def test_a_sleep_for_a_timespec_moves_the_clock(stopped: Harness, name: str) -> None:
    assert stopped.call(name, _at(stopped, 2_500_000_000), 0) == 0
    assert stopped.libc.clock() == _START + 2_500_000_000


def test_a_sleep_is_no_time_of_the_processor(stopped: Harness) -> None:
    spent = stopped.buffer(16)
    for seconds in (0, 3):
        stopped.call("sleep", seconds)
        assert stopped.call("clock") == 0
        assert stopped.call("times", spent) == 100 * seconds
        assert stopped.memory.read(spent, 16) == bytes(16)
        for clock in (2, 3):
            assert stopped.call("clock_gettime", clock, spent) == 0
            assert stopped.memory.read(spent, 16) == bytes(16)


@pytest.mark.parametrize("name", ["clock", "times"])
def test_the_first_call_finds_no_negative_time(host: Harness, name: str) -> None:
    ticks, spent = itertools.count(_START), host.buffer(32)
    host.libc.clock = lambda: next(ticks)
    assert host.call(name, *([spent] if name == "times" else [])) == 0
    assert host.memory.read(spent, 32) == bytes(32)


def test_the_first_reading_of_the_processors_time_is_not_negative(host: Harness) -> None:
    ticks, spent = itertools.count(_START), host.buffer(16)
    host.libc.clock = lambda: next(ticks)
    assert host.call("clock_gettime", 2, spent) == 0
    assert host.memory.read_uint(spent, 8) == 0


#: name -> (its lock's state first, other arguments, results for a deadline and for one of too many nanoseconds).
WAITS = {
    "pthread_mutex_timedlock": ("pthread_mutex_lock", (), Errno.ETIMEDOUT, Errno.EINVAL),
    "pthread_mutex_clocklock": ("pthread_mutex_lock", (1,), Errno.ETIMEDOUT, Errno.EINVAL),
    "pthread_rwlock_timedwrlock": ("pthread_rwlock_rdlock", (), Errno.ETIMEDOUT, Errno.EINVAL),
    "pthread_rwlock_clockwrlock": ("pthread_rwlock_rdlock", (0,), Errno.ETIMEDOUT, Errno.EINVAL),
    "pthread_cond_timedwait": ("", (64,), Errno.ETIMEDOUT, Errno.EINVAL),
    "pthread_cond_clockwait": ("", (64, 1), Errno.ETIMEDOUT, Errno.EINVAL),
    "cnd_timedwait": ("", (64,), _TIMED_OUT, 2),
    "mtx_timedlock": ("pthread_mutex_lock", (), _TIMED_OUT, 2),
    "sem_timedwait": ("", (), -1, -1),
    "sem_clockwait": ("", (1,), -1, -1),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_ends_at_its_deadline(stopped: Harness, name: str) -> None:
    first, others, late, invalid = WAITS[name]
    lock = stopped.buffer(64)
    if first:
        assert stopped.call(first, lock) == 0
    assert stopped.call(name, lock, *others, stopped.place(struct.pack("<qq", 5, _SECOND))) == invalid
    assert stopped.call(name, lock, *others, stopped.place(struct.pack("<qq", 5, 0))) == late
    assert stopped.libc.clock() == _START  # a deadline that has passed
    assert stopped.call(name, lock, *others, _at(stopped, _START + 7_000_000_123)) == late
    assert stopped.libc.clock() == _START + 7_000_000_123


@pytest.mark.parametrize("name", ["timedrdlock", "timedwrlock"])
def test_the_deadline_of_a_free_read_write_lock_is_looked_at(stopped: Harness, name: str) -> None:
    lock = stopped.buffer(64)
    deadline = stopped.place(struct.pack("<qq", 5, _SECOND))
    assert stopped.call(f"pthread_rwlock_{name}", lock, deadline) == Errno.EINVAL
    assert stopped.call("pthread_rwlock_trywrlock", lock) == 0
    assert stopped.call(f"pthread_rwlock_{name}", lock, deadline) == Errno.EINVAL


def test_a_wait_on_a_clock_that_is_no_clock_is_invalid(stopped: Harness) -> None:
    lock = stopped.buffer(64)
    assert stopped.call("pthread_cond_clockwait", lock, lock, 7, _at(stopped, _START)) == Errno.EINVAL
    assert stopped.call("sem_clockwait", lock, 7, _at(stopped, _START)) == -1
    assert stopped.libc.errno == Errno.EINVAL


_ALARM = 1 << 13  #: SIGALRM in a mask
_BLOCK = 0


def test_an_alarm_that_is_blocked_ends_no_sleep(stopped: Harness) -> None:
    assert stopped.call("sigprocmask", _BLOCK, stopped.place(struct.pack("<Q", _ALARM) + bytes(120)), 0) == 0
    stopped.call("alarm", 1)
    assert stopped.call("sleep", 3) == 0
    assert stopped.libc.clock() == _START + 3 * _SECOND


def test_a_wait_for_signals_ends_at_its_limit(stopped: Harness) -> None:
    mask = stopped.place(struct.pack("<Q", _ALARM) + bytes(120))
    assert stopped.call("sigprocmask", _BLOCK, mask, 0) == 0
    assert stopped.call("sigtimedwait", mask, 0, _at(stopped, 2_500_000_000)) == -1
    assert (stopped.libc.errno, stopped.libc.clock()) == (Errno.EAGAIN, _START + 2_500_000_000)
    assert stopped.call("sigtimedwait", mask, 0, stopped.place(struct.pack("<qq", 0, _SECOND))) == -1
    assert stopped.libc.errno == Errno.EINVAL
    stopped.call("alarm", 1)
    assert stopped.call("sigtimedwait", mask, 0, _at(stopped, 5 * _SECOND)) == 14
    assert stopped.libc.clock() == _START + 3_500_000_000


_SOURCE = """
typedef union { char bytes[64]; long long aligned; } object;
struct timespec { __INTPTR_TYPE__ tv_sec; long tv_nsec; };
#if __riscv_xlen == 32
#define timespec timespec64
struct timespec { long long tv_sec; long tv_nsec, padding; };
#endif
void (*signal(int, void (*)(int)))(int);
unsigned alarm(unsigned);
int clock_gettime(int, struct timespec *), *__errno_location(void), pthread_mutex_lock(object *);
int pthread_cond_timedwait(object *, object *, const struct timespec *);
int sem_init(object *, int, unsigned), sem_timedwait(object *, const struct timespec *);
enum { EINTR = 4, SIGALRM = 14, ETIMEDOUT = 110 };
static volatile int handled;
static void handler(int number) { handled += number; }
static long long now(void) {
    struct timespec time;
    clock_gettime(1, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}
/* Milliseconds waited for a deadline ten seconds ahead, with an alarm after two. */
int waited(int kind) {
    object mutex = {{0}}, condition = {{0}}, semaphore;
    struct timespec deadline;
    long long start = now();
    int status;
    handled = 0;
    signal(SIGALRM, handler);
    alarm(2);
    clock_gettime(0, &deadline);
    deadline.tv_sec += 10;
    if (kind) {
        pthread_mutex_lock(&mutex);
        status = pthread_cond_timedwait(&condition, &mutex, &deadline) == ETIMEDOUT;
    } else {
        sem_init(&semaphore, 0, 0);
        status = sem_timedwait(&semaphore, &deadline) == -1 && *__errno_location() == EINTR;
    }
    return status && handled == SIGALRM ? (int)(now() - start) : -1;
}
"""


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_a_signal_ends_the_wait_for_a_semaphore_only(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        machine.libc.clock = lambda: _START
        library = machine.load(compiled(target, _SOURCE))
        waited = library.function("waited", "int waited(int)")
        assert (waited(0), waited(1)) == (2000, 10_000)

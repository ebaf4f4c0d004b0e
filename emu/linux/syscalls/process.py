"""System calls for the process: exit, identity, limits, thread pointer, time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort, GuestExit
from emu.libc.errno import Errno
from emu.libc.filesystem import file_system
from emu.libc.mapping import write_back
from emu.libc.process import PROCESS_ID
from emu.libc.readiness import duration
from emu.libc.signal_delivery import Signals
from emu.linux.syscalls.kernel import call

if TYPE_CHECKING:
    from emu.linux.syscalls.kernel import SystemCalls


@call("exit", "exit_group")
def exit_(kernel: SystemCalls, status: int) -> int:
    write_back(file_system(kernel.libc))
    raise GuestExit(status & 0xFF)


@call("getpid", "gettid", "set_tid_address")
def getpid(kernel: SystemCalls) -> int:
    return PROCESS_ID


@call("getppid")
def getppid(kernel: SystemCalls) -> int:
    return 1


@call("getuid", "geteuid", "getgid", "getegid")
def getuid(kernel: SystemCalls) -> int:
    return 1000


@call("setuid", "setgid")
def setuid(kernel: SystemCalls, identity: int) -> int:
    return 0 if identity == 1000 else -Errno.EPERM


@call("sched_yield", "set_robust_list", "riscv_flush_icache", "arm_cacheflush")
def nothing_to_do(kernel: SystemCalls) -> int:
    return 0


@call("prctl")
def prctl(kernel: SystemCalls, option: int) -> int:
    return 0 if option == 15 else -Errno.EINVAL  # PR_SET_NAME


@call("uname")
def uname(kernel: SystemCalls, names_: int) -> int:
    """struct new_utsname: six fields of 65 bytes."""
    fields = ("Linux", "relink-emu", "6.1.0", "#1", kernel.abi.machine, "(none)")
    kernel.memory.write(names_, b"".join(field.encode().ljust(65, b"\0") for field in fields))
    return 0


@call("sched_getaffinity")
def sched_getaffinity(kernel: SystemCalls, process: int, size: int, mask: int) -> int:
    """There is one processor, number 0; the result is the size of the kernel's mask in bytes."""
    if size < kernel.word:
        return -Errno.EINVAL
    kernel.put(mask, 1)
    return kernel.word


@call("sched_setaffinity")
def sched_setaffinity(kernel: SystemCalls, process: int, size: int, mask: int) -> int:
    """EINVAL for a mask without processor 0."""
    processors = kernel.memory.read(mask, min(size, kernel.word))
    if process not in (0, PROCESS_ID):
        return -Errno.ESRCH
    return 0 if processors and processors[0] & 1 else -Errno.EINVAL


_MOST_RANDOM = 0x1_0000
_STACK_LIMIT, _FILES_LIMIT = 3, 7


def _limits(kernel: SystemCalls, resource: int) -> tuple[int, int]:
    infinity = (1 << 64) - 1
    found = {_STACK_LIMIT: (8 << 20, infinity), _FILES_LIMIT: (1024, 4096)}
    return found.get(resource, (infinity, infinity))


@call("prlimit64")
def prlimit64(kernel: SystemCalls, process: int, resource: int, new: int, old: int) -> int:
    if resource > 15:
        return -Errno.EINVAL
    if old:
        kernel.put(old, *_limits(kernel, resource), size=8)
    return 0


@call("getrlimit", "ugetrlimit")
def getrlimit(kernel: SystemCalls, resource: int, limits: int) -> int:
    if resource > 15:
        return -Errno.EINVAL
    kernel.put(limits, *_limits(kernel, resource))
    return 0


@call("getrandom")
def getrandom(kernel: SystemCalls, buffer: int, size: int) -> int:
    """Reproducible bytes, as from the hosted C library's getrandom; long requests are cut."""
    from emu.libc.rand import getrandom as from_libc

    done = from_libc(kernel.libc, buffer, min(size, _MOST_RANDOM), 0)
    return -Errno.EFAULT if done < 0 else done


# ---------------------------------------------------------------- the thread pointer


@call("arch_prctl")
def arch_prctl(kernel: SystemCalls, code: int, address: int) -> int:
    """ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS (Linux, arch/x86/include/uapi/asm/prctl.h)."""
    registers = {0x1001: "gs_base", 0x1002: "fs_base", 0x1003: "fs_base", 0x1004: "gs_base"}
    if code not in registers or kernel.word == 4:
        return -Errno.EINVAL
    if code in (0x1001, 0x1002):
        kernel.cpu.write_register(registers[code], address)
    else:
        kernel.put(address, kernel.cpu.read_register(registers[code]))
    return 0


#: The entry allocated for entry number -1 (GDT_ENTRY_TLS_MIN, arch/x86/include/asm/segment.h).
_TLS_ENTRY = 6


@call("set_thread_area")
def set_thread_area(kernel: SystemCalls, descriptor: int) -> int:
    """struct user_desc: entry_number, base_addr, limit, flags. There is one entry, for the segment in %gs."""
    number, base = kernel.get(descriptor), kernel.get(descriptor + 4)
    if number not in (_TLS_ENTRY, 0xFFFF_FFFF):
        return -Errno.EINVAL
    kernel.cpu.set_thread_pointer(base)
    kernel.put(descriptor, _TLS_ENTRY)
    return 0


@call("arm_set_tls")
def arm_set_tls(kernel: SystemCalls, address: int) -> int:
    kernel.cpu.set_thread_pointer(address)
    return 0


# ---------------------------------------------------------------- waiting

_THREAD_STARTERS = frozenset({"clone", "clone3"})
_FUTEX_COMMAND, _FUTEX_WAIT, _FUTEX_WAIT_BITSET = 0x7F, 0, 9


def _futex(kernel: SystemCalls, address: int, operation: int, value: int, timeout: int, size: int) -> int:
    if operation & _FUTEX_COMMAND not in (_FUTEX_WAIT, _FUTEX_WAIT_BITSET):
        return 0
    if kernel.get(address, 4) != value & 0xFFFF_FFFF:
        return -Errno.EAGAIN
    if timeout:
        time = duration(kernel.libc, timeout, size) or 0
        since = kernel.libc.clock() if operation & _FUTEX_COMMAND == _FUTEX_WAIT_BITSET else 0
        left = kernel.libc.state(Signals).sleep(max(time - since, 0))
        return -Errno.EINTR if left else -Errno.ETIMEDOUT
    refused = kernel.unknown.keys() & _THREAD_STARTERS
    why = f" ({min(refused)}, which would start one, returned ENOSYS)" if refused else ""
    raise GuestAbort(f"the guest waits for a futex at {address:#x}: a deadlock, as there is no other thread{why}")


@call("futex")
def futex(kernel: SystemCalls, address: int, operation: int, value: int, timeout: int) -> int:
    """There is no other thread to wake a waiter: a wait returns at once, times out, or is a deadlock."""
    return _futex(kernel, address, operation, value, timeout, kernel.word)


@call("futex_time64")
def futex_time64(kernel: SystemCalls, address: int, operation: int, value: int, timeout: int) -> int:
    return _futex(kernel, address, operation, value, timeout, 8)


# ---------------------------------------------------------------- time

_SECOND = 1_000_000_000
_ABSOLUTE = 1  #: TIMER_ABSTIME


def _clock(kernel: SystemCalls, clock: int, address: int, size: int) -> int:
    if not 0 <= kernel.signed(clock, 4) <= 11:
        return -Errno.EINVAL
    kernel.put(address, *divmod(kernel.libc.clock(), _SECOND), size=size)
    return 0


@call("clock_gettime")
def clock_gettime(kernel: SystemCalls, clock: int, address: int) -> int:
    return _clock(kernel, clock, address, kernel.word)


@call("clock_gettime64")
def clock_gettime64(kernel: SystemCalls, clock: int, address: int) -> int:
    return _clock(kernel, clock, address, 8)


@call("clock_getres", "clock_getres_time64")
def clock_getres(kernel: SystemCalls, clock: int, address: int) -> int:
    if address:
        kernel.put(address, 0, 1, size=kernel.isa.data.time_size)
    return 0


@call("getcpu")
def getcpu(kernel: SystemCalls, cpu: int, node: int) -> int:
    """There is one CPU, in one node."""
    for address in filter(None, (cpu, node)):
        kernel.put(address, 0, size=4)
    return 0


@call("gettimeofday")
def gettimeofday(kernel: SystemCalls, address: int) -> int:
    seconds, rest = divmod(kernel.libc.clock(), _SECOND)
    if address:
        kernel.put(address, seconds, rest // 1000)
    return 0


@call("time")
def time(kernel: SystemCalls, address: int) -> int:
    seconds = kernel.libc.clock() // _SECOND
    if address:
        kernel.put(address, seconds)
    return seconds


def _sleep(kernel: SystemCalls, nanoseconds: int, remaining: int, size: int) -> int:
    left = kernel.libc.state(Signals).sleep(nanoseconds)
    if left and remaining:
        kernel.put(remaining, *divmod(left, _SECOND), size=size)
    return -Errno.EINTR if left else 0


@call("nanosleep")
def nanosleep(kernel: SystemCalls, request: int, remaining: int) -> int:
    """Sleeping takes no time on the host."""
    return _sleep(kernel, duration(kernel.libc, request, kernel.word) or 0, remaining, kernel.word)


def _clock_nanosleep(kernel: SystemCalls, clock: int, flags: int, request: int, remaining: int, size: int) -> int:
    wanted = duration(kernel.libc, request, size) or 0
    if not 0 <= kernel.signed(clock, 4) <= 11:
        return -Errno.EINVAL
    if flags & _ABSOLUTE:
        wanted, remaining = max(wanted - kernel.libc.clock(), 0), 0
    return _sleep(kernel, wanted, remaining, size)


@call("clock_nanosleep")
def clock_nanosleep(kernel: SystemCalls, clock: int, flags: int, request: int, remaining: int) -> int:
    return _clock_nanosleep(kernel, clock, flags, request, remaining, kernel.word)


@call("clock_nanosleep_time64")
def clock_nanosleep_time64(kernel: SystemCalls, clock: int, flags: int, request: int, remaining: int) -> int:
    return _clock_nanosleep(kernel, clock, flags, request, remaining, 8)

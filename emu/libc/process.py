"""Exit, abort, assertions, stack protector, and information about the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort, GuestExit
from emu.libc.errno import Errno, message
from emu.libc.file_node import USER_ID
from emu.libc.handlers import Handlers, run_handlers, run_thread_handlers
from emu.libc.table import export, export_data, register

if TYPE_CHECKING:
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc


@export("void exit(int status)")
def exit_(libc: Libc, status: int) -> None:
    run_thread_handlers(libc)
    run_handlers(libc, libc.state(Handlers).registered, status=status)
    exit_now(libc, status)


@export("void quick_exit(int status)")
def quick_exit(libc: Libc, status: int) -> None:
    run_handlers(libc, libc.state(Handlers).quick)
    raise GuestExit(status)


@export("void _exit(int status)", alias=("_Exit",))
def exit_now(libc: Libc, status: int) -> None:
    from emu.libc.filesystem import file_system  # which other functions here, called by each library, do not need
    from emu.libc.mapping import write_back

    write_back(file_system(libc))
    raise GuestExit(status)


_LONGEST_TEXT = 1 << 12  #: maximum number of bytes quoted in an error


def _text(libc: Libc, address: int) -> str:
    return libc.bounded_string(address, _LONGEST_TEXT).decode(errors="replace") if address else "?"


@export("void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)")
def assert_fail(libc: Libc, assertion: int, file: int, line: int, function: int) -> None:
    where = f"{_text(libc, file)}:{line}: {_text(libc, function)}"
    raise GuestAbort(f"{where}: Assertion `{_text(libc, assertion)}' failed.")


@export("void __assert(const char *assertion, const char *file, int line)")
def bsd_assert(libc: Libc, assertion: int, file: int, line: int) -> None:
    raise GuestAbort(f"{_text(libc, file)}:{line}: Assertion `{_text(libc, assertion)}' failed.")


@export("void __assert_perror_fail(int error, const char *file, unsigned line, const char *function)")
def assert_perror_fail(libc: Libc, error: int, file: int, line: int, function: int) -> None:
    where = f"{_text(libc, file)}:{line}: {_text(libc, function)}"
    raise GuestAbort(f"{where}: Unexpected error: {message(error).decode()}.")


@export("void __assert2(const char *file, int line, const char *function, const char *assertion)")
def bionic_assert(libc: Libc, file: int, line: int, function: int, assertion: int) -> None:
    assert_fail(libc, assertion, file, line, function)


@export("void mcount(void)", alias=("_mcount", "__fentry__"))
def mcount(libc: Libc) -> None:
    """Called in each function of code built with -pg, with all registers in use. Nothing is counted."""


@export("void __monstartup(unsigned long low, unsigned long high)", alias=("monstartup",))
def monstartup(libc: Libc, low: int, high: int) -> None:
    """Called first by programs built with -pg. Nothing is counted."""


@export("void _mcleanup(void)")
def mcleanup(libc: Libc) -> None:
    """Called at exit by programs built with -pg. There are no counts, so no gmon.out is written."""


@export("void __stack_chk_fail(void)", alias=("__stack_chk_fail_local",))
def stack_chk_fail(libc: Libc) -> None:
    raise GuestAbort("*** stack smashing detected ***")


@export("void __chk_fail(void)", alias=("__fortify_fail",))
def chk_fail(libc: Libc) -> None:
    raise GuestAbort("*** buffer overflow detected ***")


@export("void __cxa_pure_virtual(void)", alias=("__cxa_deleted_virtual",))
def pure_virtual(libc: Libc) -> None:
    raise GuestAbort("pure virtual method called")


@export_data("__stack_chk_guard")
def stack_chk_guard(libc: Libc) -> bytes:
    # The lowest byte is zero, so that a string overflow cannot write it (glibc, sysdeps/generic/dl-osinfo.h).
    return bytes.fromhex("00c5a3961e7b42d9")[: libc.word]


@export_data("_rtld_global_ro")
def rtld_global_ro(libc: Libc) -> bytes:
    """The processor data that glibc's libm reads: of the baseline alone, so that its ifuncs choose that."""
    data = bytearray(4096)
    for offset, word in libc.isa.libc.processor_data:
        data[offset : offset + 4] = word.to_bytes(4, "little")
    return bytes(data)


@export("int *__errno_location(void)", alias=("__errno", "___errno"))
def errno_location(libc: Libc) -> int:
    return libc.errno_address


# ---------------------------------------------------------------- who and where am I

PROCESS_ID = 4242
#: sysconf's numbers on Linux -> values (glibc, bits/confname.h and posix/sysconf.c).
_SYSCONF = {
    0: 131072, 2: 100, 3: 65536, 4: 1024, 5: 16, 7: 1, 8: 1, 30: 4096, 33: (1 << 31) - 1, 83: 1, 84: 1,
    85: 262144, 86: 131072, 36: 99, 37: 2048, 38: 99, 39: 1000, 40: 255, 42: 32, 43: 2048, 44: 32767, 60: 1024,
    69: 1024, 70: 1024, 71: 256, 72: 32, 73: 4, 74: 1024, 75: 16384, 87: (1 << 31) - 1, 89: 700, 101: 8,
    102: 127, 103: -128, 104: (1 << 31) - 1, 105: -(1 << 31), 109: 20, 110: 32767, 111: 127, 112: -128,
    113: 32767, 114: -32768, 115: 255, 118: 65535, 180: 64,
    **dict.fromkeys((15, 16, 19, 21, 29, 46, 47, 149, 164), 200809),
}  # fmt: skip
#: Numbers that have no value here: those of options and of limits that do not exist.
_NO_LIMIT = frozenset([*range(200), *range(235, 250)])


@export("int getpid(void)", alias=("gettid",))
def getpid(libc: Libc) -> int:
    return PROCESS_ID


@export("int getppid(void)")
def getppid(libc: Libc) -> int:
    return 1


@export("int getresuid(unsigned *real, unsigned *effective, unsigned *saved)", alias=("getresgid",))
def getresuid(libc: Libc, real: int, effective: int, saved: int) -> int:
    for place in (real, effective, saved):
        libc.memory.write_uint(place, 4, USER_ID)
    return 0


_UNCHANGED = 0xFFFF_FFFF


def _keep_identities(libc: Libc, *identities: int) -> int:
    """Success where all stay as they are, as -1 says of one of several; no others are permitted (setresuid(2))."""
    if identities == (_UNCHANGED,):
        return libc.fail(Errno.EINVAL)
    return 0 if {USER_ID, _UNCHANGED}.issuperset(identities) else libc.fail(Errno.EPERM)


for _count, _names in enumerate(("setuid setgid seteuid setegid", "setreuid setregid", "setresuid setresgid"), 1):
    for _name in _names.split():
        register(_name, f"int {_name}({', '.join(['unsigned'] * _count)})", _keep_identities)


@export("int setfsuid(unsigned identity)", alias=("setfsgid",))
def setfsuid(libc: Libc, identity: int) -> int:
    """The identity stays; returns it, as for a change that is not permitted (setfsuid(2))."""
    return USER_ID


@export("unsigned getuid(void)", alias=("geteuid", "getgid", "getegid"))
def getuid(libc: Libc) -> int:
    return USER_ID


@export("int getpagesize(void)", alias=("__getpagesize",))
def getpagesize(libc: Libc) -> int:
    return libc.arch.page_size


@export("long sysconf(int name)", alias=("__sysconf",))
def sysconf(libc: Libc, name: int) -> int:
    """-1 for what has no limit, or is not supported; with EINVAL for a number that means nothing."""
    if name in _SYSCONF:
        return _SYSCONF[name]
    return -1 if name in _NO_LIMIT else libc.fail(Errno.EINVAL)


@export("long syscall(long number, ...)")
def syscall(libc: Libc, number: int, arguments: Arguments) -> int:
    """The emulated kernel's calls, with their numbers on this ISA."""
    if libc.system_call is None:
        return libc.fail(Errno.ENOSYS)
    result = libc.system_call(number, [int(arguments.take("unsigned long")) for _ in range(6)])
    return libc.fail(Errno(-result)) if -4096 < result < 0 else result


@export("unsigned long getauxval(unsigned long kind)", alias=("__getauxval",))
def getauxval(libc: Libc, kind: int) -> int:
    auxv = {6: libc.arch.page_size} if libc.program is None else libc.program.auxv
    return auxv[kind] if kind in auxv else libc.fail(Errno.ENOENT, 0)


@export("int sched_getaffinity(int process, size_t size, void *mask)")
def sched_getaffinity(libc: Libc, process: int, size: int, mask: int) -> int:
    """One processor, number 0."""
    if not size:
        return libc.fail(Errno.EINVAL)
    if size < libc.word:
        return libc.fail(Errno.EINVAL)
    libc.memory.fill(mask, b"\0", size)
    libc.memory.write(mask, b"\1")
    return 0


@export("int __sched_cpucount(size_t size, const void *mask)")
def sched_cpucount(libc: Libc, size: int, mask: int) -> int:
    return sum(int.from_bytes(piece, "little").bit_count() for piece in libc.memory.pieces(mask, size))


@export("int get_nprocs(void)", alias=("get_nprocs_conf",))
def get_nprocs(libc: Libc) -> int:
    return 1


@export("void __libc_fatal(const char *text)")
def libc_fatal(libc: Libc, text: int) -> None:
    raise GuestAbort(_text(libc, text).strip())


@export("int uname(void *names)")
def uname(libc: Libc, names: int) -> int:
    """struct utsname: six fields of 65 bytes."""
    fields = ("Linux", "relink-emu", "6.1.0", "#1", libc.isa.kernel.machine, "(none)")
    libc.memory.write(names, b"".join(field.encode().ljust(65, b"\0") for field in fields))
    return 0


@export("int system(const char *command)")
def system(libc: Libc, command: int) -> int:
    return 0 if not command else libc.fail(Errno.ENOSYS)


@export("int fork(void)")
def fork(libc: Libc) -> int:
    return libc.fail(Errno.ENOSYS)

"""Functions that need another process, a network, a terminal or more privileges, none of which exist here.

Each fails with the errno that Linux sets in such a case, so that a program can handle the failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_WORDS = ("long",) * 7
#: errno -> the functions that fail with it, by their number of word-sized arguments.
_FAILING: dict[Errno, dict[int, str]] = {
    Errno.EAFNOSUPPORT: {1: "getifaddrs", 3: "socket", 4: "socketpair"},
    Errno.ENOENT: {0: "getpt", 1: "posix_openpt", 4: "forkpty", 5: "openpty"},
    Errno.EBADF: {
        2: "listen shutdown sockatmark",
        3: "bind connect accept getsockname getpeername sendmsg recvmsg __sendmsg64 __recvmsg64",
        4: "accept4 send recv",
        5: "__recv_chk "
        "setsockopt getsockopt sendmmsg recvmmsg __setsockopt64 __getsockopt64 __sendmmsg64 __recvmmsg64",
        6: "sendto recvfrom",
        7: "__recvfrom_chk",
    },
    Errno.ENOSYS: {
        0: "vfork inotify_init vhangup",
        1: "epoll_create epoll_create1 inotify_init1 timerfd_create userfaultfd timer_delete timer_getoverrun "
        "unshare personality shmdt mq_close mq_unlink fts_close fts64_close __fts64_close_time64",
        2: "execv execvp eventfd memfd_create inotify_rm_watch daemon timer_gettime timerfd_gettime eventfd_read "
        "mq_getattr setns capget pidfd_open __timer_gettime64 __timerfd_gettime64 "
        "fsopen",
        3: "execve execvpe fexecve inotify_add_watch shmget semget msgget signalfd timer_create shmctl msgctl "
        "semop eventfd_write mq_setattr __shmctl64 __msgctl64 fts_set fts64_set __fts64_set_time64 "
        "fsmount open_tree fspick",
        4: "epoll_ctl epoll_wait timer_settime timerfd_settime clone semctl msgsnd mq_open tee semtimedop ptrace "
        "__semctl64 __timer_settime64 __timerfd_settime64 pidfd_send_signal "
        "vmsplice __semtimedop64 mq_send mq_receive",
        5: "execveat msgrcv epoll_pwait epoll_pwait2 __epoll_pwait2_time64 name_to_handle_at "
        "fsconfig move_mount mount_setattr mq_timedsend mq_timedreceive __mq_timedsend_time64 "
        "__mq_timedreceive_time64",
        6: "copy_file_range splice process_vm_readv process_vm_writev",
    },
    Errno.EPERM: {
        0: "setpgrp",
        1: "adjtimex reboot umount chroot sethostname settimeofday nice acct swapoff",
        2: "delete_module "
        "capset pivot_root setgroups initgroups clock_settime setdomainname setpgid swapon "
        "umount2 __clock_settime64 __settimeofday64",
        3: "init_module klogctl setpriority",
        5: "mount",
    },
    Errno.ENOTTY: {
        1: "grantpt login_tty tcdrain tcgetpgrp tcgetsid unlockpt",
        2: "tcgetattr tcsetpgrp tcflush tcflow tcsendbreak",
        3: "tcsetattr",
    },
}
for _errno, _by_count in _FAILING.items():
    for _count, _names in _by_count.items():
        for _name in _names.split():
            register(
                _name,
                f"int {_name}({', '.join(_WORDS[:_count]) or 'void'})",
                lambda libc, *_, error=_errno: libc.fail(error),
            )
#: The same for functions that return an error number instead of setting errno.
for _name, _count in {
    "posix_spawn": 6,
    "posix_spawnp": 6,
}.items():
    register(_name, f"int {_name}({', '.join(_WORDS[:_count])})", lambda libc, *_: Errno.ENOSYS)
register("ptsname_r", "int ptsname_r(int number, char *name, size_t size)", lambda libc, *_: Errno.ENOTTY)
for _name in ("execl", "execlp", "execle"):
    register(
        _name,
        f"int {_name}(const char *path, const char *argument, ...)",
        lambda libc, *_: libc.fail(Errno.ENOSYS),
    )
#: Functions that set up attributes and file actions for posix_spawn succeed.
for _stem, _counts in {
    "posix_spawn_file_actions": {
        "init": 1,
        "destroy": 1,
        "addclose": 2,
        "adddup2": 3,
        "addopen": 5,
        "addclosefrom_np": 2,
        "addchdir_np": 2,
        "addfchdir_np": 2,
    },
    "posix_spawnattr": {
        "init": 1,
        "destroy": 1,
        "setflags": 2,
        "setsigmask": 2,
        "setsigdefault": 2,
        "setpgroup": 2,
        "setschedparam": 2,
        "setschedpolicy": 2,
    },
}.items():
    for _verb, _count in _counts.items():
        _name = f"{_stem}_{_verb}"
        register(_name, f"int {_name}({', '.join(_WORDS[:_count])})", lambda libc, *_: 0)
#: Waiting for children: there are none.
for _name, _count in {"wait3": 3, "wait4": 4, "waitid": 4, "__wait3_time64": 3, "__wait4_time64": 4}.items():
    register(_name, f"int {_name}({', '.join(_WORDS[:_count])})", lambda libc, *_: libc.fail(Errno.ECHILD))


#: fts_open and its relatives: nftw walks folders.
for _name, _count in {"open": 3, "read": 1, "children": 2}.items():
    for _spelled in (f"fts_{_name}", f"fts64_{_name}", f"__fts64_{_name}_time64"):
        register(
            _spelled,
            f"void *{_spelled}({', '.join(_WORDS[:_count])})",
            lambda libc, *_: libc.fail(Errno.ENOSYS, 0),
        )


@export("void *popen(const char *command, const char *mode)")
def popen(libc: Libc, command: int, mode: int) -> int:
    return libc.fail(Errno.ENOSYS, 0)


@export("void *shmat(int identity, const void *address, int flags)")
def shmat(libc: Libc, identity: int, address: int, flags: int) -> int:
    return libc.fail(Errno.ENOSYS, libc.arch.address_mask)


@export("int pclose(void *stream)")
def pclose(libc: Libc, stream: int) -> int:
    return libc.fail(Errno.ECHILD)


# ---------------------------------------------------------------- what a process asks about its surroundings


@export("int gethostname(char *buffer, size_t size)")
def gethostname(libc: Libc, buffer: int, size: int) -> int:
    name = b"relink-emu"
    if size <= len(name):
        return libc.fail(Errno.ENAMETOOLONG)
    libc.put_string(buffer, name)
    return 0


@export("int getdomainname(char *buffer, size_t size)")
def getdomainname(libc: Libc, buffer: int, size: int) -> int:
    libc.memory.write(buffer, b"(none)\0"[:size])
    return 0


@export("long gethostid(void)")
def gethostid(libc: Libc) -> int:
    return 0


@export("int getrusage(int who, void *usage)")
def getrusage(libc: Libc, who: int, usage: int) -> int:
    """Resource usage is not measured: struct rusage (two times and fourteen longs) is zero."""
    return _usage(libc, who, usage, 2 * libc.word)


@export("int __getrusage64(int who, void *usage)")
def getrusage64(libc: Libc, who: int, usage: int) -> int:
    """With 64-bit times, on ISAs with 32-bit words."""
    return _usage(libc, who, usage, 16)


def _usage(libc: Libc, who: int, usage: int, time_size: int) -> int:
    if who not in (0, -1, 1):
        return libc.fail(Errno.EINVAL)
    libc.memory.write(usage, bytes(2 * time_size + 14 * libc.word))
    return 0


@export("int backtrace(void **frames, int count)")
def backtrace(libc: Libc, frames: int, count: int) -> int:
    """No frames: a guest's own unwinder tells them."""
    return 0


@export("char **backtrace_symbols(void *const *frames, int count)")
def backtrace_symbols(libc: Libc, frames: int, count: int) -> int:
    return libc.fail(Errno.ENOSYS, 0)


@export("void backtrace_symbols_fd(void *const *frames, int count, int number)")
def backtrace_symbols_fd(libc: Libc, frames: int, count: int, number: int) -> None:
    """Nothing to write: there are no frames."""


@export("int sysinfo(void *info)")
def sysinfo(libc: Libc, info: int) -> int:
    """Store a struct sysinfo: the total memory is the machine's limit, and there is one process."""
    word = libc.word
    total = min(1 << 30, libc.arch.address_mask)
    words = [0, 0, 0, 0, total, total // 2, 0, 0, 0, 0]
    block = b"".join(value.to_bytes(word, "little") for value in words) + (1).to_bytes(2, "little")
    block = block.ljust(len(block) + word - 1 & -word, b"\0") + bytes(2 * word) + (1).to_bytes(4, "little")
    libc.memory.write(info, block)
    return 0


@export("int getpgrp(void)", alias=("setsid", "getpgid", "getsid"))
def getpgrp(libc: Libc) -> int:
    from emu.libc.process import PROCESS_ID

    return PROCESS_ID


@export("int getpriority(int which, unsigned who)")
def getpriority(libc: Libc, which: int, who: int) -> int:
    return 0


@export("char *ttyname(int number)", alias=("ptsname",))
def ttyname(libc: Libc, number: int) -> int:
    return libc.fail(Errno.ENOTTY, 0)


@export("int getloadavg(double *averages, int count)")
def getloadavg(libc: Libc, averages: int, count: int) -> int:
    return -1


for _name in ("openlog", "syslog", "vsyslog", "__syslog_chk", "__vsyslog_chk"):
    _last = "void *list" if "vsyslog" in _name else "..."
    register(_name, f"void {_name}(long a, long b, {_last})", lambda libc, *_: None)
for _name in ("closelog", "setutxent", "endutxent"):
    register(_name, f"void {_name}(void)", lambda libc: None)


@export("int setlogmask(int mask)")
def setlogmask(libc: Libc, mask: int) -> int:
    return 0xFF


@export("void *getutxent(void)", alias=("getutent",))
def getutxent(libc: Libc) -> int:
    return 0


@export("int utmpxname(const char *path)")
def utmpxname(libc: Libc, path: int) -> int:
    return 0


for _name in ("setmntent", "getmntent", "hasmntopt"):
    register(_name, f"void *{_name}(const void *a, const void *b)", lambda libc, a, b: 0)
register("getmntent_r", "void *getmntent_r(void *a, void *b, char *c, int size)", lambda libc, a, b, c, size: 0)


@export("int endmntent(void *stream)")
def endmntent(libc: Libc, stream: int) -> int:
    return 1

"""Resource limits, file system statistics, the program break, prctl; attributes of threads and forks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.calls.prototypes import Integer, parse_type
from emu.cpu.protocol import Protection
from emu.libc import filesystem as fs
from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.process import getpid
from emu.libc.table import export, register
from relink.errors import AddressSpaceError
from relink.memory.address_space import page_ceil

if TYPE_CHECKING:
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc

_RLIMIT_STACK, _RLIMIT_NOFILE, _RLIMITS = 3, 7, 16
_RLIMIT_CORE = 4
_EFFECTIVE = (_RLIMIT_CORE, _RLIMIT_NOFILE)  #: limits that may be changed; core files are never written
_STACK_SIZE, _FILES = 8 << 20, (1024, 4096)
_TMPFS_MAGIC, _BLOCK, _BLOCKS, _LONGEST_NAME = 0x0102_1994, 4096, 1 << 18, 255
_PR_SET_NAME, _PR_GET_NAME, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 15, 16, 3, 4
_NAME_SIZE = 16
_BREAK_ROOM = 64 << 20  #: bytes reserved for the break


# ---------------------------------------------------------------- limits


class Limits:
    """Limits by resource: (soft, hard), None: unlimited. Only that of descriptors can be changed; the
    machine has limits of its own for memory, time and the stack.
    """

    def __init__(self, libc: Libc) -> None:
        unlimited: tuple[int | None, int | None] = (None, None)
        self.of = dict.fromkeys(range(_RLIMITS), unlimited)
        self.of |= {_RLIMIT_STACK: (_STACK_SIZE, None), _RLIMIT_NOFILE: _FILES}


def _put_limits(libc: Libc, resource: int, limits: int, size: int) -> int:
    """A struct rlimit of two words of `size` bytes."""
    if not 0 <= resource < _RLIMITS:
        return libc.fail(Errno.EINVAL)
    infinity = (1 << 8 * size) - 1
    for index, value in enumerate(libc.state(Limits).of[resource]):
        libc.memory.write_uint(limits + index * size, size, infinity if value is None else min(value, infinity))
    return 0


def _set_limits(libc: Libc, resource: int, limits: int, size: int) -> int:
    """Lower a limit, or raise the soft one up to the hard one; EPERM for a higher hard limit, and for limits that
    would have no effect here.
    """
    if not 0 <= resource < _RLIMITS:
        return libc.fail(Errno.EINVAL)
    infinity = (1 << 8 * size) - 1
    words = (libc.memory.read_uint(limits + index * size, size) for index in range(2))
    soft, hard = (None if word == infinity else word for word in words)
    state = libc.state(Limits)
    before = state.of[resource]
    if hard is not None and (soft is None or soft > hard):
        return libc.fail(Errno.EINVAL)
    if before[1] is not None and (hard is None or hard > before[1]):
        return libc.fail(Errno.EPERM)
    if (soft, hard) != before and resource not in _EFFECTIVE:
        return libc.fail(Errno.EPERM)
    state.of[resource] = soft, hard
    if resource == _RLIMIT_NOFILE and soft is not None:
        fs.file_system(libc).most_descriptors = soft
    return 0


@export("int getrlimit(int resource, void *limits)")
def getrlimit(libc: Libc, resource: int, limits: int) -> int:
    """rlim_t has the size of off_t: a word, except on riscv32, where it has 64 bits."""
    return _put_limits(libc, resource, limits, _count_size(libc))


@export("int getrlimit64(int resource, void *limits)")
def getrlimit64(libc: Libc, resource: int, limits: int) -> int:
    return _put_limits(libc, resource, limits, 8)


@export("int setrlimit(int resource, const void *limits)")
def setrlimit(libc: Libc, resource: int, limits: int) -> int:
    return _set_limits(libc, resource, limits, _count_size(libc))


@export("int setrlimit64(int resource, const void *limits)")
def setrlimit64(libc: Libc, resource: int, limits: int) -> int:
    return _set_limits(libc, resource, limits, 8)


def _prlimit(libc: Libc, process: int, resource: int, new: int, old: int, size: int) -> int:
    if process not in (0, getpid(libc)):
        return libc.fail(Errno.ESRCH)
    if old and _put_limits(libc, resource, old, size):
        return -1
    return _set_limits(libc, resource, new, size) if new else 0


@export("int prlimit(int process, unsigned resource, const void *new, void *old)")
def prlimit(libc: Libc, process: int, resource: int, new: int, old: int) -> int:
    return _prlimit(libc, process, resource, new, old, _count_size(libc))


@export("int prlimit64(int process, unsigned resource, const void *new, void *old)")
def prlimit64(libc: Libc, process: int, resource: int, new: int, old: int) -> int:
    return _prlimit(libc, process, resource, new, old, 8)


@export("int getdtablesize(void)")
def getdtablesize(libc: Libc) -> int:
    return fs.file_system(libc).most_descriptors


@export("int close_range(unsigned first, unsigned last, int flags)")
def close_range(libc: Libc, first: int, last: int, flags: int) -> int:
    """Close all, or with CLOSE_RANGE_CLOEXEC (4) mark all to be closed by exec."""
    if first > last or flags & ~6:
        return libc.fail(Errno.EINVAL)
    files = fs.file_system(libc)
    for number in [each for each in files.descriptors if first <= each <= last]:
        files.close_on_exec.add(number) if flags & 4 else files.close(number)
    return 0


# ---------------------------------------------------------------- file systems


def _statistics(libc: Libc, buffer: int, word: int) -> int:
    """Fill a struct statfs whose counts have `word` bytes, for an in-memory file system that is half full."""
    head = 8 if libc.word == 8 else 4
    fields = [(head, _TMPFS_MAGIC), (head, _BLOCK)]
    fields += [(word, value) for value in (_BLOCKS, _BLOCKS // 2, _BLOCKS // 2, _BLOCKS, _BLOCKS // 2)]
    fields += [(8, 0), (head, _LONGEST_NAME), (head, _BLOCK), *((head, 0) for _ in range(5))]
    libc.memory.write(buffer, b"".join(value.to_bytes(size, "little") for size, value in fields))
    return 0


def _count_size(libc: Libc) -> int:
    """The size in bytes of rlim_t and of the counts of struct statfs: that of off_t."""
    off_t = parse_type("off_t", libc.arch.name)
    assert isinstance(off_t, Integer)
    return off_t.size


@export("int statfs(const char *path, void *buffer)", alias=("__statfs",))
def statfs(libc: Libc, path: int, buffer: int) -> int:
    def operation() -> int:
        fs.file_system(libc).status(libc.string(path))
        return _statistics(libc, buffer, _count_size(libc))

    return attempt(libc, operation)


@export("int statfs64(const char *path, void *buffer)")
def statfs64(libc: Libc, path: int, buffer: int) -> int:
    def operation() -> int:
        fs.file_system(libc).status(libc.string(path))
        return _statistics(libc, buffer, 8)

    return attempt(libc, operation)


@export("int fstatfs(int number, void *buffer)")
def fstatfs(libc: Libc, number: int, buffer: int) -> int:
    def operation() -> int:
        fs.file_system(libc).get(number)
        return _statistics(libc, buffer, _count_size(libc))

    return attempt(libc, operation)


@export("int fstatfs64(int number, void *buffer)")
def fstatfs64(libc: Libc, number: int, buffer: int) -> int:
    def operation() -> int:
        fs.file_system(libc).get(number)
        return _statistics(libc, buffer, 8)

    return attempt(libc, operation)


def _put_statvfs(libc: Libc, buffer: int, count: int) -> None:
    """Fill a struct statvfs whose counts have `count` bytes (glibc, bits/statvfs.h)."""
    word = libc.word
    counts = (_BLOCKS, _BLOCKS // 2, _BLOCKS // 2, _BLOCKS, _BLOCKS // 2, _BLOCKS // 2)
    fields = [(word, _BLOCK), (word, _BLOCK), *((count, value) for value in counts), (word, 0)]
    fields += [(4, 0)] if word == 4 else []
    fields += [(word, 0), (word, _LONGEST_NAME), *((4, 0) for _ in range(6))]
    libc.memory.write(buffer, b"".join(value.to_bytes(size, "little") for size, value in fields))


def _register_statvfs() -> None:
    for suffix in ("", "64"):

        def by_path(libc: Libc, path: int, buffer: int, *, suffix: str = suffix) -> int:
            def operation() -> None:
                fs.file_system(libc).status(fs.path_at(libc, path))
                _put_statvfs(libc, buffer, 8 if suffix else _count_size(libc))

            return attempt(libc, operation)

        def by_number(libc: Libc, number: int, buffer: int, *, suffix: str = suffix) -> int:
            def operation() -> None:
                fs.file_system(libc).get(number)
                _put_statvfs(libc, buffer, 8 if suffix else _count_size(libc))

            return attempt(libc, operation)

        register(f"statvfs{suffix}", f"int statvfs{suffix}(const char *path, void *result)", by_path)
        register(f"fstatvfs{suffix}", f"int fstatvfs{suffix}(int number, void *result)", by_number)


_register_statvfs()


# ---------------------------------------------------------------- the break


class _Break:
    """The memory of the program break; the part below the break can be used."""

    def __init__(self, libc: Libc) -> None:
        self.start = libc.mappings.map_anonymous(_BREAK_ROOM, Protection.NONE, name="[brk]")
        self.end = self.start


def _move(libc: Libc, wanted: int) -> bool:
    """Move the break; False when there is no room."""
    state = libc.state(_Break)
    if not state.start <= wanted <= state.start + _BREAK_ROOM:
        return False
    mapped, needed = page_ceil(state.end), page_ceil(wanted)
    try:
        if needed > mapped:
            libc.mappings.protect_pages(mapped, needed - mapped, Protection.R | Protection.W)
        elif needed < mapped:
            libc.mappings.zero(needed, mapped - needed)
            libc.mappings.protect_pages(needed, mapped - needed, Protection.NONE)
    except AddressSpaceError:
        return False
    state.end = wanted
    return True


@export("void *sbrk(intptr_t increment)", alias=("__sbrk",))
def sbrk(libc: Libc, increment: int) -> int:
    old = libc.state(_Break).end
    return old if _move(libc, old + increment) else libc.fail(Errno.ENOMEM, libc.arch.address_mask)


@export("int brk(void *address)", alias=("__brk",))
def brk(libc: Libc, address: int) -> int:
    return 0 if _move(libc, address) else libc.fail(Errno.ENOMEM)


# ---------------------------------------------------------------- processes and threads


class _ProcessName:
    def __init__(self, libc: Libc) -> None:
        self.name = b"guest"


@export("int prctl(int option, ...)", alias=("__prctl_time64",))
def prctl(libc: Libc, option: int, arguments: Arguments) -> int:
    """The process's name, and whether it may be dumped; EINVAL for other options."""
    if option in (_PR_SET_NAME, _PR_GET_NAME):
        address = int(arguments.take("unsigned long"))
        state = libc.state(_ProcessName)
        if option == _PR_SET_NAME:
            state.name = libc.memory.read_cstring(address)[: _NAME_SIZE - 1]
        else:
            libc.memory.write(address, state.name.ljust(_NAME_SIZE, b"\0"))
        return 0
    if option == _PR_GET_DUMPABLE:
        return 1
    return 0 if option == _PR_SET_DUMPABLE else libc.fail(Errno.EINVAL)


@export("int __register_atfork(void *prepare, void *parent, void *child, void *image)")
def register_atfork(libc: Libc, prepare: int, parent: int, child: int, image: int) -> int:
    """fork is not supported, so the handlers are never called."""
    return 0


@export("int pthread_getaffinity_np(unsigned long thread, size_t size, void *mask)")
def pthread_getaffinity_np(libc: Libc, thread: int, size: int, mask: int) -> int:
    """There is one processor, number 0. Errors are returned, not stored in errno."""
    if size < libc.word:
        return Errno.EINVAL
    libc.memory.fill(mask, b"\0", size)
    libc.memory.write(mask, b"\1")
    return 0


@export("int wait(int *status)")
def wait(libc: Libc, status: int) -> int:
    return libc.fail(Errno.ECHILD)


@export("int waitpid(int process, int *status, int options)")
def waitpid(libc: Libc, process: int, status: int, options: int) -> int:
    return libc.fail(Errno.ECHILD)

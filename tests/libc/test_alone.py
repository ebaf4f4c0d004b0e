"""What threads and processes share, in a program that is alone: locks, semaphores, shared memory, select."""

from __future__ import annotations

import ctypes
import os
import struct

import pytest

from emu import Machine
from emu.errors import GuestAbort, GuestExit
from emu.libc.errno import Errno
from tests.fixtures import arch_of
from tests.libc.fake import Harness, Values
from tests.linker.craft import Library, Sym
from tests.objects.build import compiled

CREAT, EXCL, RDWR = 0o100, 0o200, 2
TABLE = """
typedef struct { char *key; void *data; } entry;
extern int hcreate(unsigned long), *__errno_location(void);
extern void hdestroy(void);
extern entry *hsearch(entry, int);
long table(void) {
    if (hcreate(-1ul) || *__errno_location() != 12) return -1;
    if (!hcreate(2)) return -2;
    static char *keys[] = {"", "a", "b", "abc"};
    for (long i = 0; i < 3; i++) {
        entry *found = hsearch((entry){keys[i], (void *)i}, 1);
        if (!found || found->key != keys[i]) return -3;
    }
    if (hsearch((entry){keys[3], 0}, 1) || *__errno_location() != 12) return -4;
    if (hsearch((entry){keys[3], 0}, 0) || *__errno_location() != 3) return -5;
    entry *kept = hsearch((entry){"b", (void *)9}, 1);
    long data = (long)kept->data;
    hdestroy();
    return data;
}
"""


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_a_hash_table_says_why_it_has_no_entry(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        assert machine.load(compiled(target, TABLE)).function("table", "long(void)")() == 2
        assert machine.heap.live_blocks == 0


def test_locks_for_reading_and_writing(host: Harness) -> None:
    lock = host.buffer(64)
    for call, result in (
        ("rdlock", 0), ("rdlock", 0), ("tryrdlock", 0), ("trywrlock", Errno.EBUSY), ("destroy", Errno.EBUSY),
        ("unlock", 0), ("unlock", 0), ("unlock", 0), ("unlock", Errno.EPERM),
        ("wrlock", 0), ("rdlock", Errno.EDEADLK), ("wrlock", Errno.EDEADLK), ("tryrdlock", Errno.EBUSY),
        ("unlock", 0), ("rdlock", 0),
    ):  # fmt: skip
        assert host.call(f"pthread_rwlock_{call}", lock) == result, call
    with pytest.raises(GuestAbort, match="deadlock"):
        host.call("pthread_rwlock_wrlock", lock)
    assert host.call("pthread_rwlock_timedwrlock", lock, host.buffer(16)) == Errno.ETIMEDOUT


def test_spin_locks(host: Harness) -> None:
    lock = host.buffer(4)
    assert host.call("pthread_spin_init", lock, 0) == host.call("pthread_spin_lock", lock) == 0
    assert host.call("pthread_spin_trylock", lock) == Errno.EBUSY
    with pytest.raises(GuestAbort, match="spin lock"):
        host.call("pthread_spin_lock", lock)
    assert host.call("pthread_spin_unlock", lock) == host.call("pthread_spin_trylock", lock) == 0


@pytest.mark.parametrize(
    ("structure", "name", "good", "bad"),
    [
        ("mutexattr", "type", 1, 4), ("mutexattr", "robust", 1, 2), ("mutexattr", "pshared", 1, 2),
        ("mutexattr", "protocol", 2, 3), ("condattr", "clock", 1, 2), ("rwlockattr", "kind_np", 2, 3),
    ],
)  # fmt: skip
def test_attributes_of_locks_are_kept(host: Harness, structure: str, name: str, good: int, bad: int) -> None:
    attributes, value = host.place(b"\xff" * 8), host.buffer(4)
    stem = f"pthread_{structure}"
    assert host.call(f"{stem}_init", attributes) == host.call(f"{stem}_set{name}", attributes, good) == 0
    assert host.call(f"{stem}_set{name}", attributes, bad) == Errno.EINVAL
    assert host.call(f"{stem}_get{name}", attributes, value) == 0
    assert host.memory.read_uint(value, 4) == good


def test_a_mutex_is_waited_for_until_the_deadline(host: Harness) -> None:
    mutex = host.buffer(48)
    assert host.call("pthread_mutex_timedlock", mutex, host.buffer(16)) == 0
    assert host.call("pthread_mutex_timedlock", mutex, host.buffer(16)) == Errno.ETIMEDOUT
    assert host.call("pthread_mutex_consistent", mutex) == Errno.EINVAL


def test_the_process_ends_with_its_only_thread(host: Harness) -> None:
    with pytest.raises(GuestExit) as ended:
        host.call("pthread_exit", 5)
    assert ended.value.status == 0
    assert host.call("pthread_cancel", 12345) == Errno.ESRCH


def test_the_name_and_the_processors_of_the_thread(host: Harness) -> None:
    myself, name = host.call("pthread_self"), host.buffer(16)
    assert host.call("pthread_setname_np", myself, b"worker") == 0
    assert host.call("pthread_setname_np", myself, b"x" * 16) == Errno.ERANGE
    assert host.call("pthread_getname_np", myself, name, 16) == 0
    assert host.string(name) == b"worker"
    assert host.call("sched_setaffinity", 0, 8, host.place(b"\1" + bytes(7))) == 0
    assert host.call("sched_setaffinity", 0, 8, host.place(b"\2" + bytes(7))) == -1
    assert host.call("sched_get_priority_max", 1) == 99
    assert host.call("sched_get_priority_max", 7) == -1


def test_named_semaphores_are_found_by_name(host: Harness) -> None:
    assert host.call("sem_open", b"/s", 0, Values()) == 0
    assert host.libc.errno == Errno.ENOENT
    first = host.call("sem_open", b"/s", CREAT, Values(0o600, 1))
    assert host.call("sem_open", b"/s", 0, Values()) == first
    assert host.call("sem_open", b"/s", CREAT | EXCL, Values(0o600, 1)) == 0
    assert host.libc.errno == Errno.EEXIST
    assert host.call("sem_wait", first) == host.call("sem_unlink", b"/s") == 0
    other = host.call("sem_open", b"/s", CREAT, Values(0o600, 7))
    assert other != first
    assert host.call("sem_close", first) == host.call("sem_post", first) == 0  # open once more
    assert host.call("sem_close", first) == 0
    assert host.call("sem_close", first) == -1
    assert host.call("sem_open", b"s", CREAT | EXCL, Values(0o600, 0)) == 0  # the same name
    assert host.libc.errno == Errno.EEXIST
    assert host.call("sem_open", b"a/b", CREAT, Values(0, 0)) == 0
    assert host.libc.errno == Errno.EINVAL


def test_shared_memory_is_a_file(host: Harness) -> None:
    number = host.call("shm_open", b"/area", CREAT | RDWR, 0o600)
    assert host.call("ftruncate", number, 10) == 0
    assert host.libc.files["/dev/shm/area"] == bytes(10)
    assert host.call("fcntl", number, 1) == 1  # FD_CLOEXEC
    assert host.call("shm_unlink", b"/area") == 0
    assert host.call("shm_unlink", b"/area") == host.call("shm_open", b"/a/b", CREAT, 0) == -1
    assert host.libc.errno == Errno.EINVAL


def test_select_finds_what_is_ready(host: Harness) -> None:
    numbers = host.buffer(8)
    host.call("pipe", numbers)
    reader, writer = struct.unpack("<2i", host.memory.read(numbers, 8))
    reading, writing, time = host.buffer(128), host.buffer(128), host.buffer(16)

    def select(expected: int, read: int, write: int) -> None:
        host.memory.write_uint(reading, 128, 1 << reader)
        host.memory.write_uint(writing, 128, 1 << writer)
        assert host.call("select", writer + 1, reading, writing, 0, time) == expected
        assert host.memory.read_uint(reading, 8) == read << reader
        assert host.memory.read_uint(writing, 8) == write << writer

    select(1, 0, 1)
    host.call("write", writer, host.place(b"x"), 1)
    select(2, 1, 1)
    host.call("read", reader, host.buffer(1), 1)
    host.memory.write_uint(reading, 128, 1 << reader)
    with pytest.raises(GuestAbort, match="deadlock"):
        host.call("select", writer + 1, reading, 0, 0, 0)
    host.memory.write_uint(reading, 128, 1 << 40)
    assert host.call("select", 41, reading, 0, 0, time) == -1
    assert host.libc.errno == Errno.EBADF
    assert host.call("poll", 0, 0, 0) == 0
    with pytest.raises(GuestAbort, match="deadlock"):
        host.call("poll", 0, 0, -1)


def _host_glibc() -> tuple[int, ...]:
    """Its version, which `platform.libc_ver` does not know: that is what Python was compiled for."""
    return tuple(map(int, (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1].split(".")))


def test_settings_of_terminals_are_glibcs(host: Harness, glibc: ctypes.CDLL) -> None:
    for filling in (b"\0", b"\xff", b"\x5a"):
        theirs = ctypes.create_string_buffer(filling * 60, 60)
        ours = host.place(filling * 60)
        glibc.cfmakeraw(theirs)
        host.call("cfmakeraw", ours)
        assert host.memory.read(ours, 60) == theirs.raw
        if _host_glibc() >= (2, 42):  # where functions of these names take other numbers: of bits a second
            continue
        for name in ("cfsetospeed", "cfsetispeed", "cfsetspeed"):
            assert host.call(name, ours, 0o010002) == getattr(glibc, name)(theirs, 0o010002) == 0
        # glibc keeps in c_iflag whether the input's speed is that of the output
        assert host.memory.read(ours + 4, 56) == theirs.raw[4:]
        assert host.call("cfgetospeed", ours) == glibc.cfgetospeed(theirs) == 0o010002


def test_descriptors_are_closed_by_the_range(host: Harness) -> None:
    numbers = [host.call("open", b"/dev/null", 0) for _ in range(4)]
    assert host.call("close_range", numbers[1], numbers[2], 0) == 0
    assert [host.call("fcntl", number, 1) for number in numbers] == [0, -1, -1, 0]
    assert host.call("close_range", 0, 0xFFFF_FFFF, 4) == 0
    assert host.call("fcntl", numbers[0], 1) == 1


@pytest.mark.parametrize("soname", ["libc.musl-armhf.so.1", "libc.musl-armv7.so.1"])
def test_the_names_of_musl_on_arm_are_provided(soname: str) -> None:
    """One for each of Alpine Linux's two architectures."""
    with Machine("arm") as machine:
        machine.load(Library("arm", needed=[soname], symbols=[Sym("v")]).image())

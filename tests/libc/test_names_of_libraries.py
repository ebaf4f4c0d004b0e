"""Functions that run times of other languages, Debian's programs, and code that is built with -pg import."""

from __future__ import annotations

import ctypes
import struct

import pytest

from emu import Machine
from emu.isa.registry import ISAS
from emu.libc.errno import Errno
from emu.libc.table import find
from tests.fixtures import ARCHES
from tests.libc.fake import Harness
from tests.objects.build import compiled, linked

#: Importer -> functions and variables.
IMPORTS = {
    "Rust's libstd": "__res_init gnu_get_libc_version __fxstatat64",
    "libgomp": "pthread_attr_setaffinity_np",
    "libubsan": "confstr",
    "libgmp": "obstack_vprintf _obstack_newchunk",
    "libxml2": "__h_errno_location",
    "libgnat": "gethostbyname_r getpt ptsname gethostbyaddr_r getservbyname_r __sched_cpufree getservbyport_r "
    "grantpt unlockpt __sched_cpualloc pthread_getcpuclockid",
    "libgphobos": "pthread_setschedprio getprotobynumber _pthread_cleanup_pop in6addr_any _pthread_cleanup_push",
    "Python": "hstrerror if_indextoname setpgrp posix_spawnattr_setschedparam forkpty fexecve preadv64v2 "
    "sched_setparam posix_openpt timerfd_gettime login_tty posix_spawn_file_actions_addclosefrom_np openpty "
    "lockf64 sem_clockwait timerfd_settime ptsname_r if_freenameindex if_nameindex sched_rr_get_interval "
    "pwritev64v2 posix_spawnattr_setschedpolicy closefrom",
    "code for gprof": "__monstartup _mcleanup",
}


@pytest.mark.parametrize("arch", ARCHES)
def test_what_they_import_is_there(arch: str) -> None:
    names = " ".join(IMPORTS.values()).split()
    assert [name for name in names if find(name, ISAS[arch]) is None] == []


@pytest.mark.parametrize("target", ["x86_64", "riscv64"])
def test_h_errno_is_one_variable_by_its_function_and_as_a_symbol(target: str) -> None:
    source = """
    extern __thread int h_errno; int *__h_errno_location(void); void *gethostbyname(const char *);
    int same(void) { return &h_errno == __h_errno_location(); }
    int found(void) { h_errno = 0; return gethostbyname("name") ? -1 : h_errno; }
    """
    with Machine(target) as machine:
        library = machine.load(linked(target, [compiled(target, source, "-fPIC")]))
        assert library.function("same", "int(void)")() == 1
        assert library.function("found", "int(void)")() == 1  # HOST_NOT_FOUND


def test_texts_are_glibcs(glibc: ctypes.CDLL) -> None:
    host = Harness()
    glibc.hstrerror.restype = ctypes.c_char_p
    for error in (-7, -1, 0, 1, 2, 3, 4, 5, 99):
        place = host.call("hstrerror", error)
        assert host.string(place) == glibc.hstrerror(error)
        assert host.call("hstrerror", error) == place, "the same place at each call"


@pytest.mark.parametrize("arch", ["x86_64", "arm"])
def test_reentrant_look_ups_find_nothing(arch: str) -> None:
    host = Harness(arch)
    word = host.libc.word
    result, error, entry = host.place(b"\xff" * 8), host.place(bytes(4)), host.place(bytes(64))
    assert host.call("gethostbyname_r", b"name", entry, entry, 64, result, error) == 0
    assert host.memory.read_uint(result, word) == 0
    assert host.memory.read_uint(error, 4) == 1
    host.memory.write(result, b"\xff" * 8)
    assert host.call("getservbyport_r", 80, b"tcp", entry, entry, 64, result) == 0
    assert host.memory.read_uint(result, word) == 0


def test_strings_of_the_configuration_are_cut_like_glibcs() -> None:
    host = Harness()
    place = host.place(b"?" * 16)
    assert host.call("confstr", 0, 0, 0) == len("/bin:/usr/bin") + 1
    assert host.call("confstr", 0, place, 5) == len("/bin:/usr/bin") + 1
    assert host.memory.read(place, 6) == b"/bin\0?"
    assert host.call("confstr", 12345, place, 16) == 0
    assert host.libc.errno == Errno.EINVAL
    version = host.string(host.call("gnu_get_libc_version"))
    host.call("confstr", 2, place, 16)
    assert host.string(place) == b"glibc " + version


def test_numbers_of_devices_are_glibcs(glibc: ctypes.CDLL) -> None:
    host = Harness()
    glibc.gnu_dev_makedev.restype = ctypes.c_uint64
    for major, minor in ((0, 0), (8, 1), (0x1234_5678, 0x9ABC_DEF0), (0xFFFF_FFFF, 0xFFFF_FFFF)):
        device = host.call("gnu_dev_makedev", major, minor)
        assert device == glibc.gnu_dev_makedev(major, minor)
        assert host.call("gnu_dev_major", device) & 0xFFFF_FFFF == major
        assert host.call("gnu_dev_minor", device) & 0xFFFF_FFFF == minor


def test_there_are_no_pseudo_terminals() -> None:
    host = Harness()
    for name, *arguments in (("posix_openpt", 2), ("getpt",), ("openpty", 0, 0, 0, 0, 0)):
        assert host.call(name, *arguments) == -1
        assert host.libc.errno == Errno.ENOENT
    assert host.call("ptsname", 0) == 0
    assert host.call("ptsname_r", 0, 0, 0) == Errno.ENOTTY


def test_vectored_reads_with_flags_and_closefrom() -> None:
    host = Harness(files={"/f": b"0123456789"})
    number = host.call("open", b"/f", 0)
    into = host.place(bytes(8))
    vector = host.place(struct.pack("<QQ", into, 4))
    assert host.call("preadv64v2", number, vector, 1, 3, 0) == 4
    assert host.memory.read(into, 4) == b"3456"
    assert host.call("preadv64v2", number, vector, 1, -1, 0) == 4
    assert host.memory.read(into, 4) == b"0123", "-1 is the position of the descriptor"
    assert host.call("preadv64v2", number, vector, 1, 0, 8) == -1
    assert host.libc.errno == Errno.EOPNOTSUPP
    host.call("closefrom", 3)
    assert host.call("lockf64", number, 1, 0) == -1
    assert host.libc.errno == Errno.EBADF
    assert host.call("lockf64", 0, 1, 0) == 0, "standard input is still open"


def test_the_only_thread_may_run_on_the_only_processor() -> None:
    host = Harness()
    cpus = host.call("__sched_cpualloc", 65)
    assert cpus
    assert host.call("malloc_usable_size", cpus) >= 16
    host.memory.write(cpus, b"\1" + bytes(15))
    assert host.call("pthread_attr_setaffinity_np", 0, 16, cpus) == 0
    host.memory.write(cpus, b"\2")
    assert host.call("pthread_attr_setaffinity_np", 0, 16, cpus) == Errno.EINVAL
    host.call("__sched_cpufree", cpus)


def test_without_catalogues_messages_are_the_program_s() -> None:
    host = Harness()
    assert host.call("catopen", b"any", 0) == -1
    assert host.libc.errno == Errno.ENOENT
    place = host.machine.heap.malloc(16)
    assert host.call("catgets", -1, 1, 1, place) == place
    assert host.call("catclose", -1) == -1
    assert host.libc.errno == Errno.EBADF

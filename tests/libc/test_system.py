"""Random numbers, time, environment, files, threads and ends."""

from __future__ import annotations

import ctypes
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu import Machine
from emu.errors import GuestAbort, GuestExit
from emu.host.functions import HostFunction
from emu.libc.lifecycle import finish
from relink.memory.address_space import PAGE
from tests.counting import per_item, python_calls
from tests.libc.fake import Harness, Values
from tests.objects.build import compiled


@given(st.integers(0, (1 << 32) - 1))
def test_rand_r_and_drand48_give_glibcs_numbers(glibc: ctypes.CDLL, seed: int) -> None:
    host = Harness()
    state, place = ctypes.c_uint(seed), host.place(seed.to_bytes(4, "little"))
    assert [host.call("rand_r", place) for _ in range(9)] == [glibc.rand_r(ctypes.byref(state)) for _ in range(9)]
    glibc.drand48.restype = ctypes.c_double
    glibc.lrand48.restype = glibc.mrand48.restype = ctypes.c_long
    glibc.srand48(ctypes.c_long(seed))
    host.call("srand48", seed)
    for name in ("drand48", "lrand48", "mrand48") * 3:
        assert host.call(name) == getattr(glibc, name)(), name
    assert Harness().call("drand48") == 0xB / 2**48, "before any srand48"


#: From the year 1000 on: below, glibc pads %C one way or another by version.
_TIMES = st.integers(-30_610_137_600, 1 << 40)
_STRFTIME = (
    b"%a %A %b %B %c|%C %d %D %e %F|%g %G %H %I %j|%k %l %m %M|%p %P %r %R",
    b"%S %T %u %U %V %w %W %x %X %y %Y %%%n%z%Z",
)


@given(_TIMES)
def test_gmtime_timegm_and_strftime_agree_with_the_host(glibc: ctypes.CDLL, seconds: int) -> None:
    host = Harness()
    broken = host.buffer(64)
    theirs = ctypes.create_string_buffer(64)
    glibc.gmtime_r(ctypes.byref(ctypes.c_long(seconds)), theirs)
    assert host.call("gmtime_r", host.place(seconds.to_bytes(8, "little", signed=True)), broken) == broken
    assert host.memory.read(broken, 36) == theirs.raw[:36]
    assert host.call("timegm", broken) == seconds
    for template in _STRFTIME:
        out, expected = host.buffer(256), ctypes.create_string_buffer(256)
        count = glibc.strftime(expected, ctypes.c_size_t(256), template, theirs)
        assert host.call("strftime", out, 256, template, broken) == count
        assert host.string(out) == expected.value


def test_the_clock_is_the_callers() -> None:
    ticks = iter(range(10**18, 2 * 10**18, 10**9 + 5000))
    host = Harness(clock=lambda: next(ticks))
    place = host.buffer(16)
    assert host.call("time", place) == 10**9
    host.call("gettimeofday", place, 0)
    assert (host.memory.read_uint(place, 8), host.memory.read_uint(place + 8, 8)) == (10**9 + 1, 5)
    assert time.time_ns() != next(ticks)


def test_a_32_bit_time_has_a_64_bit_twin() -> None:
    host = Harness("arm", clock=lambda: (1 << 33) * 10**9)
    assert host.call("time", 0) == -1
    assert host.libc.errno == 75
    assert host.call("__time64", 0) == 1 << 33
    assert Harness("riscv64").libc.lookup("__time64") is None


@pytest.mark.parametrize(("arch", "machine"), [("i386", "i686"), ("arm", "armv7l"), ("riscv32", "riscv32")])
def test_uname_says_what_the_kernel_says(arch: str, machine: str) -> None:
    host = Harness(arch)
    names = host.libc.allocate(6 * 65)
    assert host.call("uname", names) == 0
    assert host.libc.string(names + 4 * 65) == machine.encode()


def test_environment_is_the_guests_own_array() -> None:
    host = Harness(environment={"HOME": "/root", "X": "1"})
    assert host.string(host.call("getenv", b"HOME")) == b"/root"
    assert host.call("getenv", b"HOM") == 0
    assert host.call("setenv", b"X", b"2", 0) == 0
    assert host.string(host.call("getenv", b"X")) == b"1"
    host.call("setenv", b"X", b"22", 1)
    host.call("setenv", b"Y", b"3", 0)
    host.call("unsetenv", b"HOME")
    place = host.libc.lookup("environ")
    assert isinstance(place, int)
    array = host.memory.read_uint(place, 8)
    entries = [host.string(host.memory.read_uint(array + 8 * i, 8)) for i in range(2)]
    assert entries == [b"X=22", b"Y=3"]
    assert host.memory.read_uint(array + 16, 8) == 0
    assert host.libc.lookup("environ") == host.libc.lookup("__environ")


def test_environ_may_end_at_an_unmapped_page() -> None:
    """The array, at each distance from the end of the last page, and the last string."""
    host = Harness()
    end = host.machine.memory.map_anonymous(4 * PAGE) + 4 * PAGE
    place = host.libc.lookup("environ")
    assert isinstance(place, int)
    for count in (0, 1, 31, 32, 33, 600):
        others = [host.text(b"N=%d" % number) for number in range(count)]
        host.memory.write(end - 4, b"A=1\0")
        for gap in (4, 8, 9, 16, PAGE - 16, PAGE - 12, PAGE):
            array = end - gap - 8 * (count + 2)
            for number, entry in enumerate([*others, end - 4, 0]):
                host.memory.write_uint(array + 8 * number, 8, entry)
            host.memory.write_uint(place, 8, array)
            assert host.call("getenv", b"A") == end - 2
            assert host.call("getenv", b"NONE" * 9) == 0


def test_a_variable_more_costs_a_look_at_its_name() -> None:
    def cost(count: int) -> int:
        host = Harness(environment={f"N{number}": "1" for number in range(count)})
        host.call("getenv", b"NONE")
        return python_calls(lambda: host.call("getenv", b"NONE"))

    assert per_item(cost, 100) <= 10


def test_files_are_the_users_dictionary() -> None:
    files: dict[str, bytes | bytearray] = {"/etc/motd": b"hello\nworld\n"}
    host = Harness(files=files)
    stream = host.call("fopen", b"/etc/../etc/motd", b"r")
    line = host.buffer(32)
    assert host.call("fgets", line, 32, stream) == line
    assert host.string(line) == b"hello\n"
    assert host.call("fgetc", stream) == ord("w")
    host.call("ungetc", ord("W"), stream)
    assert host.call("ftell", stream) == 6
    assert host.call("fread", line, 1, 32, stream) == 6
    assert host.memory.read(line, 6) == b"World\n"
    assert host.call("feof", stream)
    assert host.call("fclose", stream) == 0

    out = host.call("fopen", b"/tmp/new", b"w")
    host.call("fprintf", out, b"%d-", Values(5))
    host.call("fseek", out, 0, 0)
    host.call("fputs", b"6", out)
    assert files["/tmp/new"] == b"6-"
    assert host.call("unlink", b"/tmp/new") == 0
    assert "/tmp/new" not in files
    assert host.call("fopen", b"/nowhere", b"r") == 0
    assert host.libc.errno == 2


def test_the_hosts_disk_is_out_of_reach(host: Harness) -> None:
    assert host.call("open", b"/etc/passwd", 0, Values()) == -1
    assert host.libc.errno == 2


def test_descriptors_seek_truncate_and_stat() -> None:
    host = Harness(files={"/f": b"0123456789"})
    number = host.call("open", b"/f", 2, Values())
    assert host.call("lseek", number, 4, 0) == 4
    place = host.buffer(200)
    assert host.call("read", number, place, 3) == 3
    assert host.memory.read(place, 3) == b"456"
    assert host.call("pwrite", number, host.text(b"zz"), 2, 12) == 2
    assert host.libc.files["/f"] == b"0123456789\0\0zz"
    assert host.call("ftruncate", number, 5) == 0
    assert host.call("fstat", number, place) == 0
    assert host.memory.read_uint(place + 48, 8) == 5
    assert host.call("close", number) == 0
    assert host.call("close", number) == -1
    assert host.libc.errno == 9


def test_abort_exit_and_assertions_are_exceptions(host: Harness) -> None:
    with pytest.raises(GuestAbort, match=r"abort\(\) called"):
        host.call("abort")
    with pytest.raises(GuestAbort, match=r"a\.c:7: f: Assertion `x > 0' failed"):
        host.call("__assert_fail", b"x > 0", b"a.c", 7, b"f")
    with pytest.raises(GuestAbort, match="stack smashing detected"):
        host.call("__stack_chk_fail")
    with pytest.raises(GuestExit) as caught:
        host.call("_exit", 3)
    assert caught.value.status == 3


def test_exit_runs_handlers_last_first_even_ones_registered_meanwhile(host: Harness) -> None:
    order: list[object] = []
    late = host.machine.function(lambda: order.append("late"))
    first = host.machine.function(lambda: order.append("first"))

    def register(argument: int) -> None:
        order.append(argument)
        host.call("atexit", late)

    second = host.machine.function(register)
    host.call("atexit", first)
    host.call("__cxa_atexit", second, 77, 0x5000)
    with pytest.raises(GuestExit):
        host.call("exit", 0)
    assert order == [77, "late", "first"]


def test_finalize_runs_only_one_librarys_handlers(host: Harness) -> None:
    order: list[int] = []
    record = host.machine.function(order.append)
    for argument, dso in ((1, 0x1000), (2, 0x2000), (3, 0x1000)):
        host.call("__cxa_atexit", record, argument, dso)
    host.call("__cxa_finalize", 0x1000)
    assert order == [3, 1]


def test_a_second_lock_by_the_only_thread_is_a_deadlock(host: Harness) -> None:
    mutex = host.buffer(48)
    assert host.call("pthread_mutex_lock", mutex) == 0
    assert host.call("pthread_mutex_trylock", mutex) == 16
    with pytest.raises(GuestAbort, match="deadlock"):
        host.call("pthread_mutex_lock", mutex)
    assert host.call("pthread_mutex_unlock", mutex) == 0
    assert host.call("pthread_mutex_destroy", mutex) == 0


def test_a_recursive_mutex_counts(host: Harness) -> None:
    attributes, mutex = host.buffer(8), host.buffer(48)
    host.call("pthread_mutexattr_init", attributes)
    host.call("pthread_mutexattr_settype", attributes, 1)
    host.call("pthread_mutex_init", mutex, attributes)
    assert [host.call("pthread_mutex_lock", mutex) for _ in range(3)] == [0, 0, 0]
    assert [host.call("pthread_mutex_unlock", mutex) for _ in range(4)] == [0, 0, 0, 1]


def test_once_runs_once(host: Harness) -> None:
    runs: list[int] = []
    routine, control = host.machine.function(lambda: runs.append(1)), host.buffer(4)
    host.call("pthread_once", control, routine)
    host.call("pthread_once", control, routine)
    assert runs == [1]


def test_setjmp_comes_back_with_what_longjmp_says() -> None:
    host = Harness("aarch64")
    registers = host.machine.cpu.values
    registers.update({"sp": 0x8000, "x30": 0x1234, "x19": 19, "d8": 88})
    buffer = host.buffer(256)
    assert host.call("_setjmp", buffer) == 0
    registers.update({"sp": 0x7000, "x30": 0x9999, "x19": 0, "d8": 0})
    assert host.call("longjmp", buffer, 0) == 1
    assert (registers["sp"], registers["x30"], registers["x19"], registers["d8"]) == (0x8000, 0x1234, 19, 88)


def test_longjmp_out_of_a_python_frame_is_refused() -> None:
    host = Harness("aarch64")
    host.machine.cpu.values.update({"sp": 0x8000, "x30": 0x1234})
    buffer = host.buffer(256)
    host.call("_setjmp", buffer)
    host.machine.depth = 2
    with pytest.raises(GuestAbort, match="setjmp ran at call depth 1, longjmp at 2"):
        host.call("longjmp", buffer, 5)


@pytest.mark.parametrize("name", ["__memcpy_chk", "__memset_chk", "__strncpy_chk"])
def test_fortified_copies_abort_at_one_past_the_object(host: Harness, name: str) -> None:
    out, source = host.buffer(16), 65 if "memset" in name else host.text(b"x" * 16)
    assert host.call(name, out, source, 8, 8) == out
    with pytest.raises(GuestAbort, match="needs 9 bytes, the object has 8"):
        host.call(name, out, source, 9, 8)


def test_lookup_tells_functions_variables_and_nothing_apart(host: Harness) -> None:
    function, variable = host.libc.lookup("strlen"), host.libc.lookup("stdout")
    assert isinstance(function, HostFunction)
    assert str(function.prototype).startswith("size_t strlen")
    assert isinstance(variable, int)
    stdout = host.memory.read_uint(variable, 8)
    host.call("fputs", b"x", stdout)
    assert host.libc.stdout.getvalue() == b"x"
    assert host.libc.lookup("no_such_function") is None
    assert "strlen" in host.libc.symbols
    assert "__aeabi_idiv" not in host.libc.symbols


def test_finish_runs_what_atexit_registered(host: Harness) -> None:
    order: list[int] = []
    for number in range(3):
        host.call("atexit", host.machine.function(lambda number=number: order.append(number)))
    finish(host.libc)
    finish(host.libc)
    assert order == [2, 1, 0]


@pytest.mark.parametrize("arch", ["aarch64", "riscv64"])
def test_caches_of_instructions_need_no_flush(arch: str) -> None:
    source = """
    void __clear_cache(void *begin, void *end);
    int __riscv_flush_icache(void *begin, void *end, unsigned long flags);
    int flushed(char *code) { __clear_cache(code, code + 8); return __riscv_flush_icache(code, code + 8, 0); }
    """
    with Machine(arch) as machine:
        assert machine.load(compiled(arch, source)).function("flushed", "int flushed(char *)")(bytearray(8)) == 0

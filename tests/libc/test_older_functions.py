"""Older functions of <stdlib.h> and <libgen.h>, semaphores, and streams on memory, as glibc's."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu import Machine
from emu.errors import GuestAbort
from tests.fixtures import arch_of
from tests.libc.fake import Harness
from tests.objects.build import compiled

_INT = ctypes.POINTER(ctypes.c_int)


@given(st.floats(), st.integers(-3, 20))
def test_digits_of_numbers_are_glibcs(glibc: ctypes.CDLL, value: float, count: int) -> None:
    host, point, sign = Harness(), ctypes.c_int(), ctypes.c_int()
    place, text = host.buffer(8), ctypes.create_string_buffer(64)
    for name in ("ecvt", "fcvt"):
        function = getattr(glibc, name)
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_double, ctypes.c_int, _INT, _INT]
        digits = function(value, count, point, sign)
        found = host.memory.read_cstring(host.call(name, value, count, place, place + 4))
        if name == "ecvt" or abs(value) < 1e60 or value - value:  # glibc's buffer cuts long ones
            got = (found, *struct.unpack("<ii", host.memory.read(place, 8)))
            assert got == (digits, point.value, sign.value), name
    if count > 0:
        glibc.gcvt(ctypes.c_double(value), count, text)
        assert host.memory.read_cstring(host.call("gcvt", value, count, host.buffer(64))) == text.value


@given(st.binary(min_size=14, max_size=14))
def test_the_generators_of_48_bits_are_glibcs(glibc: ctypes.CDLL, state: bytes) -> None:
    host, own = Harness(), ctypes.create_string_buffer(state, 14)
    place = host.place(state)
    glibc.erand48.restype, glibc.nrand48.restype = ctypes.c_double, ctypes.c_long
    glibc.jrand48.restype = glibc.lrand48.restype = ctypes.c_long
    for prepare in ("seed48", "lcong48"):
        getattr(glibc, prepare)(ctypes.create_string_buffer(state, 14))
        host.call(prepare, host.place(state))
        for name in ("erand48", "nrand48", "jrand48") * 2:
            assert host.call(name, place) == getattr(glibc, name)(own), name
        assert host.call("lrand48") == glibc.lrand48()


@given(st.text("/a.", max_size=9), st.integers(-(1 << 31), (1 << 31) - 1))
def test_parts_of_paths_and_radix_64_are_glibcs(glibc: ctypes.CDLL, path: str, number: int) -> None:
    host = Harness()
    for name in ("dirname", "__xpg_basename"):
        function = getattr(glibc, name)
        function.restype = ctypes.c_char_p
        expected = function(ctypes.create_string_buffer(path.encode()))
        assert host.memory.read_cstring(host.call(name, host.place(path.encode() + b"\0"))) == expected, name
    glibc.l64a.restype, glibc.a64l.restype = ctypes.c_char_p, ctypes.c_long
    text = glibc.l64a(ctypes.c_long(number))
    assert host.memory.read_cstring(host.call("l64a", number)) == text
    assert host.call("a64l", host.place(text + b"\0")) == glibc.a64l(text)


def test_a_semaphore_that_nobody_posts_is_a_deadlock() -> None:
    host = Harness()
    place, value = host.buffer(32), host.buffer(4)
    assert host.call("sem_init", place, 0, 2) == 0
    assert [host.call("sem_wait", place), host.call("sem_trywait", place)] == [0, 0]
    assert [host.call("sem_trywait", place), host.call("sem_post", place)] == [-1, 0]
    assert host.call("sem_getvalue", place, value) == 0
    assert host.memory.read(value, 4) == b"\1\0\0\0"
    host.call("sem_wait", place)
    with pytest.raises(GuestAbort, match="waits for the semaphore"):
        host.call("sem_wait", place)
    host.call("pthread_barrier_init", place, 0, 1)
    assert host.call("pthread_barrier_wait", place) == -1
    host.call("pthread_barrier_init", place, 0, 2)
    with pytest.raises(GuestAbort, match="for 1 others"):
        host.call("pthread_barrier_wait", place)


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32"])
def test_streams_on_memory_are_glibcs(target: str) -> None:
    source = (Path(__file__).parent / "memory_streams.c").read_text()
    with Machine(arch_of(target)) as machine:
        library = machine.load(compiled(target, source))
        for _ in range(2):
            report = library.function("memory_streams", "const char *memory_streams(void)")()
            assert machine.memory.read_cstring(report).decode() == REPORT
            with machine.snapshot() as snapshot:
                machine.restore(snapshot)


REPORT = """\
read 12 345 []
bytes 10 97 []
again 10 120 []
byte 120 7 []
end 16 -1 []
eof 1 -1 []
opened 35 0 []
write 6 0 []
written 0 35 [ten-10]
moved 0 35 [tEN-10]
appended 7 0 [tEN-10!]
own 3 3 [own]
full 0 0 [1234567]
empty 0 1 []
grown 4 4 [0007]
long 54 57 [000701234567890123456789012345678901234567890123456789]
"""

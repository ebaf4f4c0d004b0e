"""Functions that programs of distributions import: what they give, or the error that says why not."""

from __future__ import annotations

import ctypes
import struct

import pytest

from emu.libc.errno import Errno
from tests.libc.fake import Harness


def test_names_of_errors_are_glibcs(host: Harness, glibc: ctypes.CDLL) -> None:
    for name in ("strerrorname_np", "strerrordesc_np"):
        function = getattr(glibc, name)
        function.restype = ctypes.c_char_p
        for number in (*range(140), -1):
            place = host.call(name, number)
            assert (host.string(place) if place else None) == function(number), (name, number)


def test_integers_are_parsed_with_a_locale_and_binary_prefixes(host: Harness) -> None:
    for name in ("strtol", "strtoul", "strtoll", "strtoull"):
        assert host.call(f"__isoc23_{name}_l", b"0b101", 0, 0, 0) == 5
        assert host.call(f"{name}_l", b"0b101", 0, 0, 0) == 0


def test_the_zone_is_utc_without_tz(host: Harness) -> None:
    pair = host.libc.data_symbol("tzname")
    assert pair
    for at in (pair, pair + 8):
        assert host.string(host.memory.read_uint(at, 8)) == b"UTC"
    for name, size in (("timezone", 8), ("daylight", 4)):
        place = host.libc.data_symbol(name)
        assert place == host.libc.data_symbol(f"__{name}")
        assert host.memory.read_uint(place or 0, size) == 0


@pytest.mark.parametrize(("arch", "name"), [("x86_64", "timespec_get"), ("arm", "__timespec_get64")])
def test_the_time_is_got_in_utc_alone(arch: str, name: str) -> None:
    host = Harness(arch)
    host.libc.clock = lambda: 5_000_000_007
    place = host.buffer(16)
    assert host.call(name, place, 1) == 1
    assert struct.unpack("<qI", host.memory.read(place, 12)) == (5, 7)
    assert host.call(name, place, 2) == 0


def test_users_are_listed_into_the_callers_buffer() -> None:
    host = Harness(files={"/etc/passwd": b"a:x:1:1:::\nb:x:2:2:::\n"})
    entry, buffer, result = host.buffer(64), host.buffer(200), host.buffer(8)
    assert host.call("getpwent_r", entry, buffer, 4, result) == Errno.ERANGE
    names = []
    while not host.call("getpwent_r", entry, buffer, 200, result):
        assert host.memory.read_uint(result, 8) == entry
        names.append(host.string(host.memory.read_uint(entry, 8)))
    assert names == [b"a", b"b"]
    assert host.memory.read_uint(result, 8) == 0
    host.call("setpwent")
    assert host.call("getpwent_r", entry, buffer, 200, result) == 0


def test_there_are_no_hosts_networks_and_services(host: Harness) -> None:
    entry, buffer, result, error = host.buffer(64), host.buffer(64), host.place(b"\xff" * 8), host.buffer(4)
    for name in ("host", "net", "proto", "serv"):
        host.call(f"set{name}ent", 1)
        host.call(f"end{name}ent")
        extra = (error,) if name in ("host", "net") else ()
        assert host.call(f"get{name}ent_r", entry, buffer, 64, result, *extra) == Errno.ENOENT
        assert host.memory.read_uint(result, 8) == 0


def test_masks_of_bsd_are_sets_of_the_first_signals(host: Harness) -> None:
    assert host.call("sigsetmask", 1 << 9) == 0  # SIGUSR1
    assert host.call("sigblock", 1 << 11) == 1 << 9
    assert host.call("sigsetmask", 0) == 1 << 9 | 1 << 11


def test_older_calls_set_times_beside_a_folder() -> None:
    host = Harness(files={"/d/f": b""})
    folder = host.call("open", b"/d", 0o200000)
    times = host.place(struct.pack("<4q", 5, 1, 6, 2))  # two struct timeval
    assert host.call("futimesat", folder, b"f", times) == 0
    status = host.buffer(144)
    assert host.call("stat", b"/d/f", status) == 0
    assert struct.unpack_from("<4q", host.memory.read(status, 144), 72) == (5, 1000, 6, 2000)


@pytest.mark.parametrize("prefix", ["fts_{}", "fts64_{}", "__fts64_{}_time64"])
def test_what_needs_more_than_there_is_fails_with_a_reason(host: Harness, prefix: str) -> None:
    assert host.call(prefix.format("open"), 0, 0, 0) == 0
    assert host.libc.errno == Errno.ENOSYS
    assert host.call("backtrace", 0, 0) == host.call("sched_getcpu") == 0
    assert host.call("__setsockopt64", 0, 0, 0, 0, 0) == -1
    assert host.libc.errno == Errno.EBADF


def test_usage_with_64_bit_times_is_as_large_as_its_structure() -> None:
    host = Harness("arm")
    place = host.place(b"\xff" * 92)
    assert host.call("__getrusage64", 0, place) == 0
    assert host.memory.read(place, 92) == bytes(88) + b"\xff" * 4

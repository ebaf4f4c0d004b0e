"""Functions that libraries of distributions import and few programs call: what they give."""

from __future__ import annotations

import ctypes
import struct

import pytest

from emu.errors import GuestAbort, GuestExit
from emu.libc.encoding import LC_ALL
from emu.libc.errno import Errno
from emu.libc.lifecycle import finish
from emu.libc.process import exit_
from tests.libc.fake import Harness, Values


def test_mutexes_of_c11_give_its_results(host: Harness) -> None:
    plain, recursive, deadline = host.buffer(64), host.buffer(64), host.buffer(16)
    assert host.call("mtx_init", plain, 0) == host.call("mtx_init", recursive, 3) == 0
    assert host.call("mtx_init", plain, 7) == 2
    for mutex, again in ((plain, 1), (recursive, 0)):
        assert host.call("mtx_lock", mutex) == 0
        assert host.call("mtx_trylock", mutex) == again
    assert host.call("mtx_timedlock", plain, deadline) == 4
    assert host.call("mtx_unlock", plain) == 0
    assert host.call("cnd_init", deadline) == host.call("cnd_signal", deadline) == 0
    assert host.call("cnd_timedwait", deadline, plain, deadline) == 4
    assert host.call("pthread_cond_clockwait", deadline, plain, 1, deadline) == Errno.ETIMEDOUT
    for lock in ("rd", "wr"):
        place = host.buffer(64)
        assert host.call(f"pthread_rwlock_clock{lock}lock", place, 1, deadline) == 0
    assert host.call("pthread_mutex_clocklock", plain, 1, deadline) == 0
    assert host.call("thrd_create", deadline, 0, 0) == host.call("thrd_join", 7, 0) == 2
    assert host.call("thrd_equal", host.call("thrd_current"), host.call("thrd_current")) == 1


def test_values_of_threads_and_calls_made_once_are_those_of_posix(host: Harness) -> None:
    calls: list[int] = []
    key, once = host.buffer(4), host.buffer(4)
    assert host.call("tss_create", key, host.machine.function(calls.append)) == 0
    number = host.memory.read_uint(key, 4)
    assert host.call("tss_set", number, 77) == 0
    assert host.call("tss_get", number) == 77
    for _ in range(2):
        host.call("call_once", once, host.machine.function(lambda: calls.append(1)))
    assert calls == [1]


def test_handlers_of_on_exit_get_the_status_in_order(host: Harness) -> None:
    seen: list[tuple[int, ...]] = []
    host.call("on_exit", host.machine.function(lambda status, value: seen.append((status, value))), 5)
    host.call("atexit", host.machine.function(lambda: seen.append(())))
    host.call("on_exit", host.machine.function(lambda status, value: seen.append((status, value))), 6)
    with pytest.raises(GuestExit):
        exit_(host.libc, 3)
    assert seen == [(3, 6), (), (3, 5)]
    finish(host.libc)


def test_handlers_of_quick_exit_run_last_first(host: Harness) -> None:
    seen: list[int] = []
    for number in (1, 2):
        handler = host.machine.function(lambda number=number: seen.append(number))
        host.call("__cxa_at_quick_exit", handler, 0)
    with pytest.raises(GuestExit):
        host.call("quick_exit", 5)
    assert seen == [2, 1]


@pytest.mark.parametrize(
    "text", ["1.2.3.4", "127", "10.1", "0x7f.1", "017.1", "1.2.3.4.5", "", "256", "1..2", "1.2.3.x", "1.2.3.4 "]
)
def test_networks_are_parsed_as_by_glibc(glibc: ctypes.CDLL, host: Harness, text: str) -> None:
    glibc.inet_network.restype = ctypes.c_uint32
    assert host.call("inet_network", text.encode()) == glibc.inet_network(text.encode())


def test_addresses_are_composed_and_split_as_by_glibc(glibc: ctypes.CDLL, host: Harness) -> None:
    for name in ("inet_makeaddr", "inet_netof", "inet_lnaof"):
        getattr(glibc, name).restype = ctypes.c_uint32
    for address in (0x0100007F, 0x0102A8C0, 0x010210AC, 0xFFFFFFFF, 0):
        value = ctypes.c_uint32(address)
        assert host.call("inet_netof", address) == glibc.inet_netof(value)
        assert host.call("inet_lnaof", address) == glibc.inet_lnaof(value)
    for network, part in ((127, 1), (0x80FF, 0x123), (0xC0A801, 7), (0xC0A80101, 0), (5, 0x1FFFFFF)):
        theirs = glibc.inet_makeaddr(ctypes.c_uint32(network), ctypes.c_uint32(part))
        assert host.call("inet_makeaddr", network, part) == theirs
    glibc.ether_aton.restype, glibc.ether_ntoa.restype = ctypes.c_void_p, ctypes.c_char_p
    glibc.ether_ntoa.argtypes = [ctypes.c_void_p]
    texts = [b"0:1:2:3:4:5", b"aA:bb:cc:dd:ee:0f", b"1:2:3:4:5", b"g:1:2:3:4:5", b"100:1:2:3:4:5", b""]
    for text in (*texts, b"1:2:3:4:5:6:7", b"1:2:3:4:5:6 x"):
        theirs, ours = glibc.ether_aton(text), host.call("ether_aton", text)
        assert bool(theirs) == bool(ours), text
        if ours:
            assert host.string(host.call("ether_ntoa", ours)) == glibc.ether_ntoa(theirs)


def test_names_in_messages_are_expanded_as_by_glibc(glibc: ctypes.CDLL, host: Harness) -> None:
    message = b"\3www\7ex.mp\\e\3org\0" + b"\4mail\xc0\4" + b"\xc0\x16" + b"\1\7\0" + b"\x3fab" + b"\0" + b"\5abc"
    theirs, ours = ctypes.create_string_buffer(message, len(message)), host.place(message)
    start, end = ctypes.addressof(theirs), ctypes.addressof(theirs) + len(message)
    for at in range(len(message) + 1):
        for room in (80, 5):
            name, place = ctypes.create_string_buffer(80), host.buffer(80)
            pointers = (ctypes.c_void_p(start), ctypes.c_void_p(end), ctypes.c_void_p(start + at))
            expected = glibc.dn_expand(*pointers, name, room)
            found = host.call("dn_expand", ours, ours + len(message), ours + at, place, room)
            assert found == expected, (at, room)
            if found >= 0:
                assert host.string(place) == name.value
        skipped = glibc.dn_skipname(ctypes.c_void_p(start + at), ctypes.c_void_p(end))
        assert host.call("dn_skipname", ours + at, ours + len(message)) == skipped, at


def test_checked_functions_write_no_more_than_the_object_has() -> None:
    host = Harness(files={"/d/a": b""})
    place = host.buffer(64)
    assert host.call("__getcwd_chk", place, 8, 64) == place
    assert host.call("__readlink_chk", b"/none", place, 8, 64) == -1
    assert host.call("__gethostname_chk", place, 64, 64) == 0
    for name, *arguments in (("__getcwd_chk", place, 65, 64), ("__readlinkat_chk", -100, b"/a", place, 65, 64)):
        with pytest.raises(GuestAbort):
            host.call(str(name), *arguments)


def test_entries_are_read_into_the_callers_structure() -> None:
    host = Harness(files={"/d/a": b"", "/d/b": b""})
    directory, entry, result = host.call("opendir", b"/d"), host.buffer(300), host.buffer(8)
    names = []
    while not host.call("readdir_r", directory, entry, result) and host.memory.read_uint(result, 8):
        assert host.memory.read_uint(result, 8) == entry
        names.append(host.string(entry + 19))
    assert names == [b".", b"..", b"a", b"b"]
    assert host.call("readdir_r", 1, entry, result) == Errno.EBADF


def test_wide_memory_streams_count_characters(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    place, size = host.buffer(8), host.buffer(8)
    stream = host.call("open_wmemstream", place, size)
    host.call("fputws", host.wide("é€😀"), stream)
    for number in range(30):
        host.call("fwprintf", stream, host.wide("%d,"), Values(number))
    host.call("fflush", stream)
    expected = "é€😀" + "".join(f"{number}," for number in range(30))
    assert host.memory.read_uint(size, 8) == len(expected) == host.call("ftell", stream)
    data = host.memory.read(host.memory.read_uint(place, 8), 4 * len(expected) + 4)
    assert data == expected.encode("utf-32-le") + bytes(4)
    assert host.call("fseek", stream, 1, 0) == 0
    host.call("fputwc", ord("x"), stream)
    assert host.memory.read(host.memory.read_uint(place, 8), 12) == "éx😀".encode("utf-32-le")


def test_signals_have_short_names_as_in_glibc(glibc: ctypes.CDLL, host: Harness) -> None:
    for name in ("sigabbrev_np", "sigdescr_np"):
        function = getattr(glibc, name)
        function.restype = ctypes.c_char_p
        for number in range(-1, 70):
            place = host.call(name, number)
            assert (host.string(place) if place else None) == function(number), (name, number)


def test_limits_are_exchanged(host: Harness) -> None:
    new, old = host.place(struct.pack("<2Q", 100, 200)), host.buffer(16)
    assert host.call("prlimit64", 0, 7, new, old) == 0
    assert struct.unpack("<2Q", host.memory.read(old, 16)) == (1024, 4096)
    assert host.call("prlimit", 0, 7, 0, old) == 0
    assert struct.unpack("<2Q", host.memory.read(old, 16)) == (100, 200)
    assert host.call("prlimit", 99, 7, 0, old) == -1
    assert host.libc.errno == Errno.ESRCH
    page = host.call("pvalloc", 1)
    assert page % 4096 == 0
    assert host.call("malloc_usable_size", page) >= 4096


def test_no_host_is_found_by_the_resolver(host: Harness) -> None:
    answer = host.buffer(64)
    assert host.call("__res_ninit", answer) == 0
    assert (
        host.call("res_query", b"a", 1, 1, answer, 64) == host.call("res_nsearch", answer, b"a", 1, 1, 0, 0) == -1
    )
    assert host.memory.read_uint(host.call("__h_errno_location"), 4) == 1
    host.call("herror", b"x")
    assert host.libc.stderr.getvalue() == b"x: Unknown host\n"


def test_classes_of_characters_take_a_locale(host: Harness) -> None:
    assert host.call("iswalpha_l", ord("a"), 0)
    assert not host.call("__iswdigit_l", ord("a"), 0)
    assert host.call("strcasecmp_l", b"ABc", b"abC", 0) == host.call("strncasecmp_l", b"ABx", b"aby", 2, 0) == 0


def test_unknown_numbers_have_texts_of_their_own_and_alignments_are_rounded_up(host: Harness) -> None:
    error, signal = host.call("strerror", -3), host.call("strsignal", -3)
    assert (host.string(error), host.string(signal)) == (b"Unknown error -3", b"Unknown signal -3")
    place = host.buffer(64)
    for number, room, result in ((-3, 64, Errno.EINVAL), (-3, 4, Errno.EINVAL), (9, 4, Errno.ERANGE), (0, 64, 0)):
        assert host.call("__xpg_strerror_r", number, place, room) == result
    assert host.call("memalign", 24, 10) % 32 == 0
    assert host.call("memalign", 0, 10)
    assert host.call("aligned_alloc", 24, 10) == host.call("memalign", (1 << 63) + 1, 1) == 0


def test_gnus_strerror_r_writes_to_the_buffer_for_unknown_errors_only(host: Harness) -> None:
    buffer = host.buffer(40)
    assert host.call("strerror_r", 9999, buffer, 5) == buffer
    assert host.string(buffer) == b"Unkn"
    known = host.call("strerror_r", Errno.ENOENT, buffer, 40)
    assert known != buffer
    assert host.string(known) == b"No such file or directory"


def test_sysconf_tells_what_has_no_limit_from_what_is_no_name(host: Harness) -> None:
    expected = {60: (1024, 0), 43: (2048, 0), 29: (200809, 0), 180: (64, 0), 23: (-1, 0), 9999: (-1, Errno.EINVAL)}
    for number, answer in expected.items():
        host.libc.errno = 0
        assert (host.call("sysconf", number), host.libc.errno) == answer, number


def test_a_file_has_its_only_hole_at_its_end(host: Harness) -> None:
    number = host.call("open", host.text(b"f"), 0o102, Values(0o600))
    assert host.call("write", number, host.place(b"hello world!"), 12) == 12
    data, hole = 3, 4
    assert host.call("lseek", number, 3, data) == 3
    assert host.call("lseek", number, 3, hole) == 12
    assert host.call("lseek", number, 0, 1) == 12
    assert host.call("lseek", number, 12, data) == -1
    assert host.libc.errno == Errno.ENXIO


@pytest.mark.parametrize(("name", "ends", "reason"), [
    ("vwarn", False, True), ("vwarnx", False, False), ("verr", True, True), ("verrx", True, False),
])  # fmt: skip
def test_warnings_take_a_va_list(host: Harness, name: str, ends: bool, reason: bool) -> None:
    host.libc.errno = Errno.ENOENT
    arguments = ([3] if ends else []) + [host.text(b"%d is odd"), Values(5)]
    if ends:
        with pytest.raises(GuestExit):
            host.call(name, *arguments)
    else:
        host.call(name, *arguments)
    suffix = b": No such file or directory" if reason else b""
    assert host.libc.stderr.getvalue().endswith(b": 5 is odd" + suffix + b"\n")


def test_a_warning_without_a_format_has_the_reason_alone(host: Harness) -> None:
    host.libc.errno = Errno.ENOENT
    host.call("vwarn", 0, Values())
    host.call("vwarnx", 0, Values())
    host.call("vwarn", host.text(b"odd%"), Values())
    first, second, third = host.libc.stderr.getvalue().splitlines()
    assert first == second + b"No such file or directory"
    assert third == second + b"odd: No such file or directory"


def test_signals_have_a_text_on_standard_error(host: Harness) -> None:
    for text in (host.text(b"stopped"), host.text(b""), 0):
        host.call("psignal", 2, text)
    assert host.libc.stderr.getvalue() == b"stopped: Interrupt\nInterrupt\nInterrupt\n"


def test_errors_are_counted_and_told_once_a_line(host: Harness) -> None:
    count, once = host.libc.data_symbol("error_message_count"), host.libc.data_symbol("error_one_per_line")
    assert count
    assert once
    host.call("error", 0, 0, host.text(b"x"), Values())
    host.memory.write_uint(once, 4, 1)
    for line in (7, 7, 8):
        host.call("error_at_line", 0, 0, host.text(b"f.c"), line, host.text(b"at"), Values())
    assert host.memory.read_uint(count, 4) == 3
    assert [each.partition(b":")[2] for each in host.libc.stderr.getvalue().splitlines()] == [
        b" x", b"f.c:7: at", b"f.c:8: at",
    ]  # fmt: skip


@pytest.mark.parametrize(("template", "value", "text"), [
    (b"%.3f", 1.5, b"1.500"), (b"%g", -0.25, b"-0.25"), (b"%A", 1.0, b"0X1P+0"), (b"%.f", 12.5, b"12"),
])  # fmt: skip
def test_a_number_becomes_text_by_one_conversion(
    host: Harness, template: bytes, value: float, text: bytes
) -> None:
    buffer = host.buffer(32)
    for name in ("strfromd", "strfromf"):
        assert host.call(name, buffer, 32, host.text(template), value) == len(text)
        assert host.string(buffer) == text
    assert host.call("strfromd", buffer, 3, host.text(template), value) == len(text)
    assert host.string(buffer) == text[:2]
    with pytest.raises(GuestAbort, match="strfromd"):
        host.call("strfromd", buffer, 32, host.text(b"%5g"), value)


def test_digits_are_written_to_a_buffer_that_holds_the_number(host: Harness) -> None:
    point, sign, buffer = host.buffer(4), host.buffer(4), host.buffer(32)
    assert host.call("ecvt_r", -123.456, 5, point, sign, buffer, 7) == 0
    assert (host.string(buffer), host.memory.read_uint(point, 4)) == (b"12346", 3)
    assert host.memory.read_uint(sign, 4) == 1
    assert host.call("ecvt_r", -123.456, 5, point, sign, buffer, 6) == -1
    assert host.call("fcvt_r", 0.5, 2, point, sign, buffer, 5) == 0
    assert host.string(buffer) == b"50"
    assert host.call("fcvt_r", 0.5, 2, point, sign, buffer, 4) == -1


def test_a_memory_stream_that_is_closed_ends_at_its_position(host: Harness) -> None:
    place, size = host.buffer(8), host.buffer(8)
    stream = host.call("open_memstream", place, size)
    host.call("fputs", host.text(b"abc"), stream)
    host.call("fseek", stream, 1, 0)
    host.call("fputc", ord("Q"), stream)
    host.call("fclose", stream)
    assert host.string(host.libc.pointer(place)) == b"aQ"
    assert host.libc.pointer(size) == 2


def test_a_mode_of_buffering_is_one_of_three(host: Harness) -> None:
    stream = host.call("tmpfile")
    assert [host.call("setvbuf", stream, 0, mode, 0) for mode in (0, 1, 2, 3, -1)] == [0, 0, 0, -1, -1]

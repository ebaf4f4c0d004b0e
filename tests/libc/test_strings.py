"""mem*, str*, ctype and sorting against the host's glibc."""

from __future__ import annotations

import ctypes
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.libc.ctype import CLASSES
from relink.errors import AddressSpaceError
from tests.libc.fake import Harness

_TEXT = st.binary(max_size=12).map(lambda b: bytes(97 + x % 3 if x < 200 else x or 1 for x in b))
_VERSION = st.text("0129ab.", max_size=6).map(str.encode)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


@pytest.mark.parametrize("name", ["strcmp", "strcasecmp", "strverscmp"])
@given(a=st.one_of(_TEXT, _VERSION), b=st.one_of(_TEXT, _VERSION))
def test_comparisons_have_the_hosts_sign(glibc: ctypes.CDLL, name: str, a: bytes, b: bytes) -> None:
    host = Harness()
    assert _sign(host.call(name, a, b)) == _sign(getattr(glibc, name)(a, b))


@given(a=_TEXT, b=_TEXT, n=st.integers(0, 16))
def test_bounded_comparisons_have_the_hosts_sign(glibc: ctypes.CDLL, a: bytes, b: bytes, n: int) -> None:
    host = Harness()
    for name in ("strncmp", "strncasecmp"):
        theirs = getattr(glibc, name)(a, b, ctypes.c_size_t(n))
        assert _sign(host.call(name, a, b, n)) == _sign(theirs)


@given(hay=_TEXT, needle=_TEXT, c=st.integers(0, 255))
def test_searches_find_the_hosts_offset(glibc: ctypes.CDLL, hay: bytes, needle: bytes, c: int) -> None:
    host = Harness()
    place, buffer = host.text(hay), ctypes.create_string_buffer(hay)
    arguments = {"strstr": needle, "strcasestr": needle, "strpbrk": needle, "strchr": c, "strrchr": c}
    for name, argument in arguments.items():
        function = getattr(glibc, name)
        function.restype = ctypes.c_void_p
        theirs = function(buffer, argument)
        ours = host.call(name, place, argument)
        assert ours - place * bool(ours) == (theirs - ctypes.addressof(buffer) if theirs else 0), name
    for name in ("strspn", "strcspn"):
        assert host.call(name, place, needle) == getattr(glibc, name)(buffer, needle)


_DELIMITERS = st.lists(st.sampled_from([b",", b";:", b",;"]), min_size=1)


@given(text=st.text("ab,;:", max_size=20).map(str.encode), delimiters=_DELIMITERS)
def test_strtok_gives_the_hosts_tokens(glibc: ctypes.CDLL, text: bytes, delimiters: bytes) -> None:
    glibc.strtok_r.restype = ctypes.c_char_p
    buffer, save = ctypes.create_string_buffer(text), ctypes.c_void_p()
    host = Harness()
    place, following = host.text(text), host.buffer(8)
    for turn, delimiter in enumerate([*delimiters, b",;:", b",;:"]):
        theirs = glibc.strtok_r(None if turn else buffer, delimiter, ctypes.byref(save))
        ours = host.call("strtok_r", 0 if turn else place, delimiter, following)
        assert (host.string(ours) if ours else None) == theirs


def test_memchr_stops_at_the_page_that_has_the_byte(host: Harness) -> None:
    page = host.machine.memory.map_anonymous(4096)
    host.memory.write(page + 4000, b"ab")
    assert host.call("memchr", page + 4000, ord("b"), (1 << 64) - 1) == page + 4001
    assert host.call("rawmemchr", page + 4000, ord("b")) == page + 4001
    with pytest.raises(AddressSpaceError):
        host.call("memchr", page + 4000, ord("z"), 10_000)


def test_strnlen_reads_nothing_past_its_limit(host: Harness) -> None:
    page = host.machine.memory.map_anonymous(4096)
    host.memory.write(page, b"x" * 4096)
    assert host.call("strnlen", page, 4096) == 4096


def test_memmove_copies_overlapping_bytes(host: Harness) -> None:
    place = host.text(b"0123456789")
    assert host.call("memmove", place + 2, place, 5) == place + 2
    assert host.string(place) == b"0101234789"


def test_copying_functions_end_where_the_standard_says(host: Harness) -> None:
    out = host.place(b"\xaa" * 16)
    host.call("strncpy", out, b"abc", 6)
    assert host.memory.read(out, 8) == b"abc\0\0\0\xaa\xaa"
    assert host.call("stpcpy", out, b"xy") == out + 2
    host.call("strncat", out, b"zzzz", 2)
    assert host.string(out) == b"xyzz"
    assert host.call("strlcpy", out, b"truncated", 4) == 9
    assert host.string(out) == b"tru"
    assert host.call("memccpy", out, b"a=b", ord("="), 3) == out + 2


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_and_their_table_agree_with_the_host(glibc: ctypes.CDLL, host: Harness, name: str) -> None:
    glibc.__ctype_b_loc.restype = ctypes.POINTER(ctypes.POINTER(ctypes.c_ushort))
    theirs = glibc.__ctype_b_loc().contents
    ours = host.memory.read_uint(host.call("__ctype_b_loc"), 8)
    for c in range(128):
        assert bool(host.call(f"is{name}", c)) == bool(getattr(glibc, f"is{name}")(c)), chr(c)
    for c in range(-128, 256):
        assert host.memory.read_uint(ours + 2 * c, 2) == theirs[c], c


def test_case_tables_agree_with_the_host(glibc: ctypes.CDLL, host: Harness) -> None:
    for name in ("tolower", "toupper"):
        location = getattr(glibc, f"__ctype_{name}_loc")
        location.restype = ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
        ours = host.memory.read_uint(host.call(f"__ctype_{name}_loc"), 8)
        for c in range(-128, 256):
            value = int.from_bytes(host.memory.read(ours + 4 * c, 4), "little", signed=True)
            assert value == location().contents[c], (name, c)
        assert [host.call(name, c) for c in string.ascii_letters.encode()] == [
            getattr(glibc, name)(c) for c in string.ascii_letters.encode()
        ]


def _by_first_byte(host: Harness, calls: list[int]) -> int:
    def compare(a: int, b: int) -> int:
        calls.append(1)
        return host.memory.read_uint(a, 1) - host.memory.read_uint(b, 1)

    return host.machine.function(compare)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 255)), max_size=60))
def test_qsort_sorts_stably_in_n_log_n_calls(pairs: list[tuple[int, int]]) -> None:
    host, calls = Harness(), list[int]()
    base = host.place(b"".join(bytes(pair) for pair in pairs) or b"\0")
    host.call("qsort", base, len(pairs), 2, _by_first_byte(host, calls))
    expected = b"".join(bytes(pair) for pair in sorted(pairs, key=lambda pair: pair[0]))
    assert host.memory.read(base, 2 * len(pairs)) == expected
    assert len(calls) <= len(pairs) * max(1, len(pairs).bit_length())


@given(st.sets(st.integers(0, 255), max_size=40), st.integers(0, 255))
def test_bsearch_finds_what_is_there(values: set[int], key: int) -> None:
    host = Harness()
    data = bytes(sorted(values))
    base, wanted = host.place(data or b"\0"), host.place(bytes([key]))
    compare = _by_first_byte(host, [])
    expected = base + data.index(key) if key in values else 0
    assert host.call("bsearch", wanted, base, len(data), 1, compare) == expected


def test_a_comparator_that_raises_leaves_the_array_as_it_was(host: Harness) -> None:
    base = host.place(b"cab")

    def fail(a: int, b: int) -> int:
        raise KeyError("stop")

    with pytest.raises(KeyError):
        host.call("qsort", base, 3, 1, host.machine.function(fail))
    assert host.memory.read(base, 3) == b"cab"


@pytest.mark.parametrize("number", [0, 1, 2, 22, 34, 110, 9999])
def test_error_messages_are_the_hosts(glibc: ctypes.CDLL, host: Harness, number: int) -> None:
    glibc.strerror.restype = ctypes.c_char_p
    assert host.string(host.call("strerror", number)) == glibc.strerror(number)


@pytest.mark.parametrize("number", [*range(36), 64, 65])
def test_names_of_signals_are_the_hosts(glibc: ctypes.CDLL, host: Harness, number: int) -> None:
    glibc.strsignal.restype = ctypes.c_char_p
    assert host.string(host.call("strsignal", number)) == glibc.strsignal(number)


@given(st.integers(240, 270), st.sampled_from([b"", b"a", b"b"]), st.sampled_from([b"", b"a", b"b"]))
def test_strings_that_differ_late_compare_as_the_host_says(
    glibc: ctypes.CDLL, shared: int, a: bytes, b: bytes
) -> None:
    first, second = b"x" * shared + a, b"x" * shared + b
    assert _sign(Harness().call("strcmp", first, second)) == _sign(glibc.strcmp(first, second))


def test_strchr_looks_no_further_than_the_page_with_the_byte(host: Harness) -> None:
    page = host.machine.memory.map_anonymous(4096)
    host.memory.write(page, b"a,".ljust(4096, b"x"))
    assert host.call("strchr", page, ord(",")) == page + 1

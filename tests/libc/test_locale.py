"""The C locale as an object, beside the host's glibc."""

from __future__ import annotations

import ctypes

import pytest

from emu.libc.encoding import LC_ALL
from emu.libc.errno import Errno
from emu.libc.locale import _ITEMS, _TIME, _WIDE_TIME
from relink.arch import ARCHITECTURES
from tests.libc.fake import Harness

EACH = pytest.mark.parametrize("arch", ARCHITECTURES)
CODESET = 14
ALL = (1 << 13) - 1 & ~(1 << 6)  # LC_ALL_MASK: every category but LC_ALL's own number
FAILED = -1


@pytest.fixture
def c_locale(glibc: ctypes.CDLL) -> ctypes.c_void_p:
    glibc.newlocale.restype = ctypes.c_void_p
    return ctypes.c_void_p(glibc.newlocale(ALL, b"C", None))


def test_items_are_glibc_s(host: Harness, glibc: ctypes.CDLL, c_locale: ctypes.c_void_p) -> None:
    glibc.nl_langinfo_l.restype = ctypes.c_char_p
    for item in _ITEMS:
        if item != CODESET:  # the multibyte encoding is UTF-8 here
            assert host.string(host.call("nl_langinfo", item)) == glibc.nl_langinfo_l(item, c_locale), hex(item)


def test_wide_items_are_glibc_s(host: Harness, glibc: ctypes.CDLL, c_locale: ctypes.c_void_p) -> None:
    glibc.nl_langinfo_l.restype = ctypes.c_wchar_p
    for item in range(_WIDE_TIME, _WIDE_TIME + len(_TIME)):
        address = host.call("nl_langinfo", item)
        expected = glibc.nl_langinfo_l(item, c_locale)
        text = host.memory.read(address, 4 * len(expected) + 4).decode("utf-32-le")
        assert text == f"{expected}\0", hex(item)


def test_items_nobody_knows_are_empty(host: Harness) -> None:
    assert host.string(host.call("nl_langinfo", 0x7_1234)) == b""


@EACH
def test_there_is_one_locale(arch: str) -> None:
    host = Harness(arch)
    c = host.call("newlocale", ALL, b"C", 0)
    assert c
    assert host.call("newlocale", ALL, b"", 0) == host.call("duplocale", c) == c
    assert host.call("newlocale", ALL, b"de_DE.UTF-8", 0) == 0
    assert host.libc.errno == Errno.ENOENT
    first = host.call("uselocale", 0)
    assert first == host.libc.arch.address_mask, "LC_GLOBAL_LOCALE"
    assert host.call("uselocale", c) == first
    assert host.call("uselocale", first) == c


@EACH
def test_the_object_leads_to_the_tables_of_ctype(arch: str) -> None:
    """libstdc++ reads them past the 13 pointers of struct __locale_struct."""
    host = Harness(arch)
    c, word = host.call("newlocale", ALL, b"C", 0), host.libc.word
    _, lower, upper = (host.libc.pointer(c + (13 + n) * word) for n in range(3))
    assert host.memory.read_uint(lower + 4 * ord("Q"), 4) == ord("q")
    assert host.memory.read_uint(upper + 4 * ord("q"), 4) == ord("Q")
    assert host.string(host.libc.pointer(c + 16 * word)) == b"C"


def test_classes_by_name(host: Harness, glibc: ctypes.CDLL) -> None:
    glibc.wctype.restype = ctypes.c_ulong
    glibc.iswctype.argtypes = [ctypes.c_uint, ctypes.c_ulong]
    for name in (b"alpha", b"digit", b"space", b"punct", b"xdigit", b"cntrl", b"graph", b"print", b"blank"):
        ours, theirs = host.call("wctype", name), glibc.wctype(name)
        for c in range(128):
            assert bool(host.call("iswctype", c, ours)) == bool(glibc.iswctype(c, theirs)), (name, c)
    assert host.call("wctype", b"no such class") == 0


def test_single_bytes(host: Harness) -> None:
    assert [host.call("btowc", c) for c in (0, 65, 127, 128, -1)] == [0, 65, 127, 0xFFFFFFFF, 0xFFFFFFFF]
    assert [host.call("wctob", c) for c in (0, 65, 127, 128, 0xFFFFFFFF)] == [0, 65, 127, -1, -1]


@pytest.mark.parametrize(
    ("data", "limit", "room", "written", "consumed"),
    [
        (b"abc", 4, 10, 3, None),
        (b"abc", 3, 10, 3, 3),
        (b"abc", 4, 2, 2, 2),
        (b"abc", 4, 3, 3, 3),
        ("aäz€".encode(), 20, 10, 4, None),
        ("aä".encode(), 2, 10, 1, 2),
        (b"a\xffb", 4, 10, FAILED, 1),
        (b"", 1, 5, 0, None),
    ],
)
def test_bytes_to_wide_characters(
    host: Harness, data: bytes, limit: int, room: int, written: int, consumed: int | None
) -> None:
    """`consumed` None: to the end, and the pointer becomes null."""
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    text, dest, pointer = host.text(data), host.buffer(80), host.buffer(8)
    host.libc.set_pointer(pointer, text)
    result = host.call("mbsnrtowcs", dest, pointer, limit, room, 0)
    assert result == written & host.libc.arch.address_mask if written < 0 else result == written
    assert host.libc.pointer(pointer) == (0 if consumed is None else text + consumed)
    if written >= 0:
        units = host.memory.read(dest, 4 * written).decode("utf-32-le")
        assert units == data.decode(errors="ignore")[:written]


@pytest.mark.parametrize(
    ("text", "limit", "room", "written", "consumed"),
    [
        ("abc", 4, 10, 3, None),
        ("abc", 3, 10, 3, 3),
        ("abc", 4, 2, 2, 2),
        ("aä€", 10, 3, 3, 2),
        ("aä€", 10, 20, 6, None),
    ],
)
def test_wide_characters_to_bytes(
    host: Harness, text: str, limit: int, room: int, written: int, consumed: int | None
) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    source, dest, pointer = host.wide(text), host.buffer(80), host.buffer(8)
    host.libc.set_pointer(pointer, source)
    assert host.call("wcsnrtombs", dest, pointer, limit, room, 0) == written
    assert host.libc.pointer(pointer) == (0 if consumed is None else source + 4 * consumed)
    assert host.memory.read(dest, written) == text.encode()[:written]


def test_counting_needs_no_room(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    pointer = host.buffer(8)
    host.libc.set_pointer(pointer, host.text("aä€".encode()))
    assert host.call("mbsrtowcs", 0, pointer, 0, 0) == 3
    host.libc.set_pointer(pointer, host.wide("aä€"))
    assert host.call("wcsrtombs", 0, pointer, 0, 0) == 6


def test_a_day_in_wide_characters(host: Harness) -> None:
    fields = host.place(b"".join(n.to_bytes(4, "little") for n in (5, 4, 3, 23, 10, 126, 1, 326, 0)) + bytes(32))
    dest = host.buffer(400)
    count = host.call("wcsftime_l", dest, 100, host.wide("%A %d %B %Y, %T"), fields, 0)
    assert host.memory.read(dest, 4 * count).decode("utf-32-le") == "Monday 23 November 2026, 03:04:05"
    assert host.call("wcsftime_l", dest, 5, host.wide("%A"), fields, 0) == 0


def test_wide_characters_through_a_stream(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    stream = host.call("fopen", b"/text", b"w+")
    for character in "aä€":
        assert host.call("putwc", ord(character), stream) == ord(character)
    assert host.libc.files["/text"] == "aä€".encode()
    host.call("rewind", stream)
    assert [host.call("getwc", stream) for _ in range(2)] == [ord("a"), ord("ä")]
    assert host.call("ungetwc", ord("ä"), stream) == ord("ä")
    assert [host.call("getwc", stream) for _ in range(3)] == [ord("ä"), ord("€"), 0xFFFFFFFF]


def test_a_character_that_is_cut_off_is_continued(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    state, dest, rest = host.buffer(8), host.buffer(16), (1 << 64) - 2
    data = host.place("€ä".encode())
    assert host.call("mbrtowc", dest, data, 1, state) == rest
    assert host.call("mbsinit", state) == 0
    assert host.call("mbrtowc", dest, data + 1, 0, state) == rest
    assert host.call("mbrtowc", dest, data + 1, 9, state) == 2
    assert host.memory.read_uint(dest, 4) == ord("€")
    assert host.call("mbsinit", state) == host.call("mbsinit", 0) == 1
    assert host.call("mbrlen", data, 2, 0) == rest  # in a state of its own
    assert host.call("mbrtowc", dest, data + 3, 9, 0) == 2
    assert host.call("mbrlen", data + 2, 1, 0) == 1
    assert host.call("mbrtowc", dest, data, 1, state) == rest
    assert host.call("mbrtowc", dest, host.place(b"x"), 1, state) == FAILED & host.libc.arch.address_mask
    assert host.libc.errno == Errno.EILSEQ


def test_strings_that_are_cut_off_are_continued(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    state, dest, pointer, data = host.buffer(8), host.buffer(64), host.buffer(8), host.text("aäz".encode())
    host.libc.set_pointer(pointer, data)
    assert host.call("mbsnrtowcs", dest, pointer, 2, 10, state) == 1
    assert host.libc.pointer(pointer) == data + 2
    assert host.call("mbsnrtowcs", dest, pointer, 9, 10, state) == 2
    assert host.libc.pointer(pointer) == 0
    assert host.memory.read(dest, 12).decode("utf-32-le") == "äz\0"
    assert host.call("mbsinit", state) == 1

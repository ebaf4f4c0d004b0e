"""iconv converts as the host's glibc does, byte for byte, wherever input or output ends."""

from __future__ import annotations

import ctypes
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emu.libc.errno import Errno
from tests.libc.fake import Harness

FAILED = (1 << 64) - 1
_UNICODE = "UTF-8 UTF-16LE UTF-16BE UTF-32LE UTF-32BE UCS-2LE UCS-2BE UCS-4LE UCS-4 WCHAR_T".split()
_BYTES = ["ISO-8859-1", "ISO-8859-15", "CP1252", "KOI8-R", "CP437", "ASCII", "latin2", "ISO_8859-7"]
_WIDER = ("UCS-4LE", "UCS-4", "WCHAR_T")  # to glibc they reach beyond Unicode, to 0x7fffffff
_MARKED = ["UTF-16", "UTF-32"]


def theirs(glibc: ctypes.CDLL, to: str, source: str, data: bytes, room: int) -> tuple[bool, int, int, bytes]:
    """(whether it failed, errno, bytes left, output)."""
    glibc.iconv_open.restype, glibc.iconv.restype = ctypes.c_void_p, ctypes.c_size_t
    opened = glibc.iconv_open(to.encode(), source.encode())
    assert opened != FAILED, (to, source)
    handle = ctypes.c_void_p(opened)
    given_, made = ctypes.create_string_buffer(data, len(data) + 1), ctypes.create_string_buffer(room + 1)
    read, write = ctypes.c_void_p(ctypes.addressof(given_)), ctypes.c_void_p(ctypes.addressof(made))
    left, free = ctypes.c_size_t(len(data)), ctypes.c_size_t(room)
    ctypes.set_errno(0)
    result = glibc.iconv(handle, ctypes.byref(read), ctypes.byref(left), ctypes.byref(write), ctypes.byref(free))
    error = ctypes.get_errno()
    glibc.iconv_close(handle)
    return result == FAILED, error if result == FAILED else 0, left.value, made.raw[: room - free.value]


def ours(to: str, source: str, data: bytes, room: int) -> tuple[bool, int, int, bytes]:
    host = Harness()
    handle = host.call("iconv_open", to.encode(), source.encode())
    assert handle != FAILED, (to, source)
    places = [host.buffer(8) for _ in range(4)]
    made = host.buffer(room + 1)
    for place, value in zip(places, (host.place(data + b"\0"), len(data), made, room), strict=True):
        host.libc.set_pointer(place, value)
    result = host.call("iconv", handle, *places)
    left, free = host.libc.pointer(places[1]), host.libc.pointer(places[3])
    assert host.call("iconv_close", handle) == 0
    return result == FAILED, host.libc.errno if result == FAILED else 0, left, host.memory.read(made, room - free)


@given(
    st.sampled_from(_UNICODE + _BYTES),
    st.sampled_from(_UNICODE + _BYTES),
    st.one_of(st.binary(max_size=12), st.text(max_size=6).map(lambda text: text.encode("utf-8", "ignore"))),
    st.one_of(st.just(64), st.integers(0, 9)),
)
def test_any_bytes_between_any_two_encodings(
    glibc: ctypes.CDLL, to: str, source: str, data: bytes, room: int
) -> None:
    assume((to, source) != ("WCHAR_T", "WCHAR_T"))  # which glibc refuses
    if source in _WIDER:
        order: Literal["big", "little"] = "big" if source == "UCS-4" else "little"
        units = (int.from_bytes(data[at : at + 4], order) for at in range(0, len(data), 4))
        assume(all(unit <= 0x10FFFF for unit in units))
    found, expected = ours(to, source, data, room), theirs(glibc, to, source, data, room)
    if expected[1] == Errno.E2BIG and found[0]:  # where input is wrong too, either may be told first
        found, expected = found[2:], expected[2:]  # type: ignore[assignment]
    assert found == expected


@given(
    st.sampled_from(_UNICODE + _BYTES + _MARKED), st.sampled_from(_UNICODE + _BYTES + _MARKED), st.text(max_size=5)
)
def test_text_with_byte_order_marks(glibc: ctypes.CDLL, to: str, source: str, text: str) -> None:
    assume(source != "WCHAR_T" or to not in ("WCHAR_T", *_MARKED))  # glibc marks an empty text then
    codec = {"UCS-4": "utf-32-be", "WCHAR_T": "utf-32-le", "UCS-4LE": "utf-32-le"}.get(source, source)
    data = text.encode(codec.replace("UCS-2", "UTF-16-"), "ignore")
    assert ours(to, source, data, 99) == theirs(glibc, to, source, data, 99)


def test_what_is_left_out_is_an_error_at_the_end(glibc: ctypes.CDLL) -> None:
    for to, data in (("ASCII//IGNORE", "aéb".encode()), ("UTF-8//IGNORE", b"a\xffb")):
        assert ours(to, "UTF-8", data, 9) == theirs(glibc, to, "UTF-8", data, 9)


def test_conversions_go_on_where_they_stopped() -> None:
    host = Harness()
    handle = host.call("iconv_open", b"UTF-16", b"UTF-8")
    places = [host.buffer(8) for _ in range(4)]
    made = host.buffer(64)
    host.libc.set_pointer(places[2], made)
    for piece in (b"ab", "é".encode()):
        for place, value in zip(places, (host.place(piece), len(piece), None, 8), strict=True):
            if value is not None:
                host.libc.set_pointer(place, value)
        assert host.call("iconv", handle, *places) == 0
    assert host.memory.read(made, 8) == "\ufeffabé".encode("utf-16-le")


@pytest.mark.parametrize("names", [(b"no such", b"UTF-8"), (b"UTF-8", b"rot13"), (b"ASCII//TRANSLIT", b"UTF-8")])
def test_what_is_not_supported_is_refused(names: tuple[bytes, bytes]) -> None:
    host = Harness()
    assert host.call("iconv_open", *names) == FAILED
    assert host.libc.errno == Errno.EINVAL
    assert host.call("iconv", 12, 0, 0, 0, 0) == FAILED
    assert host.libc.errno == Errno.EBADF
    assert host.call("iconv_close", 12) == -1

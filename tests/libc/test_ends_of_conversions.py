"""What scanf, mbstowcs and their kin do where a text, a field or a buffer ends: what glibc does."""

from __future__ import annotations

import ctypes
import struct

import pytest

from emu import Machine
from emu.libc.compiled import CompiledLibrary
from emu.libc.encoding import LC_ALL
from emu.libc.errno import Errno
from tests.libc.fake import Harness, Values


@pytest.mark.parametrize(
    ("text", "template"),
    [
        (b"3.25", b"%5c"), (b"3.25", b"%hhd%5c"), (b"", b"%5c"), (b"ab cde", b"%2c%9c"),
        (b"x 3.25e ", b"%s%lf%c"), (b"7e+ z", b"%f %s"), (b"1e", b"%f"), (b"0x1p z", b"%lf %s"), (b".e1", b"%f"),
        (b"0x", b"%f"), (b"inx", b"%f"), (b"99999999999999999999", b"%d"), (b"-99999999999999999999 5", b"%hhd%d"),
        (b"99999999999999999999 x", b"%*d %s"), (b"18446744073709551615", b"%llu"), (b"4294967296", b"%d"),
    ],
)  # fmt: skip
def test_fields_that_the_text_cuts_short_are_as_glibcs(glibc: ctypes.CDLL, text: bytes, template: bytes) -> None:
    theirs = [ctypes.create_string_buffer(b"\xee" * 16, 16) for _ in range(3)]
    ctypes.set_errno(0)
    expected = glibc.sscanf(text, template, *theirs)
    error = ctypes.get_errno()
    host = Harness()
    host.libc.errno = 0
    ours = [host.place(b"\xee" * 16) for _ in range(3)]
    assert host.call("sscanf", text, template, Values(*ours)) == expected
    assert host.libc.errno == error
    assert [host.memory.read(o, 16) for o in ours] == [t.raw for t in theirs]


def test_bytes_behind_the_last_character_wanted_are_not_looked_at(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    place = host.place(b"\xee" * 16)
    invalid = host.libc.arch.address_mask
    for text, room, result in (
        (b"a\xff", 1, 1),
        (b"\xff", 0, 0),
        (b"\xc3\xa9b\xff", 2, 2),
        (b"a\xff", 2, invalid),
    ):
        host.libc.errno = 0
        assert host.call("mbstowcs", place, text, room) == result
        assert host.libc.errno == (Errno.EILSEQ if result == invalid else 0)
    assert host.memory.read(place, 8) == "ab".encode("utf-32-le")
    assert host.call("mbstowcs", 0, b"a\xff", 0) == invalid
    wide = host.place(struct.pack("<4I", 0xE9, 0x61, 0xD800, 0))
    for room, result in ((3, 3), (2, 2), (1, 0), (4, invalid), (0, 0)):
        host.libc.errno = 0
        assert host.call("wcstombs", place, wide, room) == result
    assert host.call("wcstombs", 0, wide, 0) == invalid
    host.memory.write(wide + 8, struct.pack("<I", 0x62))
    assert host.call("wcstombs", place, wide, 4) == 4


def test_a_number_sign_prints_the_name_of_the_error(host: Harness) -> None:
    place = host.buffer(64)
    for error, text in ((Errno.EBADF, b"<EBADF   >"), (0, b"<0       >"), (7777, b"<7777    >")):
        host.libc.errno = error
        host.call("snprintf", place, 64, b"<%#-8m>", Values())
        assert host.string(place) == text


@pytest.mark.parametrize("arch", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_wide_numbers_are_read_whole_and_a_base_that_is_none_leaves_the_end_alone(arch: str) -> None:
    with Machine(arch) as machine:
        compiled: CompiledLibrary = machine.linker.resolver.after[-1].compiled  # type: ignore[union-attr]

        def call(name: str, prototype: str, *arguments: object) -> object:
            address = compiled.lookup(name)
            assert address is not None
            return machine.call(address, prototype, *arguments)

        place = machine.heap.malloc(4096)
        word = machine.memory.architecture.word_size
        machine.memory.write(place, f"0.{'0' * 500}7e501x".encode("utf-32-le") + bytes(4))
        assert call("wcstod", "double(void *, void *)", place, place + 4000) == 7
        assert machine.memory.read_uint(place + 4000, word) == place + 4 * (2 + 500 + 5)
        machine.memory.write_uint(place + 4000, word, 5)
        assert call("wcstol", "long(void *, void *, int)", place, place + 4000, 1) == 0
        assert machine.memory.read_uint(place + 4000, word) == 5

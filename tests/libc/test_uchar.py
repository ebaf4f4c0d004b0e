"""<uchar.h>: a character beyond the first 65,536 is two units of UTF-16, stored and read one at a time."""

from __future__ import annotations

import pytest

from emu.libc.encoding import LC_ALL
from emu.libc.errno import Errno
from tests.libc.fake import Harness

_PAIR = "\U0001f600"  #: D83D DE00
_FAILED = (1 << 64) - 1


@pytest.fixture
def utf8(host: Harness) -> Harness:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    return host


def test_bytes_become_units(utf8: Harness) -> None:
    text, unit, state = utf8.text(f"a€{_PAIR}z".encode()), utf8.buffer(4), utf8.buffer(8)
    expected = [(1, 0x61), (3, 0x20AC), (4, 0xD83D), (_FAILED - 2, 0xDE00), (1, 0x7A), (0, 0)]
    for size, value in expected:
        assert utf8.call("mbrtoc16", unit, text, 10, state) == size
        assert utf8.memory.read_uint(unit, 2) == value
        assert utf8.call("mbsinit", state) == (value != 0xD83D)
        text += size if size < 10 else 0


def test_a_pair_that_is_cut_off_is_continued(utf8: Harness) -> None:
    unit, state, data = utf8.buffer(4), utf8.buffer(8), utf8.place(_PAIR.encode())
    assert utf8.call("mbrtoc16", unit, data, 2, state) == _FAILED - 1
    assert utf8.call("mbrtoc16", unit, data + 2, 2, state) == 2
    assert utf8.call("mbrtoc16", unit, 0, 0, state) == _FAILED - 2
    assert utf8.memory.read_uint(unit, 2) == 0xDE00


def test_units_become_bytes(utf8: Harness) -> None:
    out, state = utf8.buffer(8), utf8.buffer(8)
    for unit, data in ((0x61, b"a"), (0x20AC, "€".encode()), (0xD83D, b""), (0xDE00, _PAIR.encode())):
        assert utf8.call("c16rtomb", out, unit, state) == len(data)
        assert utf8.memory.read(out, len(data)) == data


@pytest.mark.parametrize("units", [[0xDE00], [0xD83D, 0x61], [0xD83D, 0xD83D]])
def test_half_a_pair_is_no_character(utf8: Harness, units: list[int]) -> None:
    out, state = utf8.buffer(8), utf8.buffer(8)
    results = [utf8.call("c16rtomb", out, unit, state) for unit in units]
    assert results[-1] == _FAILED
    assert utf8.libc.errno == Errno.EILSEQ

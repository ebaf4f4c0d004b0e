"""_FORTIFY_SOURCE's functions: as the plain ones where the object is large enough, otherwise GuestAbort."""

from __future__ import annotations

import pytest

from emu.errors import GuestAbort
from tests.libc.fake import Harness


def _calls(host: Harness) -> dict[str, tuple[int, tuple[int, ...], int | None, str]]:
    """name -> (the least size of the object, arguments, result, wide text then at the start of the object)."""
    dest, state, pointer = host.buffer(256), host.buffer(8), host.buffer(8)
    text, narrow = host.wide("abc"), host.text(b"abc")
    host.libc.set_pointer(pointer, narrow)
    return {
        "wcscpy": (4, (dest, text), dest, "abc"),
        "wcpcpy": (4, (dest, text), dest + 12, "abc"),
        "wcpncpy": (5, (dest, text, 5), dest + 12, "abc"),
        "wcscat": (7, (dest, text), dest, "abcabc"),
        "wcsncat": (9, (dest, text, 2), dest, "abcabcab"),
        "wmempcpy": (2, (dest, text, 2), dest + 8, "abcabcab"),
        "mbsrtowcs": (6, (dest, pointer, 6, state), 3, "abc"),
        "wctomb": (1, (dest, ord("x")), 1, ""),
        "wcrtomb": (1, (dest, ord("x"), state), 1, ""),
        "getlogin_r": (64, (dest, 64), 0, ""),
    }


def test_the_size_of_the_object_is_kept(host: Harness) -> None:
    for name, (size, arguments, result, text) in _calls(host).items():
        with pytest.raises(GuestAbort, match=name):
            host.call(f"__{name}_chk", *arguments, size - 1)
        assert host.call(f"__{name}_chk", *arguments, size) == result, name
        if text:
            start = host.memory.read(arguments[0], 4 * len(text) + 4).decode("utf-32-le")
            assert start.startswith(text), name


def test_other_forms_of_a_size(host: Harness) -> None:
    with pytest.raises(GuestAbort, match="ppoll"):
        host.call("__ppoll_chk", host.buffer(16), 2, 0, 0, 15)
    with pytest.raises(GuestAbort, match="fgetws"):
        host.call("__fgetws_chk", host.buffer(16), 3, 4, 0)
    with pytest.raises(GuestAbort, match="getgroups"):
        host.call("__getgroups_chk", 2, host.buffer(16), 7)

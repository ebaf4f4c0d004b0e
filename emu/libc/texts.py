"""Constant texts that functions return as `const char *`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.libc.library import Libc


class _Texts:
    """Addresses of the texts that are in guest memory."""

    def __init__(self, libc: Libc) -> None:
        self.places: dict[bytes, int] = {}


def constant_text(libc: Libc, text: bytes) -> int:
    """The address of `text` with a NUL in guest memory, the same at each call; for a limited number of texts."""
    places = libc.state(_Texts).places
    if text not in places:
        places[text] = libc.allocate(len(text) + 1)
        libc.put_string(places[text], text)
    return places[text]

"""The locales that exist, "C" and "C.UTF-8", which differ in one thing: the encoding of characters as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.libc.library import Libc

LC_CTYPE, LC_ALL = 0, 6
CATEGORIES = 13


class Locales:
    """The locale in force: its name in each category, and the encoding of the one that uselocale has set."""

    def __init__(self, libc: Libc) -> None:
        self.names = [b"C"] * CATEGORIES
        self.used: str | None = None  #: None for the global locale

    @property
    def codec(self) -> str:
        return self.used or codec_of(self.names[LC_CTYPE])


def codec_of(name: bytes) -> str:
    """Python's name of the encoding of a locale that exists."""
    return "ascii" if name == b"C" else "utf-8"


def codec(libc: Libc) -> str:
    """Python's name of the encoding of characters in bytes: "ascii", or "utf-8" in a locale C.UTF-8."""
    return libc.state(Locales).codec


def encoded(libc: Libc, units: list[int]) -> bytes | None:
    """The code units in the locale's encoding, or None if one is no character of it."""
    try:
        return "".join(map(chr, units)).encode(codec(libc))
    except (ValueError, OverflowError, UnicodeEncodeError):
        return None

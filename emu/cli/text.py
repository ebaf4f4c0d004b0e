"""Text from files, made safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text from a file with terminal control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogateescape").decode() for c in text)

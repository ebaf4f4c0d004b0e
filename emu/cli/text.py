"""Text from files, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text from a file, with whatever a terminal would act upon escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogateescape").decode() for c in text)

"""Words of options in a text."""

from __future__ import annotations

import shlex

from emu.build.errors import BuildError


def split(text: str) -> list[str]:
    """The words of a text, as a shell splits it. Raises BuildError."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BuildError(f"{text!r} cannot be split into words: {error}") from None

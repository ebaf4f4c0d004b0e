"""The command's own standard output and error: text that cannot be encoded, readers that have gone."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper


def discard_output() -> None:
    """Discard buffered output: Python would report an error when it flushes at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare_streams() -> None:
    """Make standard output and error accept all text: names from files may not be encodable."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

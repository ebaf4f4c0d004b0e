"""The log messages of `relink` and `emu`, on standard error and in JSON.

Warnings are always shown, because they may change the meaning of a result. `-v` adds loads and other actions,
`-vv` all messages.
"""

from __future__ import annotations

import logging
import sys

from emu.cli.text import printable

_PACKAGES = ("relink", "emu")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Messages(logging.Handler):
    """Writes records to standard error, and keeps the warnings for JSON."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.warnings: list[str] = []
        self.quiet = False  #: warnings go to JSON instead

    def emit(self, record: logging.LogRecord) -> None:
        text = _printable(record.getMessage())
        warning = record.levelno >= logging.WARNING
        if warning and text not in self.warnings:
            self.warnings.append(text)
        elif warning:
            return
        if not (warning and self.quiet):
            sys.stderr.write(f"{record.levelname.lower()}: {text}\n")


def _printable(text: str) -> str:
    """Text from a file with terminal control characters escaped."""

    return "\n".join(map(printable, text.split("\n")))


_messages = Messages()


def listen() -> None:
    """Reset: show warnings only, and forget earlier ones."""
    _messages.warnings.clear()
    _messages.quiet = False
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.WARNING)
        if _messages not in logger.handlers:
            logger.addHandler(_messages)


def set_output(verbosity: int, *, as_json: bool) -> None:
    """Set the verbosity (0: warnings, 1: actions, 2: all), and whether warnings are collected for JSON."""
    _messages.quiet = as_json
    for package in _PACKAGES:
        logging.getLogger(package).setLevel(_LEVELS[min(verbosity, 2)])


def warnings() -> list[str]:
    """The warnings so far, without duplicates."""
    return list(_messages.warnings)

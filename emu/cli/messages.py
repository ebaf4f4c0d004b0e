"""The handler of log messages (see `emu.cli.log`)."""

from __future__ import annotations

import logging
import sys

from emu.cli.text import printable

_PACKAGES = ("relink", "emu")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Messages(logging.Handler):
    """Writes records to standard error, and keeps the warnings for JSON."""

    warnings: list[str]  #: those so far, without duplicates
    quiet: bool  #: warnings go to JSON only

    def emit(self, record: logging.LogRecord) -> None:
        text = _printable(record.getMessage())
        warning = record.levelno >= logging.WARNING
        if warning and text not in self.warnings:
            self.warnings.append(text)
        elif warning:
            return
        if not (warning and self.quiet):
            sys.stderr.write(f"{record.levelname.lower()}: {text}\n")


_messages = Messages(logging.DEBUG)


def handle(verbosity: int, warnings: list[str], *, quiet: bool) -> None:
    """Handle the messages of both packages: `verbosity` is 0 for warnings, 1 for actions, 2 for all."""
    _messages.warnings, _messages.quiet = warnings, quiet
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(_LEVELS[min(verbosity, 2)])
        if _messages not in logger.handlers:
            logger.addHandler(_messages)


def _printable(text: str) -> str:
    """Text from a file with terminal control characters escaped."""

    return "\n".join(map(printable, text.split("\n")))

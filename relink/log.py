"""Log messages under the names of their modules.

`logging` is imported with the first message: with what it needs that takes 3 ms, a fortieth of a small load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

_waiting: list[Callable[[], None]] = []


class Log:
    """Writes to the logger of a name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def info(self, message: str, *values: object) -> None:
        """Log what was done. Nobody can have asked for it while `logging` is not imported."""
        if "logging" in sys.modules:
            self._write("INFO", message, values)

    def warning(self, message: str, *values: object) -> None:
        """Log what may change the meaning of a result."""
        self._write("WARNING", message, values)

    def _write(self, level: str, message: str, values: tuple[object, ...]) -> None:
        while _waiting:
            _waiting.pop()()
        import logging

        logging.getLogger(self.name).log(getattr(logging, level), message, *values, stacklevel=3)


def before_first_message(action: Callable[[], None]) -> None:
    """Call `action` once before the next message is logged: it configures `logging`."""
    if action not in _waiting:
        _waiting.append(action)

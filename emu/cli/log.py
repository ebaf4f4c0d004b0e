"""The log messages of `relink` and `emu`, on standard error and in JSON.

Warnings are always shown, because they may change the meaning of a result. `-v` adds loads and other actions,
`-vv` all messages. `emu.cli.messages`, which imports `logging`, handles them; it is imported when it is needed.
"""

from __future__ import annotations

import sys

from relink.log import before_first_message
from relink.records import dataclass, field


@dataclass
class Shown:
    """Which messages are shown, and the warnings so far."""

    verbosity: int = 0  #: 0: warnings, 1: actions, 2: all
    quiet: bool = False  #: warnings go to JSON only
    warnings: list[str] = field(default_factory=list)  #: without duplicates


_shown = Shown()


def listen() -> None:
    """Reset: show warnings only, and forget earlier ones."""
    _shown.warnings.clear()
    set_output(0, as_json=False)


def set_output(verbosity: int, *, as_json: bool) -> None:
    """Set the verbosity (0: warnings, 1: actions, 2: all), and whether warnings are collected for JSON."""
    _shown.verbosity, _shown.quiet = verbosity, as_json
    if verbosity or "logging" in sys.modules:
        _handle()
    else:
        before_first_message(_handle)


def _handle() -> None:
    from emu.cli.messages import handle

    handle(_shown.verbosity, _shown.warnings, quiet=_shown.quiet)


def warnings() -> list[str]:
    """The warnings so far, without duplicates."""
    return list(_shown.warnings)

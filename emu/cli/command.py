"""Commands and their options as data: `quick` reads simple command lines with it, `typer_app` all others.

A command is a function. Its parameters have `Option` or `Argument` as annotations, or are groups: frozen
dataclasses whose fields are options that several commands share.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from emu.cli.numpy_import import import_numpy
from relink.records import dataclass

_F = TypeVar("_F", bound=Callable[..., None])

EXIT_FAILED = 1  #: the exit status for an error of the file, link or guest


class Option:
    """An option: its names, and its parameters for Typer."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names = names
        self.settings = settings


class Argument:
    """A positional argument: its parameters for Typer."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings


class Usage(Exception):
    """An invalid command line: exit status 2. `param_hint` is the wrong option."""

    def __init__(self, problem: str, *, param_hint: str) -> None:
        super().__init__(problem)
        self.param_hint = param_hint


class Exit(Exception):
    """The end of a command, with an exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Command:
    """A command of the command line."""

    function: Callable[..., None]
    options_anywhere: bool = True  #: whether options may come after the arguments


#: By name, in the order of the help.
COMMANDS: dict[str, Command] = {}


def command(name: str | None = None, *, options_anywhere: bool = True) -> Callable[[_F], _F]:
    """Make a function a command."""

    def register(function: _F) -> _F:
        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> None:
            import_numpy()
            function(*arguments, **options)

        COMMANDS[name or function.__name__] = Command(run, options_anywhere)
        return function

    return register

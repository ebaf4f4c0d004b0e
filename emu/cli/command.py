"""Commands and their options as data: `quick` reads simple command lines with it, `typer_app` all others.

A command is a function. Its parameters have `Option` or `Argument` as annotations, or are groups: frozen
dataclasses whose fields are options that several commands share.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any, TypeVar

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
            _import_numpy()
            function(*arguments, **options)

        COMMANDS[name or function.__name__] = Command(run, options_anywhere)
        return function

    return register


def _import_numpy() -> None:
    """Import numpy without the threads of its BLAS, of which one would spin on each core, for linear algebra that
    nobody needs; and without its docstrings. The variable that says so is not for the processes that a command
    starts, such as a compiler.
    """
    threads = "OPENBLAS_NUM_THREADS"
    given = threads in os.environ
    os.environ.setdefault(threads, "1")
    sys.meta_path.insert(0, _Docstrings)
    try:
        import numpy  # noqa: F401
    finally:
        sys.meta_path.remove(_Docstrings)
        if not given:
            os.environ.pop(threads, None)


class _Docstrings(PathFinder):
    """Finds numpy's modules that give functions written in C their docstrings: a tenth of its import. They are run
    when somebody asks for something in them.
    """

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("numpy._core._add_newdocs"):
            return None
        found = super().find_spec(name, path, target)
        if found is not None and found.loader is not None:
            found.loader = LazyLoader(found.loader)
        return found

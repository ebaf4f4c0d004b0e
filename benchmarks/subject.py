"""What is measured, by name: `@subject` registers a function that yields rows and series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Row, Series

Results = Iterator[Row | Series]


@dataclass(frozen=True)
class Context:
    """How to measure: `rounds` of each contender, in a `folder` for files that are made, with `peers`, the folder
    of a virtual environment that has the peers in Python. `small` takes sizes that are measured in seconds."""

    folder: Path
    peers: Path
    rounds: int = 5
    small: bool = False


@dataclass(frozen=True)
class Subject:
    """One command. `asked` ones are left out unless they are named: they take minutes."""

    name: str
    what: str
    run: Callable[[Context], Results]
    asked: bool = False


SUBJECTS: dict[str, Subject] = {}


def subject(*, asked: bool = False) -> Callable[[Callable[[Context], Results]], Callable[[Context], Results]]:
    """Register a function under its own name, with the first line of its docstring as description."""

    def register(run: Callable[[Context], Results]) -> Callable[[Context], Results]:
        name = run.__name__
        SUBJECTS[name] = Subject(name, (run.__doc__ or "").splitlines()[0], run, asked)
        return run

    return register

"""Options: each has a place on the command line, in the ini file and in the environment; the first given wins."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import pytest

HEADER = "relink_header_lines"  #: the key of xdist workers' header lines in their `workeroutput`
PROBLEMS = "relink_problems"  #: likewise, of what could not be written


class Option(NamedTuple):
    """`--relink-<name>`, `relink_<name>` in the ini file, `RELINK_EMU_<NAME>` in the environment."""

    name: str
    metavar: str
    help: str
    several: bool = False  #: words, of which all are used
    default: str = ""


OPTIONS = (
    Option("arch", "ARCH", "only tests for this architecture; may be repeated (also --arch)", several=True),
    Option("compiler", "NAME", "zig, gcc, clang, or a command with {arch} or {triple} (default: the first found)"),
    Option("cflags", "FLAGS", "more options for compilations, such as -O2", several=True),
    Option("build_cache", "DIR", "where built libraries are kept (default: ~/.cache/relink-emu/builds)"),
    Option("timeout", "SECONDS", "limit of each call of the guest from a test, 0 for none", default="60"),
)
#: Keys of the marker that the ini file may give for all tests, with their types there.
INI = {
    "sources": "linelist", "binary": "string", "arches": "args", "kind": "string", "ldflags": "args",
    "defines": "args", "include": "linelist", "needs": "linelist", "header": "string",
}  # fmt: skip


def add(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("relink-emu", "relink-emu: libraries on emulated machines")
    for option in OPTIONS:
        flag = f"--relink-{option.name.replace('_', '-')}"
        action, kind = ("append", "args") if option.several else ("store", "string")
        group.addoption(
            flag, action=action, default=None, metavar=option.metavar, dest=_dest(option), help=option.help
        )
        _add_ini(parser, _dest(option), option.help, kind)
    group.addoption("--relink-rebuild", action="store_true", help="build libraries although they are in the cache")
    group.addoption(
        "--relink-compare", action="store_true", help="compare the calls of each test between architectures"
    )
    group.addoption(
        "--relink-replay",
        action="append",
        metavar="ID",
        help="only tests with the fixture power_cuts, and only this sequence of power cuts; may be repeated",
    )
    group.addoption(
        "--guest-cov",
        action="append",
        metavar="FILE",
        dest="relink_guest_cov",
        help="write which lines of the libraries ran (lcov, or drcov for .drcov); may be repeated",
    )
    for key, kind in INI.items():
        _add_ini(parser, f"relink_{key}", f"default of {key}= in the marker relink", kind)


def _add_ini(parser: pytest.Parser, name: str, about: str, kind: Any) -> None:
    parser.addini(name, about, type=kind, default=None)


def add_short(parser: pytest.Parser, args: list[str]) -> None:
    """Declare `--arch` and `--replay` when they are used and the project has no option of that name."""
    used = {word.partition("=")[0] for word in args}
    group = parser.getgroup("relink-emu")
    for flag, metavar in (("--arch", "ARCH"), ("--replay", "ID")):
        if used.isdisjoint((flag, "--help", "-h")) or _is_known(parser, flag):
            continue
        name = f"relink_{flag[2:]}"
        group.addoption(flag, action="append", metavar=metavar, dest=name, help=f"the same as --relink-{flag[2:]}")


def _is_known(parser: pytest.Parser, flag: str) -> bool:
    """Whether somebody has declared this option. To declare it again is refused at once, later, or not at all,
    depending on the version of pytest.
    """
    try:
        return not parser.parse_known_and_unknown_args([f"{flag}=0"])[1]
    except pytest.UsageError:  # it takes no value, or not this one
        return True


def select(config: pytest.Config, items: list[pytest.Item], fixture: str) -> None:
    """Deselect the tests that do not use a fixture."""
    users = [item for item in items if fixture in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in users])
    items[:] = users


def _dest(option: Option) -> str:
    return f"relink_{option.name}"


def words(config: pytest.Config, name: str) -> list[str]:
    """The words of an option that takes several; for `cflags` those of all places, for others of the first.

    Raises BuildError.
    """
    given = config.getoption(f"relink_{name}") or []
    in_environment = os.environ.get(f"RELINK_EMU_{name.upper()}", "")
    in_ini = config.getini(f"relink_{name}") or []
    places = [[word for text in given for word in _split(text)], _split(in_environment), list(in_ini)]
    if name == "cflags":
        return [word for place in reversed(places) for word in place]
    return [word for text in next(filter(None, places), []) for word in text.replace(",", " ").split()]


def _split(text: str) -> list[str]:
    if not text:
        return []  # most sessions: nothing to import
    from emu.build.words import split

    return split(text)


def value(config: pytest.Config, name: str) -> str:
    """The value of an option that takes one."""
    given = config.getoption(f"relink_{name}")
    if given is None:
        given = os.environ.get(f"RELINK_EMU_{name.upper()}")
    if given is None:
        given = config.getini(f"relink_{name}")
    if given is None:
        given = next(option.default for option in OPTIONS if option.name == name)
    return str(given)


def timeout(config: pytest.Config) -> float:
    """The limit of a guest call in seconds. Raises UsageError."""
    text = value(config, "timeout")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"relink timeout {text!r} is not a number of seconds")
    return seconds


def check(config: pytest.Config) -> None:
    """Refuse wrong options where they are given. Raises UsageError."""
    timeout(config)
    for name in ("arch", "cflags"):
        try:
            given = words(config, name)
            if name == "arch" and given:
                from emu.build.targets import targets_of

                targets_of(given)
        except Exception as error:
            from emu.build.errors import BuildError

            if not isinstance(error, BuildError):
                raise
            raise pytest.UsageError(f"--{name}: {error}") from None

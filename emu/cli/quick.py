"""Reading simple command lines without Typer, whose import takes a tenth of the time of a small command.

A simple command line has a known command with its arguments, known options, and valid values. For any other `read`
returns None; Typer then reads it or reports the error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from emu.cli.command import Argument, Command, Option
from relink.records import fields, is_dataclass


class _NotPlain(Exception):
    """A command line for Typer."""


class _Target:
    """The target of an option's value: a field of a group, or a parameter, with its type, and the value of a
    flag.
    """

    def __init__(self, owner: str | None, name: str, hint: Any, option: Option, flag: bool | None = None) -> None:
        self.owner = owner
        self.name = name
        self.types = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
        self.many = get_origin(hint) is list or any(get_origin(kind) is list for kind in self.types)
        self.settings = option.settings
        self.flag = flag

    @property
    def takes_value(self) -> bool:
        return self.flag is None and not self.settings.get("count")

    def value(self, text: str) -> object:
        """Convert a text to the option's type. Raises _NotPlain."""
        kind = self.types[0]
        kind = get_args(kind)[0] if get_origin(kind) is list else kind
        if kind not in (str, int, float, Path) or text.startswith("-"):
            raise _NotPlain
        try:
            value: Any = kind(text)
        except ValueError:
            raise _NotPlain from None
        if not self.settings.get("min", value) <= value <= self.settings.get("max", value):
            raise _NotPlain
        return value


def read(command: Command, arguments: Sequence[str]) -> Callable[[], None] | None:
    """The command with its arguments, ready to be called; None when Typer must read them.

    The call raises `Usage` for contradicting options.
    """
    try:
        return _read(command.function, list(arguments), anywhere=command.options_anywhere)
    except _NotPlain:
        return None


def _read(function: Callable[..., None], arguments: list[str], *, anywhere: bool) -> Callable[[], None]:
    spellings = [text.partition("=")[0] for text in arguments if text.startswith("-")]
    written: Any = function
    while hasattr(written, "__wrapped__"):
        written = written.__wrapped__
    hints = _hints(function, written.__globals__, spellings)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    targets = _targets(hints, groups, spellings)
    given: dict[str | None, dict[str, Any]] = {name: {} for name in (None, *groups)}
    texts = _distribute(arguments, targets, given, anywhere=anywhere)
    positional = {name: hint for name, hint in hints.items() if name not in groups and _mark(hint, Argument)}
    if positional and not arguments:
        raise _NotPlain  # Typer prints the command's help
    given[None] |= _positional(texts, positional, _optional(written))

    def call() -> None:
        made = {name: group(**given[name]) for name, group in groups.items()}
        function(**given[None], **made)

    return partial(call)


def _optional(function: Any) -> Sequence[str]:
    """The parameters of a function that have defaults."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names: Sequence[str] = code.co_varnames[: code.co_argcount]
    return names[len(names) - len(defaults) :]


def _positional(texts: list[str], hints: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    """The texts by parameters, of which the last may take many. Raises _NotPlain."""
    found: dict[str, Any] = {}
    for name, hint in hints.items():
        if hint.__origin__ is str:
            taken, texts = texts[:1], texts[1:]
        else:
            taken, texts = texts, []
        if taken:
            found[name] = taken[0] if hint.__origin__ is str else taken
        elif name not in optional:
            raise _NotPlain
    if texts:
        raise _NotPlain
    return found


def _hints(owner: Any, names: dict[str, Any], spellings: Sequence[str]) -> dict[str, Any]:
    """The evaluated annotations of a function or a class, without those of options that are not spelled: all of
    them would take longer than the load of a small file.
    """
    return {
        name: names[text] if text in names else eval(text, names)
        for name, text in owner.__annotations__.items()
        if name != "return" and ("Option(" not in text or any(spelling in text for spelling in spellings))
    }


def _targets(hints: dict[str, Any], groups: dict[str, Any], spellings: Sequence[str]) -> dict[str, _Target]:
    """The options that are spelled, by all their names."""
    found: dict[str, _Target] = {}
    members: list[tuple[str | None, str, Any]]
    members = [(None, name, hint) for name, hint in hints.items() if name not in groups]
    for group_name, group in groups.items():
        types: dict[str, Any] = {}
        for base in group.__mro__[-2::-1]:  # all but `object`
            types |= _hints(base, vars(sys.modules[base.__module__]), spellings)
        members += [(group_name, f.name, types[f.name]) for f in fields(group) if f.init and f.name in types]
    for owner, member, hint in members:
        option = _mark(hint, Option)
        if option is None:
            continue
        for spelling in option.names:
            yes, _, no = spelling.partition("/")
            flag = True if hint.__origin__ is bool else None
            found[yes] = _Target(owner, member, hint.__origin__, option, flag)
            if no:
                found[no] = _Target(owner, member, hint.__origin__, option, False)
    return found


def _mark(hint: Any, kind: type) -> Any:
    marks = hint.__metadata__ if get_origin(hint) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, kind)), None)


def _distribute(
    arguments: list[str],
    targets: dict[str, _Target],
    given: dict[str | None, dict[str, Any]],
    *,
    anywhere: bool,
) -> list[str]:
    """Store the options in their targets; return the other arguments. Unless options may be `anywhere`, all that
    follow the first of these are among them.
    """
    texts, rest = [], iter(arguments)
    for text in rest:
        if not text.startswith("-") or text == "-":
            texts.append(text)
            if not anywhere:
                return [*texts, *rest]
            continue
        name, equals, value = text.partition("=") if text.startswith("--") else (text, "", "")
        target = targets.get(name)
        if target is None or (equals and not target.takes_value):
            raise _NotPlain
        values = given[target.owner]
        if not target.takes_value:
            count = values.get(target.name, 0) + 1
            values[target.name] = count if target.flag is None else target.flag
            continue
        if not equals:
            value = next(rest, "-")
        if target.many:
            values.setdefault(target.name, []).append(target.value(value))
        else:
            values[target.name] = target.value(value)
    return texts

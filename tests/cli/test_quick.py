"""A plain command line means without Typer what it means to Typer; all others are left to Typer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import pytest
import typer

from emu.cli import app, plain, quick, typer_app
from emu.cli.command import COMMANDS, Command
from relink.records import fields, is_dataclass
from tests.fixtures import fixture
from tests.grouping import each

assert app  # its commands are in COMMANDS

PLAIN = (
    ["load", "x"],
    ["load", "x", "--json"],
    ["load", "--json", "x", "--bindings"],
    ["load", "x", "-v", "-v", "--no-demangle"],
    ["load", "x", "--demangle", "--no-demangle", "--no-libc"],
    ["load", "x", "-D", "a=1", "--define", "b=0x2", "--define=c=3"],
    ["load", "x", "-L", ".", "--library-path", "/", "--sysroot=/"],
    ["load", "x", "--timeout", "2.5", "--max-instructions", "7", "--tls-size=64"],
    ["load", "x", "--base", "0x1000", "--base=0x2000", "-a", "arm"],
    ["load", "x", "--with", "y", "--undefined", "n", "-u", "m", "--want", "o", "--whole-archive"],
    ["load", "-", "--preload", "y", "--binding=lazy", "--float-abi", "hard-float", "--allow-unresolved"],
    ["map", "x", "--all"],
    ["tree", "a b"],
    ["inspect", "x", "--symbols"],
)
FOR_TYPER: tuple[list[str], ...] = (
    [],
    ["--help"],
    ["--version"],
    ["nonsense"],
    ["load"],
    ["load", "x", "y"],
    ["load", "--help"],
    ["load", "x", "--nonsense"],
    ["load", "x", "--base"],
    ["load", "x", "--base", "-1"],
    ["load", "x", "--timeout", "soon"],
    ["load", "x", "--timeout=-1"],
    ["load", "x", "--json=1"],
    ["load", "x", "-vv"],
    ["load", "x", "-La"],
    ["load", "--", "x"],
    ["load", "x", "--max-instructions", "1.5"],
    ["run", "x", "--json"],
    ["call", "x", "f()"],
    ["report", "x"],
)


def facts(value: object) -> object:
    if is_dataclass(value):
        shown = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: item or None if isinstance(item, list | tuple) else item for name, item in shown.items()}
    return value


def meaning(arguments: list[str], monkeypatch: pytest.MonkeyPatch, *, by_typer: bool) -> list[dict[str, Any]]:
    """What the command's function would be given."""
    calls: list[dict[str, Any]] = []
    name = arguments[0]
    real = COMMANDS[name]

    def function(**values: Any) -> None:
        calls.append({key: facts(value) for key, value in values.items()})

    function.__wrapped__ = real.function  # type: ignore[attr-defined]
    function.__annotations__ = real.function.__annotations__
    with monkeypatch.context() as patch:
        patch.setitem(COMMANDS, name, Command(function, real.options_anywhere))
        if by_typer:
            assert typer_app.invoke(arguments) == 0
        else:
            call = quick.read(COMMANDS[name], arguments[1:])
            assert call is not None, "read as plain"
            call()
    return calls


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_plain_command_lines_mean_the_same(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = meaning(arguments, monkeypatch, by_typer=False)
    expected = meaning(arguments, monkeypatch, by_typer=True)
    # Typer passes defaults too.
    assert len(found) == len(expected) == 1
    assert {**expected[0], **found[0]} == expected[0]


_apps, _commands = cache(typer_app._app), cache(typer.main.get_command)


@each("name", COMMANDS)
def test_a_command_is_read_by_itself_as_among_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its usage, and the error for an option it has not."""
    monkeypatch.setattr(typer.main, "get_command", _commands)

    def outcome(arguments: list[str], asked: str) -> str:
        with monkeypatch.context() as patch, redirect_stdout(io.StringIO()) as out:
            patch.setattr(typer_app, "_app", lambda name: _apps(asked))
            try:
                typer_app.invoke(arguments)
            except typer_app.UsageError as error:
                error.show(file=out)  # type: ignore[attr-defined]
        return out.getvalue()

    assert len(_apps(name).registered_commands) == 1
    for arguments in ([name, "--help"], [name, "--nonsense"]):
        found = outcome(arguments, name)
        assert f"Usage: relink-emu {name} " in found
        assert found == outcome(arguments, "")


@pytest.mark.parametrize("arguments", FOR_TYPER, ids=" ".join)
def test_other_command_lines_are_left_to_typer(arguments: list[str]) -> None:
    known = COMMANDS.get(arguments[0]) if arguments else None
    assert known is None or quick.read(known, arguments[1:]) is None


def test_a_plain_load_imports_no_typer() -> None:
    code = "import sys; from emu.cli.app import run; run(sys.argv[1:]); sys.exit('typer' in sys.modules)"
    command = [sys.executable, "-c", code, "load", str(fixture("x86_64-clang", "ctors"))]
    env = {name: value for name, value in os.environ.items() if name not in plain._ASKED_OF_RICH}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")

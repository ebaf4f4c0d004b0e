"""A plain command line means without Typer what it means to Typer; all others are left to Typer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from emu.cli import app, plain, quick, typer_app
from emu.cli.command import COMMANDS, Command
from relink.records import fields, is_dataclass
from tests.fixtures import fixture
from tests.grouping import each

STATIC = Path(__file__).parents[1] / "machine/musl"  #: static programs
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
    ["call", "x", "f()"],
    ["call", "x", "f()", "-p", "int f()", "g(1)", "--audit", "--json"],
    ["debug", "x", "f()", "--port", "65535"],
    ["run", "x"],
    ["run", "x", "--json"],
    ["run", "-e", "A=1", "--env=B=-2", "--max-instructions", "9", "x", "-e", "C=3", "--", "-", ""],
    ["run", "-v", "x", "--help"],
    ["report", "x"],
    ["report", "x", "y", "z", "--json"],
    ["types", "x"],
    ["types", "x", "a", "b"],
    ["fuzz", "x"],
    ["fuzz", "x", "parse"],
    ["diff", "x", "y", "--no-demangle"],
    ["link", "x", "y", "-o", "z.hex", "--region", "flash=0x0,64K,rx"],
    ["test", "x.c", "--examples", "3", "-f", "one", "--no-host"],
    ["fetch", "--json"],
    ["fetch", "a", "-a", "arm", "b"],
    ["arches"],
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
    ["fetch"],
    ["run"],
    ["run", "--json", "x"],
    ["run", "--", "x"],
    ["call", "x"],
    ["debug", "x", "f()", "--port", "65536"],
    ["report"],
    ["diff", "x"],
    ["diff", "x", "y", "z"],
    ["arches", "x"],
    ["test", "x.c", "--examples", "0"],
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


def test_a_wrong_command_does_nothing_twice(capfd: pytest.CaptureFixture[str]) -> None:
    """A call that turns out to be wrong after another has been made, which is not made again."""
    library = str(fixture("x86_64-clang", "deps/libtop"))
    status = app.run(["call", library, "-L", str(Path(library).parent), "int top(5)", "top({1})"])
    out, err = capfd.readouterr()
    assert (status, out) == (2, "75\n")
    assert "needs the function's prototype" in err
    assert "Usage: relink-emu call " in err


@each(
    "arguments",
    [
        ["load", str(fixture("x86_64-clang", "ctors"))],
        ["call", str(fixture("x86_64-clang", "deps/libleaf")), "int leaf(3)"],
        ["run", str(STATIC / "x86_64.elf"), "hosted", "one"],
    ],
)
def test_a_plain_command_imports_no_typer(arguments: list[str]) -> None:
    code = (
        "import sys; from emu.cli.app import run; run(sys.argv[1:]);print('typer' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    env = {name: value for name, value in os.environ.items() if name not in plain._ASKED_OF_RICH}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (0, ["False"]), done.stderr

"""Bad files and bad command lines: each with its own message and status, and never a traceback."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

from emu.cli.errors import messages
from emu.debug.demangle import demangled
from emu.errors import Frame, UnresolvedCall
from relink.errors import LinkError, LinkErrors, UnresolvedSymbol
from tests.fixtures import arch_of, fixture
from tests.grouping import each

from .conftest import RunCommand

pytestmark = pytest.mark.one_compiler

COMMANDS = ("load", "call", "inspect", "tree")


def arguments(command: str, *rest: object) -> tuple[object, ...]:
    return (command, *rest, *(("f()",) if command == "call" else ()))


@each("command", COMMANDS)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"", "the file is empty"),
        (b"\x7fELF\x02", "cut short"),
        (b"\x7fELF\x02\x02\x01" + bytes(100), "big-endian"),
        (b"\x7fELF\x07\x01\x01" + bytes(100), "EI_CLASS"),
    ],
    ids=["script", "empty", "five bytes", "big-endian", "class 7"],
)
def test_file_that_is_no_usable_elf(
    relink_emu: RunCommand, tmp_path: Path, command: str, content: bytes, problem: str
) -> None:
    path = tmp_path / "bad.so"
    path.write_bytes(content)
    result = relink_emu(*arguments(command, path))
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"error: {path}: ")
    assert problem in result.err


@each("command", COMMANDS)
def test_truncated_file(relink_emu: RunCommand, tmp_path: Path, target: str, command: str) -> None:
    whole = fixture(target, "basic").read_bytes()
    path = tmp_path / "short.so"
    path.write_bytes(whole[: len(whole) // 3])
    result = relink_emu(*arguments(command, path))
    if command == "inspect":  # which shows what is left, and says what is gone
        assert result.status == 0
        assert "Problems" in result.out
        assert "the file has" in result.out
        return
    assert result.status == 1
    assert "the file has" in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_file_that_is_not_there_and_folder(relink_emu: RunCommand, tmp_path: Path, command: str) -> None:
    assert "No such file" in relink_emu(*arguments(command, tmp_path / "none.so")).err
    assert "No such file" in relink_emu(*arguments(command, "none-such.so")).err
    result = relink_emu(*arguments(command, tmp_path))
    assert result.status == 1
    assert "directory" in result.err


@each("command", COMMANDS)
def test_contradicting_architecture_names_both(relink_emu: RunCommand, target: str, command: str) -> None:
    other = "i386" if arch_of(target) == "x86_64" else "x86_64"
    result = relink_emu(*arguments(command, fixture(target, "basic"), "--arch", other))
    assert result.status == 1
    assert f"not {other}" in result.err


def test_all_missing_libraries_are_reported_together(relink_emu: RunCommand, target: str) -> None:
    result = relink_emu("load", fixture(target, "deps/needs_missing"))
    assert result.status == 1
    for name in ("libnowhere.so.3", "libalso_nowhere.so"):
        assert f"{name}: cannot open shared object file: No such file or directory (needed by " in result.err
    assert result.err.count("error: ") == 2
    error = relink_emu("load", fixture(target, "deps/needs_missing"), "--json").json["error"]
    assert [part["name"] for part in error["errors"]] == ["libnowhere.so.3", "libalso_nowhere.so"]


def test_all_unresolved_symbols_are_reported_together(relink_emu: RunCommand, target: str) -> None:
    result = relink_emu("load", fixture(target, "imports"))
    assert result.status == 1
    assert result.err.count("error: ") == 1
    first, *names, hint = result.err.splitlines()
    assert first.endswith(": 3 undefined symbols:")
    assert sorted(names) == ["  absent_data", "  absent_function", "  absent_second"]
    assert hint == "(--allow-unresolved links anyway, -D NAME=VALUE defines one)"
    error = relink_emu("load", fixture(target, "imports"), "--json").json["error"]
    assert {part["symbol"] for part in error["errors"]} == {name.strip() for name in names}
    assert all(part["message"].endswith(f"undefined symbol: {part['symbol']}") for part in error["errors"])


def test_missing_version_is_named(relink_emu: RunCommand, target: str) -> None:
    old = fixture(target, "versions/v1/libversions").parent
    result = relink_emu("load", fixture(target, "versions/client_v3"), "-L", old)
    assert result.status == 1
    assert "libversions.so: version `V3' not found (required by " in result.err


def test_constructor_that_faults_is_named_with_the_fault(relink_emu: RunCommand, target: str) -> None:
    path = fixture(target, "ctor_fault")
    log = fixture(target, "startup/liblog").parent
    result = relink_emu("load", path, "-L", log)
    assert result.status == 1
    assert "constructor init_array" in result.err
    error = relink_emu("load", path, "-L", log, "--json").json["error"]
    assert (error["type"], error["cause"]["type"]) == ("ConstructorFault", "GuestFault")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--arch", "vax"], "unknown architecture 'vax'"),
        (["--define", "x"], "not of the form NAME=VALUE"),
        (["--define", "=1"], "not of the form NAME=VALUE"),
        (["--define", "x=y"], "'y' is not a number"),
        (["--define", "x=-1"], "not between"),
        (["--define", "x=0x1ffffffff"], "does not fit the 32 bits of arm"),
        (["--base", "here"], "'here' is not a number"),
        (["-L", "/no/such/folder"], "is not a folder"),
        (["--sysroot", "/no/such/folder"], "is not a folder"),
        (["--timeout", "-1"], "-1"),
        (["--max-instructions", "many"], "many"),
        (["--frobnicate"], "--frobnicate"),
        (["--timeout"], "--timeout"),
    ],
)
def test_command_line_that_cannot_be_meant_is_status_2(
    relink_emu: RunCommand, options: list[str], problem: str
) -> None:
    result = relink_emu("load", fixture("arm", "basic"), *options)
    assert (result.status, result.out) == (2, "")
    assert problem in result.err
    if options[-1] != "--timeout":
        as_json = relink_emu("load", fixture("arm", "basic"), "--json", *options)
        assert (as_json.status, as_json.json["error"]["type"], as_json.err) == (2, "Usage", "")


@pytest.mark.parametrize(
    "arguments", [[], ["load"], ["call", "x.so"], ["frob"], ["load", "a.so", "b.so"], ["arches", "x"]]
)
def test_missing_and_superfluous_arguments_are_status_2(relink_emu: RunCommand, arguments: list[str]) -> None:
    assert relink_emu(*arguments).status == 2


def test_name_to_search_for_needs_an_architecture(relink_emu: RunCommand, tmp_path: Path) -> None:
    result = relink_emu("load", "libz.so.1", "-L", tmp_path)
    assert result.status == 2
    assert "--arch" in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_that_may_not_be_read(relink_emu: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "secret.so"
    path.write_bytes(b"\x7fELF")
    path.chmod(0)
    assert "Permission denied" in relink_emu("load", path).err


@pytest.mark.parametrize("command", [[], ["load"], ["call"], ["inspect"], ["tree"], ["arches"]])
def test_help_is_status_0(relink_emu: RunCommand, command: list[str]) -> None:
    result = relink_emu(*command, "--help")
    assert (result.status, result.err) == (0, "")
    assert "Usage: relink-emu" in result.out


def test_version_is_printed(relink_emu: RunCommand) -> None:
    result = relink_emu("--version")
    assert result.status == 0
    assert result.out.startswith("relink-emu ")


def test_version_of_source_that_is_not_installed(relink_emu: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert relink_emu("--version").out == "relink-emu (source, not installed)\n"


def test_library_asked_for_that_is_nowhere_says_so_itself(relink_emu: RunCommand, tmp_path: Path) -> None:
    result = relink_emu("load", "--arch", "arm", "-L", tmp_path, "libabsent.so")
    assert result.status == 1
    problem = "cannot open shared object file: No such file or directory"
    first = f"error: libabsent.so: {problem}\n  1. {tmp_path}/libabsent.so: no such file\n"
    assert result.err.startswith(first)


def test_mangled_names_in_messages_are_readable() -> None:
    frame = Frame(0x1000, "lib.so", "_ZN3foo3barEi", 4)
    unresolved = UnresolvedSymbol("lib.so", "_ZN3foo3bazEv")
    assert list(messages(UnresolvedCall("puts", frame))) == [
        "call of unresolved symbol puts from 0x1000 <foo::bar(int)+0x4> in lib.so"
    ]
    hint = "\n(--allow-unresolved links anyway, -D NAME=VALUE defines one)"
    assert list(messages(unresolved)) == ["lib.so: undefined symbol: _ZN3foo3bazEv: foo::baz()" + hint]
    assert list(messages(unresolved, demangle=False)) == ["lib.so: undefined symbol: _ZN3foo3bazEv" + hint]


def test_undefined_symbols_are_listed_once_per_library() -> None:
    errors: list[LinkError] = [
        UnresolvedSymbol("lib.so", "_ZN3foo3bazEv"),
        LinkError("lib.so", "is odd"),
        UnresolvedSymbol("other.so", "single"),
        UnresolvedSymbol("lib.so", "plain", "V1"),
        UnresolvedSymbol("lib.so", "secret", detail="hidden"),
    ]
    assert list(messages(LinkErrors("lib.so", errors))) == [
        "lib.so: 3 undefined symbols:\n  _ZN3foo3bazEv: foo::baz()\n  plain, version V1\n  secret (hidden)",
        "lib.so: is odd",
        "other.so: undefined symbol: single\n(--allow-unresolved links anyway, -D NAME=VALUE defines one)",
    ]
    looked_up = UnresolvedSymbol("lib.so", "absent", detail="looked up in the image and its dependencies")
    assert list(messages(looked_up)) == [str(looked_up)], "no option of a link would have found it"


def test_name_that_would_expand_without_bound_is_left_as_it_is() -> None:
    pairs = "".join(f"S_IS{digit}_S{digit}_E" for digit in "123456789ABCDEFGHIJKLMNOP")
    assert demangled(f"_Z1f1PIiiE{pairs}") is None
    assert demangled("_Z1f1PIiiES0_") == "f(P<int, int>, P<int, int>)"


def test_a_library_that_is_no_file_says_how_to_use_the_hosts(relink_emu: RunCommand) -> None:
    for arguments in (
        ("call", "libz.so.1", "f()"),
        ("load", "-a", "riscv64", "libnone.so"),
        ("tree", "libz.so.1"),
    ):
        result = relink_emu(*arguments)
        assert result.status == 1
        assert "no sysroot was given" in result.err
        assert "-L FOLDER" in result.err
        assert "--sysroot / --arch" in result.err


@pytest.mark.parametrize(
    "command", ["tree libown.so -a arm --sysroot .", "link {} -o own.elf --region ram=0x20000000,20K,rwx"]
)
def test_a_working_directory_that_was_removed_is_named(
    relink_emu: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = relink_emu(*command.format(fixture("arm", "objects/ctors")).split(), "--json")
    assert result.status == 1
    assert result.json["error"]["message"] == "the working directory: No such file or directory"

"""`--guest-cov`: one file for all tests, architectures and workers."""

from __future__ import annotations

import os

import pytest

from emu.debug.coverage.drcov import read_drcov
from emu.debug.coverage.lcov import Tracefile

from .conftest import Session

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")

_TESTS = """
def test_add(lib):
    assert lib.add(2, 3) == 5

def test_fail(lib):
    assert lib.add(2, 3) == lib.twice(2)

def test_closes_the_machine(machine, lib):
    lib.add(1, 1)
    machine.close()
"""


def test_all_tests_and_architectures_are_in_one_file(pytester: pytest.Pytester, session: Session) -> None:
    (pytester.path / "all.info").write_text("of an earlier session")
    options = ("--arch", "x86_64", "--arch", "loongarch64", "--guest-cov", "all.info", "--guest-cov", "all.drcov")
    result = session(_TESTS, *options)
    result.assert_outcomes(passed=4, failed=2)
    trace = Tracefile.read((pytester.path / "all.info").read_text(), "all.info")
    (own,) = (file for name, file in trace.files.items() if name.endswith("own.c"))
    hits = {name: count for (name, _), count in own.functions.items()}
    assert hits["add"] == 6
    assert hits["twice"] == 2
    assert hits["parse"] == hits["spin"] == 0
    blocks = read_drcov((pytester.path / "all.drcov").read_bytes(), "all.drcov").blocks
    assert blocks.keys() == {"x86_64/own.so", "loongarch64/own.so"}
    assert not list(pytester.path.glob("all.*.*")), "no lock or part of a file is left"


@pytest.mark.parametrize("name", ["nothing/all.info", ".", "own.c/all.info"])
def test_files_that_cannot_be_written_are_refused_at_once(session: Session, name: str) -> None:
    result = session(_TESTS, "--guest-cov", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --guest-cov: * cannot be written: *"])


def test_devices_pipes_and_links_stay(pytester: pytest.Pytester, session: Session) -> None:
    os.mkfifo(pytester.path / "pipe")
    (pytester.path / "link").symlink_to("all.info")
    (pytester.path / "all.info").write_text("of an earlier session")
    with open(os.open(pytester.path / "pipe", os.O_RDWR), "rb") as pipe:
        session(_TESTS, "--arch=i386", "-k", "add", "--guest-cov", "pipe", "--guest-cov", "link")
        written = os.read(pipe.fileno(), 1 << 16)
    assert (pytester.path / "pipe").is_fifo()
    assert (pytester.path / "link").is_symlink()
    assert (pytester.path / "all.info").read_bytes() == written != b""


def test_a_file_that_cannot_be_written_at_the_end_fails_the_session(
    pytester: pytest.Pytester, session: Session
) -> None:
    text = """
from pathlib import Path

def test_add(lib):
    assert lib.add(2, 3) == 5
    Path("all.info").mkdir()
"""
    result = session(text, "--arch=i386", "--guest-cov", "all.info")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--guest-cov: *all.info was not written: *Is a directory*", "*1 passed*"])

"""Tests of a library run on every architecture, each in the state after the load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emu.build.targets import ALL
from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")


def test_a_test_runs_once_for_each_architecture_in_a_fresh_state(session: Session) -> None:
    text = """
def test_add(lib):
    assert lib.add(2, 3) == 5
    assert lib.symbols["counter"].read("int") == 1

@pytest.mark.parametrize("n", [1, 2])
class TestTwice:
    def test_twice(self, n, machine, lib):
        assert lib.twice(n) == 2 * n
        assert lib.symbols["counter"].read("int") == 1
"""
    result = session(text, "-v")
    result.assert_outcomes(passed=3 * len(ALL))
    for arch in ALL:
        result.stdout.fnmatch_lines([f"*test_add?{arch}?*", f"*::TestTwice::test_twice?{arch}-1?*"])
    result.stdout.fnmatch_lines(["relink-emu *, unicorn *, icicle-emu *, ziglang *"])


def test_architectures_are_selected_by_name_marker_and_option(session: Session) -> None:
    text = "def test_add(lib):\n    assert lib.add(2, 3) == 5\n\ndef test_no_guest():\n    pass\n"
    session(text, "-k", "riscv32").assert_outcomes(passed=1, deselected=len(ALL))
    session(text, "--arch", "rv32").assert_outcomes(passed=2, deselected=len(ALL) - 1)
    session(text, "--relink-arch=arm,i386", "--co", "-q").stdout.fnmatch_lines(["*test_add?arm?", "3/8*"])
    marked = "@pytest.mark.relink(arches='thumb riscv32')\n" + text
    session(marked, "-v", "--arch=arm").stdout.fnmatch_lines(["*test_add?thumb? PASSED*"])


def test_settings_come_from_the_ini_file(session: Session, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nrelink_sources = *.c\nrelink_arches = aarch64 x86_64\nrelink_defines = FACTOR=5\n")
    (pytester.path / "own.h").write_text("")
    text = "pytestmark = []\ndef test_scaled(lib, guest):\n    guest.mock('read_adc', returns=2)\n"
    session(text + "    assert lib.scaled(0) == 10").assert_outcomes(passed=2)


def test_an_option_of_the_project_named_arch_is_its_own(session: Session, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser):\n    parser.addoption('--arch', default='none')")
    text = "def test_arch(lib, request):\n    assert request.config.getoption('--arch') == 'mine'"
    session(text, "--arch=mine", "--relink-arch=arm").assert_outcomes(passed=1, deselected=len(ALL) - 1)


def test_objects_headers_and_flags_for_one_architecture(session: Session) -> None:
    text = """
@pytest.mark.relink(kind="o", cflags={"all": "-O2", "arm": ["-mthumb"]}, defines={"DEPTH": 4, "NDEBUG": True})
def test_check(lib, guest):
    lib.check(0)                                             # NDEBUG: no assertion
    assert lib.image.decoded.is_relocatable
    assert lib.twice(4) == 8
"""
    session(text).assert_outcomes(passed=len(ALL))


def test_a_library_is_built_once_and_again_when_a_header_changes(
    session: Session, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    text = """
def test_scaled(lib, guest):
    guest.mock("read_adc", returns=2)
    print("built:", relink_time(lib))
    assert lib.scaled(0) == int(__import__("os").environ["SCALED"])

def relink_time(lib):
    return lib.image.decoded.path
"""
    options = ("--arch=riscv64", f"--relink-build-cache={tmp_path}", "-rP")
    place, header = "built: *", pytester.path / "own.h"

    def built(scaled: int) -> str:
        pytester.syspathinsert()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SCALED", str(scaled))
            result = session(text, *options)
        result.assert_outcomes(passed=1, deselected=len(ALL) - 1)
        return next(line for line in result.outlines if line.startswith(place[:-1]))

    first = built(6)
    assert built(6) == first
    header.write_text("#define FACTOR 7\n")
    assert built(14) != first
    header.write_text("#define FACTOR 3\n")
    assert built(6) == first


def test_a_session_imports_what_its_tests_use(session: Session, pytester: pytest.Pytester) -> None:
    """One that does not use the plug-in imports its options alone; one that does, neither what measures coverage
    nor parsers and disassemblers.
    """
    other = """
import sys

def test_nothing():
    ours = [name for name in sys.modules if name.startswith(("emu", "relink", "numpy", "unicorn"))]
    assert sorted(ours) == ["emu", "emu.pytest_plugin", "emu.pytest_plugin.options"]
"""
    own = """
import sys

def test_add(lib):
    assert lib.add(2, 3) == 5
    unwanted = ("emu.debug.coverage", "pycparser", "capstone", "unicorn", "numpy.typing")
    assert not [name for name in sys.modules if name.startswith(unwanted)]
"""
    session(own, "--co")  # writes the file
    pytester.makepyfile(test_other=other)
    for arguments in (["test_other.py"], ["test_own.py", "--arch", "x86_64"]):
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *arguments]
        done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
        assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.exhaustive
def test_workers_build_a_library_once_and_a_killed_build_blocks_nobody(
    session: Session, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pytest.importorskip("xdist")
    session("def test_add(lib):\n    assert lib.add(2, 3) == 5", "--co")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "test_own.py",
        "-p",
        "emu.pytest_plugin",
        "-n",
        "2",
        "--arch",
        "arm,riscv32",
    ]
    command += ["--arch=i386", f"--relink-build-cache={tmp_path}"]
    for _ in range(2):
        done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
        assert "3 passed" in done.stdout, done.stdout + done.stderr
        assert "relink-emu " in done.stdout
        results = [path for path in tmp_path.glob("??/*/*/own.so") if path.parent.name != "part-killed"]
        assert len(results) == 3
        for place in tmp_path.glob("??/*"):  # as a build leaves them that is killed
            (place / "part-killed").mkdir(exist_ok=True)
            (place / "part-killed" / "own.so").write_bytes(b"\x7fELF")
            (place / "half").mkdir(exist_ok=True)

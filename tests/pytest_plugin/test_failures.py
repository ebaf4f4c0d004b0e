"""What a failing test shows, and what a wrong setting says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.build.targets import ALL
from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")


def test_a_fault_is_shown_with_all_that_the_guest_did(session: Session) -> None:
    text = "def test_parse(lib):\n    lib.add(1, 1)\n    lib.parse('xyz')\n"
    result = session(text)
    result.assert_outcomes(failed=len(ALL))
    shown = result.stdout.str()
    assert re.findall(r"\b(?:emu|relink)/\S*\.py", shown) == []
    for arch in ALL:
        section = shown.partition(f"test_parse[{arch}] __")[2].partition("\n____")[0]
        wanted = [
            ">       lib.parse('xyz')",
            "E       emu.errors.GuestFault: read of unmapped memory at 0x0, pc 0x",
            "-- guest fault --",
            "=> 0x",
            "#0 0x",
            "<parse+0x",
            "=>    16     return *(const volatile int *)",
            "add(1, 1) -> 2\nparse('xyz') raised GuestFault",
            "-- guest stdout --",
            "parsing xyz",
            f"pytest 'test_own.py::test_parse[{arch}]'",
            """own.so 'add(1, 1)' 'parse("xyz")'""",
        ]
        assert [words for words in wanted if words not in section] == []


def test_a_failed_build_shows_the_compilers_message(session: Session, pytester: pytest.Pytester) -> None:
    (pytester.path / "own.h").write_text("#define FACTOR 3 +\n")
    result = session("def test_add(lib):\n    pass", "--arch=riscv32")
    result.assert_outcomes(errors=1, deselected=len(ALL) - 1)
    result.stdout.fnmatch_lines(["riscv32: own.c:*error: expected expression*", "This command failed:"])
    result.stdout.no_fnmatch_line("*During handling of*")


WRONG = {
    "arches='mips'": "unknown architecture 'mips'; known are all, x86_64",
    "arches=()": "the marker relink has arches= without any",
    "arch='arm'": "the marker relink has no arch; it has arches, binary",
    "sources='*.rs', arches='arm'": "sources='*.rs' matches no file for arm: there is no *.rs in ",
    "sources='{arch}/*.c', arches='arm'": "sources='{arch}/*.c' matches no file for arm: there is no arm/*.c in ",
    "sources='*.c', binary='x.so', arches='arm'": "has sources= and binary=: give one of them",
    "sources='*.c', kind='exe', arches='arm'": "kind='exe' is neither 'so'",
    "binary='own.h', arches='arm'": "own.h cannot be loaded for arm: ",
    "binary='own.h', cflags='-O2', arches='arm'": "has cflags=, which needs sources=",
    "sources='*.c', needs='deps/{arch}', arches='arm'": "needs='deps/{arch}' matches no file for arm",
    "sources='*.c', load=3, arches='arm'": "has load=3, which is no mapping",
    "sources='*.c', load={'x': 3}, arches='arm'": "has load= with a wrong argument: ",
    "sources='*.c', machine={'stdim': b''}, arches='arm'": "has machine= with a wrong argument: ",
    "arches=5": "the marker relink has 5 where it needs arches",
    "sources='*.c', cflags=5, arches='arm'": "the marker relink has 5 where it needs options",
    "sources='*.c', cflags='\\'', arches='arm'": "cannot be split into words: No closing quotation",
    "sources='*.c', defines=5, arches='arm'": "the marker relink has 5 where it needs defines",
    "arches='arm'": "the fixture lib needs files: @pytest.mark.relink(sources=",
}


@pytest.mark.parametrize("marker", WRONG)
def test_a_wrong_marker_says_what_is_wrong(marker: str, session: Session) -> None:
    result = session(f"import pytest\npytestmark = pytest.mark.relink({marker})\ndef test_add(lib):\n    pass")
    assert result.ret in (1, 2)
    result.assert_outcomes(errors=1)
    assert WRONG[marker] in result.stdout.str()


def test_wrong_options_are_refused(session: Session, pytester: pytest.Pytester) -> None:
    for option, message in {
        "--arch=mips": "*--arch: unknown architecture 'mips'*",
        "--relink-arch=it's": '*--arch: "it\'s" cannot be split into words: No closing quotation*',
        "--relink-cflags='": "*--cflags: *cannot be split into words: No closing quotation*",
        "--relink-timeout=soon": "*relink timeout 'soon' is not a number of seconds*",
    }.items():
        result = session("def test_add(lib):\n    pass", option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([message])
    for compiler, message in {"{x}": "neither {arch} nor {triple}", " ": "is no command", "'": "closing"}.items():
        result = session("def test_add(lib):\n    pass", f"--relink-compiler={compiler}", "--arch=arm")
        result.stdout.fnmatch_lines([f"*{message}*"])
    (pytester.path / "file").write_text("")
    result = session("def test_add(lib):\n    pass", "--relink-build-cache=file/cache", "--arch=arm")
    result.stdout.fnmatch_lines(["*the build cache *file/cache cannot be written: Not a directory*"])


def test_files_for_some_architectures_skip_the_others(session: Session, pytester: pytest.Pytester) -> None:
    (pytester.path / "arm").mkdir()
    (pytester.path / "own.c").rename(pytester.path / "arm" / "own.c")
    text = "import pytest\npytestmark = pytest.mark.relink('{arch}/*.c', include='.')\n"
    result = session(text + "def test_add(lib):\n    assert lib.add(2, 3) == 5", "-rs")
    result.assert_outcomes(passed=1, skipped=len(ALL) - 1)
    result.stdout.fnmatch_lines(["*sources='{arch}/*.c' matches no file for riscv32*"])


def test_compilers_that_are_missing(session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "def test_add(lib):\n    assert lib.add(2, 3) == 5"
    named = session(text, "--relink-compiler=nothing-{triple}", "--arch=arm")
    named.stdout.fnmatch_lines(["*the compiler 'nothing-arm-linux-gnueabihf' is not installed (pip install*"])
    monkeypatch.setenv("PATH", str(tmp_path))
    none = session(text, "--relink-compiler=gcc")
    none.assert_outcomes(errors=len(ALL))
    none.stdout.fnmatch_lines(["*no compiler of the kind 'gcc' for riscv32 is installed*"])
    (tmp_path / "arm-linux-gnueabihf-gcc").symlink_to("/bin/false")
    one = session(text, "--relink-compiler=gcc", "-rs")
    one.assert_outcomes(errors=1, skipped=len(ALL) - 1)
    one.stdout.fnmatch_lines(["arm: exit status 1", "This command failed:"])
    every = session(text, "--relink-compiler=/bin/false", "--arch=i386,arm")
    every.stdout.fnmatch_lines(["i386: exit status 1", "arm: exit status 1"])


def test_a_testcase_is_told_why_it_cannot_have_a_guest(session: Session) -> None:
    text = """
import unittest

@pytest.mark.usefixtures("lib")
class TestOwn(unittest.TestCase):
    def test_add(self):
        pass
"""
    result = session(text)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unittest.TestCase does not allow that*"])


def test_a_guest_asked_for_after_the_collection_is_refused_with_the_reason(
    session: Session, pytester: pytest.Pytester
) -> None:
    text = """
def test_late(request):
    request.getfixturevalue("lib")

def documented():
    \"\"\"
    >>> getfixture("lib")
    \"\"\"
"""
    result = session(text, "--doctest-modules")
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("not in getfixturevalue() or a doctest") >= 2
    result.stdout.no_fnmatch_line("*TestCase*")


def test_a_runaway_is_stopped_and_others_are_not_affected(session: Session) -> None:
    text = """
def test_spin(lib):
    lib.spin()

def test_close(machine, lib):
    machine.close()

def test_unload(machine, lib):
    lib.close()

def test_add(lib):
    assert lib.add(2, 3) == 5
"""
    result = session(text, "--relink-timeout=0.2", "--arch=riscv64,loongarch64")
    result.assert_outcomes(passed=6, failed=2, deselected=4 * (len(ALL) - 2))
    result.stdout.fnmatch_lines(["*BudgetExceeded: stopped after*"])

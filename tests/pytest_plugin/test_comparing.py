"""`--relink-compare`: what a test's calls did on each architecture."""

from __future__ import annotations

import sys

import pytest

from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")

TEXT = """
import math
from emu import GuestFault

@pytest.mark.parametrize("n", [2, pytest.param(3, id="a[x86_64]")])
def test_the_same(lib, guest, n):
    guest.mock("read_adc", returns=n)
    assert lib.scaled(1) == 3 * n
    lib.function("twice", "int(int)")(4)
    lib.parse("a text")
    with guest.raises(GuestFault):
        lib.parse("x")

def test_it_depends(lib, machine):
    assert lib.add(1, 2) == 3
    lib.twice(machine.arch.word_size)

def test_more_calls_here(lib, machine):
    for _ in range(machine.arch.bits // 32):
        lib.add(1, 1)

def test_without_calls(lib):
    pass
"""


@pytest.mark.parametrize("workers", ["none", pytest.param("xdist", marks=pytest.mark.exhaustive)])
def test_the_first_difference_of_each_test_is_reported(
    session: Session, pytester: pytest.Pytester, workers: str
) -> None:
    options = ("--relink-compare", "--relink-arch=x86_64", "--relink-arch=riscv32")
    if workers == "xdist":
        pytest.importorskip("xdist")
        session(TEXT, "--co", "-q")
        command = [sys.executable, "-m", "pytest", "-p", "emu.pytest_plugin", "-n", "2", *options]
        result = pytester.run(*command)
    else:
        result = session(TEXT, *options)
    result.assert_outcomes(passed=10)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random(
        [
            "*differs between architectures: test_own.py::test_it_depends[[]*]*",
            "call 2 of the test:",
            "    x86_64: twice(8) -> 16",
            "    riscv32: twice(4) -> 8",
            "*differs between architectures: test_own.py::test_more_calls_here[[]*]*",
            "    riscv32: no such call",
            "compared between architectures: 3 tests made the same calls, 2 differ",
        ]
    )
    assert "test_the_same" not in result.stdout.str().partition("differs between")[2]


def test_without_the_option_nothing_is_compared(session: Session) -> None:
    result = session(TEXT, "--relink-arch=x86_64", "--relink-arch=riscv32")
    result.assert_outcomes(passed=10)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*between architectures*")


def test_tests_that_agree_leave_the_session_a_success(session: Session) -> None:
    text = "def test_add(lib):\n    assert lib.add(2, 3) == 5\n"
    result = session(text, "--relink-compare", "--relink-arch=aarch64", "--relink-arch=arm")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["compared between architectures: 1 tests made the same calls, 0 differ"])

"""Whole sessions of pytest, in elapsed time: minutes, and only meaningful on a machine that does nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import ROOT, Row, Run, alternately, environment
from benchmarks.subject import Context, Results, subject

_PLUGIN = """
import pytest
pytestmark = pytest.mark.relink(sources="add.c")
@pytest.mark.parametrize("number", range({}))
def test_add(lib, number):
    assert lib.add(number, 1) == number + 1
"""
_PLAIN = """
import pytest
@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64"])
@pytest.mark.parametrize("number", range({}))
def test_add(number, arch):
    assert number + 1 == 1 + number
"""


def _session(folder: Path, workers: int, *arguments: str) -> float:
    """Seconds of a session. Raises CalledProcessError with what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout[-2000:], done.stderr)
    return time.perf_counter() - started


@subject(asked=True)
def plugin(context: Context) -> Results:
    """1,000 tests of a library on seven ISAs, two workers: pytest alone with as many that do nothing."""
    count = 10 if context.small else 1000
    folders = {}
    for name, text in (("ours", _PLUGIN), ("pytest", _PLAIN)):
        folders[name] = context.folder / name
        folders[name].mkdir()
        (folders[name] / "add.c").write_text("int add(int a, int b) { return a + b; }\n")
        (folders[name] / "test_add.py").write_text(text.format(count))
        (folders[name] / "pytest.ini").write_text("[pytest]\n")
    contenders: dict[str, Run] = {
        "ours": lambda: _session(folders["ours"], 2, "-p", "emu.pytest_plugin"),
        "pytest": lambda: _session(folders["pytest"], 2),
    }
    figures = alternately(contenders, min(context.rounds, 2))
    yield Row(
        "plugin",
        f"{7 * count:,} tests with a guest each, -n 2",
        figures.least("ours"),
        "s",
        "pytest",
        figures.least("pytest"),
        most=20.0,
        how="elapsed; the peer's tests call nothing",
    )


@subject(asked=True)
def suite(context: Context) -> Results:
    """This project's tests with two workers: with one."""
    selection = ("tests/linker",) if context.small else ("tests",)
    contenders: dict[str, Run] = {
        "two": lambda: _session(ROOT, 2, *selection),
        "one": lambda: _session(ROOT, 1, *selection),
    }
    figures = alternately(contenders, 1)
    yield Row(
        "suite",
        f"pytest -n 2 {selection[0]}",
        figures.least("two"),
        "s",
        "pytest -n 1",
        figures.least("one"),
        goal=round(1 / 1.9, 3),
        how="elapsed; 0.526 is 1.9 times as fast",
    )

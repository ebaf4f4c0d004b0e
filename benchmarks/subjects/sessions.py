"""Whole sessions of pytest, in elapsed time: minutes, and only meaningful on a machine that does nothing else."""

from __future__ import annotations

import resource
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


def _session(folder: Path, workers: int, *arguments: str) -> dict[str, float]:
    """Seconds of a session: elapsed, and processor time of all its processes.

    Raises CalledProcessError with what it printed.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), *arguments]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout[-2000:], done.stderr)
    return {"elapsed": elapsed, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


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
        "ours": lambda: _session(folders["ours"], 2, "-p", "emu.pytest_plugin", "test_add.py"),
        "pytest": lambda: _session(folders["pytest"], 2, "test_add.py"),
    }
    figures = alternately(contenders, min(context.rounds, 2))
    for what, workers, how in (
        ("elapsed", 1, "elapsed"),
        ("cpu", 2, "processor time of all processes, half of it: what two free processors need"),
    ):
        yield Row(
            "plugin",
            f"{7 * count:,} tests with a guest each, -n 2, {how.partition(' ')[0].rstrip(',')}",
            figures.least("ours", what) / workers,
            "s",
            "pytest",
            figures.least("pytest", what) / workers,
            most=20.0,
            how=f"{how}; the peer's tests call nothing",
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
    two, one = (figures.least(name, "elapsed") for name in ("two", "one"))
    more = figures.least("two", "cpu") / figures.least("one", "cpu")
    yield Row(
        "suite",
        f"pytest -n 2 {selection[0]}",
        two,
        "s",
        "pytest -n 1",
        one,
        goal=round(1 / 1.9, 3),
        how="elapsed; 0.526 is 1.9 times as fast",
        note=f"{2 / more:.2f} times as fast by processor time, on two free processors",
    )
    collecting = alternately({"": lambda: _session(ROOT, 0, "--collect-only", *selection)}, min(context.rounds, 3))
    yield Row(
        "suite",
        f"collection of {selection[0]}, in each worker",
        collecting.least("", "cpu"),
        "s",
        how="processor time; all processes of a session collect",
    )

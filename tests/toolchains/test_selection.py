"""`--arch` and `--compiler` leave what they name, and the table that ends a run says what ran."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STRUCTURE = "tests/toolchains/test_structure.py"


def run_pytest(*words: str) -> str:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT).stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--arch", "riscv32", "--compiler", "gcc"), {"riscv32-gcc"}),
        (("--arch", "thumb"), {"thumb-clang", "thumb-gcc"}),
        (("--arch", "arm", "--arch", "i386", "--compiler", "clang"), {"arm-clang", "i386-clang"}),
    ],
)
def test_only_what_is_asked_for_is_left(words: tuple[str, ...], wanted: set[str]) -> None:
    listed = run_pytest("--collect-only", STRUCTURE, *words)
    ids = re.findall(r"::\w+\[(.*)\]$", listed, re.MULTILINE)
    assert {name for found in ids for name in re.findall(r"\w+-(?:gcc|clang)", found)} == wanted
    assert len(ids) > 10


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_table_counts_the_tests_of_each_target_and_compiler(workers: tuple[str, ...]) -> None:
    said = run_pytest(STRUCTURE, "-k", "section or needed", "--arch", "loongarch64", *workers)
    rows = re.findall(r"^(\w+) +(clang|gcc) +(\d+)$", said, re.MULTILINE)
    assert [row[:2] for row in rows] == [("loongarch64", "clang"), ("loongarch64", "gcc")]
    assert rows[0][2] == rows[1][2] != "0"


def test_an_unknown_architecture_is_refused_with_those_there_are() -> None:
    argv = [sys.executable, "-m", "pytest", "--arch", "vax"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 4
    assert "loongarch64" in done.stderr

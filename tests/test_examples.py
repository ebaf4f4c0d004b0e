"""Every example runs as it is, and prints what it says it prints."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))


def expected(path: Path) -> list[str]:
    """The comment at the end; a line `...` stands for any number of lines."""
    _, _, told = path.read_text().partition("\n# Prints:\n")
    assert told, f"{path.name} does not say what it prints"
    return [line.removeprefix("#").removeprefix("   ") for line in told.splitlines()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    printed, told = capsys.readouterr().out.splitlines(), expected(path)
    if told[0] == "...":
        told = told[1:]
        printed = printed[-len(told) :]
    assert printed == told


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_found_from_the_readme(path: Path) -> None:
    assert f"examples/{path.name}" in (path.parent.parent / "README.md").read_text()

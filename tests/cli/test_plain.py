"""What is written without rich is what rich would write, byte for byte."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys

import pytest
from rich.console import Console as RichConsole

from emu.cli import plain
from emu.cli.plain import Console, Table
from tests.fixtures import fixture

WORDS = (
    "",
    "a",
    "0x1000",
    "libc.so.6",
    "two words",
    "x" * 90,
    "é",
    "宽",
    "a\nb",
    "tab\there",
    "[bold]",
    ":smile:",
    " ",
)


@pytest.fixture(autouse=True)
def _as_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in plain._ASKED_OF_RICH:
        monkeypatch.delenv(name, raising=False)


def by_rich(value: object, *, soft_wrap: bool | None, end: str) -> str:
    file = io.StringIO()
    console = RichConsole(
        file=file, width=plain.UNFOLDED_WIDTH, highlight=False, markup=False, emoji=False, soft_wrap=False
    )
    console.print(value.rich() if isinstance(value, Table) else value, style="bold", soft_wrap=soft_wrap, end=end)
    return file.getvalue()


def ours(value: object, *, soft_wrap: bool | None, end: str) -> str:
    file = io.StringIO()
    Console(file).print(value, style="bold", soft_wrap=soft_wrap, end=end)
    return file.getvalue()


@pytest.mark.parametrize("seed", range(4))
def test_tables_and_text_are_those_of_rich(seed: int) -> None:
    rng = random.Random(seed)
    simple = 0
    for _ in range(60):
        words = WORDS if rng.random() < 0.3 else WORDS[:6]
        columns = [rng.choice(("name", ">size", "", ">")) for _ in range(rng.randint(1, 5))]
        made = Table(*columns)
        made.show_header = rng.random() < 0.8
        for _ in range(rng.randint(0, 5)):
            made.add_row(*(rng.choice(words) for _ in range(rng.randint(1, len(columns)))))
        simple += made.text() is not None
        for value in (
            made,
            "\n".join(rng.choice(words) for _ in range(rng.randint(0, 4))),
            "y" * rng.choice((5, 9000)),
        ):
            wrap, end = rng.choice((None, False, True)), rng.choice(("\n", ""))
            folded = wrap if isinstance(value, Table) else True  # text is not, in a pipe
            assert ours(value, soft_wrap=wrap, end=end) == by_rich(value, soft_wrap=folded, end=end)
    assert simple > 20


def test_a_terminal_is_left_to_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1m" in ours("title", soft_wrap=True, end="\n")


@pytest.mark.parametrize("columns", ["0", "1", "-3", "²", "abc", "9" * 30])
def test_no_width_makes_a_table_lose_cells(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    made = Table("image", "found by", ">base")
    made.add_row("lib.so", "asked for", "0x4000814000")
    written = ours(made, soft_wrap=None, end="\n")
    assert all(cell in written for cell in ("lib.so", "asked for", "0x4000814000"))


def test_a_load_into_a_pipe_imports_no_console_of_rich() -> None:
    code = "import sys; from emu.cli.app import run; run(sys.argv[1:]); sys.exit('rich.console' in sys.modules)"
    command = [sys.executable, "-c", code, "load", str(fixture("x86_64-clang", "ctors"))]
    env = {name: value for name, value in os.environ.items() if name not in plain._ASKED_OF_RICH}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Segments" in done.stdout

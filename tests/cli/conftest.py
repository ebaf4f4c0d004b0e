"""`relink_emu(…)` runs one command line in this process and gives its status and what it printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from emu.cli.app import run
from tests.fixtures import fixture


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object that standard output is."""
        return json.loads(self.out)


RunCommand: TypeAlias = Callable[..., Result]


def needing_the_c_library(folder: Path) -> Path:
    """A library with libc.so.6 and libm.so.6 as its DT_NEEDED, written into `folder`."""
    data = fixture("aarch64", "deps/needs_missing").read_bytes()
    for old, new in ((b"libnowhere.so.3", b"libc.so.6"), (b"libalso_nowhere.so", b"libm.so.6")):
        data = data.replace(old, new.ljust(len(old), b"\0"))
    path = folder / "needs_libc.so"
    path.write_bytes(data)
    return path


@pytest.fixture
def relink_emu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    monkeypatch.delenv("RELINK_EMU_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def command(*arguments: object) -> Result:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Result(status, captured.out, captured.err)

    return command

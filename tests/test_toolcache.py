"""What runs of the suite keep for the next, beside what compilers write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import toolcache


def test_bytecode_is_kept_in_tests_and_in_the_processes_they_start() -> None:
    """Whatever PYTHONDONTWRITEBYTECODE says, for the tree is spared by other means."""
    assert not sys.dont_write_bytecode
    script = "import sys; print(sys.dont_write_bytecode, sys.pycache_prefix)"
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert there.split() == ["False", str(sys.pycache_prefix)]


def test_bytecode_that_has_grown_too_large_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolcache, "folder", lambda: tmp_path)
    for most, is_left in ((4 << 10, True), (3 << 10, False)):
        monkeypatch.setattr(toolcache, "_MOST_BYTES", most)
        file = toolcache.bytecode() / "folder" / "module.pyc"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1 << 10))
        (tmp_path / "measured").unlink(missing_ok=True)
        toolcache.trim()
        assert file.exists() is is_left

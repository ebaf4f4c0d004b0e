"""Files of snapshots that another version has written: refused by name, also where only the source differs."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import patch

import pytest

from emu import Machine
from emu.errors import SnapshotFileError
from emu.saved.version import digest, project_version


def test_a_file_of_other_source_of_the_same_version_is_refused(tmp_path: Path) -> None:
    with Machine("x86_64") as machine, machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    Machine.from_snapshot(tmp_path / "file").close()
    told = rf"was written by version '{re.escape(project_version())}' .* is 0\.1\.0 \(other\)"
    other = patch("emu.saved.file.project_version", lambda: "0.1.0 (other)")
    with other, pytest.raises(SnapshotFileError, match=told):
        Machine.from_snapshot(tmp_path / "file")


def test_a_change_of_any_source_file_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    for name in ("a.py", "part/b.py"):
        (tmp_path / name).write_text("x = 1\n")
    seen = [digest(tmp_path)]
    (tmp_path / "part/b.py").write_text("x = 2\n")
    seen.append(digest(tmp_path))
    (tmp_path / "a.py").rename(tmp_path / "c.py")
    seen.append(digest(tmp_path))
    (tmp_path / "notes.txt").write_text("not a source file")
    assert digest(tmp_path) == seen[-1]
    assert len({*seen}) == 3

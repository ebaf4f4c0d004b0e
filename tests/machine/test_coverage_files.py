"""Coverage that is written to what is no regular file."""

from __future__ import annotations

import fcntl
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.files import save
from emu.debug.coverage.lcov import Tracefile
from tests.interrupts import interrupted


def test_a_pipe_and_a_link_stay_what_they_are(tmp_path: Path) -> None:
    """What is there is neither read nor replaced, as it would be with a device."""
    pipe, link, file = (tmp_path / name for name in ("pipe", "link.info", "file.info"))
    os.mkfifo(pipe)
    link.symlink_to(file)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for append in (False, True):
            save(CoverageData(), pipe, test="t", append=append)
            assert pipe.is_fifo()
            assert os.read(reader, 100) == Tracefile().text("t").encode()
            save(CoverageData(), link, test="t", append=append)
            assert link.is_symlink()
            assert file.read_text() == Tracefile().text("t")
    finally:
        os.close(reader)
    assert sorted(tmp_path.iterdir()) == [file, link, pipe]


def test_the_lock_of_a_file_is_removed_wherever_a_signal_handler_raises(tmp_path: Path) -> None:
    file, lock = tmp_path / "file.info", tmp_path / "file.info.lock"
    for number in count(1):
        passed = interrupted(lambda: save(CoverageData(), file, append=True), number)
        assert not lock.exists(), number
        if passed < number:
            break
    assert number > 10


def test_a_lock_that_another_holds_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: Any, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:
            raise KeyboardInterrupt  # while this waits
        original(descriptor, operation)

    original, lock = fcntl.flock, tmp_path / "file.info.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(KeyboardInterrupt):
            save(CoverageData(), tmp_path / "file.info", append=True)
        assert lock.exists()

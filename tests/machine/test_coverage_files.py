"""Coverage that is written to what is no regular file."""

from __future__ import annotations

import os
from pathlib import Path

from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.files import save
from emu.debug.coverage.lcov import Tracefile


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

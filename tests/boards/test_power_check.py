"""The check of a sweep without pytest's subtests."""

from __future__ import annotations

import pytest

from emu import NorFlash
from emu.boards import PowerCuts


def test_a_sweep_without_subtests_names_all_that_fails() -> None:
    flash = NorFlash([(1, 64)])
    cuts = PowerCuts(
        [flash],
        update=lambda: flash.program(0, b"ab"),
        restart=lambda: None,
        recover=lambda: None,
        check=lambda: None if flash.read(0, 2) == b"ab" else "no data",
        modes=("before", "after"),
    )
    with pytest.raises(AssertionError, match=r"1 of 2 fail\nno data: before nor#1:program@0x0\+2"):
        cuts.sweep().check()
    flash.erase(0, 64)
    with pytest.raises(AssertionError, match=r"1 of 1 fail\nno data: before nor#1"):
        cuts.explore().check()

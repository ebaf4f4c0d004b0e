"""Power cuts in pytest: a subtest for each cut under its replay id, JUnit's file, processes that share a sweep."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from emu import NorFlash
from emu.boards import PowerCuts

pytest_plugins = ("pytester",)
SUITE = """
import pytest
from emu import NorFlash
from emu.boards import PowerCuts

def make(needed):
    flash = NorFlash([(4, 64)])
    def update():
        for sector in range(4):
            flash.program(64 * sector, b"data")
    def check():
        return None if flash.read(0, 4).startswith(needed) else "the first sector has no data"
    def recover():
        if needed == b"":
            update()
    return PowerCuts([flash], update=update, restart=lambda: None, recover=recover, check=check)

@pytest.mark.parametrize("share", [(part, 3) for part in range(3)])
def test_sound(share, subtests):
    make(b"").sweep(share=share).check(subtests)

@pytest.mark.parametrize("share", [(part, 2) for part in range(2)])
def test_broken(share, subtests):
    make(b"d").sweep(share=share).check(subtests)
"""


def test_each_failing_cut_is_a_test_case_with_its_replay_id(pytester: pytest.Pytester) -> None:
    if not hasattr(pytest, "Subtests"):
        pytest.skip("this pytest has no fixture `subtests`")
    pytester.makepyfile(SUITE)
    pytester.runpytest_subprocess("-q", "-n", "2", "-p", "no:cacheprovider", "--junitxml", "junit.xml")
    cases = list(ElementTree.parse(pytester.path / "junit.xml").iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None and "test_broken" in case.get("name", "")]
    assert not [
        case for case in cases if case.find("failure") is not None and "test_sound" in case.get("name", "")
    ]
    texts = [f"{case.get('name')} {ElementTree.tostring(case, 'unicode')}" for case in failed]
    assert any("before nor#1:program@0x0+4" in text for text in texts)
    assert all("nor#" in text or "contains" in text for text in texts)


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

"""The fixture `power_cuts`: a subtest for each cut under its replay id, which `--replay` repeats; parts."""

from __future__ import annotations

import re
import shlex
from xml.etree import ElementTree

import pytest

from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)
SUITE = """
import pytest
pytestmark = []
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

def test_sound(power_cuts):
    power_cuts(make(b""))

@pytest.mark.power_cuts(parts=3)
@pytest.mark.parametrize("needed", ["d", "da"])
def test_broken(needed, power_cuts):
    power_cuts(make(needed.encode()))

def test_explored(power_cuts):
    power_cuts.explore(make(b"d"), most_cuts=2)

def test_without_cuts():
    pass
"""


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="this pytest has no fixture `subtests`")
def test_each_failing_cut_is_a_test_case_with_its_replay_id(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(SUITE)
    options = ("-p", "emu.pytest_plugin", "-p", "no:cacheprovider", "-n", "2", "--junitxml", "junit.xml")
    pytester.runpytest_subprocess(*options, path)
    cases = list(ElementTree.parse(pytester.path / "junit.xml").iter("testcase"))
    names = {case.get("name", "").partition(" ")[0] for case in cases}
    assert {"test_sound[1of2]", "test_sound[2of2]", "test_broken[3of3-d]", "test_explored[2of2]"} <= names
    failed = [case for case in cases if case.find("failure") is not None]
    assert {case.get("name", "").partition("[")[0] for case in failed} == {"test_broken", "test_explored"}
    texts = [f"{case.get('name')} {ElementTree.tostring(case, 'unicode')}" for case in failed]
    assert any("before nor#1:program@0x0+4" in text for text in texts)
    assert all("nor#" in text or "contains" in text for text in texts)


def test_a_failing_cut_is_repeated_by_the_command_that_it_prints(session: Session) -> None:
    shown = session(SUITE, "-k", "1of3-d and not da").stdout.str()
    words = shlex.split(re.findall("again: pytest (.*)", shown)[0])
    assert words == ["test_own.py::test_broken[d]", "--replay", "before nor#1:program@0x0+4"]
    repeated = session(SUITE, *words)
    repeated.stdout.fnmatch_lines(["*the first sector has no data: before nor#1:program@0x0+4*"])
    assert "nor#2" not in repeated.stdout.str()
    assert repeated.ret == 1
    assert session(SUITE.replace("startswith(needed)", "startswith(b'')"), *words).ret == 0


def test_a_replay_leaves_other_tests_out_and_a_cut_that_does_not_happen_fails(session: Session) -> None:
    two = "before nor#1:program@0x0+4, then before nor#9:program@0x0+4"
    result = session(SUITE, "--replay", two, "-k", "sound or without")
    result.assert_outcomes(passed=1, errors=1, deselected=4)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*cut 2 (before nor#9:program@0x0+4) does not happen*"])
    assert session(SUITE, "--relink-replay", "after nor#1:program@0x0+4", "-k", "sound or explored").ret == 0


def test_a_replay_finds_the_update_that_has_the_cut(session: Session) -> None:
    text = (
        SUITE
        + """
def test_two(power_cuts):
    flash = NorFlash([(1, 64)], name="other")
    same = {"restart": lambda: None, "recover": lambda: None, "check": lambda: None}
    power_cuts(PowerCuts([flash], update=lambda: flash.program(0, b"x"), **same))
    power_cuts(make(b"d"))

def test_none(power_cuts):
    pass
"""
    )
    cut = ("--replay", "before nor#1:program@0x0+4")
    shown = session(text, *cut, "-k", "two").stdout.str()
    assert "the first sector has no data: before nor#1:program@0x0+4" in shown
    assert "does not happen" not in shown
    assert "no update is tried" in session(text, *cut, "-k", "none").stdout.str()


def test_a_part_without_a_cut_is_skipped_and_the_marker_is_checked(session: Session) -> None:
    many = session(SUITE.replace("parts=3", "parts=99"), "-rs", "-k", "99of99-d and not da")
    assert "part 98 has no cut" in many.stdout.str()
    for given in ("parts=0", "parts='2'", "3", "pieces=2"):
        result = session(SUITE.replace("parts=3", given))
        assert "the marker is power_cuts(parts=N), N at least 1" in result.stdout.str() + result.stderr.str()
        assert result.ret != 0


def test_a_project_may_have_an_option_replay_of_its_own(session: Session, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--replay')")
    text = "pytestmark = []\ndef test_it(request): assert request.config.getoption('--replay') == 'x'"
    session(text, "--replay", "x").assert_outcomes(passed=1)

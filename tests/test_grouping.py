"""`each` loses nothing of what `parametrize` tells: every member runs, and every one that fails is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.grouping import MembersFailed, each


@each(("left", "right"), [(1, 2), pytest.param(3, 4, id="more")])
@each("word", ["a", "b"])
def test_fixtures_are_given_to_every_member(left: int, right: int, word: str, tmp_path: Path) -> None:
    assert left < right
    assert word in "ab"
    assert tmp_path.is_dir()


class _Config:
    """As much of pytest's configuration as `each` asks for."""

    def __init__(self, arch: tuple[str, ...] = ()) -> None:
        self.arch = arch

    def getoption(self, name: str) -> tuple[str, ...]:
        return self.arch if name == "arch" else ()


class _Request:
    def __init__(self, *arch: str) -> None:
        self.config = _Config(arch)


def _fails_on_odd(number: int) -> None:
    if number == 4:
        pytest.skip("four is left out")
    if number % 3 == 0:
        pytest.fail("by hand")
    assert number % 2 == 0, "odd"


def test_every_member_runs_in_order() -> None:
    seen: list[tuple[int, str]] = []
    each("word", ["a", "b"])(each("number", [1, 2])(lambda number, word: seen.append((number, word))))(
        request=_Request()
    )
    assert seen == [(1, "a"), (2, "a"), (1, "b"), (2, "b")]


def test_each_failing_member_is_named_and_the_others_still_run() -> None:
    with pytest.raises(MembersFailed) as caught:
        each("number", [1, 2, 3, 4])(_fails_on_odd)(request=_Request())  # type: ignore[call-arg]
    assert caught.value.members == ("1", "3")
    text = str(caught.value)
    assert text.startswith("2 of 4 members failed:\n  1: AssertionError: odd")
    assert "3: Failed: by hand" in text
    assert "---- 1\n" in text
    assert "_fails_on_odd" in text


def test_members_of_an_inner_group_are_named_too() -> None:
    def claim(left: str, right: int) -> None:
        assert (left, right) != ("b", 2)

    with pytest.raises(MembersFailed) as caught:
        each("left", ["a", "b"])(each("right", [1, 2])(claim))(request=_Request())  # type: ignore[call-arg]
    assert caught.value.members == ("b, 2",)


def test_a_group_all_of_whose_members_skip_is_skipped_with_the_reasons() -> None:
    with pytest.raises(pytest.skip.Exception, match="four is left out"):
        each("number", [4])(_fails_on_odd)(request=_Request())  # type: ignore[call-arg]


def test_members_about_other_architectures_are_left_out() -> None:
    ran: list[str] = []
    each("arch", ["arm", "riscv64"])(lambda arch: ran.append(arch))(request=_Request("riscv64"))
    assert ran == ["riscv64"]
    with pytest.raises(pytest.skip.Exception, match="no member"):
        each("arch", ["arm"])(lambda arch: ran.append(arch))(request=_Request("riscv64"))

"""`each` loses nothing of what `parametrize` tells: every member runs, and every one that fails is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.grouping import SKIPPED, MembersFailed, by, each


@each(("left", "right"), [(1, 2), pytest.param(3, 4, id="more")])
@each("word", ["a", "b"])
def test_fixtures_are_given_to_every_member(left: int, right: int, word: str, tmp_path: Path) -> None:
    assert left < right
    assert word in "ab"
    assert tmp_path.is_dir()


class _Config:
    """As much of pytest's configuration as `each` asks for."""

    def __init__(self, options: dict[str, object]) -> None:
        self.options = options

    def getoption(self, name: str) -> object:
        return self.options.get(name, ())


class _Request:
    def __init__(self, *arch: str, member: str = "", **options: object) -> None:
        self.config = _Config({"arch": arch, "member": member, **options})
        self.node, self.name = self, "test_it"
        self.user_properties: list[tuple[str, object]] = []


def _grouped(
    decorator: Callable[[Callable[..., None]], Callable[..., None]], test: Callable[..., object]
) -> Callable[..., None]:
    """A test of members, to be called with its fixtures by name."""
    return decorator(cast("Callable[..., None]", test))


def _fails_on_odd(number: int) -> None:
    if number == 4:
        pytest.skip("four is left out")
    if number % 3 == 0:
        pytest.fail("by hand")
    assert number % 2 == 0, "odd"


def test_every_member_runs_in_order() -> None:
    seen: list[tuple[int, str]] = []
    inner = _grouped(each("number", [1, 2]), lambda number, word: seen.append((number, word)))
    each("word", ["a", "b"])(inner)(request=_Request())
    assert seen == [(1, "a"), (2, "a"), (1, "b"), (2, "b")]


def test_each_failing_member_is_named_and_the_others_still_run() -> None:
    with pytest.raises(MembersFailed) as caught:
        _grouped(each("number", [1, 2, 3, 4]), _fails_on_odd)(request=_Request())
    assert list(caught.value.failures) == ["1", "3"]
    text = str(caught.value)
    assert text.startswith("2 of 4 members failed:\n  1: AssertionError: odd")
    assert "3: Failed: by hand" in text
    assert "---- 1\n" in text
    assert "_fails_on_odd" in text


def test_members_of_an_inner_group_are_named_too() -> None:
    def claim(left: str, right: int) -> None:
        assert (left, right) != ("b", 2)

    with pytest.raises(MembersFailed) as caught:
        _grouped(each("left", ["a", "b"]), each("right", [1, 2])(claim))(request=_Request())
    assert list(caught.value.failures) == ["b, 2"]


def test_a_group_all_of_whose_members_skip_is_skipped_with_the_reasons() -> None:
    with pytest.raises(pytest.skip.Exception, match="four is left out"):
        _grouped(each("number", [4]), _fails_on_odd)(request=_Request())


def test_a_group_that_passes_tells_which_members_skipped_and_why() -> None:
    request = _Request()
    _grouped(each("number", [2, 4]), _fails_on_odd)(request=request)
    assert request.user_properties == [(SKIPPED, (1, 2, "four is left out"))]


def test_members_about_other_architectures_are_left_out() -> None:
    ran: list[str] = []
    _grouped(each("arch", ["arm", "riscv64"]), lambda arch: ran.append(arch))(request=_Request("riscv64"))
    assert ran == ["riscv64"]
    with pytest.raises(pytest.skip.Exception, match="no member"):
        _grouped(each("arch", ["arm"]), lambda arch: ran.append(arch))(request=_Request("riscv64"))


def test_a_member_can_be_chosen_by_its_name() -> None:
    ran: list[str] = []
    names = each("name", ["plain", "planned", "other"])
    _grouped(names, lambda name: ran.append(name))(request=_Request(member="plan"))
    assert ran == ["planned"]


_SUMS = [("odd", 1, 3), ("even", 2, 2), ("odd", 5, 7)]


@by(("kind", "left", "right"), _SUMS)
def test_cases_are_grouped_by_their_first_value(kind: str, left: int, right: int) -> None:
    assert left % 2 == right % 2 == (kind == "odd")


def test_a_group_has_the_cases_of_its_first_value_and_no_others() -> None:
    seen: list[tuple[str, int, int]] = []

    @by(("kind", "left", "right"), _SUMS)
    def note(kind: str, left: int, right: int) -> None:
        seen.append((kind, left, right))

    note(kind="odd", request=_Request())  # type: ignore[call-arg]
    assert seen == [("odd", 1, 3), ("odd", 5, 7)]


def test_members_may_be_made_of_the_other_parameters() -> None:
    seen: list[tuple[int, int]] = []
    lows = each("low", lambda high: range(high))
    _grouped(lows, lambda low, high: seen.append((low, high)))(high=2, request=_Request())
    assert seen == [(0, 2), (1, 2)]


@each(("options", "count"), [({}, 3), ({"exhaustive": True}, 10), ({"member": "1"}, 1), ({"keyword": "x"}, 10)])
def test_a_sample_of_members_runs_unless_all_are_asked_for(options: dict[str, Any], count: int) -> None:
    seen: list[int] = []
    group = _grouped(each("number", range(10), sample=3), lambda number: seen.append(number))
    for _ in range(2):
        group(request=_Request(**options))
    assert seen == 2 * seen[:count], "the same every time"
    assert len(set(seen)) == count


def test_a_sample_does_not_depend_on_what_fixtures_give() -> None:
    seen: list[int] = []
    group = _grouped(each("number", range(1000), sample=2), lambda number, tmp_path: seen.append(number))
    for run in range(3):
        group(request=_Request(), tmp_path=f"/tmp/pytest-{run}")
    assert seen == 3 * seen[:2]

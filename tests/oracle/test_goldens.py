"""What this project loads is what the real dynamic linkers loaded, word for word: golden files, in every run."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.fixtures import TARGETS
from tests.grouping import by
from tests.oracle.ours import observe
from toolchains.manifest import FIXTURES
from toolchains.oracle import goldens
from toolchains.oracle.goldens import Golden, StaleGolden, check_fixtures, differences, golden_path
from toolchains.oracle.run import Outcome
from toolchains.oracle.scenarios import Scenario, beyond_oracle, different, scenarios
from toolchains.recipes import RECIPES
from toolchains.targets import VARIANTS

#: Of the 16 golden files together: how much was compared when the floor was last raised.
LEAST_WORDS, LEAST_CHANGED = 1_000_000, 10_000


@cache
def golden(target: str) -> Golden:
    return goldens.read(VARIANTS[target])


CASES = [
    pytest.param(target, scenario, id=f"{target}-{scenario.key.replace(' ', '_')}")
    for target in TARGETS
    for scenario in scenarios(VARIANTS[target])
]


@by(("target", "scenario"), CASES, sample=30)
def test_every_word_is_what_the_real_dynamic_linker_wrote(
    target: str, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    variant, known = VARIANTS[target], golden(target)
    if scenario.key in known.none:
        pytest.skip(f"no oracle: {known.none[scenario.key]}")
    assert scenario.key in known.outcomes, f"{golden_path(variant).name} lacks it: python -m toolchains oracle"
    expected = known.outcomes[scenario.key]
    check_fixtures(known, expected, variant, RECIPES)
    found = observe(variant, scenario, expected.hosts)
    if (reason := beyond_oracle(scenario, variant)) is not None:
        assert expected.refused or expected.fault, f"the oracle loads it now, though noted: {reason}"
        assert (found.refused, found.fault) == (None, None)
        return
    if (reason := different(scenario, variant)) is not None:
        assert differences(expected, found), f"they agree now, though noted: {reason}"
        return
    assert differences(expected, found) == []
    assert found.compared == expected.compared
    record_property("words", str(found.compared))


@by(("target", "scenario"), [case for case in CASES if "tls" in str(case.id)], sample=8)
def test_dynamic_tls_is_the_same_to_the_word_and_in_every_result(target: str, scenario: Scenario) -> None:
    """What ld.so made of these by dlopen: which modules are static may differ, what words mean does not."""
    variant, known = VARIANTS[target], golden(target)
    expected = known.outcomes.get(scenario.key)
    if expected is None or beyond_oracle(scenario, variant) or different(scenario, variant):
        pytest.skip("no oracle")
    found = observe(variant, scenario, expected.hosts, dynamic_tls=True)
    assert differences(expected, found) == []
    assert found.compared == expected.compared


def test_enough_is_compared_for_every_target() -> None:
    words = changed = 0
    print()
    for target in TARGETS:
        loads = [outcome for outcome in golden(target).outcomes.values() if outcome.compared]
        here = sum(outcome.compared for outcome in loads)
        altered = sum(len(each) for outcome in loads for each in outcome.words.values())
        results = sum(len(outcome.results) for outcome in loads)
        print(f"{target:18} {len(loads):4} loads {here:8} words, {altered:5} of them written, {results:4} results")
        assert len(loads) >= 80
        words, changed = words + here, changed + altered
    assert words >= LEAST_WORDS
    assert changed >= LEAST_CHANGED


def test_the_golden_files_are_small() -> None:
    sizes = {target: golden_path(VARIANTS[target]).stat().st_size for target in TARGETS}
    assert max(sizes.values()) < 60_000
    assert sum(sizes.values()) < 800_000


def test_what_has_no_oracle_says_why() -> None:
    reasons = {reason for target in TARGETS for reason in golden(target).none.values()}
    assert any("APS2" in reason for reason in reasons)
    assert all(len(reason.split()) > 5 for reason in reasons)


@pytest.mark.parametrize("target", TARGETS)
def test_every_shared_object_and_program_is_in_the_golden_file(target: str) -> None:
    keys = {scenario.key for scenario in scenarios(VARIANTS[target])}
    assert keys == set(golden(target).outcomes) | set(golden(target).none)


# ------------------------------------------------------------ what is allowed to differ, and that no more is


def _sample() -> Outcome:
    return golden("x86_64-clang").outcomes["datarel"]


def test_a_single_wrong_word_is_found_and_named() -> None:
    expected = _sample()
    address, text = next(iter(expected.words["datarel"].items()))
    altered = {**expected.words, "datarel": {**expected.words["datarel"], address: "libprovider+0x1"}}
    (line,) = differences(expected, dataclasses.replace(expected, words=altered))
    assert line == f"datarel+{address:#x}: expected {text}, found libprovider+0x1"


def test_a_word_written_that_should_be_the_files_is_found() -> None:
    expected = _sample()
    altered = {**expected.words, "datarel": {**expected.words["datarel"], 0x10: "0x7"}}
    assert differences(expected, dataclasses.replace(expected, words=altered)) == [
        "datarel+0x10: expected the word of the file, found 0x7"
    ]


def test_a_different_result_or_ending_is_found() -> None:
    expected = _sample()
    wrong = dataclasses.replace(expected, results=(("call_import", "0x0"), *expected.results[1:]))
    assert differences(expected, wrong) == ["call_import returned 0x0, expected 0xf"]
    assert differences(expected, Outcome(refused="no")) == ["expected a load, found a refusal (no)"]
    assert differences(Outcome(fault=11), Outcome(refused="no")) != []


def test_a_golden_of_another_fixture_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = golden("x86_64-clang")
    outcome = dataclasses.replace(known.outcomes["basic"], files={"basic": "0" * 64})
    with pytest.raises(StaleGolden, match=r"made from another .*/x86_64-clang/basic\.so") as caught:
        check_fixtures(known, outcome, VARIANTS["x86_64-clang"], RECIPES)
    assert "python -m toolchains oracle --arch x86_64 --compiler clang" in str(caught.value)
    assert "git checkout" in str(caught.value)


def test_a_golden_that_is_missing_or_of_another_format_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(goldens, "GOLDEN", FIXTURES / "golden" / "nowhere")
    with pytest.raises(
        StaleGolden, match=r"nowhere/arm-gcc\.json is missing: python -m toolchains oracle --arch arm"
    ):
        goldens.read(VARIANTS["arm-gcc"])
    monkeypatch.setattr(goldens, "FIXTURES", tmp_path / "arch_fixtures")
    monkeypatch.setattr(goldens, "GOLDEN", tmp_path / "arch_fixtures" / "golden")
    (tmp_path / "arch_fixtures" / "golden").mkdir(parents=True)
    (tmp_path / "arch_fixtures" / "golden" / "arm-gcc.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(StaleGolden, match="is of format 0: python -m toolchains oracle"):
        goldens.read(VARIANTS["arm-gcc"])


def test_a_golden_file_reads_as_it_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known, variant = golden("riscv32-clang"), VARIANTS["riscv32-clang"]
    text = golden_path(variant).read_text()
    monkeypatch.setattr(goldens, "GOLDEN", tmp_path)
    assert goldens.write(known, variant).read_text() == text
    assert goldens.read(variant) == known


def test_the_differences_allowed_are_the_ones_documented() -> None:
    page = (FIXTURES.parent / "docs" / "oracle.md").read_text()
    plain = re.sub(r"\s+", " ", page.replace("`", ""))
    noted = {
        reason
        for target in TARGETS
        for scenario in scenarios(VARIANTS[target])
        for reason in (different(scenario, VARIANTS[target]), beyond_oracle(scenario, VARIANTS[target]))
    }
    missing = [reason for reason in noted if reason is not None and reason not in plain]
    assert missing == []

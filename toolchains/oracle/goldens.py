"""The golden files: the oracle's results, small enough to commit, one per variant.

`arch_fixtures/golden/<variant>.json` has the versions of the dynamic linker and emulator, the sha256 of every
fixture, and the outcome of each scenario on one line. `words`, by module, is `address=description,description…`
for words that follow one another (addresses in hex, a leading `+` standing for the module itself); `results` is of
the functions called; or there is the reason why there are none: `refused`, `fault`, or `none` (no oracle
available). `compared` counts the words looked at; those not listed are the file's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchains.build import BUILT
from toolchains.errors import ToolchainError
from toolchains.manifest import FIXTURES, sha256_of
from toolchains.oracle.interpreters import emulator_version
from toolchains.oracle.run import Oracle, Outcome
from toolchains.oracle.scenarios import no_oracle, scenarios
from toolchains.recipe import Recipe
from toolchains.targets import Variant

GOLDEN = FIXTURES / "golden"
FORMAT = 1


class StaleGolden(ToolchainError):
    """A golden file was made from other fixtures; the message has the command for a new one."""


@dataclass(frozen=True)
class Golden:
    """A golden file. `none` has the reason for scenarios without an oracle."""

    interpreter: str
    emulator: str
    files: Mapping[str, str]
    outcomes: Mapping[str, Outcome]
    none: Mapping[str, str]


def golden_path(variant: Variant) -> Path:
    """The path of the golden file of `variant`."""
    return GOLDEN / f"{variant.name}.json"


def make(variant: Variant, report: Callable[[str], None] | None = None) -> Golden:
    """Runs the oracle for every scenario of `variant`. `report(key)` is called before each.

    Raises `OracleFailed`, `FetchError`, `CompilerMissing`.
    """
    outcomes: dict[str, Outcome] = {}
    none: dict[str, str] = {}
    files: dict[str, str] = {}
    with Oracle(variant) as oracle:
        for scenario in scenarios(variant):
            if report is not None:
                report(scenario.key)
            if (reason := no_oracle(scenario, variant)) is not None:
                none[scenario.key] = reason
                continue
            outcome = outcomes[scenario.key] = oracle.observe(scenario)
            files |= outcome.files
        return Golden(oracle.interpreter.version, emulator_version(variant.target), files, outcomes, none)


def write(golden: Golden, variant: Variant) -> Path:
    """Writes `golden`, one scenario on a line, so that diffs are small; returns where."""
    path, size = golden_path(variant), variant.target.bits // 8
    head = {
        "format": FORMAT,
        "interpreter": golden.interpreter,
        "emulator": golden.emulator,
        "files": dict(sorted(golden.files.items())),
    }
    rows = [f"  {json.dumps(key)}: {json.dumps(_row(outcome, size))}" for key, outcome in golden.outcomes.items()]
    rows += [f"  {json.dumps(key)}: {json.dumps({'none': reason})}" for key, reason in golden.none.items()]
    text = json.dumps(head, indent=1).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{text},\n "scenarios": {{\n' + ",\n".join(rows) + "\n }\n}\n")
    return path


def _row(outcome: Outcome, size: int) -> dict[str, object]:
    row: dict[str, object] = {}
    if list(outcome.files) != list(outcome.words):
        row["of"] = list(outcome.files)
    if outcome.hosts:
        row["hosts"] = list(outcome.hosts)
    if outcome.refused is not None:
        return row | {"refused": outcome.refused}
    if outcome.fault is not None:
        return row | {"fault": outcome.fault}
    row |= {
        "compared": outcome.compared,
        "words": {
            name: _runs({address: _short(name, text) for address, text in words.items()}, size)
            for name, words in outcome.words.items()
        },
    }
    if outcome.results:
        row["results"] = [" ".join(pair) for pair in outcome.results]
    return row


def _runs(words: Mapping[int, str], size: int) -> str:
    text, expected = "", None
    for address, told in sorted(words.items()):
        text += f",{told}" if address == expected else f"{' | ' if text else ''}{address:x}={told}"
        expected = address + size
    return text


def _from_runs(text: str, size: int, name: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for run in text.split(" | ") if text else ():
        first, _, words = run.partition("=")
        for number, told in enumerate(words.split(",")):
            found[int(first, 16) + number * size] = _long(name, told)
    return found


def _short(name: str, text: str) -> str:
    return text.removeprefix(name) if text.startswith(f"{name}+") else text


def _long(name: str, text: str) -> str:
    return name + text if text.startswith("+") else text


def read(variant: Variant) -> Golden:
    """The golden file of `variant`. Raises `StaleGolden` when there is none, or it is of another format."""
    path = golden_path(variant)
    remedy = f"python -m toolchains oracle --arch {variant.target.name} --compiler {variant.compiler}"
    if not path.is_file():
        raise StaleGolden(f"{path.relative_to(FIXTURES.parent)} is missing: {remedy}")
    data = json.loads(path.read_text())
    if data.get("format") != FORMAT:
        raise StaleGolden(f"{path.relative_to(FIXTURES.parent)} is of format {data.get('format')}: {remedy}")
    rows = data["scenarios"]
    outcomes = {
        key: _outcome(row, data["files"], variant.target.bits // 8)
        for key, row in rows.items()
        if "none" not in row
    }
    none = {key: row["none"] for key, row in rows.items() if "none" in row}
    return Golden(data["interpreter"], data["emulator"], data["files"], outcomes, none)


def _outcome(row: Mapping[str, object], files: Mapping[str, str], size: int) -> Outcome:
    words, results, hosts = row.get("words", {}), row.get("results", []), row.get("hosts", [])
    names = row.get("of", list(words) if isinstance(words, dict) else [])
    assert isinstance(words, dict)
    assert isinstance(results, list)
    assert isinstance(names, list)
    assert isinstance(hosts, list)
    table = {name: _from_runs(text, size, name) for name, text in words.items()}
    pairs = tuple((name, value) for name, _, value in (line.partition(" ") for line in results))
    refused, fault, compared = row.get("refused"), row.get("fault"), row.get("compared", 0)
    assert isinstance(compared, int)
    return Outcome(
        table,
        pairs,
        refused if isinstance(refused, str) else None,
        fault if isinstance(fault, int) else None,
        {name: files[name] for name in names},
        tuple(hosts),
        compared,
    )


def check_fixtures(golden: Golden, outcome: Outcome, variant: Variant, recipes: Mapping[str, Recipe]) -> None:
    """Raises `StaleGolden` unless the fixtures of `outcome` are those here."""
    for name, digest in outcome.files.items():
        path = BUILT / variant.name / recipes[name].file
        if not path.is_file() or sha256_of(path) != digest:
            raise StaleGolden(
                f"the golden of {variant.name} was made from another {path.relative_to(FIXTURES.parent)}. If the "
                "fixture was meant to change, ask the oracle again: python -m toolchains oracle --arch "
                f"{variant.target.name} --compiler {variant.compiler}; if not, restore it: git checkout -- "
                f"{path.relative_to(FIXTURES.parent)}"
            )


def differences(expected: Outcome, found: Outcome) -> list[str]:
    """The differences between `found` and `expected`, one line each; empty when they agree."""
    if expected.refused is not None or expected.fault is not None:
        same = (expected.refused is None) == (found.refused is None) and (expected.fault is None) == (
            found.fault is None
        )
        return [] if same else [f"expected {_ending(expected)}, found {_ending(found)}"]
    if found.refused is not None or found.fault is not None:
        return [f"expected a load, found {_ending(found)}"]
    lines = [f"module {name}: only one of the two loaded it" for name in set(expected.words) ^ set(found.words)]
    for name in expected.words.keys() & found.words.keys():
        here, there = expected.words[name], found.words[name]
        lines += [
            f"{name}+{address:#x}: expected {here.get(address, 'the word of the file')}, found "
            f"{there.get(address, 'the word of the file')}"
            for address in sorted(here.keys() | there.keys())
            if here.get(address) != there.get(address)
        ]
    for (name, value), (_, other) in zip(expected.results, found.results, strict=True):
        if value != other:
            lines.append(f"{name} returned {other}, expected {value}")
    return lines


def _ending(outcome: Outcome) -> str:
    if outcome.refused is not None:
        return f"a refusal ({outcome.refused})"
    return "a load" if outcome.fault is None else f"a fault (signal {outcome.fault})"

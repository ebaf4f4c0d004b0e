"""What is printed and written of results: lines, JSON, and the tables of docs/speed.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import LINEAR, TOLERANCE, Row, Series

_BEGIN, _END = "<!-- generated: speed -->", "<!-- end -->"


def about() -> str:
    """The machine and how busy it is."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} cores, load {load}, "
        f"Python {platform.python_version()}, {datetime.date.today()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def line(result: Row | Series) -> str:
    """One result, for a terminal."""
    if isinstance(result, Series):
        return f"{result.what:<48} {_exponents(result)}"
    verdict = {True: "  met", False: "  NOT met", None: ""}[result.met]
    ours = f"{result.work:<48} {_figure(result.ours):>9} {result.unit:<3}"
    goal = "" if not _goal(result) else f"  (goal {_goal(result)}{verdict})"
    note = f"  {result.note}" if result.note else ""
    return f"{ours} {_peer(result):<34}{_ratio(result):>7}{goal}{note}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _peer(row: Row) -> str:
    if row.peer is not None:
        return f"{row.peer_name} {_figure(row.peer)}"
    return f"{row.peer_name} absent: {row.absent}" if row.peer_name else ""


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.2f}×" if row.ratio < 10 else f"{row.ratio:,.0f}×"


def _goal(row: Row) -> str:
    if row.most is not None:
        return f"≤ {row.most:g} {row.unit}"
    return "" if row.goal is None else f"≤ {row.goal:g}×"


def _exponents(series: Series) -> str:
    verdict = "met" if series.met else "NOT met"
    peers = "".join(f", {name} {series.exponent(name):.2f}" for name in series.costs if name != "ours")
    bar = f"at most {LINEAR} + {TOLERANCE}: {verdict}"
    return f"exponent {series.exponent('ours'):.2f}{peers} ({bar}; {series.sizes[0]:,} to {series.sizes[-1]:,})"


def write_json(path: Path, results: Sequence[Row | Series]) -> None:
    """All figures, with the machine they are of."""
    rows = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in results if isinstance(row, Row)]
    series = [
        {**asdict(found), "exponents": {name: found.exponent(name) for name in found.costs}, "met": found.met}
        for found in results
        if isinstance(found, Series)
    ]
    path.write_text(json.dumps({"about": about(), "rows": rows, "series": series}, indent=2) + "\n")


def read_json(path: Path) -> tuple[str, list[Row | Series]]:
    """The machine and the results of such a file."""
    found = json.loads(path.read_text())
    results: list[Row | Series] = []
    for row in found["rows"]:
        results.append(Row(**{name: value for name, value in row.items() if name not in ("ratio", "met")}))
    for one in found["series"]:
        costs = {name: tuple(values) for name, values in one["costs"].items()}
        results.append(Series(one["subject"], one["what"], tuple(one["sizes"]), costs, one["base"], one["unit"]))
    return found["about"], sorted(results, key=lambda result: result.subject)


def tables(results: Sequence[Row | Series]) -> str:
    """A table in Markdown for each subject and way of measuring, which stands above it once."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for result in results:
        how = "how the cost grows" if isinstance(result, Series) else result.how
        grouped.setdefault(result.subject, {}).setdefault(how, []).append(_cells(result))
    parts = []
    for subject, by_how in grouped.items():
        parts.append(f"### `{subject}`\n")
        for how, lines in by_how.items():
            if how:
                parts.append(f"{how[0].upper()}{how[1:]}:\n")
            parts += ["| what | ours | peer | ratio | goal | |", "|---|---|---|---|---|---|", *lines, ""]
    return "\n".join(parts)


def _cells(result: Row | Series) -> str:
    """A line of a table."""
    if isinstance(result, Series):
        cells = [result.what, "", "", "", "", _exponents(result)]
    else:
        goal = _goal(result) and f"{_goal(result)}{'' if result.met is None else ' ✓' if result.met else ' ✗'}"
        ours = f"{_figure(result.ours)} {result.unit}"
        cells = [result.work, ours, _peer(result), _ratio(result), goal, result.note]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def write_docs(page: Path, results: Sequence[Row | Series], machine: str = "") -> None:
    """Put the tables between the page's marks; `machine` is the one that was measured, by default this."""
    text = page.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{machine or about()}.\n\n{tables(results)}{_END}{after}")

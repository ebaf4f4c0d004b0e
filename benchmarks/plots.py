"""SVG plots of results: the cost by size of each series, and the ratios of each subject, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.measure import Row, Series

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 36, 44
_COLOURS = ("#1f6feb", "#8250df", "#d1242f", "#1a7f37")
_TEXT = 'font-family="sans-serif" font-size="12" fill="#57606a"'


def write(folder: Path, results: Sequence[Row | Series]) -> None:
    """One file for each series, `<subject>.svg`, and `ratios.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: dict[str, int] = {}
    for found in results:
        if isinstance(found, Series):
            taken[found.subject] = taken.get(found.subject, 0) + 1
            suffix = "" if taken[found.subject] == 1 else f"-{taken[found.subject]}"
            (folder / f"{found.subject}{suffix}.svg").write_text(curve(found))
    rows = [row for row in results if isinstance(row, Row) and row.ratio]
    if rows:
        (folder / "ratios.svg").write_text(bars(rows))


class _Axis:
    """A logarithmic axis from `low` to `high`, drawn from `start` to `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low = 10 ** math.floor(math.log10(min(values)))
        self.high = max(10 ** math.ceil(math.log10(max(values))), 10 * self.low)
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        first, last = round(math.log10(self.low)), round(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


def curve(series: Series) -> str:
    """Cost by size, ours and each peer's."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    across = _Axis(series.sizes, _LEFT, right)
    costs = [max(cost, 1e-3) for found in series.costs.values() for cost in found]
    up = _Axis(costs, bottom, _TOP)
    parts = [_text(_LEFT, 20, f"{series.what} ({series.unit})", "start")]
    for tick in across.ticks():
        parts += [_line(across.at(tick), _TOP, across.at(tick), bottom)]
        parts += [_text(across.at(tick), bottom + 18, f"{tick:,.0f}", "middle")]
    for tick in up.ticks():
        parts += [
            _line(_LEFT, up.at(tick), right, up.at(tick)),
            _text(_LEFT - 6, up.at(tick) + 4, f"{tick:g}", "end"),
        ]
    for number, (name, found) in enumerate(series.costs.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [
            (across.at(size), up.at(max(cost, 1e-3))) for size, cost in zip(series.sizes, found, strict=True)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        label = f"{name}: {series.exponent(name):.2f}"
        parts.append(_text(right + 10, _TOP + 16 + 18 * number, label, "start", colour))
    return _svg(_WIDTH, _HEIGHT, parts)


def bars(rows: Sequence[Row]) -> str:
    """How many times the peer's cost each row of ours is; left of the line at 1 is faster."""
    left, width, step = 420, 940, 16
    height = _TOP + step * len(rows) + 30
    axis = _Axis([ratio for row in rows if (ratio := row.ratio)], left, width - 90)
    parts = [_text(left, 20, "ours ÷ peer", "start")]
    for tick in axis.ticks():
        parts += [_line(axis.at(tick), _TOP - 6, axis.at(tick), height - 24)]
        parts += [_text(axis.at(tick), height - 8, f"{tick:g}", "middle")]
    one = axis.at(1) if axis.low <= 1 <= axis.high else axis.start
    for number, row in enumerate(rows):
        assert row.ratio
        y, end = _TOP + step * number, axis.at(row.ratio)
        colour = "#d1242f" if row.met is False else "#1a7f37" if row.met else "#1f6feb"
        parts.append(_text(left - 8, y + 10, f"{row.work} / {row.peer_name}"[:68], "end"))
        across = f'x="{min(one, end):.1f}" width="{max(abs(end - one), 1):.1f}"'
        parts.append(f'<rect {across} y="{y}" height="11" fill="{colour}"/>')
    return _svg(width, height, parts)


def _text(x: float, y: float, text: str, anchor: str, colour: str = "") -> str:
    style = _TEXT.replace("#57606a", colour) if colour else _TEXT
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d7de"/>'


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>"]) + "\n"

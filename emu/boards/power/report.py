"""What came of power cuts as a page of HTML: one file, which needs nothing else.

page = report("Our updater", [
    Chapter("one cut", sweep, (picture(sweep, flash, title="one cut"),)),
    Chapter("any number of cuts", found),
])
Path("cuts.html").write_text(page)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from emu.boards.power.cuts import MODES
from emu.boards.power.picture import shown
from emu.boards.power.results import Exploration, Outcome, Sweep, fewest
from relink.records import dataclass

_STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 1280px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3em .8em; text-align: left; vertical-align: top }
td.number, th.number { text-align: right }
.bad { color: #c0181a }
.picture { overflow-x: auto }
code { background: #f3f3f3; padding: .1em .3em }
"""
_HEAD = ("", "tried", "power cuts", "contents of flash", "bad", "the fewest cuts to it")


@dataclass(frozen=True)
class Chapter:
    """One device under power cuts. `result` is a text where there is none, such as of an update that fails without
    any cut; `pictures` are SVG (`picture`, `history`).
    """

    title: str
    result: Sweep | Exploration | str
    pictures: tuple[str, ...] = ()

    @property
    def shortest(self) -> list[Outcome]:
        """For each problem a sequence with the fewest cuts, the shortest first."""
        bad = [] if isinstance(self.result, str) else self.result.bad
        return sorted(fewest(bad).values(), key=lambda outcome: len(outcome.cuts))


def report(title: str, chapters: Sequence[Chapter]) -> str:
    """A page with a table of all chapters; then for each its pictures, its outcomes, and the shortest sequences of
    cuts, as texts that `PowerCuts.replay` and `pytest --replay` take.
    """
    name = shown(title)
    rows = (_row(number, chapter) for number, chapter in enumerate(chapters))
    parts = (part for number, chapter in enumerate(chapters) for part in _chapter(number, chapter))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f"<title>{name}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{name}</h1>",
            *_table(_HEAD, rows),
            *parts,
            "</body></html>\n",
        ]
    )


def _row(number: int, chapter: Chapter) -> list[str]:
    result, link = chapter.result, f'<a href="#c{number}">{shown(chapter.title)}</a>'
    if isinstance(result, str):
        return [link, "", "", "", "", f'<span class="bad">{shown(result)}</span>']
    first = next((_outcome(outcome) for outcome in chapter.shortest), "")
    if isinstance(result, Sweep):
        cuts, tried, bad = len(result.outcomes), "single cuts", len(result.bad)
    else:
        tried = "any number of cuts" if result.closed else f"{result.longest} or fewer"
        cuts, bad = result.cuts, result.bad_states
    return [link, tried, str(cuts), str(result.states), str(bad), first]


def _chapter(number: int, chapter: Chapter) -> Iterator[str]:
    yield f'<h2 id="c{number}">{shown(chapter.title)}</h2>'
    yield f"<p>{shown(str(chapter.result))}</p>"
    for svg in chapter.pictures:
        yield f'<div class="picture">{svg}</div>'
    if isinstance(chapter.result, Sweep):
        yield from _table(("outcome", *MODES), _by_mode(chapter.result))
    elif isinstance(chapter.result, Exploration):
        yield from _table(("outcome", "contents of flash"), _by_trouble(chapter.result))
    if chapter.shortest:
        yield "<p>For each problem a sequence with the fewest cuts:</p><ul>"
        yield from (f"<li>{_outcome(outcome)}</li>" for outcome in chapter.shortest)
        yield "</ul>"


def _by_mode(sweep: Sweep) -> Iterator[list[str]]:
    counts = Counter((outcome.problem, outcome.cuts[0].mode) for outcome in sweep.outcomes)
    for problem in sorted({problem for problem, _ in counts}, key=lambda each: each or ""):
        text = f'<span class="bad">{shown(problem)}</span>' if problem is not None else "well"
        yield [text, *(str(counts[problem, mode]) for mode in MODES)]


def _by_trouble(found: Exploration) -> Iterator[list[str]]:
    yield ["well", str(found.states - found.bad_states)]
    for trouble, count in sorted(found.troubles.items()):
        yield [f'<span class="bad">{trouble}</span>', str(count)]


def _outcome(outcome: Outcome) -> str:
    cuts = ", then ".join(f"<code>{shown(str(cut))}</code>" for cut in outcome.cuts)
    return f'<span class="bad">{shown(outcome.problem or "")}</span>: {cuts}'


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{shown(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        cells = (('<td class="number">' if cell.isdigit() else "<td>") + cell + "</td>" for cell in row)
        yield "<tr>" + "".join(cells) + "</tr>"
    yield "</table>"

"""Flash over time as SVG: time goes right, addresses go down.

`picture` is a sweep: red are the operations whose cut is fatal. `history` is one sequence of cuts, with the starts
between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from emu.boards.flash_device import Flash
from emu.boards.flash_types import FlashEvent, Operation
from emu.boards.power.results import Cut, Sweep
from relink.errors import printable_lines

if TYPE_CHECKING:
    from emu.boards.power.cuts import PowerCuts

_FATAL, _ERASE, _PROGRAM = "#d62728", "#9aa7b8", "#2c7fb8"
_LEFT, _TOP, _WIDTH, _HEIGHT, _LEGEND = 110, 48, 1000, 420, 150  #: pixels
_LETTER = 8  #: the width in pixels of a title's letter

Areas = Mapping[str, tuple[int, int]]  #: names with start and end addresses


class _Column(NamedTuple):
    """One operation; `cut` is the text of a cut of the power there."""

    event: FlashEvent
    fatal: bool = False
    cut: str = ""


def picture(sweep: Sweep, flash: Flash, *, title: str, areas: Areas | None = None) -> str:
    """The operations of the update of one flash device, as SVG with a text for each; the device's sectors
    alternate in shade.
    """
    events: dict[int, FlashEvent] = {}
    fatal = set()
    for outcome in sweep.outcomes:
        event = outcome.cuts[0].event
        if event.device == flash.name:
            events[event.number] = event
            if outcome.problem is not None:
                fatal.add(event.number)
    columns = [_Column(event, number in fatal) for number, event in sorted(events.items())]
    text = f"{title}: {len(fatal)} of {len(events)} operations cannot be cut"
    return _drawn(text, flash, columns, areas, "fatal when cut")


def history(
    cuts: PowerCuts, sequence: Sequence[Cut | str], flash: Flash, *, title: str, areas: Areas | None = None
) -> str:
    """What a sequence of cuts does to one flash device: the update up to the first cut, the start after it up to
    the second, and so on; after the last cut the start to its end. Raises as `PowerCuts.replay`.
    """
    runs: list[list[Cut]] = []
    problem = cuts.replay(sequence, told=lambda found: runs.append([each.cut for each in found]))
    columns = [column for column in _columns(runs, sequence) if column.event.device == flash.name or column.cut]
    text = f"{title}: {problem or 'well'} after {len(sequence)} cut{'s' if len(sequence) > 1 else ''}"
    return _drawn(text, flash, columns, areas, "cut")


def _columns(runs: Sequence[Sequence[Cut]], sequence: Sequence[Cut | str]) -> Iterator[_Column]:
    """The operations of each run up to its cut, and all of those of the run after the last cut. `runs` has
    the cuts that were possible in each run.
    """
    for run, text in zip(runs, [*map(str, sequence), ""], strict=True):
        place = next(((cut.start, cut.event.id) for cut in run if str(cut) == text), None)
        for each, event in {(cut.start, cut.event.id): cut.event for cut in run}.items():
            yield _Column(event, each == place, text if each == place else "")
            if each == place:
                break


def _drawn(text: str, flash: Flash, columns: Sequence[_Column], areas: Areas | None, red: str) -> str:
    step = min(_WIDTH / max(len(columns), 1), 30.0)
    width = max(step * len(columns), min(_LETTER * len(text), _WIDTH + _LEGEND) - _LEGEND)
    size = f'width="{_LEFT + width + _LEGEND:.0f}" height="{_TOP + _HEIGHT + 8}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            '<g font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="8" y="20" font-size="14">{shown(text)}</text>',
            *_map(flash, areas or {flash.name: (flash.base, flash.end)}, width),
            *_operations(flash, columns, step),
            *_legend(_LEFT + width + 12, red),
            "</g></svg>",
        ]
    )


def shown(text: str) -> str:
    """Any text, for XML and HTML."""
    return escape(printable_lines(text))


def _y(flash: Flash, address: int) -> float:
    return _TOP + _HEIGHT * (address - flash.base) / flash.size


def _map(flash: Flash, areas: Areas, width: float) -> Iterator[str]:
    for number, (start, end) in enumerate(flash.sectors):
        y, height = _y(flash, flash.base + start), _HEIGHT * (end - start) / flash.size
        shade = "#f2f2f2" if number % 2 else "#fafafa"
        yield f'<rect x="{_LEFT}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{shade}"/>'
    for name, (start, end) in areas.items():
        top, bottom = _y(flash, start), _y(flash, end)
        yield f'<text x="8" y="{(top + bottom) / 2 + 4:.1f}">{shown(name)}</text>'
        for y in (top, bottom):
            yield f'<path d="M8 {y:.1f}H{_LEFT + width:.1f}" stroke="#888" stroke-width="0.6"/>'


def _operations(flash: Flash, columns: Sequence[_Column], step: float) -> Iterator[str]:
    for place, (event, fatal, cut) in enumerate(columns):
        x = _LEFT + step * place
        if event.device == flash.name:
            colour = _FATAL if fatal else _ERASE if event.operation is Operation.ERASE else _PROGRAM
            height = max(_HEIGHT * event.size / flash.size, 8 if fatal else 2.5)
            size = f'width="{max(step * 0.85, 1):.1f}" height="{height:.1f}"'
            yield f'<rect x="{x:.1f}" y="{_y(flash, event.address):.1f}" {size} fill="{colour}">'
            yield f"<title>{shown(cut or event.id)}</title></rect>"
        if cut:
            x += step * 0.92
            yield f'<path d="M{x:.1f} {_TOP - 8}V{_TOP + _HEIGHT}" stroke="{_FATAL}" stroke-dasharray="4 3"/>'
            yield f'<text x="{x:.1f}" y="{_TOP - 12}" text-anchor="middle" fill="{_FATAL}">{cut.split()[0]}</text>'


def _legend(x: float, red: str) -> Iterator[str]:
    for number, (colour, text) in enumerate(((_FATAL, red), (_ERASE, "erase"), (_PROGRAM, "program"))):
        y = _TOP + 22 * number
        yield f'<rect x="{x:.0f}" y="{y}" width="14" height="14" fill="{colour}"/>'
        yield f'<text x="{x + 20:.0f}" y="{y + 12}">{text}</text>'

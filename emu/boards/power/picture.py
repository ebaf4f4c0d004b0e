"""A sweep as a picture (SVG): time goes right, addresses go down; red is an operation whose cut is fatal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from emu.boards.flash_device import Flash
from emu.boards.flash_types import FlashEvent, Operation
from emu.boards.power.results import Sweep

_FATAL, _ERASE, _PROGRAM = "#d62728", "#9aa7b8", "#2c7fb8"
_LEFT, _TOP, _WIDTH, _HEIGHT, _LEGEND = 110, 34, 1000, 420, 150  #: pixels


def picture(sweep: Sweep, flash: Flash, *, title: str, areas: Mapping[str, tuple[int, int]] | None = None) -> str:
    """The operations of the update of one flash device, as SVG with a text for each. `areas` are names with start
    and end addresses; the device's sectors alternate in shade.
    """
    events: dict[int, FlashEvent] = {}
    fatal = set()
    for outcome in sweep.outcomes:
        event = outcome.cuts[0].event
        if event.device == flash.name:
            events[event.number] = event
            if outcome.problem is not None:
                fatal.add(event.number)
    step = min(_WIDTH / max(len(events), 1), 30.0)
    drawn = [
        *_map(flash, areas or {flash.name: (flash.base, flash.end)}, step * len(events)),
        *_operations(flash, events, fatal, step),
        *_legend(_LEFT + step * len(events) + 12),
    ]
    text = f"{title}: {len(fatal)} of {len(events)} operations cannot be cut"
    width = _LEFT + step * len(events) + _LEGEND
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{_TOP + _HEIGHT + 8}">',
            '<g font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="8" y="20" font-size="14">{escape(text)}</text>',
            *drawn,
            "</g></svg>",
        ]
    )


def _y(flash: Flash, address: int) -> float:
    return _TOP + _HEIGHT * (address - flash.base) / flash.size


def _map(flash: Flash, areas: Mapping[str, tuple[int, int]], width: float) -> Iterator[str]:
    for number, (start, end) in enumerate(flash.sectors):
        y, height = _y(flash, flash.base + start), _HEIGHT * (end - start) / flash.size
        shade = "#f2f2f2" if number % 2 else "#fafafa"
        yield f'<rect x="{_LEFT}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{shade}"/>'
    for name, (start, end) in areas.items():
        top, bottom = _y(flash, start), _y(flash, end)
        yield f'<text x="8" y="{(top + bottom) / 2 + 4:.1f}">{escape(name)}</text>'
        for y in (top, bottom):
            yield f'<path d="M8 {y:.1f}H{_LEFT + width:.1f}" stroke="#888" stroke-width="0.6"/>'


def _operations(flash: Flash, events: Mapping[int, FlashEvent], fatal: set[int], step: float) -> Iterator[str]:
    for place, (number, event) in enumerate(sorted(events.items())):
        colour = _FATAL if number in fatal else _ERASE if event.operation is Operation.ERASE else _PROGRAM
        height = max(_HEIGHT * event.size / flash.size, 8 if number in fatal else 2.5)
        x, y = _LEFT + step * place, _y(flash, event.address)
        size = f'width="{max(step * 0.85, 1):.1f}" height="{height:.1f}"'
        yield f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}">'
        yield f"<title>{escape(event.id)}</title></rect>"


def _legend(x: float) -> Iterator[str]:
    for number, (colour, text) in enumerate(
        ((_FATAL, "fatal when cut"), (_ERASE, "erase"), (_PROGRAM, "program"))
    ):
        y = _TOP + 22 * number
        yield f'<rect x="{x:.0f}" y="{y}" width="14" height="14" fill="{colour}"/>'
        yield f'<text x="{x + 20:.0f}" y="{y + 12}">{text}</text>'

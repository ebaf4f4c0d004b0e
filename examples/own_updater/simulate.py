"""Cut the power of an updater at every operation of its flash, and look at everything that can follow.

    python examples/own_updater/simulate.py                     # the sound ones and all mistakes, Thumb
    python examples/own_updater/simulate.py --arch all          # the sound ones on all architectures
    python examples/own_updater/simulate.py --report cuts.html  # the same with pictures of flash over time

First the updater alone (updater.c), on all architectures; then a whole device with UART and watchdog on a board
(board.py), where there is one for the architecture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from board import CASES, CPUS, Device
from updater import FAULTS, Updater

from emu.boards import BoardError, Exploration
from emu.boards.power import Chapter, history, picture, report
from emu.build.targets import targets_of


class Case(NamedTuple):
    """What is tried. A sound one with up to `most` cuts one after the other, one with a mistake with up to two."""

    name: str
    on: str
    make: Callable[[], Updater | Device]
    sound: bool
    most: int | None = None


def cases(arch: str) -> Iterator[Case]:
    """All of an architecture; the sound ones, if `arch` names several."""
    targets = targets_of(arch)
    alone = len(targets) == 1
    for target in targets:
        for fault in FAULTS if alone else FAULTS[:1]:
            yield Case(fault, target.name, partial(Updater, target.name, fault), fault == "SOUND")
    names = [target.name for target in targets]
    for cpu in [cpu for cpu, (target, _) in CPUS.items() if target in names]:
        for fault, mistake in CASES:
            if alone or fault == "SOUND":
                name = fault if mistake == "NONE" else f"{fault} (module {mistake})"
                yield Case(name, cpu, partial(Device, cpu, fault, mistake), fault == "SOUND", 2)


def explored(case: Case) -> Exploration:
    """What power cuts can do. Raises BoardError for a device that fails without any."""
    device = case.make()
    try:
        if case.sound:
            return device.cuts().explore(most_cuts=case.most)
        found = device.cuts().explore(most_cuts=1)
        return found if found.bad else device.cuts().explore(most_cuts=2)
    finally:
        device.machine.close()


def drawn(case: Case, found: Exploration) -> Iterator[str]:
    """The update, and the worst that cuts can do to it, as SVG."""
    device = case.make()
    try:
        name = f"{case.name} on {case.on}"
        yield picture(device.cuts().sweep(), device.flash, title=name, areas=device.areas)
        for outcome in found.bad[:1]:
            yield history(device.cuts(), outcome.cuts, device.flash, title=name, areas=device.areas)
    finally:
        device.machine.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--arch", default="thumb", help="an architecture, several, or all")
    options.add_argument("--report", type=Path, help="write a page of HTML into this file")
    given = options.parse_args()
    chapters, status = [], 0
    print(f"{'mistake':29} {'on':11} states   cuts  closed  bad  the fewest cuts to it")
    for case in cases(given.arch):
        name = f"{case.name} on {case.on}"
        try:
            found = explored(case)
        except BoardError as error:
            chapters.append(Chapter(name, str(error)))
            print(f"{case.name:29} {case.on:11} {'':28} {error}", flush=True)
            continue
        first = next(iter(found.bad), None)
        closed = "yes" if found.closed else "no"
        row = f"{case.name:29} {case.on:11} {found.states:6} {found.cuts:6}  {closed:6} {found.bad_states:4}"
        print(f"{row}  {first or '-'}", flush=True)
        status |= case.sound != (first is None)
        if given.report is not None:
            chapters.append(Chapter(name, found, tuple(drawn(case, found))))
    if given.report is not None:
        given.report.write_text(report("The updater under power cuts", chapters))
    return status


if __name__ == "__main__":
    sys.exit(main())

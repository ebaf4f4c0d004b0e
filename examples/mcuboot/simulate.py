"""Cut the power of MCUboot at every operation of its flash.

    python examples/mcuboot/simulate.py build/*.o                            # every single cut of an upgrade
    python examples/mcuboot/simulate.py build/*.o --revert                   # and of a revert
    python examples/mcuboot/simulate.py build-m3/*.o --board cortex-m3       # on a Cortex-M
    python examples/mcuboot/simulate.py build/*.o --explore --jobs 2         # any number of cuts

The files are the objects, or the library, of a bootutil that you have built (README.md says what it needs).
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from device import Device, Layout, Upgrade, power_cuts

from emu.boards import Exploration, Progress, Sweep, Workers
from emu.boards.power import Chapter, history, picture, report


def layout_of(given: argparse.Namespace) -> Layout:
    """The layout of the options."""
    slot, scratch = ((given.sectors, given.sector),), ((given.scratch, given.sector),)
    return Layout(slot, slot, scratch)


def page(given: argparse.Namespace, found: Sweep | Exploration) -> str:
    """A report, with the update and the worst that cuts can do to it."""
    device = Device(given.files, Upgrade(given.old, given.new, given.revert, layout_of(given)), given.board)
    title = "revert" if given.revert else "upgrade"
    cuts = device.cuts(seeds=range(given.seeds))
    pictures = [picture(cuts.sweep(), device.flash, title=title, areas=device.areas)]
    pictures += [
        history(cuts, outcome.cuts, device.flash, title=title, areas=device.areas) for outcome in found.bad[:1]
    ]
    device.close()
    return report("MCUboot under power cuts", [Chapter(title, found, tuple(pictures))])


def tried(given: argparse.Namespace) -> Sweep | Exploration:
    """What the options ask for."""
    layout = layout_of(given)
    upgrade = Upgrade(given.old, given.new, given.revert, layout)
    make = partial(power_cuts, given.files, upgrade, given.board, given.seeds)
    told = _tell if sys.stderr.isatty() else None
    if given.jobs == 1:
        cuts = make()
        return cuts.explore(most_cuts=given.cuts, progress=told) if given.explore else cuts.sweep(progress=told)
    with Workers(make, given.jobs) as workers:
        cuts = make()
        if given.explore:
            return cuts.explore(most_cuts=given.cuts, workers=workers, progress=told)
        return cuts.sweep(workers=workers, progress=told)


def _tell(progress: Progress) -> None:
    print(f"\r{progress}  ", end="", file=sys.stderr, flush=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("files", nargs="+", type=Path, help="objects or the library of bootutil")
    options.add_argument("--board", default="", help="a CPU without an operating system, such as cortex-m3")
    options.add_argument("--revert", action="store_true", help="the start after an upgrade without confirmation")
    options.add_argument("--report", type=Path, help="write a page of HTML into this file")
    options.add_argument("--explore", action="store_true", help="any number of cuts, in the recoveries too")
    options.add_argument("--cuts", type=int, help="with --explore: the most cuts one after the other")
    options.add_argument("--jobs", type=int, default=1, help="processes")
    options.add_argument("--seeds", type=int, default=1, help="ways in which an operation is torn")
    options.add_argument("--old", type=int, default=40_000, help="bytes of the old image")
    options.add_argument("--new", type=int, default=52_000, help="bytes of the new image")
    options.add_argument("--sector", type=int, default=4096, help="bytes of a sector")
    options.add_argument("--sectors", type=int, default=32, help="sectors of a slot")
    options.add_argument("--scratch", type=int, default=4, help="sectors of the scratch area")
    given = options.parse_args()
    found = tried(given)
    print(found)
    bad = found.bad
    for outcome in bad[:20]:
        print(outcome)
    if len(bad) > 20:
        print(f"and {len(bad) - 20} more")
    if given.report is not None:
        given.report.write_text(page(given, found))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""Power cuts: an update is interrupted at every operation of its flash, and everything that can follow is tried.

    cuts = PowerCuts(
        [nor],
        update=lambda: device.call("update", "int(void)"),
        restart=board.power_cycle,                        # RAM is lost
        recover=lambda: board.run(until=booted),
        check=lambda: None if version() in (1, 2) else "no bootable image",
    )
    sweep = cuts.sweep()                                  # one cut, at every operation
    exploration = cuts.explore()                          # any number of cuts, until nothing new can happen

After a cut RAM is lost, so what follows depends on the contents of flash alone. The update runs once; for each of
its operations the contents are noted that a cut would leave: *before* it, *after* it, or *torn*, with a part
carried out. Each content that was not seen before is booted once; the operations of that recovery lead to further
contents. So any number of cuts is a search of a finite graph, breadth first: the first way found to a state is
one with the fewest cuts.

A state is bad if its recovery, with no further cut, ends in an error or in something that `check` objects to.

    results    Cut, Outcome, Sweep, Exploration, Progress, Trouble
    states     what cuts lead to
    starts     runs the device, and notes what cuts would leave
    cuts       PowerCuts: sweep, explore, replay
    workers    processes that share the work
    picture    flash over time as SVG
    report     a page of HTML with all of that
"""

from __future__ import annotations

from emu.boards.power.cuts import MODES, PowerCuts
from emu.boards.power.picture import history, picture
from emu.boards.power.report import Chapter, report
from emu.boards.power.results import Cut, Exploration, Outcome, Progress, Sweep, Trouble
from emu.boards.power.workers import Workers

__all__ = [
    "MODES",
    "Chapter",
    "Cut",
    "Exploration",
    "Outcome",
    "PowerCuts",
    "Progress",
    "Sweep",
    "Trouble",
    "Workers",
    "history",
    "picture",
    "report",
]

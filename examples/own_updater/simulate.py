"""Cut the power of an updater at every operation of its flash, and look at everything that can follow.

    python examples/own_updater/simulate.py                   # the sound updater, and each mistake, on Arm
    python examples/own_updater/simulate.py --arch all        # the sound one on all architectures
    python examples/own_updater/simulate.py --svg flash.svg   # what happens to the flash, as a picture

The updater (updater.c) is built for the architecture, linked and run on an emulated CPU; the flash is a model.
After a cut the device boots, and tries the update again if the old version is still there: then the new one has
to run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from emu import FlashEvent, Machine, NorFlash
from emu.boards import Exploration, PowerCuts
from emu.build.build import build
from emu.build.compilers import find
from emu.build.recipe import Recipe
from emu.build.store import Store, default_folder
from emu.build.targets import targets_of

SOURCE = Path(__file__).with_name("updater.c")
FAULTS = ("SOUND", "COMMIT_FIRST", "LATE_FLUSH", "NO_CHECKSUM", "TRUSTS_ERASE", "FORGETS_JOURNAL", "ENDLESS")
SIZE = 128  #: bytes of an image
SECTOR, SECTORS = 256, 6


class Device:
    """A device with an updater, and version 1 installed."""

    def __init__(self, arch: str, fault: str = "SOUND") -> None:
        (target,) = targets_of(arch)
        recipe = Recipe(
            "updater", (SOURCE,), SOURCE.parent, kind="o", cflags=("-ffreestanding",), defines=(("FAULT", fault),)
        )
        (file,) = build(recipe, find(target), Store(default_folder()))
        self.flash = NorFlash([(SECTORS, SECTOR)], write_size=16)
        self.machine = Machine(target.arch, max_instructions=20_000_000)
        memory, flash = self.machine.memory, self.flash
        library = self.machine.load(
            file,
            symbols={
                "flash_read": (
                    lambda at, to, size: memory.write(to, flash.read(at, size)),
                    "void(uint32_t, void *, uint32_t)",
                ),
                "flash_program": (
                    lambda at, data, size: flash.program(at, memory.read(data, size)) and None,
                    "void(uint32_t, const void *, uint32_t)",
                ),
                "flash_erase": (lambda at, size: flash.erase(at, size) and None, "void(uint32_t, uint32_t)"),
            },
        )
        self.boot, self.install = library.boot, library.install
        self.install(1, SIZE)
        self._fill_journal()
        self.start, self.on = self.flash.state(), self.machine.snapshot()

    def _fill_journal(self) -> None:
        """Install again and again, until the next record needs the journal's other sector."""
        while self.flash.read(5 * SECTOR - 16, 16) == b"\xff" * 16:
            self.install(1, SIZE)

    def recover(self) -> None:
        """What the device does after power comes back."""
        if self.boot() == 1:
            self.install(2, SIZE)

    def check(self) -> str | None:
        """What is wrong after that."""
        version = self.boot()
        return None if version == 2 else f"version {version} runs" if version else "nothing boots"

    def cuts(self, *, early: bool = True) -> PowerCuts:
        """All power cuts of an update to version 2. `early`: runs end where it is known how they go on."""
        self.flash.restore(self.start)
        return PowerCuts(
            [self.flash],
            update=lambda: self.install(2, SIZE),
            restart=lambda: self.machine.restore(self.on),
            recover=self.recover,
            check=self.check,
            seeds=range(4),
            machine=self.machine if early else None,
        )


def explored(arch: str, fault: str) -> Exploration:
    """What power cuts can do to an updater: any number of them to the sound one, one to one with a fault."""
    device = Device(arch, fault)
    try:
        return device.cuts().explore(most_cuts=None if fault == "SOUND" else 1)
    finally:
        device.machine.close()


def picture(arch: str, fault: str) -> Iterator[str]:
    """The update as SVG: time goes right, addresses go down; a red bar is an operation that cannot be cut."""
    device = Device(arch, fault)
    sweep = device.cuts().sweep()
    bad = {outcome.cuts[0].event.number for outcome in sweep.bad}
    events: dict[int, FlashEvent] = {o.cuts[0].event.number: o.cuts[0].event for o in sweep.outcomes}
    step, height, top = 26, 40, 30
    width, bottom = step * len(events) + 100, height * SECTORS + top + 6
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 160}" height="{bottom}" font-size="12">'
    yield '<rect width="100%" height="100%" fill="white"/><g font-family="sans-serif">'
    yield f'<text x="8" y="18">{fault} on {arch}: {len(bad)} of {len(events)} operations cannot be cut</text>'
    for sector, name in enumerate(("slot 0", "", "slot 1", "", "journal", "")):
        y = top + height * sector
        yield f'<rect x="80" y="{y}" width="{width - 90}" height="{height - 2}" fill="#f0f0f0"/>'
        yield f'<text x="8" y="{y + 16}">{name}</text>'
    legend = {"#d62728": "fatal when cut", "#9aa7b8": "erase", "#2c7fb8": "program"}
    for number, (colour, text) in enumerate(legend.items()):
        yield f'<rect x="{width + 8}" y="{top + 22 * number}" width="14" height="14" fill="{colour}"/>'
        yield f'<text x="{width + 28}" y="{top + 22 * number + 12}">{text}</text>'
    for number, event in events.items():
        x, y = 60 + step * number, top + height * event.address / SECTOR
        size = max(height * event.size / SECTOR - 2, 3)
        colour = "#d62728" if number in bad else "#9aa7b8" if event.operation == "erase" else "#2c7fb8"
        yield f'<rect x="{x}" y="{y:.1f}" width="{step - 4}" height="{size:.1f}" fill="{colour}">'
        yield f"<title>{event.id}</title></rect>"
    yield "</g></svg>"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--arch", default="arm")
    options.add_argument("--svg", type=Path)
    options.add_argument("--fault", choices=FAULTS, action="append")
    given = options.parse_args()
    if given.svg is not None:
        given.svg.write_text("\n".join(picture(given.arch, (given.fault or ["COMMIT_FIRST"])[0])))
        return 0
    targets = targets_of(given.arch)
    faults = given.fault or (FAULTS if len(targets) == 1 else FAULTS[:1])
    print(f"{'updater':16} {'on':12} states   cuts  closed  bad  the fewest cuts to it")
    for target in targets:
        for fault in faults:
            found = explored(target.name, fault)
            first = min(found.bad, key=lambda outcome: len(outcome.cuts), default=None)
            closed = "yes" if found.closed else "no"
            row = f"{fault:16} {target.name:12} {found.states:6} {found.cuts:6}  {closed:6} {found.bad_states:4}"
            print(f"{row}  {first or '-'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

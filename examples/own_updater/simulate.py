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
from pathlib import Path

from updater import SOURCE, compiled, load

from emu import Machine, NorFlash
from emu.boards import Exploration, PowerCuts
from emu.boards.power import picture
from emu.build.targets import targets_of

FAULTS = ("SOUND", "COMMIT_FIRST", "LATE_FLUSH", "NO_CHECKSUM", "TRUSTS_ERASE", "FORGETS_JOURNAL", "ENDLESS")
SIZE = 128  #: bytes of an image
SECTOR, SECTORS = 256, 6


class Device:
    """A device with an updater, and version 1 installed."""

    def __init__(self, arch: str, fault: str = "SOUND") -> None:
        (target,) = targets_of(arch)
        self.flash = NorFlash([(SECTORS, SECTOR)], write_size=16)
        self.machine = Machine(target.arch, max_instructions=20_000_000)
        library = load(self.machine, compiled(SOURCE, arch, FAULT=fault), self.flash)
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


def drawn(arch: str, fault: str) -> str:
    """The update as SVG."""
    device = Device(arch, fault)
    try:
        slot = 2 * SECTOR
        areas = {"slot 0": (0, slot), "slot 1": (slot, 2 * slot), "journal": (2 * slot, 3 * slot)}
        return picture(device.cuts().sweep(), device.flash, title=f"{fault} on {arch}", areas=areas)
    finally:
        device.machine.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--arch", default="arm")
    options.add_argument("--svg", type=Path)
    options.add_argument("--fault", choices=FAULTS, action="append")
    given = options.parse_args()
    if given.svg is not None:
        given.svg.write_text(drawn(given.arch, (given.fault or ["COMMIT_FIRST"])[0]))
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

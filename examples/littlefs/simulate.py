"""Cut the power of a device that keeps its firmware in littlefs, at every operation of its flash.

    python examples/littlefs/simulate.py                  # all architectures, and each mistake of a driver on Arm
    python examples/littlefs/simulate.py --arch riscv32   # one architecture, and each mistake on it
    python examples/littlefs/simulate.py --cuts 2         # every sequence of two cuts

littlefs and the device (device.c) are compiled for the architecture and linked; the flash is a model. After a cut
the device boots: it has to find a whole version of its firmware, and completes the update.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sources import sources

from emu import Machine, NorFlash
from emu.boards import Exploration, PowerCuts, Sweep, map_flash
from emu.boards.power import Chapter, history, picture, report
from emu.build.build import build
from emu.build.compilers import find
from emu.build.recipe import Recipe
from emu.build.store import Store, default_folder
from emu.build.targets import targets_of
from relink.errors import RelinkError

HERE = Path(__file__).parent
FAULTS = ("SOUND", "REORDERS", "IGNORES_SYNC", "TRUSTS_ERASE")
BLOCKS, BLOCK, PAGE = 12, 512, 16
OLD, NEW = 1088, 1344  #: bytes of the versions


class Device:
    """A device with version 1 of its firmware."""

    def __init__(self, arch: str, fault: str = "SOUND") -> None:
        (target,) = targets_of(arch)
        folder = sources()
        names = ("LFS_NO_MALLOC", "LFS_NO_DEBUG", "LFS_NO_WARN", "LFS_NO_ERROR")
        recipe = Recipe(
            "littlefs",
            (HERE / "device.c", folder / "lfs.c", folder / "lfs_util.c"),
            HERE,
            cflags=("-O2", "-w"),
            defines=(("FAULT", fault), ("BLOCKS", str(BLOCKS)), *((name, None) for name in names)),
            include=(folder,),
        )
        (file,) = build(recipe, find(target), Store(default_folder()))
        self.flash = flash = NorFlash([(BLOCKS + 1, BLOCK)], write_size=PAGE)
        self.machine = Machine(target.arch, max_instructions=50_000_000)
        memory = self.machine.memory
        library = self.machine.load(
            file,
            symbols={
                "flash_memory": map_flash(self.machine, flash),
                "flash_program": (
                    lambda at, data, size: flash.program(at, memory.read(data, size)) and None,
                    "void(uint32_t, const void *, uint32_t)",
                ),
                "flash_erase": (lambda at, size: flash.erase(at, size) and None, "void(uint32_t, uint32_t)"),
            },
        )
        self.boot, self.install, self.is_complete = library.boot, library.install, library.is_complete
        if error := library.format(1, OLD):
            raise RelinkError(f"the file system cannot be made: littlefs returns {error}")
        self.start, self.on = flash.state(), self.machine.snapshot()

    def update(self) -> None:
        """What the running device does."""
        error = self.install(2, NEW)
        assert not error, f"littlefs returns {error}"

    def recover(self) -> None:
        """What it does after power comes back."""
        version = self.boot()
        assert version > 0, "the firmware is not whole" if version == -1000 else f"littlefs returns {version}"
        if not self.is_complete():
            self.update()

    def check(self) -> str | None:
        """What is wrong after that."""
        version = self.boot()
        return None if version == 2 else f"version {version} starts, though the update was complete"

    def cuts(self, **options: object) -> PowerCuts:
        """All power cuts of an update to version 2."""
        self.flash.restore(self.start)
        return PowerCuts(
            [self.flash],
            update=self.update,
            restart=lambda: self.machine.restore(self.on),
            recover=self.recover,
            check=self.check,
            **{"seeds": range(4), **options},  # type: ignore[arg-type]
        )

    def close(self) -> None:
        self.machine.close()


def tried(arch: str, fault: str = "SOUND", cuts: int = 1) -> Sweep | Exploration:
    """Every cut of the update, or every sequence of up to `cuts` of them."""
    device = Device(arch, fault)
    try:
        return device.cuts().sweep() if cuts == 1 else device.cuts().explore(most_cuts=cuts)
    finally:
        device.close()


def drawn(arch: str, fault: str) -> Iterator[str]:
    """The update, and the worst that a cut can do to it, as SVG."""
    device = Device(arch, fault)
    try:
        end = BLOCKS * BLOCK
        title, areas = f"{fault} on {arch}", {"littlefs": (0, end), "mark": (end, end + BLOCK)}
        sweep = device.cuts().sweep()
        yield picture(sweep, device.flash, title=title, areas=areas)
        for outcome in sweep.bad[:1]:
            yield history(device.cuts(), outcome.cuts, device.flash, title=title, areas=areas)
    finally:
        device.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--arch", default="all")
    options.add_argument("--cuts", type=int, default=1, help="the most cuts one after the other")
    options.add_argument("--report", type=Path, help="write a page of HTML into this file")
    given = options.parse_args()
    targets = [target.name for target in targets_of(given.arch)]
    rows = [(name, "SOUND") for name in targets]
    rows += [("arm" if given.arch == "all" else targets[0], fault) for fault in FAULTS[1:]]
    chapters, status = [], 0
    for arch, fault in rows:
        found = tried(arch, fault, given.cuts if fault == "SOUND" else 1)
        print(f"{fault:13} {arch:12} {found}", flush=True)
        for outcome in sorted(found.bad, key=lambda each: len(each.cuts))[:1]:
            print(f"{'':13} {'':12} {outcome}", flush=True)
        status |= (fault == "SOUND") == bool(found.bad)
        if given.report is not None:
            chapters.append(Chapter(f"{fault} on {arch}", found, tuple(drawn(arch, fault))))
    if given.report is not None:
        given.report.write_text(report("littlefs under power cuts", chapters))
    return status


if __name__ == "__main__":
    sys.exit(main())

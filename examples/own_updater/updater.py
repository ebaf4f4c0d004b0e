"""The updater (updater.c) on an emulated CPU, over a model of the device's flash."""

from __future__ import annotations

from pathlib import Path

from emu import Library, Machine, NorFlash
from emu.boards import PowerCuts, map_flash
from emu.build.build import build
from emu.build.compilers import find
from emu.build.recipe import Recipe
from emu.build.store import Store, default_folder
from emu.build.targets import targets_of

HERE = Path(__file__).parent
SOURCE = HERE / "updater.c"
FAULTS = (
    "SOUND", "COMMIT_FIRST", "LATE_FLUSH", "NO_CHECKSUM", "TRUSTS_ERASE", "FORGETS_JOURNAL", "ENDLESS", "TIDIES_UP"
)  # fmt: skip
SIZE = 128  #: bytes of an image
SECTOR, SECTORS = 256, 6


def compiled(
    arch: str, *sources: Path, flags: tuple[str, ...] = (), kind: str = "o", **defines: object
) -> list[Path]:
    """C files compiled for an architecture with `-D` of `defines`; `kind` is "so" or "o"."""
    (target,) = targets_of(arch)
    macros = tuple((name, str(value)) for name, value in defines.items())
    recipe = Recipe(sources[0].stem, sources, HERE, kind=kind, cflags=("-ffreestanding", *flags), defines=macros)
    return build(recipe, find(target), Store(default_folder()))


def load(machine: Machine, files: list[Path], flash: NorFlash) -> Library:
    """The compiled updater in a machine that maps the flash, with the functions by which it is changed."""
    memory = machine.memory
    return machine.load(
        files,
        symbols={
            "flash_memory": map_flash(machine, flash),
            "flash_program": (
                lambda at, data, size: flash.program(at, memory.read(data, size)) and None,
                "void(uint32_t, const void *, uint32_t)",
            ),
            "flash_erase": (lambda at, size: flash.erase(at, size) and None, "void(uint32_t, uint32_t)"),
        },
    )


def areas(sector: int, base: int = 0) -> dict[str, tuple[int, int]]:
    """What the flash is used for, two sectors each: start and end addresses."""
    return {
        name: (base + 2 * sector * number, base + 2 * sector * (number + 1))
        for number, name in enumerate(("slot 0", "slot 1", "journal"))
    }


class Updater:
    """The updater alone, with version 1 installed."""

    areas = areas(SECTOR)

    def __init__(self, arch: str, fault: str = "SOUND") -> None:
        (target,) = targets_of(arch)
        self.flash = NorFlash([(SECTORS, SECTOR)], write_size=16)
        self.machine = Machine(target.arch, max_instructions=20_000_000)
        library = load(self.machine, compiled(arch, SOURCE, FAULT=fault), self.flash)
        self.boot, self.install = library.boot, library.install
        self.install(1, SIZE)
        self._fill_journal()
        self.start, self.on = self.flash.state(), self.machine.snapshot()

    def _fill_journal(self) -> None:
        """Install again and again, until the next record needs the journal's other sector."""
        while self.flash.read(5 * SECTOR - 16, 16) == b"\xff" * 16:
            self.install(1, SIZE)

    def recover(self) -> None:
        """What the device does after power comes back: it tries the update again if the old version is there."""
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

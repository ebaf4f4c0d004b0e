"""A device with MCUboot: its bootutil, as built by you, on an emulated CPU over a flash model."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emu import Machine, NorFlash
from emu.boards import Board, FlashMemory, PowerCuts, Ram, map_flash
from emu.build.build import build
from emu.build.compilers import find
from emu.build.recipe import Recipe
from emu.build.store import Store, default_folder
from emu.build.targets import targets_of

SOURCE = Path(__file__).with_name("flash_map.c")
PRIMARY, SECONDARY, SCRATCH = 1, 2, 3  #: identifiers of flash areas


@dataclass(frozen=True)
class Layout:
    """The flash: two slots, and scratch after them. Runs of sectors are (number, size in bytes)."""

    primary: tuple[tuple[int, int], ...] = ((32, 4096),)
    secondary: tuple[tuple[int, int], ...] = ((32, 4096),)
    scratch: tuple[tuple[int, int], ...] = ((4, 4096),)
    write_size: int = 8

    @property
    def areas(self) -> dict[int, tuple[int, int]]:
        """Offset and size by the area's identifier."""
        found, at = {}, 0
        for area, runs in ((PRIMARY, self.primary), (SECONDARY, self.secondary), (SCRATCH, self.scratch)):
            size = sum(count * each for count, each in runs)
            found[area] = at, size
            at += size
        return found


@dataclass(frozen=True)
class Upgrade:
    """What is tried: an upgrade that is kept, or `revert`: the start after one that was not confirmed. The images'
    sizes are bytes.
    """

    old: int = 40_000
    new: int = 52_000
    revert: bool = False
    layout: Layout = field(default_factory=Layout)


def image(version: int, size: int) -> bytes:
    """An image with a hash in its TLVs, and no signature."""
    body = bytes((version * 37 + i * 11 + (i >> 8)) & 0xFF for i in range(size))
    content = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, 32, 0, size, 0, version, 0, 0, 0, 0) + body
    return content + struct.pack("<HHHH", 0x6907, 40, 0x10, 32) + hashlib.sha256(content).digest()


class Device:
    """The device before the upgrade: the old image runs, the new one is in the other slot and marked as pending.

    `files` are the objects, the archive or the library of your bootutil; `board` is a CPU's name, such as
    cortex-m3, for a build that brings its own memcpy; without it the machine is one with a C library.
    """

    def __init__(self, files: Sequence[Path], upgrade: Upgrade | None = None, board: str = "") -> None:
        self.upgrade = upgrade or Upgrade()
        layout = self.upgrade.layout
        runs = (*layout.primary, *layout.secondary, *layout.scratch)
        self.flash = NorFlash(runs, base=0 if not board else 0x0800_0000, write_size=layout.write_size)
        self.machine = self._machine(files, board)
        self._load(files, board)
        self.old, self.new = image(1, self.upgrade.old), image(2, self.upgrade.new)
        for area, content in ((PRIMARY, self.old), (SECONDARY, self.new)):
            self.flash.preset(self.address(area), content)
        self._set_pending(int(not self.upgrade.revert))
        self.on = self.machine.snapshot()
        if self.upgrade.revert:
            self.boot()
            self.machine.restore(self.on)
        self.start = self.flash.state()

    @property
    def areas(self) -> dict[str, tuple[int, int]]:
        """Start and end addresses by name."""
        names = ("primary", "secondary", "scratch")
        places = ((self.flash.base + at, size) for at, size in self.upgrade.layout.areas.values())
        return {name: (start, start + size) for name, (start, size) in zip(names, places, strict=True)}

    def address(self, area: int) -> int:
        """The first address of a flash area."""
        return self.flash.base + self.upgrade.layout.areas[area][0]

    def _machine(self, files: Sequence[Path], board: str) -> Machine:
        if not board:
            machine = Machine.for_file(files[0], max_instructions=0)
            self._mapped = map_flash(machine, self.flash)
            return machine
        self._mapped = self.flash.base
        return Board(board, memory=[FlashMemory(self.flash), Ram(0x2000_0000, 256 << 10)]).machine

    def _load(self, files: Sequence[Path], board: str) -> None:
        base, flash, memory = self.flash.base, self.flash, self.machine.memory
        hooks: dict[str, tuple[Callable[..., object], str] | int] = {
            "flash_memory": self._mapped,
            "flash_program": (
                lambda at, data, size: int(flash.program(base + at, memory.read(data, size))),
                "int(uint32_t, const void *, uint32_t)",
            ),
            "flash_erase": (lambda at, size: int(flash.erase(base + at, size)), "int(uint32_t, uint32_t)"),
            "sim_assert": (self._asserted, "void(int, const char *, const char *, unsigned, const char *)"),
        }
        library = self.machine.load([_flash_map(self.machine.arch.name, board), *files], symbols=hooks)
        self._boot_go = library.function("boot_go", "int(void *)")
        self._set_pending = library.function("boot_set_pending", "int(int)")
        areas = self.upgrade.layout.areas.items()
        sectors = [(start, end - start) for start, end in flash.sectors]
        tables = {
            "flash_areas": b"".join(struct.pack("<BBHII", area, 0, 0, *place) for area, place in areas),
            "flash_sectors": b"".join(struct.pack("<II", *sector) for sector in sectors),
            "flash_area_count": struct.pack("<I", len(areas)),
            "flash_sector_count": struct.pack("<I", len(sectors)),
            "flash_write_size": struct.pack("<I", self.upgrade.layout.write_size),
        }
        for name, content in tables.items():
            memory.write(library.symbols[name].address, content)

    def _asserted(self, holds: int, text: int, *_: object) -> None:
        """MCUboot's simulator build reports its assertions here."""
        if not holds:
            raise AssertionError(f"assert({self.machine.memory.read_cstring(text).decode(errors='replace')})")

    def boot(self) -> None:
        """Start the bootloader."""
        status = self._boot_go(bytearray(32))
        assert status == 0, f"boot_go returns {status}: nothing boots"

    def check(self) -> str | None:
        """What is wrong after a start: the slots have to be swapped (or swapped back)."""
        first, second = (self.old, self.new) if self.upgrade.revert else (self.new, self.old)
        if self.flash.read(self.address(PRIMARY), len(first)) != first:
            return "the primary slot has not the image that it should"
        if self.flash.read(self.address(SECONDARY), len(second)) != second:
            return "the secondary slot has lost its image"
        return None

    def cuts(self, *, early: bool = True, **options: object) -> PowerCuts:
        """All power cuts of the upgrade; `early`: runs end where it is known how they go on."""
        self.flash.restore(self.start)
        return PowerCuts(
            [self.flash],
            update=self._upgrade,
            restart=self._restart,
            recover=self.boot,
            check=self.check,
            machine=self.machine if early else None,
            **options,  # type: ignore[arg-type]
        )

    def _restart(self) -> None:
        self.machine.restore(self.on)

    def _upgrade(self) -> None:
        self._restart()
        self.boot()

    def close(self) -> None:
        """Free the machine."""
        self.machine.close()


def power_cuts(files: Sequence[Path], upgrade: Upgrade, board: str, seeds: int) -> PowerCuts:
    """The power cuts of a new device: what each process of an exploration makes."""
    return Device(files, upgrade, board).cuts(seeds=range(seeds))


def _flash_map(arch: str, board: str) -> Path:
    """The flash map, built for the architecture."""
    (target,) = targets_of("thumb" if board.startswith("cortex-m") else arch)
    cpu = (f"-mcpu={board}", "-mfloat-abi=soft") if board else ()
    recipe = Recipe("flash_map", (SOURCE,), SOURCE.parent, kind="o", cflags=("-O2", "-ffreestanding", *cpu))
    (file,) = build(recipe, find(target), Store(default_folder()))
    return file

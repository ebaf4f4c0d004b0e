"""The device as a simulator's author writes it: board, flash, slots, power cuts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emu import FlashEvent, NorFlash
from emu.boards import Board, FlashMemory, Ram
from emu.boards.peripherals.uart import Uart
from emu.boards.peripherals.watchdog import Watchdog
from relink import HostMemory, Image, Linker, LinkScript, LoadOptions, MemoryRegion
from relink.resolve.sources import DefinedSymbols
from tests.devices.sources_update import AGENT, APP
from tests.objects.build import compiled

BASE, SECTOR = 0x0800_0000, 4096
FLAGS = ("-g", "-march=armv7m", "-mfloat-abi=soft", "-fno-asynchronous-unwind-tables")


class PowerCut(Exception):
    pass


class Device:
    def __init__(self) -> None:
        self.nor = NorFlash([(48, SECTOR)], base=BASE)
        self.uart, self.dog = Uart(), Watchdog()
        devices = {0x5000_0000: self.uart, 0x5000_1000: self.dog}
        self.board = Board("cortex-m3", memory=[FlashMemory(self.nor), Ram(0x2000_0000, 0x8000)], devices=devices)
        self.machine = self.board.machine
        self.agent = self.machine.load(compiled("thumb", AGENT, *FLAGS), symbols={
            "nor_erase": (lambda at: self.nor.erase(at, SECTOR), "int(uint32_t)"),
            "nor_write": (self.write, "int(uint32_t, const void *, uint32_t)"),
        })  # fmt: skip
        self.cold = self.machine.snapshot()

    def write(self, at: int, source: int, size: int) -> int:
        return self.nor.program(at, self.machine.memory.read(source, size))

    def power_on(self) -> int:
        """RAM is lost, flash is kept; the address of the application that boots."""
        flash = self.nor.state()
        self.machine.restore(self.cold)
        self.nor.restore(flash)
        return int(self.agent.function("boot")())

    def install(self, blob: bytes) -> Any:
        return self.agent.function("install")(blob, len(blob))

    @contextmanager
    def cut(self, number: int, seed: int | None) -> Iterator[None]:
        """Cut the power before an operation, or in the middle of it."""

        def listener(event: FlashEvent) -> None:
            if event.number == number:
                if seed is not None:
                    self.nor.tear(event, seed)
                raise PowerCut

        self.nor.before.append(listener)
        try:
            yield
        except PowerCut:
            pass
        finally:
            self.nor.before.remove(listener)


def link_for(version: int, slot: int) -> Image:
    """An application for one of the slots, with its variables in RAM."""
    flash = MemoryRegion("slot", BASE + 0x10000 * (slot + 1), 0x10000, "rx", fill=0xFF)
    rules = LinkScript.of(regions=[flash, MemoryRegion("ram", 0x2000_4000, 0x1000, "rw")])
    board = DefinedSymbols({"board_read": 0x0800_F001})
    app = compiled("thumb", APP, *FLAGS, f"-DVERSION={version}")
    return Linker(HostMemory("arm")).load(app, options=LoadOptions(script=rules, sources=[board]))

"""CPUs that start at an entry point: the profile's, or else the firmware's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.boards.errors import FirmwareError
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.boards.firmware import Firmware
    from emu.ports import Memory


class EntryPoint:
    """This part of a profile (`emu.boards.profile.Profile`)."""

    name: str
    arch: str
    entry: int | None  #: None: the firmware's
    free_ram: tuple[int, int]
    memory: Memory
    firmware_entry: int | None = None

    def check_firmware(self, firmware: Firmware) -> None:
        if firmware.arch not in (None, self.arch):
            raise FirmwareError(f"{firmware.name} is for {firmware.arch}, the board's CPU is {self.name}")

    def loaded(self, firmware: Firmware) -> None:
        self.firmware_entry = firmware.entry

    def initial_stack(self) -> int | None:
        return self.free_ram[1] or None

    def first_instruction(self) -> int:
        """The address at which the CPU starts. Raises FirmwareError when nothing says it, or nothing is there."""
        entry = self.entry if self.entry is not None else self.firmware_entry
        if entry is None:
            raise FirmwareError(f"{self.name} does not know where to start: give the profile an entry")
        try:
            self.memory.read(entry, 1)
        except AddressSpaceError:
            raise FirmwareError(f"no memory at {entry:#x}, where the CPU starts") from None
        return entry

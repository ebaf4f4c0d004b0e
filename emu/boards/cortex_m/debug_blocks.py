"""Debug blocks of the private peripheral bus (ARMv7-M ARM, C1): ITM with its output; others do nothing."""

from __future__ import annotations

from emu.boards.device import Device
from emu.boards.registers import Register


class DebugBlock(Device):
    """FPB, TPIU, ETM, the ROM table: nothing is there, but accesses do not fault."""

    reserved = "zero"


class Itm(Device):
    """The instrumentation trace macrocell: what is written to its stimulus ports is in `output`, by port."""

    reserved = "zero"
    enable = Register(0xE00)
    privilege = Register(0xE40)
    control = Register(0xE80)

    def __init__(self) -> None:
        super().__init__(name="itm")
        self.output: dict[int, bytearray] = {}

    def read(self, offset: int, size: int) -> int:
        return 1 if offset < 0x80 else super().read(offset, size)  # a port is ready

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= 0x80:
            super().write(offset, size, value)
        elif self.control & 1 and self.enable >> offset // 4 & 1:
            self.output.setdefault(offset // 4, bytearray()).extend(value.to_bytes(size, "little"))

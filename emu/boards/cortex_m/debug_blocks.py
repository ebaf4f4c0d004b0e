"""Debug blocks of the private peripheral bus (ARMv7-M ARM, C1): ITM with its output; others do nothing."""

from __future__ import annotations

from collections.abc import Mapping

from emu.boards.cortex_m.bit_band import ALIASES, BitBand
from emu.boards.cortex_m.dwt import Dwt
from emu.boards.cortex_m.model import CortexModel
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


_ITM, _DWT = 0xE000_0000, 0xE000_1000
#: Of CPUs without ITM and CYCCNT.
_SMALL_BLOCKS = {_DWT: "dwt", 0xE000_2000: "breakpoint unit", 0xE00F_F000: "rom table"}
_BLOCKS = {0xE000_2000: "fpb", 0xE004_0000: "tpiu", 0xE004_1000: "etm", 0xE00F_F000: "rom table"}


def private_devices(model: CortexModel) -> Mapping[int, Device]:
    """The devices of a CPU beside its system control space, by address."""
    blocks = _BLOCKS if model.is_mainline else _SMALL_BLOCKS
    found: dict[int, Device] = {address: DebugBlock(name=name) for address, name in blocks.items()}
    if model.is_mainline:
        found |= {_ITM: Itm(), _DWT: Dwt()}
    if model.has_bit_band:
        found |= {alias: BitBand(target) for alias, target in ALIASES.items()}
    return found

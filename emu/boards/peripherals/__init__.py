"""Devices that many boards have, also as examples of the protocol of `emu.boards.device`."""

from emu.boards.peripherals.gpio import Gpio
from emu.boards.peripherals.i2c import I2cController, I2cEeprom
from emu.boards.peripherals.rng import Rng
from emu.boards.peripherals.spi import SpiController, SpiNor
from emu.boards.peripherals.timer import Timer
from emu.boards.peripherals.uart import Uart
from emu.boards.peripherals.uart16550 import Uart16550
from emu.boards.peripherals.watchdog import Watchdog, WatchdogReset

__all__ = [
    "Gpio", "I2cController", "I2cEeprom", "Rng", "SpiController", "SpiNor", "Timer", "Uart", "Uart16550",
    "Watchdog", "WatchdogReset",
]  # fmt: skip

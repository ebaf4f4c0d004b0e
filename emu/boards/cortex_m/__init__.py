"""Arm Cortex-M: the exceptions, the interrupt controller and the system registers of Arm's M profile."""

from emu.boards.cortex_m.cortex_m import CortexM
from emu.boards.cortex_m.model import CortexModel

__all__ = ["CortexM", "CortexModel"]

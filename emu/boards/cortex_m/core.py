"""What the system registers use of their CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from emu.boards.cortex_m.faults import Faults
    from emu.boards.cortex_m.frames import Frames
    from emu.boards.cortex_m.model import CortexModel
    from emu.boards.cortex_m.nvic import Nvic
    from emu.cpu.protocol import DeviceCpu


class Core(Protocol):
    """See `emu.boards.cortex_m.cortex_m.CortexM`."""

    cortex: CortexModel
    nvic: Nvic
    frames: Frames
    faults: Faults
    cpu: DeviceCpu
    vectors: int
    resetting: bool

    def attend(self) -> None:
        """Pending exceptions or priorities have changed."""

    def pend(self, exception: int) -> None:
        """Make an exception pending."""

    def watch_instructions(self, *, divide_traps: bool | None = None, floats: bool | None = None) -> None:
        """CCR.DIV_0_TRP or CPACR has been written."""

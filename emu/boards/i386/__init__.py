"""i386 in protected mode: port I/O and the interrupt descriptor table (`emu.boards.i386.profile`)."""

from emu.boards.i386.profile import I386

__all__ = ["I386"]

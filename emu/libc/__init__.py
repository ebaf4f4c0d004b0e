"""The hosted C library: what small libraries import, in Python, for when no guest libc is loaded."""

from __future__ import annotations

from emu.libc.library import Libc
from emu.libc.streams import CaptureStream

__all__ = ["CaptureStream", "Libc"]

"""All handlers of system calls from the modules of this folder."""

from __future__ import annotations

from collections.abc import Mapping

from emu.linux.syscalls import files, memory, process, signals, waiting
from emu.linux.syscalls.kernel import REGISTERED, Handler

__all__ = ["HANDLERS", "files", "memory", "process", "signals", "waiting"]

HANDLERS: Mapping[str, Handler] = REGISTERED  #: by name; filled by importing the modules above

"""The alternate stack for signal handlers: sigaltstack(2)."""

from __future__ import annotations

from emu.libc.errno import Errno
from emu.libc.signal_frame import Stack
from emu.libc.signal_numbers import SS_AUTODISARM, SS_DISABLE, SS_ONSTACK

NO_STACK = Stack(0, SS_DISABLE, 0)


class AlternateStack:
    """The stack that sigaltstack gave. `sp`: the guest's stack pointer; `least`: MINSIGSTKSZ."""

    def __init__(self, least: int) -> None:
        self.stack = NO_STACK
        self._least = least

    def contains(self, sp: int) -> bool:
        """Whether code with this stack pointer runs on it."""
        return not self.stack.flags & SS_AUTODISARM and 0 < sp - self.stack.start <= self.stack.size

    def seen_from(self, sp: int) -> Stack:
        """The stack, with SS_ONSTACK while the guest runs on it."""
        stack = self.stack
        return stack._replace(flags=stack.flags | SS_ONSTACK) if self.contains(sp) else stack

    def set(self, sp: int, start: int, flags: int, size: int) -> Errno | None:
        """Set the stack; returns what is wrong with it."""
        mode = flags & ~SS_AUTODISARM
        if self.contains(sp):
            return Errno.EPERM
        if mode not in (0, SS_ONSTACK, SS_DISABLE):
            return Errno.EINVAL
        if mode == SS_DISABLE:
            start = size = 0
        elif size < self._least:
            return Errno.ENOMEM
        self.stack = Stack(start, flags & ~SS_ONSTACK, size)
        return None

    def is_left(self, sp: int, target: int) -> bool:
        """Whether a jump to the stack pointer `target` leaves it."""
        return self.contains(sp) and not self.contains(target)

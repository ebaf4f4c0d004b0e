"""Compiled code, compiled once more as a whole.

icicle compiles what follows an address, up to the first branch backward, as one function. Every branch that leads
elsewhere leaves the function, also a branch forward to code in it. A minute later it compiles all code anew, and
whatever branches connect becomes one function (`Vm::recompile`). That takes a quarter of the time that the parts
took, since nothing is compiled twice, and makes code with branches and calls 1.2 to 2 times as quick. A minute is
too long to wait for that; and at any time is too often, since nothing can interrupt it.

icicle has no function for it, but asks for the time by `clock_gettime`, and by nothing else. While an engine is
created and while code is to be joined, that is a clock of ours whose seconds are ticks of the processor
(`hooks/native/clock.c`). The usual clock is always before the times that icicle has noted from ours, so an
engine joins its code in a call of `join`, and at no other time. Where the clock cannot be replaced, icicle joins
code each minute.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.linkage import Linkage, address, libc, writable

_T = TypeVar("_T")

_PAGE: Final = 4096

#: icicle joins code only when it has compiled more than ten parts since it did so last. So many are compiled first
#: of all: an instruction that stops the engine at once (`break`), and one that is undefined.
_PART: Final = 0x002A_0000.to_bytes(8, "little")
_PARTS: Final = 10
#: The last part begins with instructions that use all vector registers (`vxor.v`): icicle's table of the registers
#: that a part uses grows to its largest size, on which its order depends (`emu.cpu.icicle.fixed_order`).
_LAST_PART: Final = b"".join(
    (0x7127_0000 | vector | (vector + 1) % 32 << 5 | (vector + 2) % 32 << 10).to_bytes(4, "little")
    for vector in range(0, 32, 3)
)


class Clock(NamedTuple):
    """The slot through which icicle asks for the time, and the functions that it can hold."""

    slot: ctypes.c_uint64
    usual: int
    fast: int

    def fast_during(self, call: Callable[[], _T]) -> _T:
        """Call a function while the clock is fast. (Threads that run the guest meanwhile may join their code.)"""
        try:
            self.slot.value = self.fast
            return call()
        finally:
            self.slot.value = self.usual


@functools.cache
def clock(library: str) -> Clock | None:
    """The clock of icicle's library, the file at this path; None where it cannot be replaced."""
    try:
        fast, usual = host_function("clock.fast"), address(libc(), "clock_gettime")
        slots = list(Linkage(ctypes.CDLL(library)).of_name("clock_gettime"))
        if fast is None or len(slots) != 1 or (slot := writable(slots[0])).value != usual:
            return None
    except (OSError, AttributeError, LookupError):
        return None
    return Clock(slot, usual, fast)


def prepared(create: Callable[[], Any], executable: Any, library: str) -> Any:
    """The icicle.Icicle that `create` returns, ready to join the code that it will compile."""
    if (time := clock(library)) is None:
        return create()
    raw = time.fast_during(create)
    raw.mem_map(0, _PAGE, executable)
    raw.mem_write(0, _PART * (_PARTS - 1) + _LAST_PART + _PART)
    for part in range(_PARTS):
        raw.pc, raw.icount_limit = len(_PART) * part, raw.icount + 1
        raw.run()
    raw.reset()
    return raw


def join(raw: Any, time: Clock) -> None:
    """Join the code that an engine has compiled, without running the guest."""
    raw.icount = raw.icount_limit = 0
    time.fast_during(raw.run)

"""The part of x86's floating-point state that Unicorn keeps outside registers.

- Unicorn accumulates the exceptions of SSE in a separate byte (in QEMU's `float_status`, with the bits of MXCSR),
  and never moves them to the register (unicorn 2006).
- It applies MXCSR's flush-to-zero bit to x87 only (a bug of QEMU 5).

A saved context contains these bytes. Their offset is found once per process by a test. `settle` moves the flags to
MXCSR. It is called before every instruction that reads or writes them, so reads see all flags, and writes replace
them. x87's flags are in its status word (`emu.cpu.unicorn.x87`).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from typing import Final

import numpy as np

from emu.cpu.unicorn import api
from emu.cpu.unicorn.experiment import one_page, run_bytes
from emu.cpu.unicorn.isas import ISAS
from relink.errors import MachineError

_FLAGS: Final = 0x3F  #: flags of MXCSR that are accumulated
_FLUSHED: Final = 0x80  #: the internal flag for a result flushed to zero
_UNDERFLOW_INEXACT: Final = 0x30  #: the flag in MXCSR for it
_FLUSH: Final = 0x8000  #: the flush-to-zero bit of MXCSR
_FLUSH_OFFSET: Final = 2  #: of the byte that makes SSE flush, from the flags
_CODE: Final = 0x1000
#: Code, operands in xmm0 and xmm1; then the resulting flags.
_EXPERIMENT: Final = (
    ("90", 0, 0, 0),
    ("f20f5ec1", 0x3FF0 << 48, 0, 0x04),  # divsd, 1 / 0: division by zero
    ("f20f59c1", 0x7FE0 << 48, 0x7FE0 << 48, 0x2C),  # mulsd, 2^1023 squared: overflow, inexact
    ("f20f5cc1", 0x7FF0 << 48, 0x7FF0 << 48, 0x2D),  # subsd, infinity less infinity: invalid
)


@functools.cache
def _place() -> int:
    """Find the flags' offset in a context. Raises MachineError when this version of Unicorn does not have them."""
    expected = tuple(row[-1] for row in _EXPERIMENT)
    places = [at for at, values in enumerate(zip(*_experiment(), strict=True)) if values == expected]
    if len(places) != 1:
        raise MachineError("this version of Unicorn does not show the exception flags of x86's arithmetic")
    return places[0]


def _experiment() -> Iterator[bytes]:
    """Run the test; returns the context after each step."""
    with one_page("x86_64", _CODE) as (handle, page):
        slots, context = api.RegisterSlots(ISAS["x86_64"]), api.Context(handle)
        for number, (code, first, second, _) in enumerate(_EXPERIMENT):
            content = bytes.fromhex(code)
            page[16 * number : 16 * number + len(content)] = np.frombuffer(content, np.uint8)
            for name, value in (("xmm0", first), ("xmm1", second), ("mxcsr", 0x1F80)):
                identifier, buffer, reference = slots[name]
                buffer.value = value
                api.reg_write(handle, identifier, reference)
            run_bytes(handle, _CODE + 16 * number, len(content), "run arithmetic")
            yield context.content(handle)


class FloatState:
    """The floating-point state of one engine."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        self._context: api.Context | None = None
        self._slots = api.RegisterSlots(ISAS["i386"])

    def settle(self) -> None:
        """Move the accumulated flags to MXCSR. Raises MachineError when this version of Unicorn lacks them."""
        place = _place()
        flags = self._saved()[place]
        if flags := flags & _FLAGS | (_UNDERFLOW_INEXACT if flags & _FLUSHED else 0):
            self._put({place: 0})
            identifier, buffer, reference = self._slots["mxcsr"]
            api.reg_read(self._handle, identifier, reference)
            buffer.value |= flags
            api.reg_write(self._handle, identifier, reference)

    def flush(self, mxcsr: int) -> None:
        """Make SSE flush results to zero by MXCSR."""
        place, wanted = _place() + _FLUSH_OFFSET, int(bool(mxcsr & _FLUSH))
        if self._saved()[place] != wanted:
            self._put({place: wanted})

    def _saved(self) -> bytes:
        if self._context is None:
            self._context = api.Context(self._handle)
        return self._context.content(self._handle)

    def _put(self, values: dict[int, int]) -> None:
        assert self._context is not None
        self._context.put(self._handle, values)

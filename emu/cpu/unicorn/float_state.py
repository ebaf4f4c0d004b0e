"""The part of x86's floating-point state that Unicorn keeps outside registers, or keeps wrongly.

- Unicorn accumulates exceptions in separate bytes (QEMU's `float_status`, one for x87 and one for SSE, with the
  bits of the status word and of MXCSR), and never moves them to the registers (unicorn 2006).
- It applies MXCSR's flush-to-zero bit to x87 (a bug of QEMU 5).
- x87 divisions by zero also set "zero divide" in the status word at once, wrongly for 0/0: the accumulated flag is
  right, and replaces it.

A saved context contains these bytes. Their offsets are found once per process by a test. `settle` moves the flags
to the registers. It is called before every instruction that reads or writes them, so reads see all flags, and
writes replace them.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from emu.cpu.unicorn import api
from emu.cpu.unicorn.experiment import one_page, run_bytes
from emu.cpu.unicorn.isas import ISAS
from relink.errors import MachineError

_FLAGS: Final = 0x3F  #: flags of MXCSR and the status word that are accumulated
_ZERO_DIVISION: Final = 4
_FLUSHED: Final = 0x80  #: the internal flag for an SSE result flushed to zero
_UNDERFLOW_INEXACT: Final = 0x30  #: the flag in MXCSR for it
_FLUSH: Final = 0x8000  #: the flush-to-zero bit of MXCSR
_CODE: Final = 0x1000
#: Code, operands in xmm0 and xmm1, MXCSR; then the resulting SSE flags, x87 flags, and flush-to-zero byte.
_EXPERIMENT: Final = (
    ("90", 0, 0, 0x1F80, 0, 0, 0),
    ("f20f5ec1", 0x3FF0 << 48, 0, 0x1F80, 0x04, 0, 0),  # divsd, 1 / 0: division by zero
    ("f20f59c1", 0x7FE0 << 48, 0x7FE0 << 48, 0x1F80, 0x2C, 0, 0),  # mulsd, 2^1023 squared: overflow, inexact
    ("f20f5cc1", 0x7FF0 << 48, 0x7FF0 << 48, 0x1F80, 0x2D, 0, 0),  # subsd, infinity less infinity: invalid
    ("d9e8d9ebdef9", 0, 0, 0x1F80, 0x2D, 0x20, 0),  # fld1, fldpi, fdivp: inexact
    ("d9e8d9eedef9", 0, 0, 0x1F80, 0x2D, 0x24, 0),  # fld1, fldz, fdivp: division by zero
    ("d9eed9eedef9", 0, 0, 0x9F80, 0x2D, 0x25, 1),  # fldz, fldz, fdivp: invalid
    ("90", 0, 0, 0x1F80, 0x2D, 0x25, 0),
)


class _Places(NamedTuple):
    """Offsets of these bytes in a context."""

    sse_flags: int
    sse_flush: int
    x87_flags: int
    x87_flush: int


@functools.cache
def _places() -> _Places:
    """Find the offsets. Raises MachineError when this version of Unicorn does not have them."""
    states = list(zip(*_experiment(), strict=True))
    found = []
    for expected in list(zip(*_EXPERIMENT, strict=True))[4:]:
        places = [at for at, values in enumerate(states) if values == expected]
        if len(places) != 1:
            raise MachineError("this version of Unicorn does not show the exception flags of x86's arithmetic")
        found += places
    sse_flags, x87_flags, x87_flush = found
    return _Places(sse_flags, sse_flags + x87_flush - x87_flags, x87_flags, x87_flush)


def _experiment() -> Iterator[bytes]:
    """Run the test; returns the context after each step."""
    with one_page("x86_64", _CODE) as (handle, page):
        slots, context = api.RegisterSlots(ISAS["x86_64"]), api.Context(handle)
        for number, (code, first, second, mxcsr, *_) in enumerate(_EXPERIMENT):
            content = bytes.fromhex(code)
            page[16 * number : 16 * number + len(content)] = np.frombuffer(content, np.uint8)
            for name, value in (("xmm0", first), ("xmm1", second), ("mxcsr", mxcsr), ("fpcw", 0x37F)):
                identifier, buffer, reference = slots[name]
                buffer.value = value
                api.reg_write(handle, identifier, reference)
            run_bytes(handle, _CODE + 16 * number, len(content), "run arithmetic")
            yield context.content(handle)


class FloatState:
    """The floating-point state of one engine."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        self.zero_division = False  #: the true flag in x87's status word, without accumulated ones
        self._context: api.Context | None = None
        self._slots = api.RegisterSlots(ISAS["i386"])

    def settle(self) -> None:
        """Move the accumulated flags to MXCSR and x87's status word. Raises MachineError when this version of
        Unicorn lacks them.
        """
        places = _places()
        content = self._saved()
        sse, x87 = content[places.sse_flags], content[places.x87_flags] & _FLAGS
        sse = sse & _FLAGS | (_UNDERFLOW_INEXACT if sse & _FLUSHED else 0)
        if sse or x87:
            self._put({places.sse_flags: 0, places.x87_flags: 0})
            self._raise("mxcsr", sse)
            self._raise("fpsw", x87)
        self.zero_division |= bool(x87 & _ZERO_DIVISION)
        if not self.zero_division and self._status() & _ZERO_DIVISION:
            _, buffer, reference = self._slots["fpsw"]
            buffer.value &= ~_ZERO_DIVISION
            api.reg_write(self._handle, self._slots["fpsw"][0], reference)

    def saved_zero_division(self) -> bool:
        """Before the registers are saved: whether x87's status word has the flag, which is a true one then."""
        if not self._status() & _ZERO_DIVISION:
            return False
        if not self.zero_division:
            self.settle()
        return self.zero_division

    def _status(self) -> int:
        """x87's status word, as it is."""
        identifier, buffer, reference = self._slots["fpsw"]
        api.reg_read(self._handle, identifier, reference)
        return int(buffer.value)

    def flush(self, mxcsr: int) -> None:
        """Make SSE, but not x87, flush results to zero by MXCSR."""
        places = _places()
        content, wanted = self._saved(), int(bool(mxcsr & _FLUSH))
        if (content[places.sse_flush], content[places.x87_flush]) != (wanted, 0):
            self._put({places.sse_flush: wanted, places.x87_flush: 0})

    def _saved(self) -> bytes:
        if self._context is None:
            self._context = api.Context(self._handle)
        return self._context.content(self._handle)

    def _put(self, values: dict[int, int]) -> None:
        assert self._context is not None
        self._context.put(self._handle, values)

    def _raise(self, name: str, flags: int) -> None:
        if flags:
            identifier, buffer, reference = self._slots[name]
            api.reg_read(self._handle, identifier, reference)
            buffer.value |= flags
            api.reg_write(self._handle, identifier, reference)

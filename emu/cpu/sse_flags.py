"""MXCSR's exception flags, which Unicorn accumulates outside MXCSR and does not expose (unicorn 2006).

SSE instructions add their exceptions to a byte of the engine's state (QEMU's `sse_status.float_exception_flags`,
with MXCSR's bits). No register gives access to it, but a saved context contains it. Its offset there is found once
by a test: an engine divides by zero and overflows, and the byte that shows the expected flags is the one.

`settle` moves the flags from there to MXCSR. It is called before every instruction that reads or writes MXCSR, so
reads see all flags, and writes replace them.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Final

import numpy as np

from emu.cpu import unicorn_api as api
from emu.cpu.pages import PAGE_SIZE
from emu.cpu.protocol import Protection
from emu.cpu.unicorn_isas import ISAS
from relink.errors import MachineError

_FLAGS: Final = 0x3F
_CODE: Final = 0x1000
#: Instructions on xmm0 and xmm1, their operands, and the resulting flags.
_EXPERIMENT: Final = (
    ("f20f5ec1", 0x3FF0 << 48, 0, 0x04),  # divsd, 1 / 0: division by zero
    ("f20f59c1", 0x7FE0 << 48, 0x7FE0 << 48, 0x2C),  # mulsd, 2^1023 squared: overflow, inexact
    ("f20f5cc1", 0x7FF0 << 48, 0x7FF0 << 48, 0x2D),  # subsd, infinity less infinity: invalid
)


@functools.cache
def flags_offset() -> int:
    """The offset of the flags in a context. Raises MachineError when this version of Unicorn has none."""
    isa = ISAS["x86_64"]
    handle = api.open_engine("x86_64", isa)
    room = np.zeros(2 * PAGE_SIZE, np.uint8)
    page = room[-room.ctypes.data % PAGE_SIZE :][:PAGE_SIZE]
    try:
        host = ctypes.c_void_p(page.ctypes.data)
        read_execute = api.PROTECTION[Protection.R | Protection.X]
        api.check(api.uclib.uc_mem_map_ptr(handle, _CODE, PAGE_SIZE, read_execute, host), "map memory")
        slots, context = api.register_slots(isa), api.Context(handle)
        states = [context.content(handle)]
        for number, (code, *operands, _) in enumerate(_EXPERIMENT):
            begin = _CODE + 16 * number
            page[16 * number : 16 * number + 4] = np.frombuffer(bytes.fromhex(code), np.uint8)
            for name, value in zip(("xmm0", "xmm1"), operands, strict=True):
                identifier, buffer, reference = slots[name]
                buffer.value = value
                api.reg_write(handle, identifier, reference)
            span = ctypes.c_uint64(begin), ctypes.c_uint64(begin + 4)
            api.check(api.emu_start(handle, *span, api.NO_TIMEOUT, api.NO_COUNT), "run SSE instructions")
            states.append(context.content(handle))
    finally:
        api.uclib.uc_close(handle)
    expected = (0, *(flags for *_, flags in _EXPERIMENT))
    found = [at for at, values in enumerate(zip(*states, strict=True)) if values == expected]
    if len(found) != 1:
        raise MachineError("this version of Unicorn does not expose the exception flags of SSE arithmetic")
    return found[0]


class SseFlags:
    """The flags of one engine."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        self._context: api.Context | None = None
        self._mxcsr = api.register_slots(ISAS["x86_64"])["mxcsr"]

    def settle(self) -> None:
        """Move the accumulated flags to MXCSR. Raises MachineError as `flags_offset` does."""
        offset = flags_offset()
        if self._context is None:
            self._context = api.Context(self._handle)
        flags = self._context.content(self._handle)[offset] & _FLAGS
        if not flags:
            return
        self._context.put(self._handle, offset, 0)
        identifier, buffer, reference = self._mxcsr
        api.reg_read(self._handle, identifier, reference)
        buffer.value |= flags
        api.reg_write(self._handle, identifier, reference)

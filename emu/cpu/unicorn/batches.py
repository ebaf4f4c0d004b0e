"""Arguments of `uc_reg_read_batch` and `uc_reg_write_batch`, made once for the registers of a batch."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

#: Bytes of a register -> its format in an array with 8 bytes for each. Wider ones have buffers of their own.
_FORMATS = {2: "H6x", 4: "I4x", 8: "Q"}


class Batch:
    """The arguments for one sequence of register names, and room for the values."""

    def __init__(self, slots: Sequence[tuple[int, Any, Any]], *, special: bool) -> None:
        self.special = special  #: whether one of them takes more than a call of the engine
        self.count = len(slots)
        self.numbers = (ctypes.c_int * self.count)(*(number for number, _, _ in slots))
        self._buffers = tuple(buffer for _, buffer, _ in slots)
        self._sizes = tuple(map(ctypes.sizeof, self._buffers))
        self._narrow = max(self._sizes, default=0) <= 8
        places: Iterable[int] = map(ctypes.addressof, self._buffers)
        if self._narrow:
            self._array = bytearray(8 * self.count)
            layout = struct.Struct("=" + "".join(_FORMATS[size] for size in self._sizes))
            self._unpack = layout.unpack_from
            #: Set what is to be written. Raises struct.error for values that do not fit.
            self.put: Callable[..., None] = partial(layout.pack_into, self._array, 0)
            base = ctypes.addressof(ctypes.c_char.from_buffer(self._array)) if self.count else 0
            places = (base + 8 * index for index in range(self.count))
        else:
            self.put = partial(_set_each, self._buffers)
        self.places = (ctypes.c_void_p * self.count)(*places)

    def get(self) -> list[int]:
        """The values that have been read."""
        return list(self._unpack(self._array)) if self._narrow else [buffer.value for buffer in self._buffers]

    def put_low_bits(self, *values: int) -> None:
        """Set what is to be written: the low bits of values, of which one does not fit."""
        self.put(*(value & (1 << 8 * size) - 1 for value, size in zip(values, self._sizes, strict=True)))


def _set_each(buffers: Sequence[Any], *values: int) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.value = value


class GroupData:
    """The arguments for registers of one width, in one array."""

    def __init__(self, numbers: Sequence[int], word: int) -> None:
        self.count = count = len(numbers)
        self.array = bytearray(word * count)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.array))
        self.numbers = (ctypes.c_int * count)(*numbers)
        self.places = (ctypes.c_void_p * count)(*(base + word * index for index in range(count)))
        layout = struct.Struct(f"{count}{'I' if word == 4 else 'Q'}")
        self.unpack, self.pack = layout.unpack_from, layout.pack_into

"""Changes of inputs: bits, numbers, blocks, tokens of a dictionary, parts of another input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Literal, TypeAlias

#: The ends of the ranges of integers, and what is next to them.
_INTERESTING: Final = (0, 1, 16, 32, 64, 100, 127, 128, 255, 256, 512, 1000, 1024, 4096, 32767, 32768, 65535)
_WIDE: Final = (0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_LONGEST_BLOCK: Final = 32

Order: TypeAlias = Literal["little", "big"]

_MOST_CHANGES: Final = 4  #: powers of two: up to 1, 2, 4 or 8 changes of an input


class Mutator:
    """Makes inputs of inputs, of at most `max_size` bytes. The same generator gives the same ones."""

    def __init__(self, generator: Random, dictionary: Sequence[bytes], max_size: int) -> None:
        self._random = generator.random
        self._dictionary = tuple(token for token in dictionary if token)
        self._max_size = max_size
        self._changes: list[Callable[[bytearray, bytes], None]] = [
            self._flip_bit,
            self._set_byte,
            self._add,
            self._put_number,
            self._insert,
            self._delete,
            self._duplicate,
            self._overwrite,
            self._splice,
        ]
        if self._dictionary:
            self._changes += [self._put_token, self._insert_token]

    def mutate(self, data: bytes, other: bytes) -> bytes:
        """A changed copy of `data`; `other` is an input to take parts of."""
        out = bytearray(data)
        for _ in range(1 << self._below(_MOST_CHANGES)):
            self._changes[self._below(len(self._changes))](out, other)
        del out[self._max_size :]
        return bytes(out)

    def _below(self, end: int) -> int:
        return int(self._random() * end)

    def _block(self, data: bytes | bytearray) -> bytes:
        start = self._below(len(data))
        return bytes(data[start : start + 1 + self._below(_LONGEST_BLOCK)])

    def _flip_bit(self, out: bytearray, other: bytes) -> None:
        if out:
            out[self._below(len(out))] ^= 1 << self._below(8)

    def _set_byte(self, out: bytearray, other: bytes) -> None:
        if out:
            out[self._below(len(out))] = self._below(256)

    def _add(self, out: bytearray, other: bytes) -> None:
        """Arithmetic on an integer of 1, 2, 4 or 8 bytes."""
        start, size, order = self._integer(out)
        if size:
            value = int.from_bytes(out[start : start + size], order) + self._below(71) - 35
            out[start : start + size] = (value & (1 << 8 * size) - 1).to_bytes(size, order)

    def _put_number(self, out: bytearray, other: bytes) -> None:
        start, size, order = self._integer(out)
        if size:
            numbers = _INTERESTING if size < 4 else _INTERESTING + _WIDE
            value = numbers[self._below(len(numbers))]
            value = -value if self._random() < 0.25 else value
            out[start : start + size] = (value & (1 << 8 * size) - 1).to_bytes(size, order)

    def _integer(self, out: bytearray) -> tuple[int, int, Order]:
        size = 1 << self._below(4)
        while size > len(out):
            size //= 2
        return self._below(len(out) - size + 1), size, "little" if self._random() < 0.5 else "big"

    def _insert(self, out: bytearray, other: bytes) -> None:
        at = self._below(len(out) + 1)
        count = 1 + self._below(_LONGEST_BLOCK if self._random() < 0.25 else 4)
        out[at:at] = bytes([self._below(256)]) * count

    def _delete(self, out: bytearray, other: bytes) -> None:
        if len(out) > 1:
            start = self._below(len(out))
            del out[start : start + 1 + self._below(_LONGEST_BLOCK)]

    def _duplicate(self, out: bytearray, other: bytes) -> None:
        if out:
            at = self._below(len(out) + 1)
            out[at:at] = self._block(out)

    def _overwrite(self, out: bytearray, other: bytes) -> None:
        if out:
            block = self._block(out)
            at = self._below(len(out))
            out[at : at + len(block)] = block

    def _splice(self, out: bytearray, other: bytes) -> None:
        """The beginning of this input and the end of the other, or a part of the other in this one."""
        if not other:
            return
        at = self._below(len(out) + 1)
        if self._random() < 0.5:
            out[at:] = other[self._below(len(other)) :]
        else:
            out[at:at] = self._block(other)

    def _put_token(self, out: bytearray, other: bytes) -> None:
        token = self._dictionary[self._below(len(self._dictionary))]
        at = self._below(len(out) + 1) if self._random() < 0.75 else 0
        out[at : at + len(token)] = token

    def _insert_token(self, out: bytearray, other: bytes) -> None:
        token = self._dictionary[self._below(len(self._dictionary))]
        at = self._below(len(out) + 1)
        out[at:at] = token

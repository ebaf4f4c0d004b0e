"""Bytes of a device's memory: pieces with an address, in ascending order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from relink.errors import RelinkError, printable


class ExportError(RelinkError):
    """An image cannot be written in a format, or a file of that format cannot be read.

    `name` is the image's or file's, `format` such as "hex".
    """

    def __init__(self, name: str, format: str, problem: str) -> None:
        self.name, self.format, self.problem = name, format, problem
        super().__init__(f"{printable(name)}: {format}: {printable(problem)}")


class Chunk(NamedTuple):
    """Consecutive bytes and the address where they are stored."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.address + len(self.data)


def joined(name: str, format: str, chunks: Iterable[Chunk]) -> list[Chunk]:
    """The chunks in ascending order, those that touch joined, without empty ones. Raises ExportError for chunks
    that overlap with different bytes.
    """
    runs: list[tuple[int, bytearray]] = []
    for address, data in sorted(chunk for chunk in chunks if chunk.data):
        if not runs or address > runs[-1][0] + len(runs[-1][1]):
            runs.append((address, bytearray(data)))
            continue
        start, run = runs[-1]
        at, shared = address - start, start + len(run) - address
        if run[at : at + len(data)] != data[:shared]:
            raise ExportError(name, format, f"two records have different bytes for {address:#x}")
        run += data[shared:]
    return [Chunk(address, bytes(run)) for address, run in runs]


def flat(name: str, chunks: Sequence[Chunk], fill: int, limit: int) -> bytes:
    """One range of bytes from the first chunk to the last, gaps filled. Raises ExportError for nothing, and for
    more than `limit` bytes in a gap.
    """
    if not chunks:
        raise ExportError(name, "bin", "there are no bytes to store")
    result = bytearray(chunks[0].data)
    for before, after in pairwise(chunks):
        gap = after.address - before.end
        if gap > limit:
            problem = (
                f"a gap of {gap:#x} bytes from {before.end:#x} to {after.address:#x}, the limit is {limit:#x}"
            )
            raise ExportError(name, "bin", problem)
        result += bytes([fill]) * gap + after.data
    return bytes(result)

"""`PageMap`: the mapped guest pages with their protection and host memory.

For engines that share the caller's buffers: guest memory is read and written by copying on the host.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from emu.cpu.protocol import Pages, Protection
from relink.errors import AddressSpaceError, GuestAccessError
from relink.records.tuples import NamedTuple

if TYPE_CHECKING:
    from relink.arrays import U8

PAGE_SIZE = 4096
_MOST_FOUND = 1 << 12


class Piece(NamedTuple):
    """Consecutive pages of one mapping that share their protection."""

    start: int
    end: int
    memory: memoryview  #: end - start bytes; keeps the caller's buffer alive
    protection: Protection
    translated: bool  #: is or was executable, so the engine may have translations of it


_start_of = attrgetter("start")
#: Of the values of all fields, without the cost of a call.
make_piece: Callable[[tuple[object, ...]], Piece] = partial(tuple.__new__, Piece)
#: [permissions of a page][needed permissions] -> whether they suffice; operators of enums are slow
_SUFFICE = tuple(tuple(given & needed == needed for needed in range(8)) for given in range(8))
READABLE, WRITABLE, EXECUTABLE = (
    tuple(row[needed] for row in _SUFFICE) for needed in (Protection.R, Protection.W, Protection.X)
)


def piece_of(start: int, memory: memoryview, protection: Protection) -> Piece:
    """The piece of a new mapping."""
    return make_piece((start, start + memory.nbytes, memory, protection, EXECUTABLE[protection]))


def map_each(
    map_one: Callable[[int, int, Protection, U8], None],
    regions: Sequence[tuple[int, U8, Sequence[Pages]]],
) -> None:
    """`Cpu.map_all` by `Cpu.map`."""
    for address, buffer, runs in regions:
        for offset, size, protection in runs:
            map_one(address + offset, size, protection, buffer[offset : offset + size])


class PageMap:
    """The pieces of an address space, in address order. Never overlapping."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self.found: dict[int, Piece] = {}  #: page number -> its piece, for what `at` was asked

    def add(self, address: int, memory: memoryview, protection: Protection) -> None:
        """Record a mapping. Raises AddressSpaceError if it overlaps another or is not whole pages."""
        size = memory.nbytes
        if size == 0 or (address | size) % PAGE_SIZE:
            raise AddressSpaceError("mapping is not made of whole pages", address=address, size=size)
        pieces, end = self._pieces, address + size
        index = bisect_right(pieces, address, key=_start_of)
        if (index and pieces[index - 1].end > address) or (index < len(pieces) and pieces[index].start < end):
            raise AddressSpaceError("mapping overlaps another", address=address, size=size)
        pieces.insert(index, piece_of(address, memory, protection))
        self.found.clear()

    def add_all(self, pieces: Sequence[Piece]) -> bool:
        """Record mappings, by address, if nothing lies between; False if they do not fit."""
        first, last, known = pieces[0], pieces[-1], self._pieces
        index = bisect_right(known, first.start, key=_start_of)
        if (index and known[index - 1].end > first.start) or (
            index < len(known) and known[index].start < last.end
        ):
            return False
        position = 0
        for piece in pieces:
            if not position <= piece.start < piece.end or (piece.start | piece.end) % PAGE_SIZE:
                return False
            position = piece.end
        known[index:index] = pieces
        if self.found:
            self.found.clear()
        return True

    def __iter__(self) -> Iterator[Piece]:
        """The pieces, in address order."""
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def at(self, address: int) -> Piece | None:
        """The piece that contains `address`, or None."""
        piece = self.found.get(address >> 12)
        if piece is not None:
            return piece
        index = bisect_right(self._pieces, address, key=_start_of) - 1
        if index < 0 or address >= self._pieces[index].end:
            return None
        if len(self.found) >= _MOST_FOUND:
            self.found.clear()
        self.found[address >> 12] = piece = self._pieces[index]
        return piece

    def covering(self, address: int, size: int, problem: str) -> list[tuple[Piece, int, int]]:
        """The pieces that cover [address, address + size), each with the bounds of its part.

        Raises AddressSpaceError(`problem`) if any byte is unmapped.
        """
        first = max(bisect_right(self._pieces, address, key=_start_of) - 1, 0)
        position, end = address, address + size
        found = []
        for piece in itertools.islice(self._pieces, first, None):
            if position >= end or not piece.start <= position < piece.end:
                break
            found.append((piece, position, min(piece.end, end)))
            position = piece.end
        if position < end:
            raise AddressSpaceError(problem, address=position, size=end - position)
        return found

    def extent(self, address: int, needed: Protection) -> int:
        """The number of bytes from `address` to the end of its piece if the piece allows `needed`, else 0."""
        piece = self.at(address)
        return piece.end - address if piece is not None and _SUFFICE[piece.protection][needed] else 0

    def read(self, address: int, size: int, needed: Protection = Protection.NONE) -> bytes:
        """Copy bytes out. Raises GuestAccessError if any is unmapped or does not have `needed` permissions."""
        piece = self.at(address)
        if piece is not None and address <= address + size <= piece.end and _SUFFICE[piece.protection][needed]:
            offset = address - piece.start
            return piece.memory[offset : offset + size].tobytes()  # the usual case
        if size < 0:
            raise ValueError(f"a size is not negative: {size}")
        return b"".join(
            piece.memory[low - piece.start : high - piece.start]
            for piece, low, high in self._accessible(address, size, needed, write=False)
        )

    def write(
        self, address: int, data: bytes | bytearray | memoryview, needed: Protection = Protection.NONE
    ) -> list[tuple[Piece, int, int]]:
        """Copy bytes in; return the pieces written, each with the bounds of its part.

        Raises GuestAccessError, with nothing written, if any byte is unmapped or does not have `needed`
        permissions.
        """
        piece = self.at(address)
        if piece is not None and data.__class__ is bytes and _SUFFICE[piece.protection][needed]:
            end = address + len(data)
            if address < end <= piece.end:
                piece.memory[address - piece.start : end - piece.start] = data
                return [(piece, address, end)]  # the usual case
        source = memoryview(data).cast("B")
        piece, end = self.at(address), address + len(source)
        if piece is not None and end <= piece.end and _SUFFICE[piece.protection][needed] and end > address:
            piece.memory[address - piece.start : end - piece.start] = source  # the usual case
            return [(piece, address, end)]
        written = self._accessible(address, len(source), needed, write=True)
        for piece, low, high in written:
            piece.memory[low - piece.start : high - piece.start] = source[low - address : high - address]
        return written

    def _accessible(
        self, address: int, size: int, needed: Protection, *, write: bool
    ) -> list[tuple[Piece, int, int]]:
        try:
            found = self.covering(address, size, "not mapped")
        except AddressSpaceError as error:
            position = address if error.address is None else error.address
            raise GuestAccessError(position, address + size - position, write=write) from None
        for piece, low, _ in found:
            if not _SUFFICE[piece.protection][needed]:
                raise GuestAccessError(low, address + size - low, write=write, mapped=True)
        return found

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the protection. Raises AddressSpaceError if any page is unmapped."""
        executable = bool(protection & Protection.X)
        chosen = self._isolate(address, size)
        self._pieces[chosen] = [
            piece._replace(protection=protection, translated=piece.translated or executable)
            for piece in self._pieces[chosen]
        ]

    def remove(self, address: int, size: int) -> None:
        """Remove pages and the references to their memory. Raises AddressSpaceError if any is unmapped."""
        if not self.remove_whole(address, size):
            del self._pieces[self._isolate(address, size)]

    def remove_whole(self, address: int, size: int) -> bool:
        """Remove consecutive pieces that are exactly this range, the usual case; False where they are not."""
        pieces, position, end = self._pieces, address, address + size
        first = after = bisect_left(pieces, address, key=_start_of)
        count = len(pieces)
        while position < end and after < count and pieces[after].start == position:
            position = pieces[after].end
            after += 1
        if position != end or first == after:
            return False
        if self.found:
            self.found.clear()
        del pieces[first:after]
        return True

    def _isolate(self, address: int, size: int) -> slice:
        """Split pieces at both ends of the range; return the slice of pieces for the range."""
        end = address + size
        self.found.clear()
        if size <= 0 or (address | size) % PAGE_SIZE:
            raise AddressSpaceError("range is not made of whole pages", address=address, size=size)
        affected = len(self.covering(address, size, "range is not mapped"))
        first = bisect_right(self._pieces, address, key=_start_of) - 1
        within = slice(first, first + affected)
        parts = (_cut(piece, (address, end)) for piece in self._pieces[within])
        self._pieces[within] = list(itertools.chain.from_iterable(parts))
        first = bisect_right(self._pieces, address, key=_start_of) - 1
        return slice(first, bisect_right(self._pieces, end - 1, key=_start_of))


def _cut(piece: Piece, addresses: tuple[int, int]) -> Iterator[Piece]:
    edges = [piece.start, *(a for a in addresses if piece.start < a < piece.end), piece.end]
    for low, high in itertools.pairwise(edges):
        memory = piece.memory[low - piece.start : high - piece.start]
        yield piece._replace(start=low, end=high, memory=memory)

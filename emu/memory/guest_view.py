"""Guest memory as the guest's own instructions reach it: what hosted functions and system calls work on.

Permissions count here, as they do not for a debugger or the linker. Sizes come from the guest and are believed
only once the whole range has been looked up, so nothing of a guest's size is allocated or done for a range that is
not there. What works on many bytes goes in pieces of at most `PIECE`, looks at the call's budget between them, and
touches no page behind the last byte it needs, since that page may not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from emu.cpu.protocol import Protection
from relink.errors import GuestAccessError

PIECE = 1 << 20  #: bytes worked on between two looks at the budget
_FIRST = 256  # bytes read first where the end is to be found: most strings are short
_PAGE = 4096
_ENDLESS = 1 << 64


class Accessible(Protocol):
    """What a view needs of the CPU (see `emu.cpu.protocol.Cpu`)."""

    def load(self, address: int, size: int) -> bytes: ...
    def store(self, address: int, data: bytes | bytearray | memoryview) -> None: ...
    def extent(self, address: int, needed: Protection) -> int: ...


class GuestView:
    """Reads and writes as the guest would. Whatever a page does not allow raises GuestAccessError.

    `check_budget` raises when the call under way has used up its time. Sizes are bytes.
    """

    def __init__(self, cpu: Accessible, check_budget: Callable[[], None]) -> None:
        self._cpu = cpu
        self.check_budget = check_budget
        self.read = cpu.load  #: (address, size) -> bytes: for sizes the host chooses
        self.write = cpu.store  #: (address, data)

    # ------------------------------------------------------------ words

    def read_uint(self, address: int, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self._cpu.load(address, size), "little")

    def write_uint(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`, little-endian."""
        self._cpu.store(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    # ------------------------------------------------------------ ranges

    def require(self, address: int, size: int, needed: Protection = Protection.R) -> None:
        """Raise GuestAccessError unless every byte of the range can be used so."""
        available = self.available(address, size, needed)
        if available < size:
            write = bool(needed & Protection.W)
            position = address + available
            mapped = self._cpu.extent(position, Protection.NONE) > 0
            raise GuestAccessError(position, size - available, write=write, mapped=mapped)

    def available(self, address: int, most: int, needed: Protection = Protection.R) -> int:
        """How many bytes from `address` on, of `most`, can be used so before one cannot."""
        found = 0
        while found < most and (extent := self._cpu.extent(address + found, needed)):
            found += extent
        return min(found, most)

    def pieces(self, address: int, size: int) -> Iterator[bytes]:
        """The bytes of a range, in pieces; the whole range is looked up first."""
        self.require(address, size)
        for offset in range(0, size, PIECE):
            self.check_budget()
            yield self._cpu.load(address + offset, min(PIECE, size - offset))

    def fill(self, address: int, pattern: bytes, size: int) -> None:
        """Fill a range with a pattern again and again (memset); `size` is a multiple of the pattern's."""
        self.require(address, size, Protection.W)
        step = PIECE // len(pattern) * len(pattern)
        block = pattern * (min(size, step) // len(pattern))
        for offset in range(0, size, step):
            self.check_budget()
            self._cpu.store(address + offset, block[: size - offset] if size - offset < step else block)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy a range, which may overlap itself (memmove)."""
        if size <= PIECE:
            if size:
                self._cpu.store(target, self._cpu.load(source, size))
            return
        self.require(source, size)
        self.require(target, size, Protection.W)
        offsets = range(0, size, PIECE)
        for offset in reversed(offsets) if source < target < source + size else offsets:
            self.check_budget()
            self._cpu.store(target + offset, self._cpu.load(source + offset, min(PIECE, size - offset)))

    # ------------------------------------------------------------ searches

    def ahead(self, address: int, most: int) -> Iterator[bytes]:
        """The bytes from `address` on, up to `most`, in pieces that grow and end with pages.

        For a caller that stops when it has seen what it was looking for: no page is touched before it is wanted.
        """
        wanted = _FIRST
        while most > 0:
            here = min(wanted, self._cpu.extent(address, Protection.R) or 1, most)
            if here > _PAGE - address % _PAGE:
                here -= (address + here) % _PAGE if here < most else 0
            piece = self._cpu.load(address, here)
            yield piece
            address += here
            most -= here
            if wanted < PIECE:
                wanted *= 4
            self.check_budget()

    def pairs(self, one: int, other: int, most: int) -> Iterator[tuple[bytes, bytes]]:
        """What `ahead` yields for two places at once, in pieces of equal length."""
        wanted = _FIRST
        while most > 0:
            left = (self._left(one, wanted), self._left(other, wanted))
            here = min(wanted, most, *left)
            yield self._cpu.load(one, here), self._cpu.load(other, here)
            one, other, most = one + here, other + here, most - here
            if wanted < PIECE:
                wanted *= 4
            self.check_budget()

    def _left(self, address: int, wanted: int) -> int:
        """How many bytes from `address` on may be read at once, at least one: few where few are wanted."""
        if wanted <= _PAGE:
            return _PAGE - address % _PAGE
        return self._cpu.extent(address, Protection.R) or 1

    def find(self, address: int, byte: int, most: int) -> int:
        """Offset of the first `byte` among `most`; -1 where there is none."""
        offset = 0
        for piece in self.ahead(address, most):
            found = piece.find(byte)
            if found >= 0:
                return offset + found
            offset += len(piece)
        return -1

    def until(self, address: int, byte: int, most: int) -> Iterator[bytes]:
        """The bytes from `address` on up to the first `byte`, which is left out, or `most` of them."""
        for piece in self.ahead(address, most):
            end = piece.find(byte)
            if end >= 0:
                yield piece[:end]
                return
            yield piece

    def length(self, address: int) -> int:
        """Bytes of the C string at `address`, its NUL left out."""
        return self.find(address, 0, _ENDLESS)

    def read_cstring(self, address: int, limit: int = _ENDLESS) -> bytes:
        """The C string at `address`, its NUL left out, or the first `limit` bytes of a longer one."""
        first = min(_FIRST, _PAGE - address % _PAGE, limit)
        piece = self._cpu.load(address, first)  # nearly always all of it
        end = piece.find(0)
        if end >= 0 or first == limit:
            return piece if end < 0 else piece[:end]
        return piece + b"".join(self.until(address + first, 0, limit - first))

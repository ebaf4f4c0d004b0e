"""Guest memory with the guest's permissions, for hosted functions and system calls.

- Page permissions are checked, unlike for the linker or a debugger.
- Sizes come from the guest. The whole range is checked before memory of that size is allocated or any byte is
  accessed.
- Operations on many bytes work in pieces of at most `PIECE`, check the call's budget between pieces, and access no
  page after the last byte they need, as it may be unmapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from emu.cpu.protocol import Protection
from relink.errors import GuestAccessError
from relink.records import Assigned, cached_property

PIECE = 1 << 20  #: bytes processed between two checks of the budget
_FIRST = 256  # bytes read first when searching for an end: most strings are short
_PAGE = 4096
_ENDLESS = 1 << 64


class Accessible(Protocol):
    """The part of the CPU that a view uses (see `emu.cpu.protocol.Cpu`)."""

    def load(self, address: int, size: int) -> bytes: ...
    def store(self, address: int, data: bytes | bytearray | memoryview) -> None: ...
    def extent(self, address: int, needed: Protection) -> int: ...


class GuestView(Assigned):
    """Reads and writes with the guest's permissions; a violation raises GuestAccessError.

    `check_budget` raises when the current call has exceeded its time. Sizes are in bytes.
    """

    def __init__(self, cpu: Accessible, check_budget: Callable[[], None]) -> None:
        self._cpu = cpu
        self.check_budget = check_budget

    @cached_property
    def read(self) -> Callable[[int, int], bytes]:
        """(address, size) -> bytes, for sizes chosen by the host."""
        return self._cpu.load

    @cached_property
    def write(self) -> Callable[[int, bytes | bytearray | memoryview], None]:
        """(address, data)."""
        return self._cpu.store

    # ------------------------------------------------------------ words

    def read_uint(self, address: int, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self._cpu.load(address, size), "little")

    def write_uint(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`, little-endian."""
        self._cpu.store(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    # ------------------------------------------------------------ ranges

    def require(self, address: int, size: int, needed: Protection = Protection.R) -> None:
        """Raise GuestAccessError unless every byte of the range has the permissions `needed`."""
        available = self.available(address, size, needed)
        if available < size:
            write = bool(needed & Protection.W)
            position = address + available
            mapped = self._cpu.extent(position, Protection.NONE) > 0
            raise GuestAccessError(position, size - available, write=write, mapped=mapped)

    def available(self, address: int, most: int, needed: Protection = Protection.R) -> int:
        """The number of bytes from `address` on, at most `most`, that have the permissions `needed`."""
        found = 0
        while found < most and (extent := self._cpu.extent(address + found, needed)):
            found += extent
        return min(found, most)

    def pieces(self, address: int, size: int) -> Iterator[bytes]:
        """The bytes of a range, in pieces; the whole range is checked first."""
        self.require(address, size)
        for offset in range(0, size, PIECE):
            self.check_budget()
            yield self._cpu.load(address + offset, min(PIECE, size - offset))

    def fill(self, address: int, pattern: bytes, size: int) -> None:
        """Fill a range with a repeated pattern (memset); `size` is a multiple of the pattern's size."""
        self.require(address, size, Protection.W)
        step = PIECE // len(pattern) * len(pattern)
        block = pattern * (min(size, step) // len(pattern))
        for offset in range(0, size, step):
            self.check_budget()
            self._cpu.store(address + offset, block[: size - offset] if size - offset < step else block)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy a range; source and target may overlap (memmove)."""
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
        """The bytes from `address` on, up to `most`, in growing pieces that end at page boundaries.

        For searches: a page is only accessed when the caller asks for the next piece.
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
        """`ahead` for two addresses at once, in pieces of equal length."""
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
        """The number of bytes to read at once from `address`, at least one and at most `wanted`."""
        if wanted <= _PAGE:
            return _PAGE - address % _PAGE
        return self._cpu.extent(address, Protection.R) or 1

    def find(self, address: int, byte: int, most: int) -> int:
        """The offset of the first `byte` among `most`; -1 without one."""
        offset = 0
        for piece in self.ahead(address, most):
            found = piece.find(byte)
            if found >= 0:
                return offset + found
            offset += len(piece)
        return -1

    def until(self, address: int, byte: int, most: int) -> Iterator[bytes]:
        """The bytes from `address` up to the first `byte` (excluded), or `most` bytes."""
        for piece in self.ahead(address, most):
            end = piece.find(byte)
            if end >= 0:
                yield piece[:end]
                return
            yield piece

    def length(self, address: int) -> int:
        """The length of the C string at `address`, without its NUL."""
        return self.find(address, 0, _ENDLESS)

    def read_cstring(self, address: int, limit: int = _ENDLESS) -> bytes:
        """The C string at `address` without its NUL, or the first `limit` bytes of a longer one."""
        first = min(_FIRST, _PAGE - address % _PAGE, limit)
        piece = self._cpu.load(address, first)  # nearly always the whole string
        end = piece.find(0)
        if end >= 0 or first == limit:
            return piece if end < 0 else piece[:end]
        return piece + b"".join(self.until(address + first, 0, limit - first))

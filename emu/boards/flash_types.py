"""Parts of the description of a flash memory: sector maps, operations, statuses, errors."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from relink.arrays import U8
from relink.errors import RelinkError, printable
from relink.records import dataclass

_LARGEST = 1 << 32  #: limit for the size of a device, in bytes


class FlashStatus(enum.IntEnum):
    """The outcome of an operation, as a device's status register tells it; `OK` is 0, `text` says it in words."""

    text: str

    def __new__(cls, text: str) -> FlashStatus:
        status = int.__new__(cls, len(cls.__members__))
        status._value_ = len(cls.__members__)
        status.text = text
        return status

    OK = "ok"
    OUTSIDE = "is not in the device"
    UNALIGNED = "is not a multiple of the unit of writing"
    NOT_SECTORS = "is not a number of whole sectors"
    NOT_ERASED = "would set bits that only an erase sets"
    PROGRAMMED = "has a unit that was programmed since its erase"
    CROSSES_PAGE = "crosses the end of a page"
    READ_ONLY = "is in a read-only sector"
    LOCKED = "is in a locked sector"
    BAD_BLOCK = "is in a bad block"
    WORN_OUT = "is in a sector that was erased as often as it can be"
    PAGE_ORDER = "is a page below one that was programmed since the block's erase"
    TOO_MANY_PROGRAMS = "is a page that was programmed as often as it can be since the block's erase"


class FlashError(RelinkError):
    """A flash device refused an operation; nothing was changed.

    `device` is its name, `operation` "erase", "program" or "read", `address` and `size` the range asked for, in
    bytes; `reason` is the status that a device which is not strict gives, `culprit` the address it is about.
    """

    def __init__(
        self, device: str, operation: str, address: int, size: int, reason: FlashStatus, culprit: int | None = None
    ) -> None:
        self.device, self.operation, self.address, self.size = device, operation, address, size
        self.reason = reason
        self.culprit = address if culprit is None else culprit
        at = "" if culprit in (None, address) else f", at {culprit:#x}"
        super().__init__(f"{printable(device)}: {operation} of {size:#x} bytes at {address:#x} {reason.text}{at}")


class FlashGeometryError(RelinkError):
    """A flash device cannot be made as described, a state is not one of it, or an argument has the wrong type."""

    def __init__(self, device: str, problem: str) -> None:
        self.device, self.problem = device, problem
        super().__init__(f"{printable(device)}: {problem}")


def check_whole(device: str, **values: object) -> None:
    """Raises FlashGeometryError for a value that is neither a whole number nor None."""
    check_numbers(device, **{name: value for name, value in values.items() if value is not None})


def check_numbers(device: str, **values: object) -> None:
    """Raises FlashGeometryError for a value that is no whole number."""
    for name, value in values.items():
        if not hasattr(value, "__index__"):
            raise FlashGeometryError(device, f"{name}={value!r} is no whole number")


def data_of(device: str, data: bytes | bytearray | memoryview | U8) -> bytes:
    """The data of an operation. Raises FlashGeometryError for what has no bytes, such as a str or a list."""
    if isinstance(data, bytes):
        return data
    try:
        return bytes(memoryview(data))  # type: ignore[arg-type]  # of a number `bytes` makes as many zeros
    except TypeError:
        raise FlashGeometryError(device, f"data is bytes or an array of them, not {data!r:.60}") from None


class Operation(enum.StrEnum):
    """The operations that change a device."""

    ERASE = "erase"
    PROGRAM = "program"


@dataclass(frozen=True)
class FlashEvent:
    """One operation of a device, as its listeners get it.

    `number` counts the device's operations from 1. `address` and `size` are in bytes; `data` has the bytes to
    program (empty for an erase).
    """

    device: str
    number: int
    operation: Operation
    address: int
    size: int
    data: bytes = b""

    @property
    def id(self) -> str:
        """Names the operation in another run of the same program: "nor#12:program@0x8001000+256"."""
        return f"{self.device}#{self.number}:{self.operation}@{self.address:#x}+{self.size}"

    def __str__(self) -> str:
        return self.id


class SectorMap:
    """The sectors of a device: their sizes in bytes, in the order of addresses.

    >>> SectorMap.of((4, 16 << 10), (1, 64 << 10), (7, 128 << 10)).size >> 10      # an STM32F405
    1024
    """

    def __init__(self, sizes: Iterable[int], device: str = "flash") -> None:
        self.sizes = tuple(sizes)
        if bad := [size for size in self.sizes if size <= 0]:
            raise FlashGeometryError(device, f"a sector of {bad[0]} bytes")
        self.starts = (0, *accumulate(self.sizes))  #: the offset of each sector, then the size of all
        if not self.sizes:
            raise FlashGeometryError(device, "a device without sectors")
        if self.size > _LARGEST:
            raise FlashGeometryError(device, f"{self.size:#x} bytes, the limit is {_LARGEST:#x}")

    @classmethod
    def of(cls, *runs: tuple[int, int], device: str = "flash") -> SectorMap:
        """Runs of equal sectors: (number, size in bytes) of each."""
        for run in runs:
            pair = isinstance(run, Sequence) and len(run) == 2
            if not (pair and all(hasattr(each, "__index__") for each in run)):
                raise FlashGeometryError(device, f"sectors {run!r}: give pairs (number, size in bytes)")
        if any(count < 0 or count * max(size, 1) > _LARGEST for count, size in runs):
            raise FlashGeometryError(
                device, f"sectors {runs}: more than {_LARGEST:#x} bytes, or a negative number"
            )
        return cls((size for count, size in runs for _ in range(count)), device)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def size(self) -> int:
        """The size of all sectors in bytes."""
        return self.starts[-1]

    def index(self, offset: int) -> int:
        """The number of the sector at an offset in the device."""
        return bisect_right(self.starts, offset) - 1

    def bounds(self, number: int) -> tuple[int, int]:
        """(start, end) of a sector, offsets in the device."""
        return self.starts[number], self.starts[number + 1]

    def runs(self, numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        """(start, end) of sectors in order, neighbours joined."""
        start = end = -1
        for number in numbers:
            if self.starts[number] != end:
                if end >= 0:
                    yield start, end
                start = self.starts[number]
            end = self.starts[number + 1]
        if end >= 0:
            yield start, end

    def touched(self, offset: int, size: int) -> range:
        """The numbers of the sectors that `size` bytes at `offset` are in."""
        return range(self.index(offset), self.index(offset + size - 1) + 1) if size > 0 else range(0)

    def whole(self, offset: int, size: int) -> bool:
        """Whether the range is a number of whole sectors, at least one."""
        return size > 0 and self.starts[self.index(offset)] == offset and self._is_edge(offset + size)

    def _is_edge(self, offset: int) -> bool:
        return offset == self.size or self.starts[self.index(offset)] == offset

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return map(self.bounds, range(len(self)))

"""Trap addresses, to which the guest jumps when it leaves guest code.

The trap range is unmapped, so a jump there stops the CPU with all registers unchanged. Each address in use has a
handler: Python code that returns the address at which the guest continues.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import filterfalse, islice
from operator import attrgetter
from typing import TypeAlias

from emu.errors import GuestAbort
from relink.arch import Architecture
from relink.errors import AddressSpaceError
from relink.records import dataclass
from relink.records.tuples import NamedTuple

#: Called when the guest reaches the trap; returns the address to continue at (on Arm bit 0 selects Thumb).
Handler: TypeAlias = Callable[[], int]

_RANGES = {32: (0xFE00_0000, 0x80_0000), 64: (0x3F_0000_0000, 0x1000_0000)}  #: (start, bytes) by word width


#: Number of freed traps that are not used again: a guest that calls one gets a fault, not another function.
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Trap:
    """One trap in use."""

    name: str  #: its name in backtraces
    handler: Handler
    #: Of a host function: C text or a Prototype, or a function that returns one of them; for traces.
    prototype: object = None

    def __init__(self, name: str, handler: Handler, prototype: object = None) -> None:
        # Hundreds are made in one load, of which the first ones would wait for the constructor to be compiled.
        _put_name(self, name)
        _put_handler(self, handler)
        _put_prototype(self, prototype)


_put_name, _put_handler, _put_prototype = (vars(Trap)[name].__set__ for name in ("name", "handler", "prototype"))


class _Alike(NamedTuple):
    """Traps with one handler, which is called with the text of the trap that was reached. A `Trap` object is made
    only for one that is reached or listed: a load may need hundreds that never are.
    """

    title: str  #: begins the name of each
    what: dict[int, str]  #: the text of each, by address: the symbol, say
    handler: Callable[[str], int]

    def at(self, address: int) -> Trap:
        what = self.what[address]
        return Trap(f"{self.title} {what}", partial(self.handler, what))


@dataclass(frozen=True, slots=True)
class _Block:
    """Consecutive traps with one handler, which gets the number of the trap reached."""

    start: int
    count: int
    name: Callable[[int], str]
    handler: Callable[[int], int]


_start = attrgetter("start")


def _single(trap: Trap | _Alike, address: int) -> Trap:
    return trap if isinstance(trap, Trap) else trap.at(address)


def _never_handled() -> int:
    # The return trap of the innermost call ends the run, so it is never handled.
    raise GuestAbort("the guest returned to the host from a call that is not the innermost one")


class TrapTable:
    """Allocates addresses of the trap range, at `place` (start, size) or the ISA's usual one. The first address,
    `return_address`, ends a guest call.
    """

    spacing = 16  #: bytes between traps: a multiple of every ISA's instruction alignment

    def __init__(self, arch: Architecture, place: tuple[int, int] | None = None) -> None:
        self.start: int
        self.size: int
        self.start, self.size = place or _RANGES[arch.bits]
        self.return_address: int = self.start
        self._traps: dict[int, Trap | _Alike] = {self.return_address: Trap("return to the host", _never_handled)}
        self._returns = [self.return_address]
        self._free: list[int] = []
        self._freed: dict[int, str] = {}  #: the names of those freed last, which are not used again yet
        self._places: dict[int, dict[int, None]] = {}  #: by address outside the range: where it goes when freed
        self._next: int = self.start + self.spacing
        self._blocks: list[_Block] = []  #: by address
        self._gaps: list[tuple[int, int]] = []  #: (start, count) of freed blocks
        self.changes = 0  #: number of times that traps were added or removed

    def add(self, name: str, handler: Handler, prototype: object = None, *, into: list[int] | None = None) -> int:
        """Allocate a trap and return its address, which is appended to `into` too, also where a signal handler
        raises. Raises AddressSpaceError when the range is exhausted.
        """
        trap = Trap(name, handler, prototype)
        # Without a call from here on: no signal handler comes between.
        free = self._free
        if free:
            address = free[-1]
            del free[-1]
        else:
            address = self._next
            end = address + self.spacing
            if end > self.start + self.size:
                self._end_of(1)  # raises
            self._next = end
        self.changes += 1
        self._traps[address] = trap
        if into is not None:
            into += [address]
        return address

    def add_alike(self, title: str, what: Sequence[str], handler: Callable[[str], int]) -> list[int]:
        """Add a trap for each of `what`, named `title` and that; the handler is called with it. Returns the
        addresses of the traps, in order. Raises AddressSpaceError, and adds none, when the range is exhausted.
        """
        while True:
            changes, free = self.changes, self._free
            again = min(len(free), len(what))
            kept = len(free) - again
            end = self._end_of(len(what) - again)
            addresses = [*reversed(free[kept:]), *range(self._next, end, self.spacing)]
            traps = _Alike(title, dict(zip(addresses, what, strict=True)), handler)
            added = dict.fromkeys(addresses, traps)
            if changes == self.changes:  # without a call from here on, as in `add`
                del free[kept:]
                self._next = end
                self._traps |= added
                self.changes += 1
                return addresses

    def add_at(self, address: int, name: str, handler: Handler) -> None:
        """Add a trap outside the range, at an unmapped address."""
        self.changes += 1
        self._traps[address] = Trap(name, handler)

    def add_alike_at(
        self, free: dict[int, None], title: str, what: Sequence[str], handler: Callable[[str], int]
    ) -> list[int]:
        """`add_alike` at addresses outside the range, which are unmapped: the last ones of `free`, for as many of
        `what` as it has. `remove` puts them there again.
        """
        while True:
            changes = self.changes
            unused = filterfalse(self._traps.__contains__, reversed(free))
            addresses = [*islice(unused, len(what))]
            traps = _Alike(title, dict(zip(addresses, what, strict=False)), handler)
            places, added = dict.fromkeys(addresses, free), dict.fromkeys(addresses, traps)
            if changes == self.changes:  # without a call from here on, as in `add`
                self._places |= places
                self._traps |= added
                self.changes += 1
                for address in addresses:  # where a signal handler raises, they stay in `free`, but are in use
                    del free[address]
                return addresses

    def named(self, *names: str) -> list[int]:
        """The addresses of the traps with one of these names, without those of blocks."""
        return [  # without a `Trap` for each: there may be thousands
            address
            for address, trap in self._traps.items()
            if (trap.name if isinstance(trap, Trap) else f"{trap.title} {trap.what[address]}") in names
        ]

    def exchange(self, address: int, trap: Trap) -> Trap:
        """Put another trap at an address in use, and return the one that was there."""
        self.changes += 1
        before, self._traps[address] = self._traps[address], trap
        return _single(before, address)

    def return_to(self, depth: int) -> int:
        """The trap that ends a call at a depth (from 1). Each depth has its own, so that unwinders can distinguish
        them.
        """
        while len(self._returns) < depth:
            self._returns.append(self.add("return to the host", _never_handled))
        return self._returns[depth - 1]

    def is_return(self, address: int) -> bool:
        """Whether an address ends a call."""
        return address in self._returns

    def remove(self, address: int) -> None:
        """Free a trap, unless it has been."""
        trap = self._traps.get(address)
        if trap is None:
            return
        name, in_range, free = _single(trap, address).name, address in self, self._places.get(address)
        if address in self._traps:  # without a call from here on, as in `add`
            del self._traps[address]
            if in_range:
                self._freed[address] = name
            elif free is not None:
                free[address] = None
            self.changes += 1
        while len(self._freed) > _REMEMBERED:
            oldest = next(iter(self._freed))
            if oldest in self._freed:
                del self._freed[oldest]
                self._free += [oldest]

    def freed(self, address: int) -> str | None:
        """The name of a trap that was freed not long ago: the guest may have kept its address."""
        return self._freed.get(address)

    def add_block(self, count: int, name: Callable[[int], str], handler: Callable[[int], int]) -> int:
        """Allocate `count` traps, `spacing` bytes apart, and return the address of the first.

        `name` and `handler` are called with the number of the trap in the block. Raises AddressSpaceError.
        """
        while True:
            changes, end, gaps = self.changes, self._next, self._gaps
            gap = next((gap for gap in gaps if gap[1] >= count), None)
            if gap is None:
                start, end = end, self._end_of(count)
            else:
                start = gap[0]
                rest = [(start + count * self.spacing, gap[1] - count)] if gap[1] > count else []
                gaps = [*(each for each in gaps if each is not gap), *rest]
            index = bisect_right(self._blocks, start, key=_start)
            new = [_Block(start, count, name, handler)]
            if changes == self.changes:  # without a call from here on, as in `add`
                self._next, self._gaps = end, gaps
                self._blocks[index:index] = new
                self.changes += 1
                return start

    def remove_block(self, start: int) -> None:
        """Free the block of traps that begins at `start`, unless it has been."""
        while gone := sum(block.count for block in self._blocks if block.start == start):
            changes, gaps = self.changes, list[tuple[int, int]]()
            for begin, count in sorted([*self._gaps, (start, gone)]):
                last, length = gaps[-1] if gaps else (begin, 0)
                if last + length * self.spacing == begin:
                    gaps[-1:] = [(last, length + count)]
                else:
                    gaps.append((begin, count))
            blocks = [block for block in self._blocks if block.start != start]
            if changes == self.changes:  # without a call from here on, as in `add`
                self._blocks, self._gaps = blocks, gaps
                self.changes += 1

    def _end_of(self, count: int) -> int:
        """Where so many more traps would end. Raises AddressSpaceError."""
        end = self._next + count * self.spacing
        if end > self.start + self.size:
            raise AddressSpaceError("the trap range is exhausted", address=self.start, size=self.size)
        return end

    def get(self, address: int) -> Trap | None:
        """The trap at exactly this address."""
        trap = self._traps.get(address)
        if trap is None and (found := self._in_block(address)) is not None:
            block, number = found
            return Trap(block.name(number), partial(block.handler, number))
        return None if trap is None else _single(trap, address)

    def handler(self, address: int) -> Handler | None:
        """The handler of the trap at exactly this address."""
        trap = self._traps.get(address)
        if trap is not None:
            return _single(trap, address).handler
        found = self._in_block(address)
        return None if found is None else partial(found[0].handler, found[1])

    def _in_block(self, address: int) -> tuple[_Block, int] | None:
        """The block of traps that has this address, and the trap's number in it."""
        blocks = self._blocks
        if not blocks or (index := bisect_right(blocks, address, key=_start)) == 0:
            return None
        block = blocks[index - 1]
        number, rest = divmod(address - block.start, self.spacing)
        return None if rest or number >= block.count else (block, number)

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.start + self.size

    def __len__(self) -> int:
        return len(self._traps) + sum(block.count for block in self._blocks)

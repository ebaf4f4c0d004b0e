"""An instruction Unicorn runs wrong without a word, and what comes in its stead. `emu.cpu.finders` finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Protocol

from relink.records import dataclass


class Guest(Protocol):
    """What an instruction computed here works on."""

    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...
    def load(self, address: int, size: int) -> bytes: ...
    def store(self, address: int, data: bytes) -> None: ...
    def settle_flags(self) -> None: ...
    def flush_to_zero(self, mxcsr: int) -> None: ...


class Outcome(Enum):
    """What a `Misrun` leaves to do."""

    DONE = auto()  #: nothing: the guest goes on behind the instruction
    PREPARED = auto()  #: the engine is to run the instruction now
    REFUSED = auto()


@dataclass(frozen=True)
class Misrun:
    """An instruction at `address` of `size` bytes: what `run` does comes in its stead; None: it is refused."""

    address: int
    size: int
    run: Callable[[Guest], Outcome] | None


class Finder(Protocol):
    """Finds them in code at an address, in order, up to the first that is refused; with `to_branch` no further
    than the first instruction that may lead elsewhere."""

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]: ...

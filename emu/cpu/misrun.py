"""An instruction that Unicorn executes wrongly without an error, and its replacement. Found by
`emu.cpu.corrections.finders`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias

from relink.errors import GuestAccessError
from relink.records import dataclass

INVALID: Final = 1  #: bits of MXCSR: flags, and a mode
INEXACT: Final = 0x20
DENORMALS_ARE_ZERO: Final = 0x40


class Guest(Protocol):
    """The registers and memory for an instruction that is computed here."""

    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...
    def load(self, address: int, size: int) -> bytes: ...
    def store(self, address: int, data: bytes) -> None: ...
    def settle_flags(self) -> None: ...
    def flush_to_zero(self, mxcsr: int) -> None: ...


class Outcome(Enum):
    """How the guest continues after a `Misrun`."""

    DONE = auto()  #: the instruction is done: the guest continues after it
    PREPARED = auto()  #: the engine must execute the instruction now
    UNWATCHED = auto()  #: as PREPARED; those with `inexact` are not stopped at until MXCSR is written
    REFUSED = auto()


class ClosedPage(GuestAccessError):
    """Memory of a page that is closed because memory on it is watched (`emu.cpu.engine_events`)."""


@dataclass(frozen=True)
class Then:
    """The engine must execute the instruction now; `run` corrects what it leaves."""

    run: Callable[[Guest], None]


@dataclass(frozen=True)
class Spread:
    """The corrections from here on: of this instruction, and of others of its block."""

    found: tuple[Misrun, ...]


@dataclass(frozen=True)
class SignallingNan:
    """One of two registers, of double or single precision."""

    registers: tuple[str, str]
    double: bool


@dataclass(frozen=True)
class MmxExponent:
    """That of an MMX register: not all of its bits are ones."""

    number: int


@dataclass(frozen=True)
class UpperHalf:
    """That of a register of 64 bits is not zero, and the lower half of another one is; None: whatever it is."""

    register: str
    zero: str | None


Guard: TypeAlias = SignallingNan | MmxExponent | UpperHalf


@dataclass(frozen=True)
class StackNeeds:
    """The x87 stack that a block needs: registers in `full` are not empty, those in `empty` are. 1 << 2 * n for
    st(n).
    """

    full: int
    empty: int


@dataclass(frozen=True)
class Misrun:
    """An instruction of `size` bytes at `address`. `run` replaces it; None: it is refused."""

    address: int
    size: int
    run: Callable[[Guest], Outcome | Then | Spread] | None
    corrected: bool = False  #: `run` may return `Then`
    inexact: bool = False  #: it is executed wrongly only while MXCSR's inexact flag is clear
    guard: Guard | None = None  #: it is executed wrongly only if this holds
    needs: StackNeeds | None = None  #: only if these do not hold: it stands for the block that begins there


class Finder(Protocol):
    """Finds such instructions in code at an address, in order, up to the first that is refused; with `to_branch`,
    up to the first branch. Arm: bit 0 of the address is the Thumb bit.
    """

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]: ...


def up_to_branch(find: Finder, code: bytes, address: int) -> tuple[list[Misrun], list[int]]:
    """The findings up to the first branch; and the addresses of instructions there from which nothing would
    be found, of a finder that tells them in a method of this name.
    """
    own = getattr(find, "up_to_branch", None)
    return own(code, address) if own is not None else ([*find(code, address, to_branch=True)], [])

"""The records of a signal handler's frame, as Linux lays it out on the stack of each ISA.

A frame has what `rt_sigreturn` restores: registers, the mask of blocked signals and the alternate stack. Offsets
are in bytes from the start of the frame, which is the stack pointer at the handler's entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from relink.records import dataclass, field
from relink.records.tuples import NamedTuple

INFO_SIZE = 128  #: bytes of siginfo_t


class Saved(NamedTuple):
    """A register in a frame."""

    register: str
    offset: int
    size: int
    mask: int | None = None  #: the bits that a program may change by rt_sigreturn; None for all


def saved(names: Iterable[str], offset: int, size: int, step: int = 0) -> tuple[Saved, ...]:
    """Registers of `size` bytes, every `step` bytes (or one after another)."""
    return tuple(Saved(name, offset + n * (step or size), size) for n, name in enumerate(names))


class PageFault(NamedTuple):
    """The word about a page fault that a frame has: the sum of what is so."""

    unmapped: int
    protected: int
    write: int
    fetch: int


class FaultWords(NamedTuple):
    """Where a frame says more about a fault than siginfo_t: (offset, size)."""

    address: tuple[int, int] | None
    trap: tuple[int, int] | None  #: the number of the exception
    error: tuple[int, int] | None
    page_fault: PageFault
    #: Bytes by offset that are there for faults only.
    constants: Mapping[int, bytes]


NO_FAULT_WORDS = FaultWords(None, None, None, PageFault(0, 0, 0, 0), {})


class FloatArea(NamedTuple):
    """Registers saved above the frame, with an alignment of their own; offsets are from its start."""

    size: int
    alignment: int
    lead: int  #: bytes before the aligned place, where the area starts
    pointer: int  #: the offset in the frame of the area's address
    registers: tuple[Saved, ...]
    constants: Mapping[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFrame:
    """One kind of frame. The defaults are those of the ISAs that Linux has had since its generic ucontext_t."""

    size: int
    alignment: int = 16
    skew: int = 0  #: the frame starts this many bytes below a multiple of the alignment
    number: int | None = None  #: offset of the signal's number
    info: int | None = 0  #: offset of siginfo_t
    context: int | None = INFO_SIZE  #: offset of ucontext_t
    stack: int | None  #: offset of stack_t
    mask: tuple[tuple[int, int], ...]  #: (offset, size) of the parts of the mask of blocked signals
    registers: tuple[Saved, ...]  #: `pc` is one of them
    pointers: tuple[tuple[int, int], ...] = ()  #: (offset of a word, offset that it points to)
    constants: Mapping[int, bytes] = field(default_factory=dict)
    return_at: int | None = None  #: offset of the return address; None: it is in the link register
    popped: int = 0  #: bytes that returning pops before it enters the kernel
    floats: FloatArea | None = None
    fault: FaultWords = NO_FAULT_WORDS
    call: str = "rt_sigreturn"  #: the system call that ends the handler
    return_code: bytes  #: the kernel's own code that makes it, for handlers without a restorer


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalAbi:
    """How signal handlers are entered and left."""

    frame: SignalFrame
    plain: SignalFrame | None = None  #: the frame of handlers without SA_SIGINFO, where it is another
    #: Registers of a handler's arguments, if the frame does not have them: number, siginfo_t, ucontext_t.
    arguments: tuple[str, ...]
    entry: Mapping[str, int] = field(default_factory=dict)  #: registers with a fixed value at the entry
    cleared: tuple[str, int] | None = None  #: the bits of a register that are cleared at the entry
    thumb: tuple[str, int] | None = None  #: register and bit of what is bit 0 of code addresses
    frame_record: tuple[str, int] | None = None  #: the frame pointer, and the offset of the record it points to
    least_stack: int = 2048  #: MINSIGSTKSZ
    illegal: int = 1  #: si_code of SIGILL for an undefined instruction
    trap: int = 1  #: si_code of SIGTRAP for a breakpoint
    trap_length: int = 0  #: bytes of the breakpoint instruction that the kernel has passed


def generic_context(word: int, at: int) -> tuple[int, tuple[tuple[int, int], ...], int]:
    """Offsets in the generic ucontext_t at `at`: stack_t, parts of the mask, the machine's context.

    struct ucontext: flags, link, stack_t, sigset_t with room for 1024 signals, context at a multiple of 16.
    """
    mask = at + 5 * word
    return at + 2 * word, ((mask, 8),), mask + 128 + 15 & -16


def words(values: Sequence[int], size: int) -> bytes:
    """Little-endian words."""
    return b"".join(value.to_bytes(size, "little") for value in values)

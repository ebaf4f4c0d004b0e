"""Events of a running guest, for debuggers, coverage and traces: the interface `Events` of a `Cpu`.

All of them are reported outside the engine, while the guest is stopped between two instructions, or (`record`) in
batches afterwards. So whoever receives one may read and change registers and memory, may run the guest, and may
raise. Nothing that is not asked for costs anything.

**Stops** end `Cpu.run` with one of these reasons; the next `run` continues exactly:

- BREAK: the instruction at `pc` has a breakpoint and has not run. `pass_over(pc)` before the next run from there;
  otherwise it stops again at once.
- WATCH: the instruction before has accessed watched memory: `accesses` has the details. `pc` is the next one.
- STEP: one instruction has run (`stepping`).

**Records** are arrays of what ran: blocks, instructions, new blocks, edges between blocks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from relink.arrays import U64


class Access(NamedTuple):
    """One access of watched memory by an instruction, or by a host function on the guest's behalf.

    Accesses of more than 8 bytes may be reported in parts of 8. Values are little-endian unsigned integers.
    """

    pc: int  #: the instruction; for a host function, its trap
    address: int
    size: int  #: bytes
    value: int  #: what was read, or is in memory after the write
    before: int  #: what was in memory before
    write: bool


class RawAccess(NamedTuple):
    """An access as the engine reports it."""

    address: int
    size: int
    write: bool


class Watch(NamedTuple):
    """A watched range: `size` bytes at `address`."""

    address: int
    size: int
    read: bool
    write: bool


#: Set in the sizes of `Recorded.NEW_BLOCKS`.
BEGAN, BEGAN_THUMB = 1 << 32, 1 << 33


class Recorded(enum.Enum):
    """The kinds of events that `Events.record` records, and the columns (uint64) of its arrays."""

    #: address, size: every block, each time it runs. A block that is left in the middle has the size of what ran,
    #: and the rest follows as another: all records together are the exact sequence of instructions.
    BLOCKS = enum.auto()
    #: address, size: every instruction, each time it runs.
    INSTRUCTIONS = enum.auto()
    #: address, size: each block when it first runs, and again after its code has changed. With BEGAN in the size,
    #: a run began there: the rest of the size, unless 0, is the most that ran of the block; BEGAN_THUMB: in Thumb
    #: state.
    NEW_BLOCKS = enum.auto()
    #: address of the block before (0: a run began), address, size: each pair of blocks that ran one after the
    #: other, at least once.
    EDGES = enum.auto()


Rows: TypeAlias = U64
Sink: TypeAlias = Callable[[Rows], None]


class Recording(Protocol):
    """A recording by `Events.record`."""

    def flush(self) -> None:
        """Give the sink what has been recorded since the last time."""

    def close(self) -> None:
        """Flush, and record no more. May be repeated."""


class Events(Protocol):
    """The events of one CPU. Several users share it: each adds and removes its own.

    All methods but `pass_over` and `stepping` may be called between runs only, which is also in host functions
    and whenever `run` has returned.
    """

    #: Whether the next runs stop after one instruction (STEP), which may come after a trap: the instruction that
    #: reaches a trap is reported as TRAP, and the next run as STEP before its first instruction.
    stepping: bool
    active: bool  #: whether any breakpoint, watchpoint or other event is enabled
    #: Whether `retired` counts, and `Cpu.executed` in runs without a limit too.
    counting: bool
    retired: int  #: the exact number of instructions run since `counting` was last switched on
    accesses: Sequence[Access]  #: of the last WATCH
    #: Whether BLOCKS, INSTRUCTIONS and EDGES are recorded in single steps, which is slow.
    single_steps: bool

    def add_breakpoint(self, address: int) -> None:
        """Stop before the instruction at `address` (bit 0 is ignored on Arm). Any number; each is counted, and
        goes with its last `remove_breakpoint`. Nothing needs to be mapped there. Guest memory does not change.

        Raises MachineError on hosts without stop hooks.
        """

    def remove_breakpoint(self, address: int) -> None:
        """Undo one `add_breakpoint`. Raises KeyError if there is none."""

    def add_entry(self, address: int) -> None:
        """Like `add_breakpoint`, for an address that is only reached by jumps and calls (the start of a function,
        a return address). Thousands of these cost no more than one; reached from the instruction before, it may or
        may not stop.
        """

    def remove_entry(self, address: int) -> None:
        """Undo one `add_entry`. Raises KeyError if there is none."""

    def watch(self, watch: Watch) -> None:
        """Stop after instructions that access a range of memory. Also accesses by host functions with the guest's
        permissions (`Cpu.load`, `Cpu.store`) during a call are reported, when the function has returned.

        The cost is one stop for each access of the same pages. While a page is unmapped, nothing is reported for
        it. Raises AddressSpaceError for an empty range or if any of it is not mapped.
        """

    def unwatch(self, watch: Watch) -> None:
        """Undo one `watch` of the same range. Raises KeyError if there is none."""

    def report_traps(self, more: int) -> None:
        """With 1, report each trap as a BREAK before it is a TRAP, until -1 takes that back."""

    def pass_over(self, pc: int) -> None:
        """Do not stop for the breakpoint at `pc` if the next run begins there."""

    def record(self, what: Recorded, sink: Sink, low: int = 0, high: int = (1 << 64) - 1) -> Recording:
        """Record what begins in [low, high], until `close`. `sink` gets arrays in the order of execution, now and
        then, outside the engine; it must not run the guest.

        BLOCKS and EDGES are recorded whatever the range and then filtered. On engines without hooks these and
        INSTRUCTIONS are exact but slow: the guest runs in single steps. Raises MachineError on hosts without stop
        hooks.
        """

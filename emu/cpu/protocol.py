"""`Cpu`: the interface of an emulated CPU, which each engine in this folder implements; no other room imports one.

A CPU has memory, registers by name, and `run`, which runs until an event. There are no callbacks: host code never
runs inside the engine, so it may run the guest again. `emu.cpu.events` describes the events that can be asked for:
breakpoints, watched memory, single steps, records of what ran.

A **trap** is the event that is not an error: the guest fetched an instruction from the trap range, which is
unmapped. Host functions, return addresses and lazy slots are addresses in that range (managed by `emu.run.traps`).
The CPU reports the address, with all registers unchanged.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from relink.memory.address_space import Pages, Protection
from relink.records.tuples import NamedTuple

if TYPE_CHECKING:
    from emu.cpu.events import Events
    from emu.cpu.hooks.first_call_hook import FirstCalls
    from emu.cpu.hooks.heap_hook import HeapCalls
    from emu.cpu.misrun import Finder
    from relink.arrays import U8

__all__ = [
    "EVENTS", "Cpu", "CpuContext", "DeviceCpu", "DevicePort", "NoDevice", "Pages", "Protection", "Stop",
    "StopReason",
]  # fmt: skip


class StopReason(enum.Enum):
    """Why `Cpu.run` returned. `is_fault` tells the faults of the guest."""

    TRAP = "trap"
    INSTRUCTION_LIMIT = "instruction limit reached"
    TIMEOUT = "time limit reached"
    SYSCALL = "system call"
    BREAK = "breakpoint reached"  #: this and the next two: see `emu.cpu.events`
    WATCH = "watched memory was accessed"
    STEP = "one instruction was run"
    READ_UNMAPPED = "read of unmapped memory"
    WRITE_UNMAPPED = "write to unmapped memory"
    FETCH_UNMAPPED = "execution of unmapped memory"
    READ_PROTECTED = "read of unreadable memory"
    WRITE_PROTECTED = "write to read-only memory"
    FETCH_PROTECTED = "execution of non-executable memory"
    UNALIGNED = "unaligned access"
    INVALID_INSTRUCTION = "invalid instruction"
    ARITHMETIC = "arithmetic exception"
    BREAKPOINT = "breakpoint or trap instruction"
    EXCEPTION = "unclassified CPU exception"
    STACK_EXHAUSTED = "stack exhausted: guest and host functions call each other too deeply"
    WAIT = "an instruction that waits for an interrupt"
    DEVICE = "access to a device"  #: only of a `DeviceCpu` with devices
    BLOCK = "end of a block"  #: only of a `DeviceCpu`, with `stops_at_blocks`

    is_fault: bool  #: false for a trap, a spent budget, a system call, a device and an event that was asked for


_NOT_FAULTS = frozenset(
    {
        StopReason.TRAP,
        StopReason.INSTRUCTION_LIMIT,
        StopReason.TIMEOUT,
        StopReason.SYSCALL,
        StopReason.BREAK,
        StopReason.WATCH,
        StopReason.STEP,
        StopReason.DEVICE,
        StopReason.BLOCK,
    }
)
for _reason in StopReason:
    _reason.is_fault = _reason not in _NOT_FAULTS
    type.__setattr__(StopReason, _reason.name, _reason)  # Python 3.11 finds members by a property, in Python
#: Events that were asked for.
EVENTS = frozenset({StopReason.BREAK, StopReason.WATCH, StopReason.STEP})


class Stop(NamedTuple):
    """The place and reason of a stop of the guest."""

    reason: StopReason
    #: Guest address of the instruction at fault (for TRAP: the trap address; for SYSCALL: the system-call
    #: instruction itself). Bit 0 is never set; `Cpu.read_register("pc")` on Arm carries the Thumb bit.
    pc: int
    #: The data (or fetch) address that faulted, if any.
    address: int | None = None


class CpuContext(Protocol):
    """An opaque copy of the registers, made by `Cpu.save`."""


class Cpu(Protocol):
    """One emulated hart with its memory.

    Addresses and sizes given to `map`, `protect` and `unmap` are multiples of `page_size`. Addresses are
    unsigned Python ints. Registers have the psABI's (assembler's) lower-case names, plus `pc` and `sp` on
    every ISA; vector and floating-point registers are read and written as raw unsigned bit patterns.

    One thread at a time: while one runs the guest, everything but `read` raises MachineInUse in the others. A
    Python signal handler in the running thread runs while the guest is stopped between two instructions; it may
    read everything and change memory, but `run` raises MachineInUse.
    """

    arch: str  #: canonical architecture name, as in `relink.arch`
    page_size: int  #: bytes; 4096 on every engine so far
    page_cost: int  #: bytes of host memory per used page
    shares_memory: bool  #: True: `map` uses the caller's buffer itself; False: it copies the buffer once
    #: the exact number of instructions of the last `run` with an instruction limit (or with `events.counting`)
    executed: int

    @property
    def heap_calls(self) -> HeapCalls | None:
        """malloc and free without leaving a run; None where that cannot be."""

    @property
    def first_calls(self) -> FirstCalls | None:
        """Jump slots bound inside the engine; None where that cannot be."""

    @property
    def events(self) -> Events:
        """Breakpoints, watched memory, single steps, records of what runs."""

    @property
    def native(self) -> Any:
        """The engine's own handle: a `unicorn.Uc`, an `icicle.Icicle`. docs/events.md says what may be done with
        it.
        """

    registers: tuple[str, ...]  #: the integer registers to print for a fault, pc last

    def set_trap_range(self, start: int, size: int) -> None:
        """Declare [start, start + size) the trap range. Called once, before the first `run`."""

    # -- memory --
    def map(self, address: int, size: int, protection: Protection, buffer: U8, *, zeroed: bool = False) -> None:
        """Map `buffer` (uint8, C-contiguous, `size` bytes, page-aligned on the host if `shares_memory`); `zeroed`:
        nothing has been written to it yet. The CPU keeps a reference to a shared buffer until `unmap`. Raises
        AddressSpaceError on overlap.
        """

    def map_all(self, regions: Sequence[tuple[int, U8, Sequence[Pages]]]) -> None:
        """`map` runs of pages of several regions, each with its address and buffer. What is mapped before an error
        stays.
        """

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the permissions of mapped pages."""

    def unmap(self, address: int, size: int) -> None:
        """Unmap pages and drop their translations."""

    def read(self, address: int, size: int) -> bytes:
        """Read guest memory, ignoring permissions. Raises GuestAccessError if any byte is unmapped."""

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory, ignoring permissions, and drop stale translations. Raises GuestAccessError, with
        nothing written, if any byte is unmapped.
        """

    def load(self, address: int, size: int) -> bytes:
        """Read guest memory with the guest's permissions. Raises GuestAccessError."""

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory with the guest's permissions. Raises GuestAccessError, with nothing written."""

    def extent(self, address: int, needed: Protection) -> int:
        """A number of bytes from `address` on that are mapped with at least `needed` permissions; 0 for none. It
        may be less than the real extent when the engine manages the following pages separately.
        """

    # -- registers --
    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...
    def read_registers(self, names: Sequence[str]) -> list[int]:
        """Read several registers, with one call of the engine if possible."""

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None: ...
    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None:
        """Write several registers, each named once: quick where the same names are given again and again."""

    def set_thread_pointer(self, address: int) -> None:
        """Set the ISA's thread pointer (fs/gs base, tpidr_el0, tpidruro, tp)."""

    # -- running --
    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """Run from `pc` until a trap, a fault or a limit (0: none; `timeout` in seconds).
        On Arm bit 0 of `pc` selects Thumb. Registers keep the guest's values. After any stop the CPU can run
        again; after a limit the guest continues from the stop's pc as if it had not been stopped. Python signal
        handlers run within a fraction of a second; their exceptions end the run.
        """

    def step(self, pc: int) -> Stop:
        """Run the one instruction at `pc`, breakpoint or not. The reason is INSTRUCTION_LIMIT, or another if it
        was not (only) executed: TRAP when it jumped to one, a fault, SYSCALL. Of an x86 instruction with a `rep`
        prefix one iteration runs, as on hardware.
        """

    def discontinue(self, *, outermost: bool) -> None:
        """The guest will not continue where it stopped: what the last stop has left for the next run is dropped,
        such as `Events.pass_over`. `outermost`: nor will a run that this one was nested in.
        """

    def save(self) -> CpuContext: ...
    def restore(self, context: CpuContext) -> None: ...

    # -- snapshots (see `emu.saved`) --
    def save_state(self) -> object:
        """All registers, and whatever else but memory affects the next run. Immutable."""

    def restore_state(self, state: object) -> None:
        """Restore what `save_state` returned, on the same CPU."""

    def register_values(self) -> list[int]:
        """All registers as numbers, which mean the same on every host."""

    def set_register_values(self, values: Sequence[int]) -> None:
        """Set what `register_values` returned, on any CPU of the ISA. Raises ValueError for another number of
        registers.
        """

    def take_host_writes(self) -> list[tuple[int, int]]:
        """(address, size) of the host's writes since the last call to pages that the guest could not write or may
        have executed. Recorded from the first call on; only where `shares_memory`.
        """

    def forget(self, address: int, size: int) -> None:
        """Drop translations of memory that was changed behind the CPU's back, or may have been."""

    def written(self) -> Mapping[int, bytes]:
        """Guest address -> former content of each page that has been written or unmapped since the last `settle`
        and was mapped then. Only where not `shares_memory`.
        """

    def settle(self, contents: Iterable[tuple[int, bytes]]) -> None:
        """Write the contents of mapped pages, at these addresses; notice the first write to each page from now on.
        Only where not `shares_memory`.
        """

    def close(self) -> None:
        """Free the engine. The CPU cannot be used afterwards."""


# ---------------------------------------------------------------- devices


class NoDevice(Exception):
    """Raised by a `DevicePort` for an address without a device: the access faults like one of unmapped memory."""


class Deferred(Exception):
    """Raised by a `DevicePort` for an access to be performed outside the engine: see `DeviceCpu`."""


class DevicePort(Protocol):
    """The devices behind addresses of a `DeviceCpu`.

    The methods are called inside the engine, in the middle of an instruction. They may read registers and memory,
    and raise: the exception leaves `run`, with all registers as before the instruction.
    """

    def read(self, address: int, size: int) -> int:
        """The value that the guest reads; more than `size` bytes are cut."""

    def write(self, address: int, size: int, value: int) -> None:
        """The guest writes `value`."""

    def unaligned(self, write: bool, address: int, size: int) -> None:
        """Called before the aligned parts of an unaligned access."""


class Access(NamedTuple):
    """One access of the guest to a device."""

    write: bool
    address: int
    size: int  #: bytes
    value: int  #: what was written or read


class RegisterGroup(Protocol):
    """Registers in a fixed order, all as wide as the integer registers. The program counter is without Arm's Thumb
    bit. Written in their order; one may occur several times.
    """

    def read(self) -> tuple[int, ...]: ...
    def write(self, *values: int) -> None:
        """All of them; values must fit."""


class DeviceCpu(Cpu, Protocol):
    """A CPU with memory-mapped devices. It counts instructions in every run.

    A run that a device ends (`pause`, or `Deferred`) stops with DEVICE at the instruction that made the access,
    with all registers as before it. The caller performs a deferred access and gives the value to `answer`; then
    it runs one instruction, from the stop's pc. That instruction's accesses so far are answered as before and not
    made again.
    """

    kept: tuple[object, Stop] | None  #: what a run has raised, and its exact stop; what it was if nothing ran
    stops_at_blocks: bool  #: whether runs end after each block, for code that may enable interrupts
    code_state: int  #: bit 0 of the address at which a guest continues after a stop: 1 in Thumb state

    def run_piece(self, pc: int, limit: int, timeout: float) -> Stop:
        """`run` with these limits; quick where runs are short."""

    @property
    def deferred(self) -> Access | None:
        """After a stop with DEVICE: the access that was deferred."""

    @property
    def in_access(self) -> bool:
        """Whether a method of a `DevicePort` is being called by the engine, or a `Misrun`."""

    def register_group(self, names: Sequence[str]) -> RegisterGroup:
        """For registers that are accessed often: one call of the engine, and nothing else."""

    def state_group(self, names: Sequence[str]) -> RegisterGroup:
        """A group of registers that are read after most runs. The engine reads them with the pc at each stop.
        A CPU has one such group: a later call replaces it.
        """

    def load_words(self, address: int, count: int) -> tuple[int, ...]:
        """Read up to 63 words of 32 bits as `load` does."""

    def store_words(self, address: int, *words: int) -> None:
        """Write up to 63 words of 32 bits as `store` does."""

    def count_always(self) -> object:
        """Count instructions from now on; `map_device` does it too."""

    def map_device(self, address: int, size: int, port: DevicePort) -> None:
        """Let `port` answer accesses to whole pages. Raises AddressSpaceError for overlap."""

    def inspect(self, find: Finder) -> None:
        """Have `find` look at each block of code before it first runs (see `emu.cpu.hooks.inspector`)."""

    def inspect_again(self) -> None:
        """Tell that `find` looks for something else. Not in an access."""

    def answer(self, value: int) -> None:
        """The result of the access in `deferred`."""

    def pause(self) -> None:
        """In a method of a `DevicePort` or a `Misrun` that does all of its instruction: end the run with this
        instruction.
        """

    def end_after(self, instructions: int) -> None:
        """In the same: end the run after this number of its instructions, with the current one at the earliest."""

    def run_on(self) -> None:
        """In the same, with `stops_at_blocks`: the run, and later ones, no longer end after each block."""

    def position(self) -> int:
        """In a run (a method of a `DevicePort`, a `Misrun`): the number of its instructions before this one."""

    def continue_at(self, pc: int) -> None:
        """The next run is at `pc`, with the registers as they are (Arm: in the middle of an IT block)."""


class X86Cpu(DeviceCpu, Protocol):
    """An i386 CPU in protected mode. It raises exceptions and executes IRET; the board delivers interrupts."""

    exception: int  #: the vector of the last exception or software interrupt

    def begin_protected(self) -> None:
        """Privilege level 0 and flat segments: CS is 0x08, the others 0x10."""

    def read_table(self, name: str) -> tuple[int, int, int]:
        """(selector, base, limit) of gdtr, idtr, ldtr, tr; the first two have no selector."""

    def descriptor(self, selector: int) -> bytes | None:
        """The descriptor of a segment, in the global or the local table; None: beyond its limit. Raises
        GuestAccessError for a table in no memory.
        """

    def last_exception(self) -> tuple[int, bool]:
        """The error code of the last exception, and whether it was a software interrupt. Asked at its delivery."""

    def load_segment(self, register: str, selector: int) -> None:
        """Load it and set the descriptor's accessed bit. Raises AddressSpaceError where that cannot be written."""

    def set_privilege(self, level: int) -> None:
        """Set the privilege level; SS and CS are written next."""


class SystemCpu(DeviceCpu, Protocol):
    """A CPU whose system registers the board reads and writes."""

    def read_system(self, encoding: tuple[int, int, int, int, int]) -> int:
        """An Arm system register: (op0, op1, CRn, CRm, op2), or (coprocessor, opc1, CRn, CRm, opc2)."""

    def write_system(self, encoding: tuple[int, int, int, int, int], value: int) -> None: ...

"""The emulated CPU, as the rest of `emu` sees it.

An engine is one file in this folder and implements `Cpu`; nothing above the folder imports an engine.
All the machine needs from a CPU: memory, registers by name, and *run until something happens*. There
are no callbacks: host code never runs inside the engine, so it may itself run the guest again.

The one event that is not an error is the **trap**: the guest fetched an instruction from the trap
range, addresses nothing is mapped at. Host functions, return addresses and lazy slots are addresses
in that range (`emu.run.traps` tells them apart); the CPU only reports which one was reached, with every
guest register as the guest left it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from relink.memory.address_space import Protection

__all__ = ["Cpu", "CpuContext", "Protection", "Stop", "StopReason"]


class StopReason(enum.Enum):
    """Why `Cpu.run` came back. Every member but the first four is a fault of the guest."""

    TRAP = "trap"
    INSTRUCTION_LIMIT = "instruction limit reached"
    TIMEOUT = "time limit reached"
    SYSCALL = "system call"
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

    @property
    def is_fault(self) -> bool:
        """False for a trap, a spent budget and a system call."""
        return self not in _NOT_FAULTS


_NOT_FAULTS = frozenset(
    {
        StopReason.TRAP,
        StopReason.INSTRUCTION_LIMIT,
        StopReason.TIMEOUT,
        StopReason.SYSCALL,
    }
)


class Stop(NamedTuple):
    """Where and why the guest stopped."""

    reason: StopReason
    #: Guest address of the instruction at fault (for TRAP: the trap address; for SYSCALL: the system-call
    #: instruction itself). Bit 0 is never set; `Cpu.read_register("pc")` on Arm carries the Thumb bit.
    pc: int
    #: The data (or fetch) address that faulted, where there is one.
    address: int | None = None


class CpuContext(Protocol):
    """An opaque copy of the registers, made by `Cpu.save`."""


class Cpu(Protocol):
    """One emulated hart with its memory.

    Addresses and sizes given to `map`, `protect` and `unmap` are multiples of `page_size`. Addresses are
    unsigned Python ints. Registers have the psABI's (assembler's) lower-case names, plus `pc` and `sp` on
    every ISA; vector and floating-point registers are read and written as raw unsigned bit patterns.

    One thread at a time: while one runs the guest, everything but `read` raises MachineInUse in the others. A
    signal handler that comes in between, in the thread that runs it, finds the guest stopped exactly between two
    instructions; it may look at everything and change memory, and `run` raises MachineInUse.
    """

    arch: str  #: canonical architecture name, as in `relink.arch`
    page_size: int  #: bytes; 4096 on every engine so far
    page_cost: int  #: bytes of host memory for a page that is used
    shares_memory: bool  #: True: `map` uses the caller's buffer itself; False: it copies the buffer once
    executed: int  #: how many instructions the last `run` that had an instruction limit has run, exactly
    registers: tuple[str, ...]  #: the integer registers worth printing in a fault, pc last

    def set_trap_range(self, start: int, size: int) -> None:
        """Declare [start, start + size) the trap range. Called once, before the first `run`."""

    # -- memory --
    def map(self, address: int, size: int, protection: Protection, buffer: NDArray[np.uint8]) -> None:
        """Map `buffer` (uint8, C-contiguous, `size` bytes, page-aligned on the host if `shares_memory`).

        The CPU keeps a reference to a shared buffer until `unmap`. Raises AddressSpaceError on overlap.
        """

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the permissions of mapped pages."""

    def unmap(self, address: int, size: int) -> None:
        """Unmap; translated code of these pages is dropped, so what is mapped there later is translated anew."""

    def read(self, address: int, size: int) -> bytes:
        """Read guest memory whatever its permissions. Raises GuestAccessError if any byte is unmapped."""

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory whatever its permissions, forgetting stale translations of it.

        Raises GuestAccessError, with nothing written, if any byte is unmapped.
        """

    def load(self, address: int, size: int) -> bytes:
        """Read guest memory as the guest's instructions do: permissions count. Raises GuestAccessError."""

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write as the guest's instructions do. Raises GuestAccessError, with nothing written."""

    def extent(self, address: int, needed: Protection) -> int:
        """How many bytes from `address` on are mapped with at least `needed` permissions: 0 for none; not more
        than there are, but perhaps less, where the engine keeps what follows apart."""

    # -- registers --
    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...
    def read_registers(self, names: Sequence[str]) -> list[int]:
        """Several at once: one crossing into the engine where it can."""

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None: ...
    def set_thread_pointer(self, address: int) -> None:
        """Set the ISA's thread pointer (fs/gs base, tpidr_el0, tpidruro, tp)."""

    # -- running --
    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """Run from `pc` until a trap, a fault or a limit (0: none; `timeout` in seconds).

        On Arm bit 0 of `pc` selects Thumb. Registers are left as the guest left them; after any stop the CPU
        can run again, and after a limit the guest goes on from the stop's pc as if it had not been stopped. Signal
        handlers run within a fraction of a second, however long the guest runs; what they raise ends the run.
        """

    def save(self) -> CpuContext: ...
    def restore(self, context: CpuContext) -> None: ...
    def close(self) -> None:
        """Free the engine. Using the CPU afterwards is an error."""

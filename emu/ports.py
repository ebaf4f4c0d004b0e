"""Ports: the interfaces between the parts of a machine, as protocols of a few methods.

A constructor takes a port for a part in a higher room, and where tests use a fake; for a part in a lower room it
takes the class. No part gets the whole machine: its constructor lists everything it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from relink.records.tuples import NamedTuple

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu, Protection, Stop
    from relink.arch import Architecture
    from relink.image import Image, Symbol
    from relink.linker import Policy
    from relink.memory.address_space import HostMemory, Region


class Memory(Protocol):
    """Guest memory, for example `emu.memory.guest_memory.GuestMemory`. An access to an unmapped address raises
    AddressSpaceError. Words are little-endian.
    """

    def read(self, address: int, size: int) -> bytes: ...
    def write(self, address: int, data: bytes | bytearray | memoryview) -> None: ...
    def read_uint(self, address: int, size: int) -> int:
        """The unsigned integer of `size` bytes."""

    def write_uint(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`."""

    def read_cstring(self, address: int, limit: int = 1 << 24) -> bytes:
        """The bytes up to a NUL, without it."""


class MappableMemory(Memory, Protocol):
    """Guest memory that can map more memory."""

    def map_anonymous(self, size: int, *, name: str = "") -> int:
        """Map `size` zeroed bytes, readable and writable, and return the address. Raises AddressSpaceError when
        none is free.
        """

    def unmap(self, address: int) -> None:
        """Unmap a mapping of `map_anonymous`."""

    def zero(self, address: int, size: int) -> None:
        """Fill mapped memory with zeros."""


class PageMemory(MappableMemory, Protocol):
    """Guest memory by pages, for system calls (see `emu.memory.guest_memory.GuestMemory`)."""

    @property
    def regions(self) -> Sequence[Region]: ...

    def map_anonymous(
        self,
        size: int,
        protection: Protection = ...,
        *,
        name: str = "",
        at: int | None = None,
    ) -> int: ...
    def map_over(self, address: int, size: int, protection: Protection, *, name: str = "") -> None: ...
    def unmap_pages(self, address: int, size: int) -> None: ...
    def protect_pages(self, address: int, size: int, protection: Protection) -> None: ...
    def protection(self, address: int) -> Protection | None: ...
    def region_at(self, address: int) -> Region | None: ...
    def is_free(self, address: int, size: int) -> bool: ...
    def is_mapped(self, address: int, size: int) -> bool: ...


class Registers(Protocol):
    """Registers by their psABI names, values unsigned (see `emu.cpu.protocol.Cpu`)."""

    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...
    def read_registers(self, names: Sequence[str]) -> list[int]: ...
    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None: ...
    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None: ...


class Caller(Protocol):
    """Calls of guest functions."""

    @property
    def depth(self) -> int:
        """The number of calls in progress: 0 when the guest is idle, 2 in a call from a host function."""

    def call(self, address: int, prototype: str, *args: object) -> int | float | None:
        """Call the function at a guest address and return its result. See `emu.machine.Machine.call`."""

    def check_budget(self) -> None:
        """Raise BudgetExceeded when the current call has exceeded its time."""

    def return_address(self) -> int:
        """The return address of the guest function just entered (a trap)."""


class Threads(Protocol):
    """Thread-local storage of the current thread."""

    @property
    def thread_pointer(self) -> int:
        """The value of its thread pointer."""

    def block(self, image: Image) -> int:
        """The guest address of its block for an image. Raises GuestAbort when no memory is left."""


class Allocator(Protocol):
    """C's allocator on guest memory; 0 is NULL."""

    def malloc(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...


class LoadHooks(Protocol):
    """Notifications from the loader about loads and unloads."""

    def variable_moved(self, name: str, address: int) -> None:
        """The host variable of that name now has another guest address: in an executable that copied it (COPY
        relocation), or its own again.
        """

    def code_removed(self, exists: Callable[[int], bool]) -> None:
        """Images were unloaded; `exists` tells whether a guest address still has code."""

    def image_replaced(self, old: Image, new: Image) -> None:
        """A new version of an image has taken its place."""

    def load_failed(self, images: Sequence[Image]) -> None:
        """A load is being rolled back whose images may have run code."""

    def finish(self) -> None:
        """The machine is being closed: run exit handlers, before the destructors of the images."""


class Execution(Protocol):
    """Runs the guest: a CPU, or a CPU with interrupts and devices around it."""

    @property
    def executed(self) -> int:
        """The exact number of instructions of the last `run` with a limit."""

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """See `emu.cpu.protocol.Cpu.run`."""


class Layout(NamedTuple):
    """Where a machine's own memory lies, (start, size) each; None: where machines have it. What its code is."""

    traps: tuple[int, int] | None = None  #: unmapped addresses
    window: tuple[int, int] | None = None  #: images, the heap and all other memory of the machine's
    stack: tuple[int, int] | None = None  #: the stack of calls
    code_bits: int = 0  #: those of `Architecture.code_address_bits` that are set in every function pointer


class System(LoadHooks, Protocol):
    """The part of the operating system that the parts of a machine use (see `emu.personality.Personality`)."""

    def policy(self, arch: Architecture) -> Policy:
        """SONAMEs of libraries that the system provides: always, or when no file is found."""

    def cpu(self, arch: Architecture) -> Cpu:
        """The machine's CPU. Called once, first."""

    def execution(self, cpu: Cpu) -> Execution:
        """The `Execution` that runs the guest on it. Called once."""

    def map_memory(self, memory: HostMemory) -> None:
        """Map memory that is to be there before all else. Called once."""

    @property
    def layout(self) -> Layout:
        """Where the machine's own memory lies."""

    @property
    def arguments(self) -> Sequence[str]:
        """argv for constructors."""

    @property
    def environment(self) -> Mapping[str, str]:
        """envp for constructors."""

    def syscall(self, pc: int) -> int:
        """Perform the system call of the instruction at `pc`; return the guest address to continue at (on Arm, bit
        0: Thumb).

        Exceptions propagate to the caller that runs the guest.
        """

    def pinned_addresses(self) -> Collection[int]:
        """Guest addresses that keep their images loaded."""


class Handle(Protocol):
    """A user's handle on a symbol: `emu.handles.Function` or `emu.handles.Variable`."""

    @property
    def symbol(self) -> Symbol: ...
    @property
    def address(self) -> int:
        """The guest address; for an ifunc that of the function its resolver chose."""


class Saved(Protocol):
    """An object that saves itself in snapshots (`emu.saved`), in place of having all its attributes saved.

    For objects whose state is large, or outside their attributes. All other objects of project classes, and of
    classes derived from them, are saved without any method.
    """

    def save_state(self) -> object:
        """The present state, which must not change after this. The same object as last time when nothing has
        changed since: it is called for every snapshot and every restore, so it must be quick then.
        """

    def restore_state(self, state: object) -> None:
        """Return to what `save_state` returned."""


class Callbacks(Protocol):
    """Guest addresses that stand for Python functions."""

    def callback(self, function: Callable[..., object], prototype: object) -> int:
        """A new one, that runs `function` as one of this `emu.calls.types.Prototype`."""

    def remove(self, traps: Iterable[int]) -> None:
        """Free some: the guest must not call them any more."""


class Lent(Protocol):
    """The copies of a call's Python objects in the guest (see `emu.calls.buffers.Buffers`)."""

    depth: int  #: of the call

    def finish(self, *, copy_back: bool) -> None:
        """Copy writable ones back if wanted, and free them. A second call frees what the first has not."""


class Guest(Protocol):
    """The parts of a guest through which arguments and results pass (see `emu.run.runner.Runner`)."""

    @property
    def cpu(self) -> Registers: ...
    @property
    def memory(self) -> Memory: ...
    @property
    def heap(self) -> Allocator: ...
    @property
    def callbacks(self) -> Callbacks: ...
    @property
    def depth(self) -> int:
        """The number of calls in progress."""

    @property
    def lent(self) -> list[Lent]:
        """The copies of Python objects for these calls, innermost last. The caller of a function finishes them."""


class HostGuest(Guest, Protocol):
    """`Guest` as host functions are run on it."""

    in_host: bool  #: whether a host function is running, which may call the guest
    between_instructions: bool  #: whether such a call preserves all registers

    def return_address(self) -> int:
        """The return address of the guest function just entered (a trap)."""

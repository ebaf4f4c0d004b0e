"""Ports: the interfaces between the parts of a machine, as protocols of a few methods.

A constructor takes a port for a part in a room above its own, and where tests pass a fake; for a part in a room
below it takes that part's class. No part is given the whole machine: its constructor lists everything it can
reach.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from emu.cpu.protocol import Protection
    from relink.arch import Architecture
    from relink.image import Image, Symbol
    from relink.linker import Policy
    from relink.memory.address_space import Region


class Memory(Protocol):
    """Guest memory. Every access that touches an unmapped address raises AddressSpaceError.

    Words are little-endian. `emu.memory.guest_memory.GuestMemory` is one.
    """

    def read(self, address: int, size: int) -> bytes: ...
    def write(self, address: int, data: bytes | bytearray | memoryview) -> None: ...
    def read_uint(self, address: int, size: int) -> int:
        """The unsigned integer of `size` bytes."""

    def write_uint(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`."""

    def read_cstring(self, address: int, limit: int = 1 << 24) -> bytes:
        """The bytes up to a NUL, which is left out."""


class MappableMemory(Memory, Protocol):
    """Guest memory that can be asked for more."""

    def map_anonymous(self, size: int, *, name: str = "") -> int:
        """The address of `size` zeroed bytes, readable and writable. Raises AddressSpaceError without room."""

    def unmap(self, address: int) -> None:
        """Unmap what `map_anonymous` returned."""

    def zero(self, address: int, size: int) -> None:
        """Fill mapped memory with zeros."""


class PageMemory(MappableMemory, Protocol):
    """Guest memory page by page, as a kernel keeps it (see `emu.memory.guest_memory.GuestMemory`)."""

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


class Caller(Protocol):
    """Calls of guest functions."""

    @property
    def depth(self) -> int:
        """How many calls are under way: 0 when the guest is idle, 2 in a call out of a host function."""

    def call(self, address: int, prototype: str, *args: object) -> int | float | None:
        """Call the function at a guest address and return its result. See `emu.machine.Machine.call`."""

    def check_budget(self) -> None:
        """Raise BudgetExceeded where the call under way has used up its time."""

    def return_address(self) -> int:
        """Where the guest function that has just been entered (a trap) will return to."""


class Threads(Protocol):
    """Thread-local storage of the thread in use."""

    @property
    def thread_pointer(self) -> int:
        """The guest address its thread pointer holds."""

    def block(self, image: Image) -> int:
        """The guest address of its block of an image. Raises GuestAbort without memory for one."""


class Allocator(Protocol):
    """C's allocator on guest memory; 0 is NULL."""

    def malloc(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...


class LoadHooks(Protocol):
    """Notifications from the loader about loads and unloads."""

    def variable_moved(self, name: str, address: int) -> None:
        """The host's variable of that name now lies at another guest address: in an executable that has copied it
        (COPY relocation), or back in its own place."""

    def code_removed(self, exists: Callable[[int], bool]) -> None:
        """Images were unloaded; `exists` says whether there is still code at a guest address."""

    def load_failed(self, images: Sequence[Image]) -> None:
        """A load is rolled back, after its images may have run code."""

    def finish(self) -> None:
        """The machine is being closed: run exit handlers, before the destructors of the images."""


class System(LoadHooks, Protocol):
    """The operating system as the parts of a machine use it (see `emu.personality.Personality`)."""

    def policy(self, arch: Architecture) -> Policy:
        """SONAMEs the system answers for itself: always, or where no file is found."""

    @property
    def arguments(self) -> Sequence[str]:
        """What constructors receive as argv."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What constructors receive as envp."""

    def syscall(self, pc: int) -> int:
        """Do what the system-call instruction at `pc` asks; the guest address to go on at (on Arm, bit 0: Thumb).

        Exceptions propagate to the caller that runs the guest.
        """

    def pinned_addresses(self) -> Collection[int]:
        """Guest addresses that keep their images loaded."""


class Handle(Protocol):
    """A user's handle on a symbol: `emu.library.Function` or `emu.library.Variable`."""

    @property
    def symbol(self) -> Symbol: ...
    @property
    def address(self) -> int:
        """The guest address; of an ifunc that of the function its resolver chose."""


class Callbacks(Protocol):
    """Guest addresses that stand for Python functions."""

    def callback(self, function: Callable[..., object], prototype: object) -> int:
        """A new one, that runs `function` as one of this `emu.calls.types.Prototype`."""

    def remove(self, traps: Iterable[int]) -> None:
        """Free some: the guest must not call them any more."""


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


class HostGuest(Guest, Protocol):
    """The same, for what runs host functions."""

    in_host: bool  #: whether a host function runs, out of which the guest may be called

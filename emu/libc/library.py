"""`Libc`: the hosted C library of one machine: its state, and the lookup of its symbols.

The functions are in the family files, listed in `emu.libc.table`. A family with state declares a class and calls
`libc.state(ThatClass)`, which creates one instance per machine on first use.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from emu.errors import GuestAbort
from emu.host.functions import HostFunction
from emu.isa.registry import ISAS
from emu.libc.streams import CaptureStream
from emu.memory.limit import MemoryLimit
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.libc import table
    from emu.libc.errno import Errno
    from emu.libc.guest import Program
    from emu.load.ldso import DynamicLoader
    from emu.memory.guest_view import GuestView
    from emu.memory.heap import Heap
    from emu.ports import Caller, PageMemory, Registers, Threads
    from emu.run.traps import TrapTable
    from relink.arch import Architecture

_S = TypeVar("_S")
_PAGE = 4096


@dataclass
class Engine:
    """The parts of a machine that the delivery of signals needs."""

    cpu: Cpu
    traps: TrapTable


class Libc:
    """The C library that is used when no guest libc is loaded.

    - `clock`: returns nanoseconds since the Unix epoch (use a constant or a counter for reproducible runs);
    - `files`: the guest's whole file system, path -> contents, changed in place as the guest writes; the host's
      disk is never used;
    - `stdin`: the content of standard input, or a function that returns at most the given number of bytes (none at
      the end);
    - `stdout`, `stderr`: capture the guest's output.
    """

    def __init__(
        self,
        arch: Architecture,
        memory: GuestView,
        mappings: PageMemory,
        registers: Registers,
        heap: Heap,
        caller: Caller,
        threads: Threads,
        *,
        dynamic: Callable[[], DynamicLoader] | None = None,
        clock: Callable[[], int] = time.time_ns,
        environment: Mapping[str, str] | None = None,
        files: dict[str, bytes | bytearray] | None = None,
        stdin: bytes | Callable[[int], bytes] = b"",
        limit: MemoryLimit | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.arch, self.registers, self.heap = arch, registers, heap
        self.isa = ISAS[arch.name]
        self.memory = memory  #: guest memory with the guest's permissions
        self.mappings = mappings  #: allocates guest memory
        self.check_budget = caller.check_budget  #: called regularly by long operations
        self._caller, self._threads, self._dynamic = caller, threads, dynamic
        self.engine = engine  #: where there is a machine
        self.word = arch.word_size  #: size of a pointer, a long and a size_t in bytes
        self._clock = clock
        self.slept = 0  #: nanoseconds that the guest has slept or waited, which takes no time on the host
        self.environment = dict(environment or {})  #: the initial contents of `environ`
        self.files: dict[str, bytes | bytearray] = {} if files is None else files
        self.stdin = stdin
        #: Performs a system call by number; returns its result or negative errno. None without a kernel.
        self.system_call: Callable[[int, Sequence[int]], int] | None = None
        self.program: Program | None = None  #: the running program, if any
        self.limit = limit or MemoryLimit()  #: the account for files and output
        self.stdout = CaptureStream(self.limit)
        self.stderr = CaptureStream(self.limit)
        self.at_start: list[Callable[[], None]] = []  #: called when a program starts
        self.signals_pending = False  #: whether a signal waits to be delivered (`emu.libc.signal_delivery`)
        self._states: dict[Callable[[Libc], object], object] = {}
        self._bound: dict[str, HostFunction | None] = {}
        self._variables: dict[table.DataExport, int] = {}
        self._sizes: dict[table.DataExport, int] = {}
        self._page = self._page_end = 0

    # ---------------------------------------------------------------- for the linker

    def lookup(self, name: str) -> HostFunction | int | None:
        """The definition of the symbol `name` (without version): a function, the address of a variable, or
        None.
        """
        from emu.libc import table

        return (self.function(name) or self.data_symbol(name)) if table.knows(name) else None

    def function(self, name: str) -> HostFunction | None:
        """The exported function, bound to this library."""
        if name not in self._bound:
            from emu.libc import table

            row = table.find(name, self.isa)
            self._bound[name] = (
                None
                if not isinstance(row, table.Export)
                else HostFunction(functools.partial(row.call, self), row.prototype)
            )
        return self._bound[name]

    def data_symbol(self, name: str) -> int | None:
        """The address of the exported variable, which is created in guest memory on first use."""
        from emu.libc import table

        row = table.find(name, self.isa)
        if not isinstance(row, table.DataExport):
            return None
        if row not in self._variables:
            content = row.initial(self)
            self._sizes[row] = len(content)
            self._variables[row] = self.allocate(len(content))
            self.memory.write(self._variables[row], content)
        return self._variables[row]

    def variable_size(self, name: str) -> int:
        """The size in bytes of the exported variable at `data_symbol(name)`."""
        from emu.libc import table

        row = table.find(name, self.isa)
        return self._sizes.get(row, 0) if isinstance(row, table.DataExport) else 0

    def place_variable(self, name: str, address: int) -> None:
        """Set the address of the exported variable: an executable has copied it (COPY relocation)."""
        from emu.libc import table

        row = table.find(name, self.isa)
        if isinstance(row, table.DataExport):
            self._variables[row] = address

    @property
    def symbols(self) -> Mapping[str, HostFunction]:
        """All functions for this ISA, by name; each is bound on access."""
        return _Symbols(self)

    # ---------------------------------------------------------------- for the families

    @property
    def thread_pointer(self) -> int:
        """The current thread's thread pointer."""
        return self._threads.thread_pointer

    @property
    def call_depth(self) -> int:
        """The number of guest calls in progress, including nested ones."""
        return self._caller.depth

    @property
    def dynamic(self) -> DynamicLoader:
        """The dynamic linker for the dl* functions. Raises GuestAbort without one."""
        if self._dynamic is None:
            raise GuestAbort("the guest called a dl* function, but this machine has no dynamic linker")
        return self._dynamic()

    def state(self, kind: Callable[[Libc], _S]) -> _S:
        """The machine's instance of a family's state class."""
        if kind not in self._states:
            self._states[kind] = kind(self)
        return self._states[kind]  # type: ignore[return-value]

    @property
    def is_untouched(self) -> bool:
        """Whether no function of it has left anything behind."""
        return not self._states

    def allocate(self, size: int) -> int:
        """Allocate zeroed guest memory for the library's variables, 16-byte aligned, never freed."""
        size = (size + 15) & -16 or 16
        if self._page + size > self._page_end:
            extent = (size + _PAGE - 1) & -_PAGE
            self._page = self.mappings.map_anonymous(extent, name="[libc]")
            self._page_end = self._page + extent
        self._page += size
        return self._page - size

    @property
    def clock(self) -> Callable[[], int]:
        """The guest's time in nanoseconds since the Unix epoch: the time of the clock given, plus `slept`.

        It can be set to another clock.
        """
        return self._now

    @clock.setter
    def clock(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def _now(self) -> int:
        return self._clock() + self.slept

    @functools.cached_property
    def errno_address(self) -> int:
        return self.allocate(4)

    @property
    def errno(self) -> int:
        return self.memory.read_uint(self.errno_address, 4)

    @errno.setter
    def errno(self, value: int) -> None:
        self.memory.write_uint(self.errno_address, 4, value)

    def fail(self, error: Errno, result: int = -1) -> int:
        """Set errno and return `result`."""
        self.errno = error
        return result

    def pointer(self, address: int) -> int:
        """The pointer stored at `address`."""
        return self.memory.read_uint(address, self.word)

    def set_pointer(self, address: int, value: int) -> None:
        self.memory.write_uint(address, self.word, value & self.arch.address_mask)

    def string(self, address: int) -> bytes:
        """The C string at `address`, without its NUL."""
        return self.memory.read_cstring(address)

    def bounded_string(self, address: int, limit: int) -> bytes:
        """At most `limit` bytes of the string at `address`; pages after its NUL or the limit are not accessed."""
        return self.memory.read_cstring(address, limit)

    def beginning(self, address: int, enough: int = 256) -> tuple[bytes, bool]:
        """Up to `enough` bytes of the string at `address`, and whether that is the whole string.

        For functions that usually need only the start of a text that may be long.
        """
        start = self.bounded_string(address, enough)
        return start, len(start) < enough

    def put_string(self, address: int, text: bytes) -> None:
        self.memory.write(address, text + b"\0")

    def new_string(self, text: bytes) -> int:
        """A heap copy of `text` with its NUL, or 0 with ENOMEM."""
        address = self.heap.malloc(len(text) + 1)
        if not address:
            from emu.libc.errno import Errno

            return self.fail(Errno.ENOMEM, 0)
        self.put_string(address, text)
        return address

    def call(self, address: int, prototype: str, *args: int | float) -> int | float | None:
        """Call a guest function."""
        return self._caller.call(address, prototype, *args)

    def call_int(self, address: int, prototype: str, *args: int) -> int:
        """Call a guest function whose result is an integer."""
        result = self._caller.call(address, prototype, *args)
        if not isinstance(result, int):
            raise GuestAbort(f"the function at {address:#x} returned {result!r} instead of an integer")
        return result


class _Symbols(Mapping[str, HostFunction]):
    def __init__(self, libc: Libc) -> None:
        self._libc = libc

    def __getitem__(self, name: str) -> HostFunction:
        found = self._libc.function(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        from emu.libc import table

        return (row.name for row in table.functions(self._libc.isa))

    def __len__(self) -> int:
        return sum(1 for _ in self)

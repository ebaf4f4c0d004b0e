"""Linux's system calls, as far as programs without special requirements use them.

The CPU stops at the instruction that enters the kernel. `SystemCalls.answer` reads the number and arguments
(`emu.linux.syscalls.table`), works on guest memory, the hosted C library's file system (never the host's disk) and
its clock, and continues after the instruction.

There is one process with one thread. Its signals are those it sends itself (`emu.libc.signal_delivery`). An
unknown system call returns ENOSYS, and is counted in `SystemCalls.unknown`.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from emu.errors import Restart
from emu.host.guard import typed_error
from emu.isa.registry import ISAS
from emu.libc.errno import Errno
from emu.libc.filesystem import PATH_MAX, FileError
from emu.linux.syscalls.table import names
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.libc.library import Libc
    from emu.libc.signal_delivery import Signals
    from emu.memory.guest_memory import GuestMemory
    from emu.memory.guest_view import GuestView
    from relink.image import Image

#: A handler: takes the kernel and one word per parameter, returns the result; FileError carries an errno.
Handler = Callable[..., int]

_ENDS_OF_HANDLERS = ("rt_sigreturn", "sigreturn")
_MOST_UNKNOWN = 1024  #: limit for distinct unknown calls that are counted

REGISTERED: dict[str, Handler] = {}  #: by name, filled as modules are imported


def call(*called: str) -> Callable[[Handler], Handler]:
    """Register a handler under its names in the table."""

    def add(handler: Handler) -> Handler:
        REGISTERED.update(dict.fromkeys(called, handler))
        return handler

    return add


class SystemCalls:
    """One machine's kernel."""

    def __init__(
        self,
        memory: GuestView,
        mappings: GuestMemory,
        cpu: Cpu,
        libc: Libc,
        handlers: Callable[[], Mapping[str, Handler]],
    ) -> None:
        self.memory = memory  #: guest memory with the guest's permissions
        self.mappings = mappings  #: guest memory by pages, for mmap and similar calls
        self.cpu, self.libc = cpu, libc
        self.arch = mappings.architecture
        self.isa = ISAS[self.arch.name]
        self.abi = self.isa.kernel
        self.word = self.arch.word_size
        self.unknown: Counter[str] = Counter()  #: calls that returned ENOSYS: name or number -> count
        self.program_name = b""  #: target of /proc/self/exe
        self.break_start = self.break_end = 0  #: the program break: [start, end) is its heap
        self.image: Image | None = None  #: image of the program
        self._handlers = handlers
        self._names = names(self.arch.name)
        self._registers = (self.abi.number, *self.abi.arguments)

    def begin(self, program_name: bytes, image: Image | None) -> None:
        """Reset the program break and signals for a program that starts."""
        self.program_name, self.image = program_name, image
        self.break_start = self.break_end = 0
        for reset in self.libc.at_start:
            reset()

    def end(self) -> None:
        """Forget the program: its load has failed."""
        self.image = None

    @property
    def signals(self) -> Signals:
        from emu.libc.signal_delivery import Signals

        return self.libc.state(Signals)

    def answer(self, pc: int) -> int:
        """Perform the system call of the instruction at `pc`; return the address to continue at.

        Raises GuestExit, GuestAbort.
        """
        cpu, libc = self.cpu, self.libc
        number, *words = cpu.read_registers(self._registers)
        name = self.name_of(number)
        if name in _ENDS_OF_HANDLERS:
            return self.signals.returned(name)
        state = cpu.read_register("pc") & 1 if self.arch.code_address_bits else 0
        after = pc + self.isa.instruction_set(state).system_call
        try:
            result = self.perform(name, words)
            cpu.write_register(self.abi.result, result & self.arch.address_mask)
        except Restart:
            after = pc
        return self.signals.deliver(after | state) if libc.signals_pending else after | state

    def name_of(self, number: int) -> str:
        """The name of a system call of this ISA, "system call NUMBER" if it is not known."""
        number &= 0xFFFF_FFFF
        return self._names.get(number, f"system call {number}")

    def perform(self, name: str, words: Sequence[int]) -> int:
        """Perform the system call `name` with these argument words; return its result or negative errno.

        Raises GuestExit, GuestAbort, and Restart for a call to be made again after a signal handler.
        """
        handler = self._handlers().get(name)
        if handler is None:
            if name in self.unknown or len(self.unknown) < _MOST_UNKNOWN:
                self.unknown[name] += 1
            return -Errno.ENOSYS
        try:
            return handler(self, *words[: _arity(handler)])
        except FileError as error:
            return -error.errno
        except Restart:
            raise
        except AddressSpaceError:
            return -Errno.EFAULT
        except Exception as error:
            typed = typed_error(f"system call {name}", error)
            if typed is error:
                raise
            raise typed from error

    # ------------------------------------------------------------ words and memory

    def signed(self, value: int, size: int | None = None) -> int:
        """A word (or its low `size` bytes) as a signed number."""
        bits = 8 * (size or self.word)
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value

    def wide(self, low: int, high: int) -> int:
        """A signed 64-bit argument from two registers of a 32-bit ISA."""
        return self.signed(low | high << 32, 8)

    def put(self, address: int, *values: int, size: int | None = None) -> None:
        """Words of `size` bytes, one after another."""
        size = size or self.word
        data = b"".join((value & (1 << 8 * size) - 1).to_bytes(size, "little") for value in values)
        self.memory.write(address, data)

    def get(self, address: int, size: int | None = None) -> int:
        return self.memory.read_uint(address, size or self.word)

    def path(self, address: int) -> bytes:
        text = self.memory.read_cstring(address, PATH_MAX)
        if len(text) == PATH_MAX:
            raise FileError(Errno.ENAMETOOLONG)
        return text


_arities: dict[Handler, int] = {}


def _arity(handler: Handler) -> int:
    """The number of a handler's arguments besides the kernel."""
    if handler not in _arities:
        _arities[handler] = len(inspect.signature(handler).parameters) - 1
    return _arities[handler]

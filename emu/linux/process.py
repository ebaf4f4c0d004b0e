"""A program as a process: its initial stack and registers, and its run from entry to exit.

    process = machine.start("hello", ["hello", "world"], {"HOME": "/"})
    process.run()                                                   # its exit status

Who does what:

- This file, like a kernel, puts argc, argv, envp and the auxiliary vector on the stack (gABI and each psABI,
  "Process Initialization"; Linux, fs/binfmt_elf.c, `create_elf_tables`).
- The linker and the loader, like ld.so, link the libraries and run their constructors.
- The program's C library runs the program's constructors (`__libc_start_main`); a static program relocates itself
  too.
"""

from __future__ import annotations

import enum
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from emu.errors import CallAbandoned, GuestExit
from emu.isa.registry import ISAS
from emu.libc.lifecycle import drop_handlers
from relink.elf.constants import FileType
from relink.errors import MachineError, UnsupportedElf
from relink.load.plan import constructors
from relink.memory.address_space import PAGE
from relink.memory.rollback import Rollback
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.host.symbols import HostSymbols
    from emu.isa.convention import CallingConvention
    from emu.libc.library import Libc
    from emu.linux.syscalls.kernel import SystemCalls
    from emu.load.initialisers import Initialisers
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.stack import Stack
    from emu.run.threads import Threads
    from emu.run.traps import TrapTable
    from relink.image import Image
    from relink.load.plan import Plan

_ALIGNMENT = 16  #: alignment of sp at the entry point, on all seven ISAs
_RANDOM_SIZE = 16
_CLOCK_TICKS = 100
_USER = 1000
#: Seed of AT_RANDOM, constant so that runs are reproducible.
_SEED = 0x5EED


class Aux(enum.IntEnum):
    """Types of the auxiliary vector (Linux, include/uapi/linux/auxvec.h)."""

    NULL = 0
    PHDR = 3
    PHENT = 4
    PHNUM = 5
    PAGESZ = 6
    BASE = 7
    FLAGS = 8
    ENTRY = 9
    UID = 11
    EUID = 12
    GID = 13
    EGID = 14
    PLATFORM = 15
    HWCAP = 16
    CLKTCK = 17
    SECURE = 23
    RANDOM = 25
    HWCAP2 = 26
    EXECFN = 31


@dataclass(frozen=True)
class InitialStack:
    """The contents of a new process's stack. `sp` is the guest address of argc."""

    sp: int
    content: bytes  #: from `sp` up
    argv: int
    envp: int
    auxv: Mapping[int, int]  #: the auxiliary vector without AT_NULL


def initial_stack(
    top: int,
    word: int,
    arguments: Sequence[bytes],
    environment: Sequence[bytes],
    auxv: Mapping[int, int],
    strings: Mapping[int, bytes],
) -> InitialStack:
    """Build the stack of a new process below `top`; `word` is in bytes.

    `strings` are entries of the auxiliary vector that point to bytes (NULs included) on the stack.
    """
    address = top
    placed: dict[int, int] = {}
    texts: list[tuple[int, bytes]] = []

    def push(data: bytes) -> int:
        nonlocal address
        address -= len(data)
        texts.append((address, data))
        return address

    for kind, data in strings.items():
        placed[kind] = push(data)
    envp = [push(text + b"\0") for text in reversed(environment)][::-1]
    argv = [push(text + b"\0") for text in reversed(arguments)][::-1]
    vector = {**auxv, **placed}
    words = [len(argv), *argv, 0, *envp, 0]
    words += [number for entry in vector.items() for number in entry] + [Aux.NULL, 0]
    sp = (address - word * len(words)) & -_ALIGNMENT
    content = bytearray(top - sp)
    for place, data in texts:
        content[place - sp : place - sp + len(data)] = data
    table = b"".join((number & (1 << 8 * word) - 1).to_bytes(word, "little") for number in words)
    content[: len(table)] = table
    first = sp + word
    return InitialStack(sp, bytes(content), first, first + word * (len(argv) + 1), vector)


def _absolute(program: Image) -> str:
    """The absolute path of the program, for AT_EXECFN and /proc/self/exe."""
    path = program.decoded.path
    return (
        os.path.abspath(path)
        if path is not None
        else program.name
        if program.name[:1] == "/"
        else f"/{program.name}"
    )


class Process:
    """A loaded program that can be run once. Made by `Machine.start`."""

    def __init__(
        self,
        program: object,
        arguments: Sequence[str] | None,
        environment: Mapping[str, str],
        *,
        convention: CallingConvention,
        memory: GuestMemory,
        stack: Stack,
        traps: TrapTable,
        runner: Runner,
        threads: Threads,
        host_symbols: HostSymbols,
        initialisers: Initialisers,
        finalise: Callable[[], None],
        libc: Libc,
        kernel: SystemCalls,
    ) -> None:
        if isinstance(arguments, str):
            raise TypeError(f"arguments={arguments!r} is one text: give a list, the program's name first")
        if not isinstance(environment, Mapping):
            raise TypeError(f"environment={environment!r} is no table: give {{name: value}}")
        called = os.fspath(program) if isinstance(program, (str, os.PathLike)) else "program"
        self._convention, self._memory, self._libc, self._kernel = convention, memory, libc, kernel
        self._traps, self._runner, self._threads = traps, runner, threads
        self._host_symbols, self._initialisers, self._finalise = host_symbols, initialisers, finalise
        self._guest_stack = stack
        self.arguments = tuple([str(called)] if arguments is None else map(os.fsdecode, arguments))
        self.environment = dict(environment)
        self._libc_before = libc.environment, libc.program
        libc.environment, libc.program = dict(environment), self
        self.stack: InitialStack | None = None
        self.status: int | None = None  #: exit status; None before it has exited
        self._plan: Plan | None = None
        self._stack_before = stack.top, stack.constructor_arguments
        self._started = False
        self._finisher = 0

    @property
    def image(self) -> Image:
        """The program's image."""
        assert self._plan is not None
        return self._plan.root

    @property
    def entry(self) -> int:
        """The guest address of its entry point (e_entry)."""
        return self.image.address_of(self.image.decoded.header.entry)

    @property
    def auxv(self) -> Mapping[int, int]:
        """The auxiliary vector (see `Aux`)."""
        assert self.stack is not None
        return self.stack.auxv

    # ------------------------------------------------------------ made ready

    def prepare(self, plan: Plan, undo: Rollback) -> None:
        """Build the stack, after the program's memory has been mapped and before any code runs."""
        self._plan = plan
        arch = self._memory.architecture
        texts = [text.encode("utf-8", "surrogateescape") for text in self.arguments]
        pairs = (f"{name}={value}" for name, value in self.environment.items())
        environment = [text.encode("utf-8", "surrogateescape") for text in pairs]
        strings: dict[int, bytes] = {
            Aux.EXECFN: _absolute(self.image).encode("utf-8", "surrogateescape") + b"\0",
            Aux.RANDOM: random.Random(_SEED).randbytes(_RANDOM_SIZE),
        }
        if arch.platform:
            strings[Aux.PLATFORM] = arch.platform.encode() + b"\0"
        if self.image not in plan.images:
            raise MachineError(f"{self.image.name}: is already loaded; a program must be started from its file")
        header = self.image.decoded.header
        if header.type == FileType.REL or not (header.entry or self.image.decoded.is_executable):
            raise UnsupportedElf(self.image.name, "has no entry point: load it and call its functions")
        stack = self._guest_stack
        top = stack.top
        self.stack = initial_stack(top, arch.word_size, texts, environment, self._vector(), strings)
        if self.stack.sp < stack.bottom + PAGE:
            raise MachineError(f"{self.image.name}: its arguments do not fit {top - stack.bottom} bytes of stack")
        self._memory.write(self.stack.sp, self.stack.content)
        undo.callback(stack.occupy, *self._stack_before)
        stack.occupy(self.stack.sp & -stack.ALIGNMENT, (len(texts), self.stack.argv, self.stack.envp))
        undo.callback(self._kernel.end)
        self._kernel.begin(strings[Aux.EXECFN][:-1], self.image)

    def abandon(self) -> None:
        """Restore the C library's program data after a failed load."""
        self._libc.environment, self._libc.program = self._libc_before

    def _vector(self) -> dict[int, int]:
        """The auxiliary vector in the kernel's order, without the entries that point to the stack."""
        start, header = ISAS[self._memory.architecture.name].start, self.image.decoded.header
        vector: dict[int, int] = {Aux.HWCAP: start.hwcap, Aux.PAGESZ: PAGE, Aux.CLKTCK: _CLOCK_TICKS}
        if (headers := self._program_headers()) is not None:
            vector[Aux.PHDR] = headers
        vector |= {
            Aux.PHENT: header.layout.program_header.size,
            Aux.PHNUM: len(self.image.decoded.program_headers),
            Aux.BASE: 0,
            Aux.FLAGS: 0,
            Aux.ENTRY: self.entry,
            Aux.UID: _USER,
            Aux.EUID: _USER,
            Aux.GID: _USER,
            Aux.EGID: _USER,
            Aux.SECURE: 0,
            Aux.HWCAP2: start.hwcap2,
        }
        return vector

    def _program_headers(self) -> int | None:
        """The guest address of the program headers; None when no segment contains them."""
        offset = self.image.decoded.header.phoff
        for segment in self.image.decoded.segments:
            if segment.offset <= offset < segment.offset + segment.filesz:
                return self.image.address_of(segment.vaddr + offset - segment.offset)
        return None

    # ------------------------------------------------------------ run

    def run(self, *, max_instructions: int | None = None, timeout: float | None = None) -> int:
        """Run the program until it exits; return its exit status. Limits are as in `Machine.call`.

        Raises GuestFault, GuestAbort, BudgetExceeded, and exceptions of host functions; MachineError for a second
        run.
        """
        if self._started:
            raise MachineError(f"{self.image.name}: a process can be run only once")
        self.image.check_open()
        assert self.stack is not None
        self._started = True
        isa, arguments = ISAS[self._memory.architecture.name], self._convention.integer_arguments
        registers = dict.fromkeys((*arguments, isa.frame_pointer, isa.start.exit_function), 0)
        registers["sp"] = self.stack.sp
        assert self._plan is not None
        if not self._plan.relocates_itself(self.image):
            registers[isa.start.exit_function] = self.finisher
        try:
            self._runner.run_program(self.entry, registers, max_instructions, timeout)
        except GuestExit as done:
            self._end()
            self.status = done.status & 0xFF
            return self.status
        except CallAbandoned:  # the state is that of a snapshot again, and has nothing of this run
            raise
        except BaseException:
            self._end()
            raise
        raise AssertionError("the program returned from its entry point")

    @property
    def finisher(self) -> int:
        """The guest address of `_dl_fini`, which a program calls at exit to run destructors."""
        if not self._finisher:
            self._finisher = self._host_symbols.define("_dl_fini", (self.finish, "void(void)"))
        return self._finisher

    def run_constructors(self, init: int) -> None:
        """Run the program's constructors, as `__libc_start_main` does before main.

        `init` is its argument: `__libc_csu_init` with glibc before 2.34, `_init` (DT_INIT only) with musl, or 0.
        """
        image = self.image
        if init and init != image.address_of(image.decoded.init or 0):
            self._initialisers.run_constructor(image, "init", init)
            return
        for which, address in constructors(image):
            self._initialisers.run_constructor(image, which, address)

    def finish(self) -> None:
        """Run the destructors of the program and its libraries, dependents first, as at the end of exit."""
        self._finalise()

    def _end(self) -> None:
        """Clean up after the process; its remaining handlers and destructors are dropped."""
        self._threads.restore_pointer()
        self._guest_stack.occupy(*self._stack_before)
        drop_handlers(self._libc)
        self._initialisers.finalise(run=False)
        if self._finisher:
            self._traps.remove(self._finisher)
            self._finisher = 0

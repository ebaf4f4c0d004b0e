"""The machine: an emulated CPU with memory, a linker, and host functions in Python.

A `Machine` delegates to its parts, which `emu.parts` connects; some of its methods are in base classes:

    load, adopt, unload    images                                        emu.load.loader, relink.linker
    start, run             programs, through the personality             emu.personality, emu.linux
    call                   guest functions; host functions               emu.run.runner, emu.calls, emu.host
    patch, redirect, swap  changes of running code                       emu.patched, emu.patch
    new_thread, use_thread thread-local storage of several threads       emu.run.threads
    symbolize, caller      descriptions of addresses                     emu.debug
    types, view, callback  C types of headers and of memory              emu.calls.typed_guest
    snapshot, restore      the machine's state, kept and returned to     emu.snapshot, emu.saved
    breakpoint, watch      stops at code and at memory                   emu.observed, emu.debug
    trace, coverage        records of what the guest has executed        emu.observed, emu.debug
    debug                  GDB                                           emu.debugged, emu.debug

`os` is the operating system of the guest (see `emu.personality`). The default is Linux with a C library hosted in
Python; `machine.libc` has the guest's output and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from emu.calls.typed_guest import TypedGuest
from emu.debugged import DebuggedGuest
from emu.errors import CallError, Frame
from emu.host.symbols import Symbols, SymbolValue
from emu.library import Library, PendingLibrary, as_image
from emu.load.arguments import check_sizes, named
from emu.load.lazy_binding import FirstCall
from emu.memory.guest_memory import GuestMemory
from emu.memory.limit import DEFAULT_LIMIT
from emu.observed import ObservedGuest
from emu.parts import Parts
from emu.patched import PatchedGuest
from emu.personality import Personality, Program
from emu.run.exclusive import exclusive, exclusive_operation
from emu.run.threads import Thread
from emu.snapshot import SnapshotGuest
from relink.arch import Architecture, FloatAbi, architecture
from relink.errors import MachineError
from relink.image import Image
from relink.memory.rollback import Rollback
from relink.records.unpicklable import Unpicklable
from relink.relocate.lazy import BindMode
from relink.search.graph import Node
from relink.search.search_path import Finder, SearchPath, Source
from relink.tls import DEFAULT_STATIC_SIZE

if TYPE_CHECKING:
    from emu.calls.types import Prototype
    from emu.libc import Libc
    from emu.linux.personality import Linux, LinuxShortcuts
    from emu.linux.syscalls.kernel import SystemCalls
    from emu.load.options import AdoptKeywords, LoadKeywords, StartKeywords

DEFAULT_STACK_SIZE = 8 << 20  #: bytes, as on Linux


def _personality(os: Personality | None, linux: LinuxShortcuts) -> Personality:
    if os is None:
        from emu.linux.personality import linux as linux_of

        return linux_of(**linux)
    if linux:
        raise TypeError(f"{', '.join(linux)}: with os=, give it to the personality")
    if not hasattr(os, "attach"):
        raise TypeError(f"os={os!r} is no Personality, such as emu.Linux()")
    return os


class Machine(Unpicklable, DebuggedGuest, PatchedGuest, ObservedGuest, SnapshotGuest, TypedGuest):
    """One emulated machine with its loaded images.

    `arch` is any name `relink.arch.architecture` knows. `os` is the personality; the default is
    `emu.linux.personality.Linux`, whose arguments may be given here (`libc="target"` as `hosted_libc=False`).

    `library_path`, `libraries` and `sysroot` are where libraries are searched (see
    `relink.search.search_path.SearchPath`), `finders` are called before these. `symbols`, a table or a function of
    a `SymbolRequest`, is searched for every symbol before all images. `binding` ("now", "lazy", "faithful"; see
    `relink.BindMode`) is the default for when calls through the PLT are bound. `float_abi` ("soft-float",
    "single-float", "hard-float") is the floating-point calling convention, for ISAs whose psABI has several;
    images built for another are refused.

    `max_instructions` and `timeout` (seconds) are the default limits of a call from Python; 0 for none. Sizes are
    bytes: `memory_limit` limits the host memory for the guest's pages, heap, files and captured output together,
    `stack_size` is the stack, `tls_size` each thread's static thread-local storage; with `dynamic_tls` TLS is
    static only when required (see `relink.tls`).

    Raises UnknownArchitecture, UnsupportedElf for a `float_abi` the architecture does not have, ValueError for a
    negative size or limit, TypeError for an argument of another type.
    """

    _instead = "make one in each process, or read one from a file that `snapshot().save(path)` has written"

    def __init__(
        self,
        arch: str | Architecture,
        *,
        os: Personality | None = None,
        library_path: Sequence[str | PathLike[str]] = (),
        libraries: Mapping[str, Source] | None = None,
        sysroot: str | PathLike[str] | None = None,
        finders: Sequence[Finder] = (),
        symbols: Symbols | None = None,
        binding: BindMode | str = BindMode.NOW,
        float_abi: FloatAbi | str | None = None,
        max_instructions: int = 0,
        timeout: float = 0.0,
        memory_limit: int = DEFAULT_LIMIT,
        stack_size: int = DEFAULT_STACK_SIZE,
        tls_size: int = DEFAULT_STATIC_SIZE,
        dynamic_tls: bool = False,
        **linux: Unpack[LinuxShortcuts],
    ) -> None:
        self.arch = arch if isinstance(arch, Architecture) else architecture(arch)
        check_sizes(memory_limit=memory_limit, stack_size=stack_size, tls_size=tls_size)
        self.os = _personality(os, linux)
        self.parts = parts = Parts(
            self.arch,
            self.os,
            SearchPath(libraries or {}, library_path, sysroot, finders),
            symbols=symbols,
            binding=binding if isinstance(binding, BindMode) else named(BindMode, "binding", binding),
            float_abi=float_abi,
            max_instructions=max_instructions,
            timeout=timeout,
            memory_limit=memory_limit,
            stack_size=stack_size,
            tls_size=tls_size,
            dynamic_tls=dynamic_tls,
        )
        self.memory: GuestMemory = parts.memory
        self.cpu, self.heap, self.stack = parts.cpu, parts.heap, parts.stack
        self.linker, self.loader, self.link_maps = parts.linker, parts.loader, parts.link_maps
        self.runner, self.traps, self.threads = parts.runner, parts.traps, parts.threads
        self.isa, self.convention, self.initialisers = parts.isa, parts.convention, parts.initialisers
        self.memory_limit, self.guest_view = parts.memory_limit, parts.guest_view
        self.os.attach(parts)

    @classmethod
    def for_file(cls, path: str | PathLike[str], **options: object) -> Self:
        """A machine for the architecture and float ABI of the file or archive `path`. `options` are those of the
        constructor. Raises ElfError, UnsupportedElf for an unsupported e_machine.
        """
        from relink.elf.machines import supported
        from relink.objects.archive_members import header_of  # with the modules for objects: rarely needed
        from relink.objects.float_abi import float_abi_of

        header = header_of(path)
        arch = supported(fspath(path), header.machine, header.bits)
        if "float_abi" not in options:
            options["float_abi"] = float_abi_of(path, arch)
        return cls(arch, **options)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(run_destructors=kind is None)

    def close(self, *, run_destructors: bool = True) -> None:
        """Unload everything and free the engine. Unless `run_destructors` is False, first run thread-local
        destructors of the current thread, atexit handlers, and the destructors of the images. Does nothing for a
        closed machine. Raises LoadOrderError, and does nothing, in an observer or hook of a load's linking.
        """
        if not self.runner.closed:
            self._close(run_destructors=run_destructors)

    @exclusive
    def _close(self, *, run_destructors: bool) -> None:
        self.linker.check_closable()
        try:
            if run_destructors:
                with self.runner.one_budget():
                    self.loader.finish()
        finally:
            self.linker.close()
            self.cpu.close()
            self.memory.close()
            self.runner.close()

    # ------------------------------------------------------------ loading

    @exclusive_operation
    def load(self, source: Source | Sequence[Source] | Node, **options: Unpack[LoadKeywords]) -> Library:
        """Load a library with its dependencies and run the constructors.

        `source` is as in `relink.linker.Linker.begin`, `options` are `emu.load.options.LoadKeywords`. Raises
        ElfError, LinkError, LinkErrors, AddressSpaceError, ConstructorFault, and exceptions of host functions; the
        machine is then as before.
        """
        return Library(self, self.loader.load(source, **options))

    @contextmanager
    def loading(
        self, source: Source | Sequence[Source] | Node, **options: Unpack[LoadKeywords]
    ) -> Iterator[PendingLibrary]:
        """Load step by step: at the start of the block the library is linked, but not yet in guest memory.

            with machine.loading("lib.so") as library:
                library.advance(until="construct")           # memory, ifuncs and TLS are ready
                library.symbols["debug_level"].write(3)
            library.function("run", "int(void)")()           # constructors have run

        The remaining steps are done at the end of the block. An exception that leaves it, or
        `library.roll_back()`, rolls the load back. See `emu.library.PendingLibrary` for the steps.
        """
        with self.runner.used(), self.loader.loading(source, **options) as pending:
            library = PendingLibrary(self, pending)
            yield library
            library.advance()

    @exclusive_operation
    def adopt(self, address: int, **options: Unpack[AdoptKeywords]) -> Library:
        """Make a library of an image that is already in guest memory, with its ELF header at `address`.

        `options` are `emu.load.options.AdoptKeywords`. A relocated image counts as initialised: its constructors
        and destructors are not run. Its thread-local block is initialised again.
        """
        return Library(self, self.loader.adopt(address, **options))

    @exclusive_operation
    def unload(self, image: Image | Library) -> None:
        """Undo one load of an image, as `Library.close` does. After the last, run its destructors, and unload it
        with the dependencies that nothing else uses. Images that destructors unload follow after that, as in
        ld.so. Raises UseAfterUnload, and ConstructorFault for a destructor that did not return: its image stays
        loaded.
        """
        self.parts.owner.check(image)
        self.loader.unload(image if image.__class__ is Image else as_image(image))

    @exclusive_operation
    def start(
        self,
        program: Source,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Unpack[StartKeywords],
    ) -> Program:
        """Load an executable with its libraries, run their constructors, and prepare the program to run.

        `arguments` begin with the program's name (None: only the file name), `options` are
        `emu.load.options.StartKeywords`. Raises as `load` does, and UnsupportedElf for a file that is not an
        executable.
        """
        return self.os.start(program, arguments, environment or {}, **options)

    def run(
        self,
        program: Source,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        max_instructions: int | None = None,
        timeout: float | None = None,
        **options: Unpack[StartKeywords],
    ) -> int:
        """Start a program (see `start`), run it and return its exit status (see `Program.run`)."""
        started = self.start(program, arguments, environment, **options)
        return started.run(max_instructions=max_instructions, timeout=timeout)

    # ------------------------------------------------------------ calling

    def call(
        self,
        address: int,
        prototype: Prototype | str,
        *args: object,
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call the guest function at `address` and return its result.

        `Library.function` finds a function by its name. See `emu.calls.plan` for the conversion of Python values.
        Raises CallError for a wrong argument, GuestFault, BudgetExceeded, and exceptions of host functions; the
        machine remains usable after all of these.
        """
        return self.runner.call(address, prototype, *args, max_instructions=max_instructions, timeout=timeout)

    @property
    def call_depth(self) -> int:
        """The number of guest calls in progress: 0 when idle, 2 in a call from a host function."""
        return self.runner.depth

    @property
    def first_calls(self) -> list[FirstCall]:
        """The first call through each lazily bound slot, in order, which shows the links in use. The last 65,536
        are kept. The functions that made them are found when this is asked, or their images are unloaded.
        """
        return list(self.parts.lazy_calls.first_calls)

    # ------------------------------------------------------------ changing what runs

    def define(self, name: str, value: SymbolValue) -> int:
        """The guest address for `value`: the number itself, or a trap that runs the callable."""
        return self.parts.host_symbols.define(name, value)

    @exclusive
    def provide(self, name: str, symbols: Mapping[str, SymbolValue]) -> None:
        """Make a library of host functions and absolute values that satisfies DT_NEEDED and dlopen of `name`.
        Images that need it find its symbols, for any version, after the images and before the hosted C library.
        Raises LinkError when a library of that name is already loaded or provided.
        """
        self.loader.provide(name, symbols)

    # ------------------------------------------------------------ threads

    @exclusive
    def new_thread(self) -> Thread:
        """Create a guest thread with its thread-local storage. See `use_thread`. Raises AddressSpaceError."""
        return self.threads.new()

    @contextmanager
    def use_thread(self, thread: Thread) -> Iterator[Thread]:
        """Make `thread` the current thread in the block, for guest calls and thread-local variables. Raises
        CallError if it has ended.
        """
        with self.runner.used(), self.threads.using(thread):
            yield thread

    @exclusive
    def exit_thread(self, thread: Thread) -> None:
        """End a thread: run its thread-local destructors, unload images kept only by them, free its storage.
        Raises CallError for the main thread, and for a thread that is in use or has ended; exceptions of
        destructors, after the thread has ended.
        """
        if thread is self.threads.main or self.threads.is_running(thread):
            raise CallError(f"{thread!r} cannot be ended: it is the main thread, or in use")
        self.threads.check(thread)
        rest = Rollback(((self.os.forget_thread, (thread.thread_pointer,)), (self.threads.end, (thread,))))
        with self.runner.one_budget():
            try:
                with self.use_thread(thread):
                    self.os.end_thread()
            finally:
                try:
                    try:
                        rest.close()
                    finally:
                        if rest.calls:
                            rest.close()
                finally:
                    self.loader.collect()

    @property
    def thread_pointer(self) -> int:
        """The value of the thread pointer."""
        return self.threads.thread_pointer

    def tls_block(self, image: Image | Library) -> int:
        """The guest address of an image's thread-local block in the current thread. Raises GuestAbort when there
        is no memory to allocate it.
        """
        return self.threads.block(as_image(image))

    # ------------------------------------------------------------ naming addresses

    def symbolize(self, address: int, *, source: bool = True) -> Frame:
        """The symbol, image, trap or mapping at a guest address; with `source` also its source line, which reads
        line tables.
        """
        return self.parts.symbolizer.symbolize(address, source=source)

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self.parts.symbolizer.image_at(address)

    def caller(self, *, source: bool = True) -> Frame:
        """In a host function: the code that called it."""
        return self.parts.caller(source=source)

    # ------------------------------------------------------------ shortcuts to the Linux personality

    @property
    def libc(self) -> Libc:
        """The hosted C library: the guest's output and files. Raises MachineError when `os` is not Linux."""
        return self._linux.libc

    @property
    def syscalls(self) -> SystemCalls:
        """The kernel; `unknown` counts unknown system calls. Raises MachineError when `os` is not Linux."""
        return self._linux.kernel

    @property
    def _linux(self) -> Linux:
        from emu.linux.personality import Linux

        if not isinstance(self.os, Linux):
            raise MachineError(f"{type(self.os).__name__} has no hosted C library and no system calls")
        return self.os

"""The machine: an emulated CPU with memory, a linker that fills it, and Python on the other side of every trap.

A `Machine` passes on to its parts, which `emu.parts` has wired together:

    load, adopt, unload    images come and go                             emu.load.loader, relink.linker
    start, run             programs, by the personality                   emu.personality, emu.linux
    call                   a guest function; host functions on the way    emu.run.runner, emu.calls, emu.host
    patch, redirect        change what runs                               emu.patch
    new_thread, use_thread thread-local storage of several threads        emu.run.threads
    symbolize, caller      name what lies at an address                   emu.debug

`os` is the operating system the guest finds (see `emu.personality`). With none given it is Linux with a C library
hosted in Python, of which `machine.libc` has what the guest printed and the files it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from emu.calls.prototypes import Prototype
from emu.errors import CallError, Frame
from emu.host.symbols import Symbols, SymbolValue
from emu.library import Library, PendingLibrary
from emu.load.lazy_binding import FirstCall
from emu.memory.limit import DEFAULT_LIMIT
from emu.parts import Parts
from emu.personality import Personality, Program
from emu.run.exclusive import exclusive
from emu.run.threads import Thread
from relink.arch import Architecture, FloatAbi, architecture, architecture_of
from relink.errors import MachineError, UnsupportedElf
from relink.image import Image
from relink.objects.archive_members import header_of
from relink.objects.float_abi import float_abi_of
from relink.records import cached_property
from relink.relocate.lazy import BindMode
from relink.search.graph import Node
from relink.search.search_path import Finder, SearchPath, Source
from relink.tls import DEFAULT_STATIC_SIZE

if TYPE_CHECKING:
    from emu.libc import Libc
    from emu.linux.personality import Linux, LinuxShortcuts
    from emu.linux.syscalls.kernel import SystemCalls
    from emu.load.options import AdoptKeywords, LoadKeywords, StartKeywords
    from emu.patch.functions import Patch, Patcher, Replacement
    from emu.patch.imports import Redirection
    from emu.ports import Handle
    from relink.image import Symbol

DEFAULT_STACK_SIZE = 8 << 20  #: bytes, as on Linux


class Machine:
    """One emulated machine and what is loaded into it.

    `arch` is any name `relink.arch.architecture` knows. `os` is the personality; without one it is
    `emu.linux.personality.Linux`, whose arguments may be given here (`libc="target"` as `hosted_libc=False`).

    `library_path`, `libraries` and `sysroot` say where needed libraries come from (see
    `relink.search.search_path.SearchPath`), `finders` are asked before these. `symbols`, a table or a function of
    a `SymbolRequest`, is asked for every symbol before any image. `binding` ("now", "lazy", "faithful"; see
    `relink.BindMode`) is when calls by way of the PLT are bound, where a load does not say otherwise.
    `float_abi` ("soft-float", "single-float", "hard-float") says how guest functions pass floating-point values,
    where the ISA's psABI has several ways; images built for another are refused.

    `max_instructions` and `timeout` (seconds) bound every call from Python that does not say otherwise; 0 is no
    bound. Sizes are bytes: `memory_limit` of what the guest's pages, heap, files and captured output may take of
    the host together, `stack_size` of the stack, `tls_size` of what each thread has for static thread-local
    storage; with `dynamic_tls` only what must be static is (see `relink.tls`).

    Raises UnknownArchitecture, UnsupportedElf for a `float_abi` the architecture does not have.
    """

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
        if os is None:
            from emu.linux.personality import linux as linux_of

            os = linux_of(**linux)
        elif linux:
            raise TypeError(f"{', '.join(linux)}: with os=, give it to the personality")
        self.os = os
        self.parts = parts = Parts(
            self.arch,
            self.os,
            SearchPath(libraries or {}, library_path, sysroot, finders),
            symbols=symbols,
            binding=BindMode(binding),
            float_abi=float_abi,
            max_instructions=max_instructions,
            timeout=timeout,
            memory_limit=memory_limit,
            stack_size=stack_size,
            tls_size=tls_size,
            dynamic_tls=dynamic_tls,
        )
        self.cpu, self.memory, self.heap, self.stack = parts.cpu, parts.memory, parts.heap, parts.stack
        self.linker, self.loader, self.link_maps = parts.linker, parts.loader, parts.link_maps
        self.runner, self.traps, self.threads = parts.runner, parts.traps, parts.threads
        self.isa, self.convention, self.initialisers = parts.isa, parts.convention, parts.initialisers
        self.memory_limit, self.guest_view = parts.memory_limit, parts.guest_view
        self.os.attach(parts)

    @classmethod
    def for_file(cls, path: str | PathLike[str], **options: object) -> Self:
        """A machine of the architecture and float ABI of `path` (an archive too). `options` are the constructor's.

        Raises ElfError, UnsupportedElf for a machine that is none of the seven.
        """
        header = header_of(path)
        arch = architecture_of(header.machine, header.bits)
        if arch is None:
            raise UnsupportedElf(fspath(path), f"is for machine {header.machine}, which is not emulated")
        options.setdefault("float_abi", float_abi_of(path, arch))
        return cls(arch, **options)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(run_destructors=kind is None)

    @exclusive
    def close(self, *, run_destructors: bool = True) -> None:
        """Unload everything and free the engine.

        Unless `run_destructors` is False, first run destructors of the thread in use, atexit handlers, and the
        destructors of the images.
        """
        try:
            if run_destructors:
                with self.runner.one_budget():
                    self.loader.finish()
        finally:
            self.linker.close()
            self.cpu.close()

    # ------------------------------------------------------------ loading

    @exclusive
    def load(self, source: Source | Sequence[Source] | Node, **options: Unpack[LoadKeywords]) -> Library:
        """Load a library with all it needs, and run its constructors.

        `source` is what `relink.linker.Linker.loading` takes, `options` are `emu.load.options.LoadKeywords`.
        Whatever is raised (ElfError, LinkError, LinkErrors, AddressSpaceError, ConstructorFault, or what a host
        function raised), the machine is as it was before.
        """
        with self.runner.one_budget():
            return Library(self, self.loader.load(source, **options))

    @contextmanager
    def loading(
        self, source: Source | Sequence[Source] | Node, **options: Unpack[LoadKeywords]
    ) -> Iterator[PendingLibrary]:
        """Load step by step: inside the block the library is linked, and not yet in guest memory.

            with machine.loading("lib.so") as library:
                library.advance(until="construct")           # memory, ifuncs and TLS are there
                library.symbols["debug_level"].write(3)
            library.function("run", "int(void)")()           # constructors have run

        The end of the block does the remaining steps. An exception that leaves it, or `library.roll_back()`, rolls
        the load back. See `emu.library.PendingLibrary` for the steps.
        """
        with self.runner.used(), self.loader.loading(source, **options) as pending:
            library = PendingLibrary(self, pending)
            yield library
            library.advance()

    @exclusive
    def adopt(self, address: int, **options: Unpack[AdoptKeywords]) -> Library:
        """Make a library of an image that lies in guest memory already, its ELF header at `address`.

        `options` are `emu.load.options.AdoptKeywords`. One that has been relocated has also been initialised: its
        constructors and destructors are not run. Its thread-local block is set up afresh.
        """
        with self.runner.one_budget():
            return Library(self, self.loader.adopt(address, **options))

    @exclusive
    def unload(self, image: Image) -> None:
        """Undo one load of an image. After the last, run its destructors, and unload it with the dependencies
        nothing else uses.

        What destructors unload in turn goes after that, as by ld.so. Raises UseAfterUnload, ConstructorFault of
        a destructor that did not return: its image stays.
        """
        with self.runner.one_budget():
            self.loader.unload(image)

    @exclusive
    def start(
        self,
        program: Source,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Unpack[StartKeywords],
    ) -> Program:
        """Load an executable with its libraries, whose constructors run, and make it ready to be run.

        `arguments` begin with what the program is called (None: its file's name alone), `options` are
        `emu.load.options.StartKeywords`. Raises what `load` does, and UnsupportedElf for a file that is no
        executable.
        """
        with self.runner.one_budget():
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
        """Start a program (see `start`) and run it to its exit; its status (see `Program.run`)."""
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

        See `emu.calls.plan` for what Python values mean. Raises CallError for a wrong argument, GuestFault,
        BudgetExceeded, and whatever a host function raises; the machine can be used again after any of them.
        """
        return self.runner.call(address, prototype, *args, max_instructions=max_instructions, timeout=timeout)

    @property
    def call_depth(self) -> int:
        """How many calls of the guest are under way: 0 when it is idle, 2 in a call out of a host function."""
        return self.runner.depth

    @property
    def first_calls(self) -> list[FirstCall]:
        """The first call of each slot that was bound lazily, in order: an audit of the links in use. The last
        65,536 are kept."""
        return list(self.parts.lazy_calls.first_calls)

    # ------------------------------------------------------------ changing what runs

    def define(self, name: str, value: SymbolValue) -> int:
        """The guest address that stands for `value`: the number itself, or a trap that runs the callable."""
        return self.parts.host_symbols.define(name, value)

    @exclusive
    def provide(self, name: str, symbols: Mapping[str, SymbolValue]) -> None:
        """Make a library of host functions and absolute values, which answers DT_NEEDED and dlopen of `name`.

        Its symbols, of any version, are found by who needs it, after the images and before the hosted C library.
        Raises LinkError where a library of that name is loaded or provided already.
        """
        self.loader.provide(name, symbols)

    @exclusive
    def patch(self, target: Handle | Symbol | int, replacement: Replacement, *, size: int | None = None) -> Patch:
        """Replace a guest function for every caller, until the result's `undo` (see `emu.patch.functions`).

        `replacement` is another guest function, its address, a host function, code as bytes, or assembly text.
        `size` is how many bytes of the function may be overwritten, where its symbol does not tell.

        Raises PatchError, FunctionTooShort, AlreadyPatched, AssemblyError, UseAfterUnload.
        """
        return self.patcher.patch(target, replacement, size)

    @exclusive
    def redirect(self, image: Image, name: str, replacement: Handle | Symbol | SymbolValue) -> Redirection:
        """Redirect an image's own references to a symbol, until the result's `undo` (see `emu.patch.imports`).

        Raises PatchError where it has none, or is made of relocatable objects; UseAfterUnload.
        """
        from emu.patch.imports import redirect

        return redirect(self.patcher, image, name, replacement)

    # ------------------------------------------------------------ threads

    @exclusive
    def new_thread(self) -> Thread:
        """A guest thread: thread-local storage of its own, freshly initialised. See `use_thread`.

        Raises AddressSpaceError.
        """
        return self.threads.new()

    @contextmanager
    def use_thread(self, thread: Thread) -> Iterator[Thread]:
        """Inside the block, calls of the guest run as `thread`, and thread-local variables are that thread's.

        Raises CallError if it has ended.
        """
        with self.runner.used(), self.threads.using(thread):
            yield thread

    @exclusive
    def exit_thread(self, thread: Thread) -> None:
        """End a thread: run its thread-local destructors, unload what only they kept loaded, free its storage.

        Raises CallError for the main thread, one that is in use or has ended, and what a destructor raises; the
        thread has ended all the same.
        """
        if thread is self.threads.main or self.threads.is_running(thread):
            raise CallError(f"{thread!r} cannot be ended: it is the main thread, or in use")
        with self.runner.one_budget(), ExitStack() as ending, self.use_thread(thread):
            ending.callback(self.loader.collect)
            ending.callback(self.os.forget_thread, thread.thread_pointer)
            ending.callback(self.threads.end, thread)
            self.os.end_thread()

    @property
    def thread_pointer(self) -> int:
        """The guest address the ISA's thread pointer holds."""
        return self.threads.thread_pointer

    def tls_block(self, image: Image) -> int:
        """Guest address of an image's thread-local block in the thread in use.

        Raises GuestAbort when there is no memory for a block that is due now.
        """
        return self.threads.block(image)

    # ------------------------------------------------------------ naming addresses

    def symbolize(self, address: int, *, source: bool = True) -> Frame:
        """The symbol, image, trap or mapping at a guest address. `source`: with its source line, which reads the
        image's line tables."""
        return self.parts.symbolizer.symbolize(address, source=source)

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self.parts.symbolizer.image_at(address)

    def caller(self, *, source: bool = True) -> Frame:
        """In a host function: the code it will return to."""
        return self.parts.caller(source=source)

    @cached_property
    def patcher(self) -> Patcher:
        """Makes patches and holds the active ones."""
        from emu.patch.functions import Patcher

        parts = self.parts
        return Patcher(parts.memory, parts.traps, parts.host_symbols, parts.symbolizer, parts.loader)

    # ------------------------------------------------------------ shortcuts to the Linux personality

    @property
    def libc(self) -> Libc:
        """The hosted C library: what the guest printed, its files. Raises MachineError where `os` is not Linux."""
        return self._linux.libc

    @property
    def syscalls(self) -> SystemCalls:
        """The kernel; `unknown` has the calls it does not know. Raises MachineError where `os` is not Linux."""
        return self._linux.kernel

    @property
    def _linux(self) -> Linux:
        from emu.linux.personality import Linux

        if not isinstance(self.os, Linux):
            raise MachineError(f"{type(self.os).__name__} has no hosted C library and no system calls")
        return self.os

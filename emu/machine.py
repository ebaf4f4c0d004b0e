"""The machine: an emulated CPU with memory, a linker that fills it, and Python on the other side of every trap.

    with Machine("riscv64") as machine:
        library = machine.load("libz.so.1")
        crc32 = library.function("crc32", "unsigned long(unsigned long, const char *, unsigned)")
        crc32(0, "123456789", 9)

`Machine` puts the parts together and hands out what a user asks for. `load` links a file, gives the guest its
memory and runs its constructors (`emu.load.loader`); `call` runs one guest function, with the host functions it
meets on the way (`emu.run.runner`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from emu.calls.prototypes import Prototype
from emu.cpu.create import create_cpu
from emu.debug.link_maps import LinkMaps
from emu.debug.symbolizer import Symbolizer
from emu.errors import CallError, Frame, GuestFault
from emu.host.runtime import Runtime, host_libraries
from emu.host.symbols import HostSymbols, Symbols, SymbolValue
from emu.isa.registry import ISAS, chosen_convention
from emu.isa.spec import FrameTables
from emu.libc import Libc
from emu.library import Function, Library
from emu.load.initialisers import Initialisers
from emu.load.lazy_binding import FirstCall, LazyCalls
from emu.load.loader import Loader
from emu.memory.guest_memory import GuestMemory
from emu.memory.guest_view import GuestView
from emu.memory.heap import Heap
from emu.memory.limit import DEFAULT_LIMIT, MemoryLimit
from emu.run.runner import Runner
from emu.run.stack import Stack
from emu.run.threads import Thread, Threads
from emu.run.traps import TrapTable
from relink.arch import Architecture, FloatAbi, architecture, architecture_of
from relink.errors import UnsupportedElf
from relink.image import Image, Symbol
from relink.linker import Linker, LoadOptions, Policy
from relink.module import TlsModule
from relink.objects.archive_members import header_of
from relink.relocate.lazy import BindMode
from relink.search.graph import Node
from relink.search.search_path import Finder, SearchPath, Source
from relink.tls import DEFAULT_STATIC_SIZE

if TYPE_CHECKING:
    from emu.cpu.protocol import Stop
    from emu.debug.host_frames import HostFrames
    from emu.linux.ldso import DynamicLoader
    from emu.linux.process import Process
    from emu.linux.syscalls import SystemCalls
    from emu.patch.functions import Patch, Patcher, Replacement
    from emu.patch.imports import Redirection
    from relink.elf import Decoded
    from relink.relocate.handlers import RelocationHandler

DEFAULT_STACK_SIZE = 8 << 20  #: bytes, as on Linux


class Machine:
    """One emulated machine and what is loaded into it.

    `arch` is any name `relink.arch.architecture` knows. `library_path`, `libraries` and `sysroot` say where
    needed libraries come from (see `relink.search.search_path.SearchPath`). `hosted_libc` answers the C library's
    symbols from Python. `symbols`, a table or a function of a `SymbolRequest`, are answered before any image's;
    `finders` are asked for libraries before the search path. `max_instructions` and `timeout` (seconds) bound
    every call from Python that does not say otherwise; 0 is no bound. `memory_limit` bytes are what the guest's
    pages, heap, files and captured output may take of the host together. `float_abi` ("soft-float",
    "single-float", "hard-float") says how guest functions pass floating-point values, where the ISA's psABI knows
    several ways; images built for another are refused. `binding` ("now", "lazy", "faithful"; see
    `relink.BindMode`) is when calls by way of the PLT are bound, where a load does not say otherwise.
    `tls_size` bytes are each thread's for static thread-local storage; with `dynamic_tls` only what
    must be static is (see `relink.tls`).

    Raises UnknownArchitecture, UnsupportedElf for a `float_abi` the architecture does not have.
    """

    def __init__(
        self,
        arch: str | Architecture,
        *,
        library_path: Sequence[str | os.PathLike[str]] = (),
        libraries: Mapping[str, Source] | None = None,
        sysroot: str | os.PathLike[str] | None = None,
        finders: Sequence[Finder] = (),
        hosted_libc: bool = True,
        symbols: Symbols | None = None,
        arguments: Sequence[str] = ("relink-emu",),
        environment: Mapping[str, str] | None = None,
        files: dict[str, bytes | bytearray] | None = None,
        stdin: bytes | Callable[[int], bytes] = b"",
        stack_size: int = DEFAULT_STACK_SIZE,
        tls_size: int = DEFAULT_STATIC_SIZE,
        max_instructions: int = 0,
        timeout: float = 0.0,
        memory_limit: int = DEFAULT_LIMIT,
        float_abi: FloatAbi | str | None = None,
        binding: BindMode | str = BindMode.NOW,
        dynamic_tls: bool = False,
    ) -> None:
        self.arch = arch if isinstance(arch, Architecture) else architecture(arch)
        self.binding = BindMode(binding)
        self.dynamic_tls = dynamic_tls  #: whether loads make thread-local storage dynamic where they can
        self.run_initialisers = True  #: whether a load runs constructors (ifunc resolvers always run)
        self.program: Process | None = None  #: the one started last

        self.cpu = create_cpu(self.arch.name)
        self.traps = TrapTable(self.arch)
        self.cpu.set_trap_range(self.traps.start, self.traps.size)
        self.memory_limit = MemoryLimit(memory_limit)
        self.memory = GuestMemory(self.arch, self.cpu, self.memory_limit)
        self.heap = Heap(self.memory, self.arch, self.memory_limit)
        self.isa = ISAS[self.arch.name]
        self.convention = chosen_convention(self.arch.name, float_abi)
        self.stack = Stack(self.memory, stack_size, arguments, environment or {})  #: the guest's
        search = SearchPath(libraries or {}, library_path, sysroot, finders)
        policy = Policy(*host_libraries(self.isa, hosted_libc=hosted_libc))
        self.linker = Linker(self.memory, search=search, policy=policy, tls_size=tls_size)
        self.symbolizer = Symbolizer(self.linker, self.memory, self.traps)  #: what lies at an address
        self.runner = Runner(
            self.cpu,
            self.memory,
            self.heap,
            self.traps,
            self.stack,
            self.convention,
            max_instructions=max_instructions,
            timeout=timeout,
            frame=self.symbolizer.symbolize,
            describe_fault=self._describe_fault,
            syscall=lambda pc: self.syscalls.answer(pc),
            resume=lambda unwinding: self.host_frames.resume(unwinding),
        )
        self.threads = Threads(self.memory, self.heap, self.cpu, self.traps, self.linker)
        self.guest_view = GuestView(self.cpu, self.runner.check_budget)  #: the memory, as the guest reaches it
        self.libc = Libc(
            self.arch,
            self.guest_view,
            self.memory,
            self.cpu,
            self.heap,
            self.runner,
            self.threads,
            dynamic=lambda: self.dynamic,
            environment=environment,
            files=files,
            stdin=stdin,
            limit=self.memory_limit,
        )
        self.link_maps = LinkMaps(
            self.linker, self.memory, self.runner
        )  #: what the guest and a debugger see of the loaded images
        #: makes definitions of what users give for symbols
        self.host_symbols = HostSymbols(self.traps, self.runner, self.convention, self.caller)
        #: runs ifunc resolvers, constructors, destructors
        self.initialisers = Initialisers(
            self.linker, self.memory, self.runner, self.convention, self.stack, self.symbolizer
        )
        self.lazy_calls = LazyCalls(  #: binds jump slots at their first call
            self.linker,
            self.memory,
            self.cpu,
            self.traps,
            self.initialisers,
            self.link_maps,
            lambda: self.caller(source=False),
        )
        self.loader = Loader(self)  #: carries out loads, and takes them back

        self.linker.held = self.libc.held_addresses
        self.linker.lazy_host = self.lazy_calls
        self.linker.resolver.host_value = self.host_symbols.definition
        self.linker.resolver.before += self.host_symbols.sources(symbols)
        self.linker.resolver.after.append(Runtime(self, hosted_libc=hosted_libc))

    @classmethod
    def for_file(cls, path: str | os.PathLike[str], **options: object) -> Self:
        """A machine of the architecture `path` (an archive too) is for. `options` are the constructor's.

        Raises ElfError, UnsupportedElf for a machine that is none of the seven.
        """
        header = header_of(path)
        arch = architecture_of(header.machine, header.bits)
        if arch is None:
            raise UnsupportedElf(os.fspath(path), f"is for machine {header.machine}, which is not emulated")
        if (abi := arch.float_abi(header.flags, b"")) is not None:
            options.setdefault("float_abi", abi)
        return cls(arch, **options)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(run_destructors=kind is None)

    def close(self, *, run_destructors: bool = True) -> None:
        """Unload everything and free the engine.

        Unless told not to, destructors of the thread in use run, atexit handlers, and those of the images.
        """
        try:
            if run_destructors:
                self.loader.finish()
        finally:
            self.linker.close()
            self.cpu.close()

    # ------------------------------------------------------------ loading

    def load(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        name: str | None = None,
        symbols: Symbols | None = None,
        base: int | None = None,
        local: bool = False,
        deep_bind: bool = False,
        no_load: bool = False,
        no_delete: bool = False,
        binding: BindMode | str | None = None,
        preload: Sequence[Source] = (),
        allow_unresolved: bool = False,
        want: Sequence[str] = (),
        whole_archive: bool = False,
        place: Mapping[str, int] | Callable[[Decoded], int | None] | None = None,
        late_symbols: Symbols | None = None,
        relocation_handlers: Sequence[RelocationHandler] = (),
    ) -> Library:
        """Load a library with all it needs, and run its constructors.

        `source` is what `relink.linker.Linker.loading` takes.
        `symbols`, a table or a function of a `SymbolRequest`, answers what this load's images import before
        anything else does, `late_symbols` what no image answers. `allow_unresolved` binds
        strong symbols nobody defines to traps that raise UnresolvedCall when reached. The other arguments
        are `relink.linker.LoadOptions`. Whatever is raised (ElfError, LinkError, LinkErrors, AddressSpaceError,
        ConstructorFault, or what a host function raised), the machine is as it was before.
        """
        options = LoadOptions(
            base=base,
            local=local,
            deep_bind=deep_bind,
            no_load=no_load,
            no_delete=no_delete,
            binding=self.binding if binding is None else BindMode(binding),
            preload=preload,
            want=want,
            whole_archive=whole_archive,
            place=place,
            relocation_handlers=relocation_handlers,
            dynamic_tls=self.dynamic_tls,
        )
        plan = self.loader.load(
            source,
            options,
            name=name,
            symbols=symbols,
            late_symbols=late_symbols,
            allow_unresolved=allow_unresolved,
        )
        return Library(self, plan)

    def start(
        self,
        program: Source,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        name: str | None = None,
        symbols: Symbols | None = None,
        base: int | None = None,
        binding: BindMode | str | None = None,
        preload: Sequence[Source] = (),
        allow_unresolved: bool = False,
    ) -> Process:
        """Load an executable with its libraries, whose constructors run, and make it ready to be run.

        `arguments` begin with what the program is called (None: its file's name alone). The other arguments are
        those of `load`. Raises what `load` does, and UnsupportedElf for a file that is no executable.
        """
        from emu.linux.process import Process

        process = Process(self, program, arguments, environment or {})
        options = LoadOptions(
            base=base,
            binding=self.binding if binding is None else BindMode(binding),
            preload=preload,
            dynamic_tls=self.dynamic_tls,
            program=True,
        )
        try:
            self.loader.load(
                program, options, name=name, symbols=symbols, allow_unresolved=allow_unresolved, process=process
            )
        except BaseException:
            process.abandon()
            raise
        self.program = process
        return process

    def run(
        self,
        program: Source,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        symbols: Symbols | None = None,
        preload: Sequence[Source] = (),
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Start a program (see `start`) and run it to its exit; its status (see `Process.run`)."""
        process = self.start(program, arguments, environment, symbols=symbols, preload=preload)
        return process.run(max_instructions=max_instructions, timeout=timeout)

    def adopt(
        self,
        address: int,
        *,
        source: Source | None = None,
        name: str | None = None,
        relocated: bool,
        symbols: Symbols | None = None,
        tls: TlsModule | None = None,
    ) -> Library:
        """Take an image that lies in guest memory already, its ELF header at `address`, for a library.

        See `Linker.adopting`. One that has been relocated has also been initialised: its constructors and
        destructors are not run. Its thread-local block is set up afresh.
        """
        plan = self.loader.adopt(address, source=source, name=name, relocated=relocated, symbols=symbols, tls=tls)
        return Library(self, plan)

    def unload(self, image: Image) -> None:
        """Drop one load of an image; when it was the last, run destructors and free what only it needed.

        What destructors unload in turn goes after that, as in ld.so. Raises UseAfterUnload, ConstructorFault of a
        destructor that did not return: its image stays.
        """
        self.loader.unload(image)

    def discard(self, image: Image) -> None:
        """Like `unload`, but at once, and nothing of the guest's is run."""
        self.loader.discard(image)

    def collect(self) -> None:
        """Let go of images nothing needs any longer (a thread or a patch has kept them), destructors run."""
        self.loader.collect()

    def finalise(self, image: Image | None = None, *, run: bool = True) -> None:
        """Run destructors, of all images (dependents first) or one; or consider them run."""
        self.initialisers.finalise(image, run=run)

    # ------------------------------------------------------------ calling

    def call(
        self,
        address: int,
        prototype: Prototype | str,
        *args: object,
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> int | float | None:
        """Call the guest function at `address` and give its result.

        See `emu.calls.plan` for what Python values mean. Raises CallError for a wrong argument, GuestFault,
        BudgetExceeded, and whatever a host function raises; the machine can be used again after any of them.
        """
        return self.runner.call(address, prototype, *args, max_instructions=max_instructions, timeout=timeout)

    def run_program(
        self, pc: int, registers: Mapping[str, int], max_instructions: int | None, timeout: float | None
    ) -> None:
        """Run from `pc` with these registers until the guest exits: GuestExit. Raises MachineError in a call."""
        self.runner.run_program(pc, registers, max_instructions, timeout)

    @property
    def call_depth(self) -> int:
        """How many calls of the guest are under way: 0 when it is idle, 2 in a call out of a host function."""
        return self.runner.depth

    @property
    def first_calls(self) -> list[FirstCall]:
        """Who called what first, and when, of calls that were bound lazily: an audit of the links in use. Of more
        than 65,536 the last."""
        return list(self.lazy_calls.first_calls)

    # ------------------------------------------------------------ changing what runs

    def define(self, name: str, value: SymbolValue, traps: list[int] | None = None) -> int:
        """The guest address that stands for `value`: the number itself, or a trap that runs the callable."""
        return self.host_symbols.define(name, value, traps)

    def define_all(self, symbols: Mapping[str, SymbolValue], traps: list[int] | None = None) -> dict[str, int]:
        """Guest addresses for what a user gave for symbols; new traps are noted in `traps`."""
        return self.host_symbols.define_all(symbols, traps)

    def remove_traps(self, traps: list[int]) -> None:
        """Give traps back that `define` has made."""
        self.host_symbols.remove(traps)

    def patch(
        self, target: Function | Symbol | int, replacement: Replacement, *, size: int | None = None
    ) -> Patch:
        """Replace a guest function for every caller, until the result's `undo` (see `emu.patch.functions`).

        `replacement` is another guest function or its address, a host function (a callable, or one with its C
        prototype), code as bytes, or assembly text for the ISAs keystone knows (x86-64, i386, AArch64, Arm in the
        function's own instruction set). `size` is how many bytes of the function may be overwritten, where its
        symbol does not tell or `target` is an address.

        Raises PatchError, FunctionTooShort, AlreadyPatched, AssemblyError, UseAfterUnload.
        """
        return self.patcher.patch(target, replacement, size)

    def redirect(self, image: Image, name: str, replacement: Function | Symbol | SymbolValue) -> Redirection:
        """Redirect an image's own references to a symbol, until the result's `undo` (see `emu.patch.imports`).

        Raises PatchError where it has none, or is made of relocatable objects; UseAfterUnload.
        """
        from emu.patch.imports import redirect

        return redirect(self.patcher, image, name, replacement)

    # ------------------------------------------------------------ threads

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
        with self.threads.using(thread):
            yield thread

    def exit_thread(self, thread: Thread) -> None:
        """End a thread: its thread-local destructors run, what only they kept loaded goes, its storage is freed.

        Raises CallError for the main thread, one that is in use or has ended, and what a destructor raises; the
        thread has ended all the same.
        """
        if thread is self.threads.main or self.threads.is_running(thread):
            raise CallError(f"{thread!r} cannot be ended: it is the main thread, or in use")
        with ExitStack() as ending, self.use_thread(thread):
            ending.callback(self._bury, thread)
            self.libc.end_thread()

    def _bury(self, thread: Thread) -> None:
        self.threads.end(thread)
        self.libc.forget_thread(thread.thread_pointer)
        self.collect()

    @property
    def thread_pointer(self) -> int:
        """The guest address the ISA's thread pointer holds."""
        return self.threads.thread_pointer

    def tls_block(self, image: Image) -> int:
        """Guest address of an image's thread-local block in the thread in use.

        Raises GuestAbort when there is no memory for a block that is due now.
        """
        return self.threads.block(image)

    # ------------------------------------------------------------ telling addresses

    def symbolize(self, address: int, *, source: bool = True) -> Frame:
        """What lies at a guest address, as far as known. `source` looks its source line up too, which reads
        the image's line tables when it has any."""
        return self.symbolizer.symbolize(address, source=source)

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self.symbolizer.image_at(address)

    def ifunc_target(self, image: Image, resolver: int) -> int:
        """The function an STT_GNU_IFUNC symbol stands for."""
        return self.initialisers.ifunc_target(image, resolver)

    def return_address(self) -> int:
        """Where the guest function that has just been entered (a trap) will return to."""
        return self.runner.return_address()

    def caller(self, *, source: bool = True) -> Frame:
        """What lies at `return_address`, as far as known."""
        return self.symbolizer.symbolize(self.return_address(), source=source, returned_to=True)

    def _describe_fault(self, stop: Stop) -> GuestFault:
        from emu.debug.faults import describe_fault

        return describe_fault(self.cpu, stop, self.symbolizer)

    # ------------------------------------------------------------ parts made when they are first asked for

    @cached_property
    def dynamic(self) -> DynamicLoader:
        """What the guest asks of the dynamic linker: dlopen and its kin."""
        from emu.linux.ldso import DynamicLoader

        return DynamicLoader(self)

    @cached_property
    def syscalls(self) -> SystemCalls:
        """The kernel guests find: what it was asked that it does not know is in its `unknown`."""
        from emu.linux.syscalls import SystemCalls

        return SystemCalls(self)

    @cached_property
    def host_frames(self) -> HostFrames:
        """The host's side of the call stack, as an unwinder of the guest sees it."""
        from emu.debug.host_frames import DwarfHostFrames

        kind: type[HostFrames] = DwarfHostFrames
        if self.isa.unwinding.tables is FrameTables.EXIDX:
            from emu.debug.host_frames_arm import ArmHostFrames

            kind = ArmHostFrames
        return kind(
            self.convention,
            self.cpu,
            self.memory,
            self.traps,
            self.runner,
            self.host_symbols,
            self.symbolizer,
            self.link_maps.arena,
        )

    @cached_property
    def patcher(self) -> Patcher:
        """The patches that are in force, and what makes them."""
        from emu.patch.functions import Patcher

        return Patcher(self.memory, self.traps, self.host_symbols, self.symbolizer, self.loader)

"""The machine: an emulated CPU with memory, a linker that fills it, and Python on the other side of every trap.

    with Machine("riscv64") as machine:
        library = machine.load("libz.so.1")
        crc32 = library.function("crc32", "unsigned long(unsigned long, const char *, unsigned)")
        crc32(0, "123456789", 9)

`load` carries out the linker's plan: publish the segments, run the ifunc resolvers, set up TLS, run the
constructors. `call` runs one guest function; host functions and other traps it meets on the way are handled
here, outside the engine, so they may themselves call the guest, to any depth.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from emu.abi import CallingConvention, convention, float_convention
from emu.answers import Answers, Symbols, SymbolValue
from emu.budget import Budget
from emu.calls import CallPlan, plan_call
from emu.cpu import Stop, StopReason, create_cpu
from emu.errors import BudgetExceeded, CallError, ConstructorFault, Frame, GuestUnwinding, UnresolvedCall
from emu.heap import Heap
from emu.host import HostFunction, host_function
from emu.lazy import FirstCall, LazyCalls
from emu.libc import Libc
from emu.library import Function, Library
from emu.link_maps import LinkMaps, State
from emu.prototypes import Integer, Parameter, Prototype, Void
from emu.runtime import Runtime, host_libraries
from emu.space import GuestMemory
from emu.stack import Stack
from emu.symbolize import Symbolizer
from emu.threads import Thread, Threads
from emu.traps import TrapTable
from relink import tell
from relink.arch import Architecture, FloatAbi, architecture, architecture_of
from relink.collect import header_of
from relink.errors import MachineError, RelinkError, UnsupportedElf
from relink.graph import Node
from relink.image import Image, Symbol
from relink.lazy import Binding
from relink.link import Linker, LoadOptions, Policy
from relink.objects import CombinedObjects
from relink.outcome import finish_ifuncs
from relink.plan import Plan, destructors, initialisers
from relink.search import Finder, SearchPath, Source
from relink.symbols import UNRESOLVED
from relink.tls import DEFAULT_STATIC_SIZE, TlsModule

if TYPE_CHECKING:
    from emu.dynamic import DynamicLoader
    from emu.host_frames import HostFrames
    from emu.patching import Patch, Patcher, Replacement
    from emu.process import Process
    from emu.redirecting import Redirection
    from emu.syscalls import SystemCalls
    from relink.copies import Copied
    from relink.elf import Decoded
    from relink.handlers import RelocationHandler

DEFAULT_STACK_SIZE = 8 << 20  #: bytes, as on Linux


# Built, not parsed: parsing loads a C parser, and nearly every library has a constructor.
_DESTRUCTOR = Prototype("", Void(), ())


def _constructor_prototype(word_size: int) -> Prototype:
    """void(int argc, char **argv, char **envp), as ld.so calls constructors."""
    pointer = Parameter("", Integer(word_size, False, "unsigned long"))
    return Prototype("", Void(), (Parameter("", Integer(4, True, "int")), pointer, pointer))


def _from_host(image: Image) -> list[Copied]:
    """The hosted C library's variables that an image took over."""
    return [copied for copied in image.outcome.copies if copied.provider is None] if image.outcome else []


class Machine:
    """One emulated machine and what is loaded into it.

    `arch` is any name `relink.arch.architecture` knows. `library_path`, `libraries` and `sysroot` say where
    needed libraries come from (see `relink.search.SearchPath`). `hosted_libc` answers the C library's symbols
    from Python. `symbols`, a table or a function of a `SymbolRequest`, are answered before any image's;
    `finders` are asked for libraries before the search path. `max_instructions` and `timeout` (seconds) bound
    every call from Python that does not say otherwise; 0 is no bound. `float_abi` ("soft-float", "single-float",
    "hard-float") says how guest functions pass floating-point values, where the ISA's psABI knows several ways;
    images built for another are refused. `binding` ("now", "lazy", "faithful"; see `relink.lazy.Binding`) is when
    calls by way of the PLT are bound, where a load does not say otherwise. `tls_size` bytes are each thread's for
    static thread-local storage; with `dynamic_tls` only what must be static is (see `relink.tls`).

    Raises UnknownArchitecture, UnsupportedElf for a `float_abi` the architecture does not have.
    """

    def __init__(
        self, arch: str | Architecture, *, library_path: Sequence[str | os.PathLike[str]] = (),
        libraries: Mapping[str, Source] | None = None, sysroot: str | os.PathLike[str] | None = None,
        finders: Sequence[Finder] = (), hosted_libc: bool = True, symbols: Symbols | None = None,
        arguments: Sequence[str] = ("relink-emu",), environment: Mapping[str, str] | None = None,
        files: dict[str, bytes | bytearray] | None = None, stdin: bytes | Callable[[int], bytes] = b"",
        stack_size: int = DEFAULT_STACK_SIZE, tls_size: int = DEFAULT_STATIC_SIZE,
        max_instructions: int = 0, timeout: float = 0.0, float_abi: FloatAbi | str | None = None,
        binding: Binding | str = Binding.NOW, dynamic_tls: bool = False,
    ) -> None:  # fmt: skip
        self.arch = arch if isinstance(arch, Architecture) else architecture(arch)
        self.max_instructions = max_instructions
        self.timeout = timeout
        self.cpu = create_cpu(self.arch.name)
        self.traps = TrapTable(self.arch)
        self.cpu.set_trap_range(self.traps.start, self.traps.size)
        self.memory = GuestMemory(self.arch, self.cpu)
        self.heap = Heap(self.memory, self.arch)
        self.convention = self._choose_convention(float_abi)
        self._stack = Stack(self.memory, stack_size, arguments, environment or {})
        search = SearchPath(libraries or {}, library_path, sysroot, finders)
        policy = Policy(*host_libraries(hosted_libc=hosted_libc))
        self.linker = Linker(self.memory, search=search, policy=policy, tls_size=tls_size)
        self.threads = Threads(self.memory, self.heap, self.cpu, self.traps, self.linker)
        self.dynamic_tls = dynamic_tls  #: whether loads make thread-local storage dynamic where they can
        self.libc = Libc(self, environment=environment, files=files, stdin=stdin)
        self.linker.held = self.libc.held_addresses
        self.link_maps = LinkMaps(self)  #: what the guest and a debugger see of the loaded images
        self.linker.resolver.after.append(Runtime(self, hosted_libc=hosted_libc))
        self.answers = Answers(self)  #: makes definitions of what users give for symbols
        self.linker.resolver.host_value = self.answers.definition
        self.binding = Binding(binding)
        self._lazy = self.linker.lazy_host = LazyCalls(self)
        if symbols:
            self.linker.resolver.before.append(self.answers.source(symbols))
        self.run_initialisers = True  #: whether a load runs constructors (ifunc resolvers always run)
        self.program: Process | None = None  #: the one started last
        self._finalised: set[Image] = set()  # whose destructors have run
        self._unloading: list[Image] | None = None  #: what is still to be unloaded, while something is
        self._symbolizer = Symbolizer(self.linker, self.memory, self.traps)
        self._owned_traps: dict[Image, list[int]] = {}
        self._patcher: Patcher | None = None
        self._constructor = _constructor_prototype(self.arch.word_size)
        self._ifunc_block = 0
        link = self.convention.link_register
        #: What an interrupted guest function needs to return, and all that a fault in a nested call may spoil.
        self._returns_through = ("sp",) if link is None else ("sp", link)
        kept = self.convention.preserved_floats
        self._interrupted = (*self._returns_through, *self.cpu.registers[:-1], *kept)
        self._depth = 0
        self._suspended: list[Sequence[int]] = []  #: `_interrupted` of each guest function that waits for the host
        self._budget = Budget(0, 0.0)

    def _choose_convention(self, float_abi: FloatAbi | str | None) -> CallingConvention:
        if float_abi is None:
            return convention(self.arch.name)
        known = {abi.value: abi for abi in FloatAbi}
        abi = float_abi if isinstance(float_abi, FloatAbi) else known.get(float_abi)
        found = None if abi is None else float_convention(self.arch.name, abi)
        if found is None:
            raise UnsupportedElf(self.arch.name, f"has no calling convention {float_abi!r}; see FloatAbi")
        return found

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
                self._unloading = []  # everything goes: what is unloaded now need not go by itself
                self.libc.finish()
                for image in self.linker.teardown_order():
                    self._run_destructors(image)
        finally:
            self.linker.close()
            self.cpu.close()

    # ------------------------------------------------------------ loading

    @property
    def thread_pointer(self) -> int:
        """The guest address the ISA's thread pointer holds."""
        return self.threads.current.thread_pointer

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

    def collect(self) -> None:
        """Let go of images nothing needs any longer (a thread or a patch has kept them), destructors run."""
        for doomed in self.linker.unloadable():
            self._run_destructors(doomed)
        with self.link_maps.changing(State.DELETE):
            self._clean_up(self.linker.unload_unused())

    def load(
        self, source: Source | Sequence[Source] | Node, *, name: str | None = None,
        symbols: Symbols | None = None,
        base: int | None = None, local: bool = False, deep_bind: bool = False, no_load: bool = False,
        no_delete: bool = False, binding: Binding | str | None = None, preload: Sequence[Source] = (),
        allow_unresolved: bool = False, want: Sequence[str] = (), whole_archive: bool = False,
        place: Mapping[str, int] | Callable[[Decoded], int | None] | None = None,
        late_symbols: Symbols | None = None, relocation_handlers: Sequence[RelocationHandler] = (),
    ) -> Library:  # fmt: skip
        """Load a library with all it needs, and run its constructors.

        `source` is what `relink.link.Linker.loading` takes.
        `symbols`, a table or a function of a `SymbolRequest`, answers what this load's images import before
        anything else does, `late_symbols` what no image answers. `allow_unresolved` binds
        strong symbols nobody defines to traps that raise UnresolvedCall when reached. The other arguments
        are `relink.link.LoadOptions`. Whatever is raised (ElfError, LinkError, LinkErrors, AddressSpaceError,
        ConstructorFault, or what a host function raised), the machine is as it was before.
        """
        options = LoadOptions(
            base=base, local=local, deep_bind=deep_bind, no_load=no_load, no_delete=no_delete,
            binding=self.binding if binding is None else Binding(binding), preload=preload, want=want,
            whole_archive=whole_archive, place=place, relocation_handlers=relocation_handlers,
            dynamic_tls=self.dynamic_tls,
        )  # fmt: skip
        return Library(
            self, self._load(source, name, symbols, options, late=late_symbols, allow_unresolved=allow_unresolved)
        )

    def _load(
        self, source: Source | Sequence[Source] | Node, name: str | None, symbols: Symbols | None,
        options: LoadOptions, process: Process | None = None, *, late: Symbols | None = None,
        allow_unresolved: bool,
    ) -> Plan:  # fmt: skip
        traps: list[int] = []
        with ExitStack() as undo:
            undo.callback(self.libc.forget_handlers, self._is_mapped)
            undo.callback(self.remove_traps, traps)
            undo.callback(self.link_maps.relink)
            undo.callback(lambda: self._lazy.forget(image for image in self._lazy.images if image.closed))
            sources = [self.answers.source(symbols, traps)] if symbols else []
            later = [self.answers.source(late, traps)] if late else []
            unresolved = partial(self._unresolved_trap, traps) if allow_unresolved else LoadOptions.unresolved
            options = replace(options, sources=sources, late_sources=later, unresolved=unresolved)
            with self.answers.owned_by(traps), self.linker.loading(source, name=name, options=options) as plan:
                start = time.perf_counter()
                self._check_float_abi(plan)
                try:
                    self._publish(plan, undo)
                    if process is not None:
                        process.prepare(plan, undo)
                    self._carry_out(plan)
                except BaseException:
                    self.dynamic.abandon(plan.images)
                    raise
                plan.timings.add("start", time.perf_counter() - start)
            undo.pop_all()
        self._owned_traps.setdefault(plan.root, []).extend(traps)
        return plan

    def start(
        self, program: Source, arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None, *, name: str | None = None,
        symbols: Symbols | None = None, base: int | None = None, binding: Binding | str | None = None,
        preload: Sequence[Source] = (), allow_unresolved: bool = False,
    ) -> Process:  # fmt: skip
        """Load an executable with its libraries, whose constructors run, and make it ready to be run.

        `arguments` begin with what the program is called (None: its file's name alone). The other arguments are
        those of `load`. Raises what `load` does, and UnsupportedElf for a file that is no executable.
        """
        from emu.process import Process

        process = Process(self, program, arguments, environment or {})
        options = LoadOptions(
            base=base, binding=self.binding if binding is None else Binding(binding), preload=preload,
            dynamic_tls=self.dynamic_tls, program=True,
        )  # fmt: skip
        try:
            self._load(program, name, symbols, options, process, allow_unresolved=allow_unresolved)
        except BaseException:
            process.abandon()
            raise
        self.program = process
        return process

    def run(
        self, program: Source, arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None, *, symbols: Symbols | None = None,
        preload: Sequence[Source] = (), max_instructions: int | None = None, timeout: float | None = None,
    ) -> int:  # fmt: skip
        """Start a program (see `start`) and run it to its exit; its status (see `Process.run`)."""
        process = self.start(program, arguments, environment, symbols=symbols, preload=preload)
        return process.run(max_instructions=max_instructions, timeout=timeout)

    @cached_property
    def syscalls(self) -> SystemCalls:
        """The kernel guests find: what it was asked that it does not know is in its `unknown`."""
        from emu.syscalls import SystemCalls

        return SystemCalls(self)

    def adopt(
        self, address: int, *, source: Source | None = None, name: str | None = None, relocated: bool,
        symbols: Symbols | None = None, tls: TlsModule | None = None,
    ) -> Library:  # fmt: skip
        """Take an image that lies in guest memory already, its ELF header at `address`, for a library.

        See `Linker.adopting`. One that has been relocated has also been initialised: its constructors and
        destructors are not run. Its thread-local block is set up afresh.
        """
        traps: list[int] = []
        with ExitStack() as undo:
            undo.callback(self.libc.forget_handlers, self._is_mapped)
            undo.callback(self.remove_traps, traps)
            undo.callback(self.link_maps.relink)
            options = LoadOptions(sources=[self.answers.source(symbols, traps)] if symbols else [])
            adopting = self.linker.adopting(
                address, source=source, name=name, relocated=relocated, tls=tls, options=options
            )
            with self.answers.owned_by(traps), adopting as plan:
                self._check_float_abi(plan)
                self._carry_out(plan)
            undo.pop_all()
        self._owned_traps.setdefault(plan.root, []).extend(traps)
        return Library(self, plan)

    def unload(self, image: Image) -> None:
        """Drop one load of an image; when it was the last, run destructors and free what only it needed.

        What destructors unload in turn goes after that, as in ld.so. Raises UseAfterUnload, ConstructorFault of a
        destructor that did not return: its image stays.
        """
        image.check_open()
        if self._unloading is not None:
            self._unloading.append(image)
            return
        self._unloading = pending = [image]
        errors: list[RelinkError] = []
        try:
            while pending:
                try:
                    self._unload(pending.pop(0))
                except RelinkError as error:
                    errors.append(error)
        finally:
            self._unloading = None
        if errors:
            raise errors[0]

    def _unload(self, image: Image) -> None:
        image.check_open()
        for doomed in self.linker.unloadable(image):
            self._run_destructors(doomed)
        self.discard(image)

    def discard(self, image: Image) -> None:
        """Like `unload`, but at once, and nothing of the guest's is run."""
        with self.link_maps.changing(State.DELETE):
            self._clean_up(self.linker.unload(image))

    def _clean_up(self, released: Sequence[Image]) -> None:
        for image in released:
            self._finalised.discard(image)
            self._return_variables(image)
            self._lazy.forget([image])
            self.remove_traps(self._owned_traps.pop(image, []))
            if self._patcher is not None:
                self._patcher.forget(image)
        self.libc.forget_handlers(self._is_mapped)

    def patch(
        self, target: Function | Symbol | int, replacement: Replacement, *, size: int | None = None
    ) -> Patch:
        """Replace a guest function for every caller, until the result's `undo` (see `emu.patching`).

        `replacement` is another guest function or its address, a host function (a callable, or one with its C
        prototype), code as bytes, or assembly text for the ISAs keystone knows (x86-64, i386, AArch64, Arm in the
        function's own instruction set). `size` is how many bytes of the function may be overwritten, where its
        symbol does not tell or `target` is an address.

        Raises PatchError, FunctionTooShort, AlreadyPatched, AssemblyError, UseAfterUnload.
        """
        return self._patches().patch(target, replacement, size)

    def redirect(self, image: Image, name: str, replacement: Function | Symbol | SymbolValue) -> Redirection:
        """Redirect an image's own references to a symbol, until the result's `undo` (see `emu.redirecting`).

        Raises PatchError where it has none, or is made of relocatable objects; UseAfterUnload.
        """
        from emu.redirecting import redirect

        return redirect(self._patches(), image, name, replacement)

    def _patches(self) -> Patcher:
        if self._patcher is None:
            from emu.patching import Patcher

            self._patcher = Patcher(self)
        return self._patcher

    def _is_mapped(self, address: int) -> bool:
        return address in self.traps or self.memory.region_at(address) is not None

    def define_all(self, symbols: Mapping[str, SymbolValue], traps: list[int] | None = None) -> dict[str, int]:
        """Guest addresses for what a user gave for symbols; new traps are noted in `traps`."""
        return {name: self.define(name, value, traps) for name, value in symbols.items()}

    def define(self, name: str, value: SymbolValue, traps: list[int] | None = None) -> int:
        """The guest address that stands for `value`: the number itself, or a trap that runs the callable."""
        if isinstance(value, int):
            return value & self.arch.address_mask
        address = self.traps.add(name, self.host_handler(name, host_function(value, name)))
        if traps is not None:
            traps.append(address)
        return address

    def host_handler(self, name: str, function: HostFunction) -> Callable[[], int]:
        """What a trap does to run `function` in the guest's place; `name` is what errors call it."""
        plan = plan_call(self.convention.arch, function.prototype)
        return lambda: plan.leave(self, function.call(*plan.arguments(self)), name)

    def _check_float_abi(self, plan: Plan) -> None:
        """Floating-point values go where this machine's convention says: images that differ would read garbage."""
        ours = self.convention.float_abi
        for image in plan.images:
            if image.float_abi not in (None, ours):
                assert image.float_abi is not None
                theirs = image.float_abi.value
                problem = f"makes {theirs} calls, this machine {ours.value} ones"
                raise UnsupportedElf(image.name, f"{problem}: give Machine(float_abi={theirs!r})")

    def _publish(self, plan: Plan, undo: ExitStack) -> None:
        """Give the guest its memory, and the hosted C library the variables an executable took over."""
        with self.link_maps.changing(State.ADD, len(plan.images)):
            for region, pages in plan.regions:
                self.memory.publish(region, pages)
        for image in plan.images:
            undo.callback(self._return_variables, image)
            for copied in _from_host(image):
                self.libc.place_variable(copied.symbol, copied.destination)
        if plan.root in plan.images and plan.root.decoded.is_executable:
            self._set_global_pointer(plan.root, undo)

    def _return_variables(self, image: Image) -> None:
        """The hosted C library has its variables back that an executable took over."""
        for copied in _from_host(image):
            self.libc.place_variable(copied.symbol, copied.source)

    def _carry_out(self, plan: Plan) -> None:
        """Do what the linker left to do, in the order `relink.plan` explains."""
        self._run_ifuncs(plan)
        self.threads.initialise(plan.static_tls)
        for image, which, address in initialisers(plan) if self.run_initialisers else ():
            self._run_initialiser(image, which, address, *self._stack.constructor_arguments)

    def run_initialiser(self, image: Image, which: str, address: int) -> None:
        """Run one of a program's constructors. Raises ConstructorFault."""
        self._run_initialiser(image, which, address, *self._stack.constructor_arguments)

    def _set_global_pointer(self, program: Image, undo: ExitStack) -> None:
        """For the program's code that runs before its entry, as ld.so does (glibc, sysdeps/riscv/dl-machine.h)."""
        if self.convention.global_pointer is not None:
            register, symbol = self.convention.global_pointer
            address = program.exports.get(symbol)
            if address is not None:
                undo.callback(self.cpu.write_register, register, self.cpu.read_register(register))
                self.cpu.write_register(register, address)

    def _run_ifuncs(self, plan: Plan) -> None:
        """Ask every ifunc resolver once, with the arguments its ABI passes, and store the answers."""
        answers: dict[int, int] = {}
        for calls in plan.ifuncs:
            assert calls.row.word is not None
            for resolver in dict.fromkeys(calls.resolver.tolist()):
                if resolver not in answers:
                    answers[resolver] = self._ask_resolver(calls.image, resolver)
                places = int((calls.resolver == resolver).sum())
                tell.resolved(self.linker.observers, calls.image, resolver, answers[resolver], places)
            words = finish_ifuncs(calls, np.array([answers[r] for r in calls.resolver.tolist()], np.uint64))
            for place, word in zip(calls.place.tolist(), words.tolist(), strict=True):
                self.memory.write_uint(place, calls.row.word.size, word)

    def _ask_resolver(self, image: Image, resolver: int) -> int:
        rules = self.convention
        if rules.ifunc_block and not self._ifunc_block:
            self._ifunc_block = self.memory.map_anonymous(len(rules.ifunc_block), name="[ifunc]")
            self.memory.write(self._ifunc_block, rules.ifunc_block)
        try:
            answer = self.call(resolver, rules.ifunc_prototype, *rules.ifunc_arguments(self._ifunc_block))
        except MachineError as error:
            raise ConstructorFault(image.name, f"ifunc resolver {self.symbolize(resolver)}", error) from error
        assert isinstance(answer, int)
        return answer

    @property
    def first_calls(self) -> list[FirstCall]:
        """Who called what first, and when, of calls that were bound lazily: an audit of the links in use."""
        return self._lazy.first_calls

    def link_map_address(self, image: Image) -> int:
        """The word that tells a PLT's resolver which image it is called for."""
        return self.link_maps.link_map_address(image)

    def tls_block(self, image: Image) -> int:
        """Guest address of an image's thread-local block in the thread in use.

        Raises GuestAbort when there is no memory for a block that is due now.
        """
        return self.threads.block(image)

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self._symbolizer.image_at(address)

    @cached_property
    def dynamic(self) -> DynamicLoader:
        """What the guest asks of the dynamic linker: dlopen and its kin."""
        from emu.dynamic import DynamicLoader

        return DynamicLoader(self)

    def ifunc_target(self, image: Image, resolver: int) -> int:
        """The function an STT_GNU_IFUNC symbol stands for."""
        return self._ask_resolver(image, resolver)

    def _run_initialiser(self, image: Image, which: str, address: int, *args: int) -> None:
        with tell.running(self.linker.observers, image, which, address, destructor=not args):
            try:
                self.call(address, self._constructor if args else _DESTRUCTOR, *args)
            except MachineError as error:
                raise ConstructorFault(image.name, f"{which} {self.symbolize(address)}", error) from error

    def _run_destructors(self, image: Image) -> None:
        if image.runs_elsewhere or image in self._finalised:
            return
        self._finalised.add(image)
        for which, address in destructors(image):
            self._run_initialiser(image, which, address)
        # What crtbegin.o does for a shared object; nobody links it into relocatable ones.
        handle = image.decoded.dso_handle if isinstance(image.decoded, CombinedObjects) else None
        if handle is not None:
            finalize = self.linker.resolver.find("__cxa_finalize", None, image.scope, hosts=True)
            if finalize.provider[0] != UNRESOLVED:
                self.call(int(finalize.address[0]), "void(void *)", image.address_of(handle))

    def _unresolved_trap(self, traps: list[int], image: str, symbol: str) -> int:
        def reached() -> int:
            raise UnresolvedCall(symbol, self.caller())

        address = self.traps.add(f"unresolved {symbol}", reached)
        traps.append(address)
        return address

    def traps_of(self, image: Image) -> list[int]:
        """The traps that go when an image goes; more may be added."""
        return self._owned_traps.setdefault(image, [])

    def remove_traps(self, traps: list[int]) -> None:
        """Give traps back that `define` has made."""
        for address in traps:
            self.traps.remove(address)

    # ------------------------------------------------------------ calling

    def call(
        self, address: int, prototype: Prototype | str, *args: object, max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> int | float | None:  # fmt: skip
        """Call the guest function at `address` and give its result.

        See `emu.calls` for what Python values mean. Raises CallError for a wrong argument, GuestFault,
        BudgetExceeded, and whatever a host function raises; the machine can be used again after any of them.
        """
        plan = plan_call(self.convention.arch, prototype)
        if self._depth:
            return self._call_nested(plan, address, args)
        limit = self.max_instructions if max_instructions is None else max_instructions
        seconds = self.timeout if timeout is None else timeout
        self._budget = Budget(limit, seconds)
        self._depth = 1
        try:
            return self._enter(plan, address, args, self._stack.top)
        finally:
            self._depth = 0

    def _call_nested(self, plan: CallPlan, address: int, args: Sequence[object]) -> int | float | None:
        """A call out of a host function: the interrupted guest function finds its registers as they were."""
        cpu = self.cpu
        before = cpu.read_registers(self._interrupted)
        self._depth += 1
        self._suspended.append(before)
        try:
            result = self._enter(plan, address, args, before[0])
        except BaseException:
            cpu.write_registers(zip(self._interrupted, before, strict=True))
            raise
        finally:
            self._depth -= 1
            self._suspended.pop()
        # The callee kept what its ABI says; the interrupted function returns through these.
        cpu.write_registers(zip(self._returns_through, before, strict=False))
        return result

    def _enter(self, plan: CallPlan, address: int, args: Sequence[object], sp: int) -> int | float | None:
        entry = plan.enter(self, args, sp, self.traps.return_to(self._depth))
        returned = False
        try:
            if entry.stack:
                self.cpu.write(entry.sp, entry.stack)
            self.cpu.write_registers(entry.registers)
            self._run(address)
            result = plan.result(self)
            returned = True
        finally:
            if entry.buffers is not None:
                entry.finish(copy_back=returned)
        return result

    @property
    def stack(self) -> Stack:
        """The guest thread's stack."""
        return self._stack

    def finalise(self, image: Image | None = None, *, run: bool = True) -> None:
        """Run destructors, of all images (dependents first) or one; or consider them run."""
        for each in self.linker.teardown_order() if image is None else [image]:
            if run:
                self._run_destructors(each)
            else:
                self._finalised.add(each)

    def run_program(
        self, pc: int, registers: Mapping[str, int], max_instructions: int | None, timeout: float | None
    ) -> None:
        """Run from `pc` with these registers until the guest exits: GuestExit. Raises MachineError in a call."""
        if self._depth:
            raise MachineError("a program cannot be run out of a host function")
        limit = self.max_instructions if max_instructions is None else max_instructions
        self._budget = Budget(limit, self.timeout if timeout is None else timeout)
        self._depth = 1
        try:
            self.cpu.write_registers(registers)
            self._run(pc)
        finally:
            self._depth = 0

    def _run(self, pc: int) -> None:
        """Run until the return trap of this depth, handling the other traps and system calls on the way."""
        run, traps, budget = self.cpu.run, self.traps, self._budget
        end = traps.return_to(self._depth or 1)
        while True:
            if budget.bounded:
                stop = run(pc, max_instructions=budget.instructions, timeout=budget.seconds_left())
            else:
                stop = run(pc)
            if stop.reason is StopReason.TRAP:
                if stop.pc == end:
                    return
                trap = traps.get(stop.pc)
                if trap is None:
                    raise self._stopped(Stop(StopReason.FETCH_UNMAPPED, stop.pc, stop.pc))
            elif stop.reason is StopReason.SYSCALL:
                trap = None
            else:
                raise self._stopped(stop)
            if budget.bounded and budget.spent_on_trap():
                raise self._stopped(Stop(StopReason.INSTRUCTION_LIMIT, stop.pc))
            if trap is None:
                pc = self.syscalls.answer(stop.pc)
                continue
            try:
                pc = trap.handler()
            except GuestUnwinding as unwinding:
                if unwinding.depth == self._depth:
                    raise
                pc = self.host_frames.resume(unwinding)

    def _stopped(self, stop: Stop) -> RelinkError:
        """The exception for a guest that did not get to its end."""
        if stop.reason in (StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT):
            return BudgetExceeded(self._budget.describe(stop.reason), self.symbolize(stop.pc))
        from emu.faults import guest_fault

        known = self._symbolizer
        return guest_fault(
            self.cpu, stop, symbolize=known.frame, unwind_tables=known.call_frames, sourced=known.sourced
        )

    @cached_property
    def host_frames(self) -> HostFrames:
        """The host's side of the call stack, as an unwinder of the guest sees it."""
        from emu.host_frames import DwarfHostFrames

        if self.arch.name == "arm":
            from emu.host_frames_arm import ArmHostFrames

            return ArmHostFrames(self)
        return DwarfHostFrames(self)

    def host_callers(self) -> list[tuple[int, int]]:
        """(canonical frame address, place it returns to) of each call of a host function that has called the
        guest in turn, outermost first."""
        if self.convention.link_register is not None:
            return [(before[0], before[1]) for before in self._suspended]
        word = self.arch.word_size
        return [(before[0] + word, self.memory.read_uint(before[0], word)) for before in self._suspended]

    @property
    def first_argument(self) -> str | None:
        """The register a first pointer argument is passed in; None where it is on the stack."""
        return next(iter(self.convention.integer_arguments), None)

    @property
    def call_depth(self) -> int:
        """How many calls of the guest are under way: 0 when it is idle, 2 in a call out of a host function."""
        return self._depth

    # ------------------------------------------------------------ telling addresses

    def symbolize(self, address: int, *, source: bool = True) -> Frame:
        """What lies at a guest address, as far as known. `source` looks its source line up too, which reads
        the image's line tables when it has any."""
        frame = self._symbolizer.frame(address)
        return self._symbolizer.sourced(frame) if source else frame

    def return_address(self) -> int:
        """Where the guest function that has just been entered (a trap) will return to."""
        link = self.convention.link_register
        if link is not None:
            address = self.cpu.read_register(link)
        else:
            address = self.memory.read_uint(self.cpu.read_register("sp"), self.arch.word_size)
        return address & self.arch.code_address_mask

    def caller(self, *, source: bool = True) -> Frame:
        """What lies there, as far as known."""
        frame = self._symbolizer.frame(self.return_address())
        return self._symbolizer.sourced(frame, returned_to=True) if source else frame

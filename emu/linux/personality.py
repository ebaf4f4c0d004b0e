"""Linux as a machine's personality: the hosted C library, the kernel, and ld.so for a running guest.

This file connects the parts: `emu.libc`, `emu.linux.syscalls`, `emu.linux.process` and `emu.load.ldso`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from emu.host.functions import HostFunction
from emu.isa.registry import ISAS
from emu.libc import Libc
from emu.libc.library import Engine
from emu.libc.symbol_source import ERRNO_OFFSET, TLS_SIZE, LibcSymbols
from emu.personality import Personality
from relink.errors import MachineError
from relink.linker import Policy
from relink.memory.address_space import Protection
from relink.records import Assigned, cached_property

if TYPE_CHECKING:
    from emu.cpu.protocol import Stop
    from emu.libc.filesystem import FileSystem
    from emu.linux.process import Process
    from emu.linux.syscalls.kernel import Handler, SystemCalls
    from emu.load.ldso import DynamicLoader
    from emu.load.options import StartKeywords
    from emu.parts import Parts
    from relink.arch import Architecture
    from relink.image import Image
    from relink.search.search_path import Source

#: SONAMEs of C libraries and their parts. Those that differ by ISA are in the ISA's page.
_C_LIBRARIES = frozenset({"libc.so.6", "libc.so", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"})
#: Libraries whose real files run well: the hosted C library provides them only when no file is found.
_FALLBACKS = frozenset({"libm.so.6", "libgcc_s.so.1"})


class LinuxKeywords(TypedDict, total=False):
    """Arguments of `Linux`."""

    arguments: Sequence[str]
    environment: Mapping[str, str] | None
    files: dict[str, bytes | bytearray] | None
    stdin: bytes | Callable[[int], bytes]


class LinuxShortcuts(LinuxKeywords, total=False):
    """Arguments of `Machine` for its default personality, Linux."""

    hosted_libc: bool  #: False is `libc="target"`


def _check_files(files: dict[str, bytes | bytearray]) -> None:
    if not isinstance(files, MutableMapping):
        raise TypeError(f"files={files!r} is no table: give {{path: contents}}")
    for path, content in files.items():
        if not isinstance(content, bytes | bytearray):
            raise TypeError(f"files[{path!r}] is {content!r}: give bytes")


class Linux(Assigned, Personality):
    """Linux for one machine.

    - `libc`: "hosted" for the C library in Python (see docs/libc.md), or "target" for one loaded from a file like
      any other library;
    - `arguments`, `environment`: argv and envp for constructors and the hosted C library; a started program has
      its own;
    - `files`: the guest's file system, path -> contents;
    - `stdin`: the content of standard input (see `emu.libc.Libc`).
    """

    in_files = True

    def __init__(
        self,
        *,
        libc: Literal["hosted", "target"] = "hosted",
        arguments: Sequence[str] = ("relink-emu",),
        environment: Mapping[str, str] | None = None,
        files: dict[str, bytes | bytearray] | None = None,
        stdin: bytes | Callable[[int], bytes] = b"",
    ) -> None:
        if libc not in ("hosted", "target"):
            raise ValueError(f"libc={libc!r} is neither 'hosted' nor 'target'")
        if arguments.__class__ is str:
            raise TypeError(f"arguments={arguments!r} is one text: give a list")
        if not (stdin.__class__ is bytes or callable(stdin)):
            raise TypeError(f"stdin={stdin!r} is no bytes")
        if files is not None:
            _check_files(files)
        self.hosted = libc == "hosted"
        self.arguments = arguments
        self.environment = dict(environment or {})
        self.program: Process | None = None  #: the program started last
        self._files = files
        self._stdin = stdin

    def policy(self, arch: Architecture) -> Policy:
        if not self.hosted:
            return Policy()
        return Policy(_C_LIBRARIES.union(ISAS[arch.name].libc.sonames), _FALLBACKS)

    # ------------------------------------------------------------ its parts

    def attach(self, parts: Parts) -> None:
        if hasattr(self, "libc"):
            raise MachineError("a Linux personality can be used for one machine only")
        self._parts = parts
        self.libc = Libc(
            parts.memory.architecture,
            parts.guest_view,
            parts.memory,
            parts.cpu,
            parts.heap,
            parts.runner,
            parts.threads,
            dynamic=lambda: self.dynamic,
            environment=self.environment,
            files=self._files,
            stdin=self._stdin,
            limit=parts.memory_limit,
            engine=Engine(parts.cpu, parts.traps),
        )
        self.libc.system_call = self._system_call
        resolver = parts.linker.resolver
        resolver.host_tls = parts.linker.tls.allocate_far(TLS_SIZE, TLS_SIZE)
        self._errno: int = resolver.host_tls.offset + ERRNO_OFFSET
        parts.threads.on_switch = self._place_errno
        self._place_errno()
        self._add_kernel_pages(parts)
        parts.runner.on_fault = self._fault
        if self.hosted:
            symbols = LibcSymbols(
                self.libc, parts.memory, parts.traps, parts.runner, parts.host_symbols, parts.convention
            )
            resolver.after.append(symbols)
            resolver.is_host_function = symbols.is_function
            parts.symbolizer.host_images = lambda: symbols.compiled.images

    def _add_kernel_pages(self, parts: Parts) -> None:
        """Add the kernel's pages at fixed addresses: Arm's helpers, x86-64's vsyscalls."""
        for address, name in parts.isa.kernel.vsyscalls.items():
            parts.traps.add_at(address, f"vsyscall {name}", partial(self._vsyscall, name))
        if parts.isa.kernel.user_page is not None:
            address, content = parts.isa.kernel.user_page
            parts.memory.map_anonymous(len(content), Protection.R | Protection.X, name="[vectors]", at=address)
            parts.memory.write(address, content)

    def _vsyscall(self, name: str) -> int:
        """A trap handler that performs a system call that the guest called like a function."""

        def call(*words: int) -> int:
            return self.kernel.perform(name, words)

        function = HostFunction(call, "long(unsigned long, unsigned long, unsigned long)")
        return self._parts.host_symbols.handler(f"vsyscall {name}", function)()

    def _fault(self, stop: Stop) -> int | None:
        """The handler of a signal at which the guest continues, or None for an unhandled fault."""
        from emu.libc.signal_delivery import Signals

        return self.libc.state(Signals).fault(stop)

    def _system_call(self, number: int, words: Sequence[int]) -> int:
        return self.kernel.perform(self.kernel.name_of(number), words)

    def _place_errno(self) -> None:
        self.libc.errno_address = self._parts.threads.thread_pointer + self._errno

    @cached_property
    def kernel(self) -> SystemCalls:
        """The kernel; `unknown` counts system calls that are not implemented."""
        from emu.linux.syscalls.kernel import SystemCalls

        def handlers() -> Mapping[str, Handler]:
            from emu.linux.syscalls.handlers import HANDLERS

            return HANDLERS

        parts = self._parts
        return SystemCalls(parts.guest_view, parts.memory, parts.cpu, self.libc, handlers)

    @cached_property
    def dynamic(self) -> DynamicLoader:
        """The dynamic linker for the guest: dlopen and the other dl* functions."""
        from emu.load.ldso import DynamicLoader

        def files() -> FileSystem:
            from emu.libc.filesystem import file_system

            return file_system(self.libc)

        parts = self._parts
        return DynamicLoader(
            parts.linker,
            parts.loader,
            parts.initialisers,
            parts.link_maps,
            parts.threads,
            parts.runner,
            parts.symbolizer,
            host_frames=lambda: parts.host_frames,
            files=files,
        )

    # ------------------------------------------------------------ what the machine asks

    def syscall(self, pc: int) -> int:
        return self.kernel.answer(pc)

    def start(
        self,
        program: Source,
        arguments: Sequence[str] | None,
        environment: Mapping[str, str],
        **options: Unpack[StartKeywords],
    ) -> Process:
        from emu.linux.process import Process

        parts = self._parts
        process = Process(
            program,
            arguments,
            environment,
            convention=parts.convention,
            memory=parts.memory,
            stack=parts.stack,
            traps=parts.traps,
            runner=parts.runner,
            threads=parts.threads,
            host_symbols=parts.host_symbols,
            initialisers=parts.initialisers,
            finalise=parts.loader.finalise,
            libc=self.libc,
            kernel=self.kernel,
        )
        try:
            parts.loader.load(program, prepare=process.prepare, **options)
        except BaseException:
            process.abandon()
            raise
        self.program = process
        return process

    def variable_moved(self, name: str, address: int) -> None:
        self.libc.place_variable(name, address)

    def code_removed(self, exists: Callable[[int], bool]) -> None:
        if not self.libc.is_untouched:
            from emu.libc.lifecycle import forget_handlers

            forget_handlers(self.libc, exists)

    def image_replaced(self, old: Image, new: Image) -> None:
        self.dynamic.image_replaced(old, new)

    def load_failed(self, images: Sequence[Image]) -> None:
        """Undo the dlopen calls of constructors of these images."""
        self.dynamic.abandon(images)

    def finish(self) -> None:
        if not self.libc.is_untouched:
            from emu.libc.lifecycle import finish

            finish(self.libc)

    def pinned_addresses(self) -> Collection[int]:
        if self.libc.is_untouched:
            return ()
        from emu.libc.lifecycle import pinned_addresses

        return pinned_addresses(self.libc)

    def end_thread(self) -> None:
        from emu.libc.lifecycle import end_thread

        end_thread(self.libc)

    def forget_thread(self, thread_pointer: int) -> None:
        from emu.libc.lifecycle import forget_thread

        forget_thread(self.libc, thread_pointer)


def linux(*, hosted_libc: bool = True, **keywords: Unpack[LinuxKeywords]) -> Linux:
    """The personality for `LinuxShortcuts`. Raises TypeError for others, which a user has given to `Machine`."""
    if "libc" in keywords:
        raise TypeError("libc= is an argument of Linux: give os=Linux(libc=...) or hosted_libc=")
    if unknown := keywords.keys() - LinuxKeywords.__optional_keys__:
        raise TypeError(f"Machine() got an unexpected keyword argument {min(unknown)!r}")
    return Linux(libc="hosted" if hosted_libc else "target", **keywords)

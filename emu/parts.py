"""The parts of a machine and their connections: each part gets the parts it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from emu.debug.link_maps import LinkMaps
from emu.debug.symbolizer import Symbolizer
from emu.host.ownership import Owner
from emu.host.stand_ins import StandIns
from emu.host.symbols import HostSymbols, Symbols
from emu.isa.registry import ISAS, chosen_convention
from emu.isa.spec import FrameTables
from emu.load.initialisers import Initialisers
from emu.load.lazy_binding import LazyCalls
from emu.load.linker_symbols import InsteadOfLdso, LinkerSymbols
from emu.load.loader import Loader
from emu.memory.guest_memory import GuestMemory
from emu.memory.guest_view import GuestView
from emu.memory.heap import Heap
from emu.memory.limit import MemoryLimit
from emu.run.runner import Runner
from emu.run.stack import Stack
from emu.run.threads import Threads
from emu.run.traps import TrapTable
from relink.linker import Linker
from relink.records import Assigned, cached_property

if TYPE_CHECKING:
    from emu.cpu.protocol import Stop
    from emu.debug.host_frames import HostFrames
    from emu.debug.observation import Observation
    from emu.errors import Frame, GuestFault
    from emu.ports import System
    from relink.arch import Architecture, FloatAbi
    from relink.relocate.lazy import BindMode
    from relink.search.search_path import SearchPath


#: The classes of parts that are the same in each machine.
CLASSES: Mapping[str, type] = {
    "memory_limit": MemoryLimit, "traps": TrapTable, "memory": GuestMemory, "heap": Heap, "stack": Stack,
    "linker": Linker, "symbolizer": Symbolizer, "runner": Runner, "owner": Owner, "guest_view": GuestView,
    "threads": Threads, "link_maps": LinkMaps, "host_symbols": HostSymbols, "initialisers": Initialisers,
    "lazy_calls": LazyCalls, "loader": Loader,
}  # fmt: skip


class Parts(Assigned):
    """The parts of one machine. The arguments are those of `emu.machine.Machine`; `system` is its personality."""

    def __init__(
        self,
        arch: Architecture,
        system: System,
        search: SearchPath,
        *,
        symbols: Symbols | None,
        binding: BindMode,
        float_abi: FloatAbi | str | None,
        max_instructions: int,
        timeout: float,
        memory_limit: int,
        stack_size: int,
        tls_size: int,
        dynamic_tls: bool,
    ) -> None:
        self.isa = ISAS[arch.name]
        self.cpu = system.cpu(arch)
        self.memory_limit = MemoryLimit(memory_limit)
        self._make_memory(system, arch)
        self.heap = Heap(self.memory, arch, self.memory_limit)
        self.convention = chosen_convention(arch.name, float_abi)
        self.stack = Stack(self.memory, stack_size, system.arguments, system.environment, system.layout.stack)
        self.linker = Linker(self.memory, search=search, policy=system.policy(arch), tls_size=tls_size)
        self.symbolizer = Symbolizer(self.linker, self.memory, self.traps)  #: describes addresses
        self.runner = Runner(  #: calls into the guest
            self.cpu,
            system.execution(self.cpu),
            self.memory,
            self.heap,
            self.traps,
            self.stack,
            self.convention,
            max_instructions=max_instructions,
            timeout=timeout,
            frame=self.symbolizer.symbolize,
            describe_fault=self._describe_fault,
            syscall=system.syscall,
            resume=lambda unwinding: self.host_frames.resume(unwinding),
        )
        self.owner = Owner(self.linker, self.memory)  #: tells this machine's objects from another's
        self.runner.check_objects, self.memory.caller = self.owner.check, self.runner.call
        self.guest_view = GuestView(self.cpu, self.runner.check_budget)  #: memory with the guest's permissions
        self.threads = Threads(self.memory, self.heap, self.cpu, self.traps, self.linker)
        self._make_loader(system, binding, dynamic_tls=dynamic_tls)
        self._connect(system, symbols)

    def _make_memory(self, system: System, arch: Architecture) -> None:
        layout = system.layout
        self.traps = TrapTable(arch, layout.traps)
        self.cpu.set_trap_range(self.traps.start, self.traps.size)
        self.memory = GuestMemory(arch, self.cpu, self.memory_limit)
        if layout.window is not None:
            self.memory.set_window(*layout.window)
        system.map_memory(self.memory)

    def _make_loader(self, system: System, binding: BindMode, *, dynamic_tls: bool) -> None:
        linker, memory, runner = self.linker, self.memory, self.runner
        #: the link maps of loaded images, for the guest and debuggers
        self.link_maps = LinkMaps(linker, memory, runner)
        #: definitions for users' symbols
        self.host_symbols = HostSymbols(
            self.traps, StandIns(memory, self.traps), runner, self.convention, self.caller
        )
        runner.callbacks = self.host_symbols
        self.host_symbols.check_objects = self.owner.check
        #: ifunc resolvers, constructors, destructors
        self.initialisers = Initialisers(linker, memory, runner, self.convention, self.stack, self.symbolizer)
        self.lazy_calls = LazyCalls(  #: binds jump slots at their first call
            linker,
            memory,
            self.cpu,
            self.traps,
            self.initialisers,
            self.link_maps,
            runner,
            lambda address: self.symbolizer.symbolize(address, source=False),
        )
        self.loader = Loader(
            linker,
            memory,
            self.cpu,
            self.traps,
            self.convention,
            self.stack,
            self.threads,
            self.link_maps,
            self.host_symbols,
            self.lazy_calls,
            self.initialisers,
            system,
            binding=binding,
            dynamic_tls=dynamic_tls,
        )

    def _connect(self, system: System, symbols: Symbols | None) -> None:
        """Set the linker's symbol sources, lazy binding and pinned addresses."""
        linker, resolver = self.linker, self.linker.resolver
        linker.pinned_addresses = system.pinned_addresses
        linker.lazy_host = self.lazy_calls
        resolver.host_value = self.host_symbols.definition
        resolver.is_host_function = self.traps.__contains__
        resolver.before += self.host_symbols.sources(symbols)
        own = LinkerSymbols(self.traps, self.runner, self.memory, self.threads, self.link_maps)
        resolver.before.append(InsteadOfLdso(own, linker))
        resolver.after.append(own)

    def caller(self, *, source: bool = True) -> Frame:
        """In a host function: the code that called it."""
        return self.symbolizer.symbolize(self.runner.return_address(), source=source, returned_to=True)

    def _describe_fault(self, stop: Stop) -> GuestFault:
        from emu.debug.faults import describe_fault

        return describe_fault(self.cpu, stop, self.symbolizer, self.stack.bottom)

    @cached_property
    def observation(self) -> Observation:
        """Breakpoints and watchpoints, and other listeners to events."""
        from emu.debug.observation import Observation

        return Observation(self.linker, self.memory, self.runner, self.symbolizer)

    @cached_property
    def host_frames(self) -> HostFrames:
        """The frames of host functions on the guest's stack, for unwinders."""
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

"""Loads and unloads on a machine.

A load is the linker's transaction (`relink.load.load`) with the machine's own steps in it, in this order:

    publish      map its memory into the guest, announce it to debuggers memory.guest_memory, debug.link_maps
    prepare      for a program to start: build its stack             linux.process
    ifuncs       call resolvers, store their results                     load.initialisers
    tls          initialise static blocks (may contain results of ifuncs)   run.threads
    construct    run constructors                                        load.initialisers

If a step fails, the load is rolled back and the machine is as before. An unload first runs destructors, then frees
the machine's resources for the image: traps, lazy slots, patches, atexit handlers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from emu.debug.link_maps import State
from emu.isa.registry import ISAS, float_convention
from emu.load.pending import PendingLoad, RolledBack
from relink.elf.source import FileMode
from relink.errors import FloatAbiMismatch, LinkError, RelinkError
from relink.linker import Load, LoadOptions, Phase
from relink.memory import placement as place
from relink.memory import sparse
from relink.memory.address_space import Pages, Region
from relink.memory.rollback import Rollback
from relink.records import Assigned
from relink.relocate.lazy import BindMode
from relink.resolve.sources import DefinedSymbols
from relink.search.graph import Node

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.debug.link_maps import LinkMaps
    from emu.host.symbols import HostSymbols, Symbols, SymbolValue
    from emu.isa.convention import CallingConvention
    from emu.load.initialisers import Initialisers
    from emu.load.lazy_binding import LazyCalls
    from emu.load.options import AdoptingKeywords, LoadKeywords, SwapKeywords
    from emu.memory.guest_memory import GuestMemory
    from emu.ports import LoadHooks
    from emu.run.stack import Stack
    from emu.run.threads import Threads
    from emu.run.traps import TrapTable
    from relink.image import Image
    from relink.linker import Linker
    from relink.load.plan import Plan
    from relink.load.replace import Replacement
    from relink.relocate.result import Copied
    from relink.search.search_path import Source


#: Prepares a program after its memory is mapped; called with the plan and the rollback stack.
Prepare: TypeAlias = "Callable[[Plan, Rollback], None]"
_Pages: TypeAlias = "tuple[Region, tuple[Pages, ...]]"


class Loader(Assigned):
    """Loads and unloads for one machine."""

    def __init__(
        self,
        linker: Linker,
        memory: GuestMemory,
        cpu: Cpu,
        traps: TrapTable,
        convention: CallingConvention,
        stack: Stack,
        threads: Threads,
        link_maps: LinkMaps,
        host_symbols: HostSymbols,
        lazy_calls: LazyCalls,
        initialisers: Initialisers,
        hooks: LoadHooks,
        *,
        binding: BindMode = BindMode.NOW,
        dynamic_tls: bool = False,
    ) -> None:
        self._linker, self._memory, self._cpu, self._traps = linker, memory, cpu, traps
        self._convention = convention
        self._stack, self._threads = stack, threads
        self._link_maps = link_maps
        self._host_symbols = host_symbols
        self._lazy_calls = lazy_calls
        self._initialisers = initialisers
        self._hooks = hooks
        self.binding = binding  #: default binding mode of loads
        self.dynamic_tls = dynamic_tls  #: whether loads make thread-local storage dynamic when possible
        #: Called with the plan of each completed load; cheaper than an observer (`relink.events`).
        self.on_load: list[Callable[[Plan], None]] = []
        #: Called with each image that has been unloaded.
        self.on_release: list[Callable[[Image], None]] = [
            initialisers.forget,
            self._return_variables,
            lazy_calls.forget,
            host_symbols.forget,
        ]
        self._unloading: list[Image] | None = None  #: pending unloads, while an unload is in progress

    # ------------------------------------------------------------ coming

    def load(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        prepare: Prepare | None = None,
        **keywords: Unpack[LoadKeywords],
    ) -> Plan:
        """Load an image with its dependencies (see `Machine.load`); with `prepare`, as a program to start.

        `prepare` is called with the plan and the rollback stack after the memory is mapped, before any code runs.
        """
        with self.loading(source, prepare=prepare, **keywords) as pending:
            pending.advance()
        return pending.plan

    @contextmanager
    def loading(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        prepare: Prepare | None = None,
        **keywords: Unpack[LoadKeywords],
    ) -> Iterator[PendingLoad]:
        """Like `load`, step by step: see `Machine.loading`."""
        pending: PendingLoad | None = None
        run_initialisers = keywords.get("run_initialisers", True)
        try:
            with self._undoing() as (undo, traps):
                options = self._options(traps, program=prepare is not None, **keywords)
                load = self._linker.begin(source, name=keywords.get("name"), options=options)
                with self._carrying_out(load, undo, traps, prepare, run_initialisers=run_initialisers) as pending:
                    yield pending
        except RolledBack as request:
            if request.load is not pending:
                raise

    def _options(self, traps: list[int], *, program: bool, **keywords: Unpack[LoadKeywords]) -> LoadOptions:
        """The linker's options for these keywords; traps made for symbols are appended to `traps`."""
        host_symbols = self._host_symbols
        passed_on: dict[str, Any] = dict(keywords)
        for ours in ("name", "run_initialisers"):
            passed_on.pop(ours, None)
        passed_on["binding"] = BindMode(passed_on.get("binding") or self.binding)
        passed_on["sources"] = host_symbols.sources(passed_on.pop("symbols", None), traps)
        passed_on["late_sources"] = host_symbols.sources(passed_on.pop("late_symbols", None), traps)
        if passed_on.pop("allow_unresolved", False) or passed_on.get("allow_deferred"):
            passed_on.setdefault("unresolved", partial(host_symbols.unresolved, traps))
        if (mode := passed_on.get("mapping")) is not None:
            passed_on["mapping"] = FileMode(mode)
        try:
            return LoadOptions(**{"dynamic_tls": self.dynamic_tls, "program": program, **passed_on})
        except TypeError as error:  # says which keyword, of a function that the user has not called
            raise TypeError(str(error).replace("LoadOptions.__init__()", "load()")) from None

    def adopt(self, address: int, *, symbols: Symbols | None = None, **keywords: Unpack[AdoptingKeywords]) -> Plan:
        """Adopt the image at `address`: see `Machine.adopt`."""
        with self._undoing() as (undo, traps):
            options = LoadOptions(sources=self._host_symbols.sources(symbols, traps))
            load = self._linker.begin_adoption(address, options=options, **keywords)
            with self._carrying_out(load, undo, traps) as pending:
                pending.advance()
            return pending.plan

    @contextmanager
    def replacing(
        self, old: Image, source: Source, **keywords: Unpack[SwapKeywords]
    ) -> Iterator[tuple[Replacement, PendingLoad, Rollback]]:
        """Load a new version in the place of an image, step by step, with the rollback stack: see
        `emu.patch.swap`.
        """
        from relink.load.replace import Replacement

        with self._undoing() as (undo, traps):
            options = self._options(traps, program=False, **keywords)
            load = Replacement(self._linker, old, source, keywords.get("name"), options)
            with self._carrying_out(load, undo, traps) as pending:
                yield load, pending, undo

    def hand_over(self, old: Image, new: Image) -> None:
        """Give what belongs to a replaced image to the new one: traps of symbols, link map, dlopen handles."""
        self._host_symbols.owned[new] += self._host_symbols.owned.pop(old, [])
        self._link_maps.hand_over(old, new)
        self._hooks.image_replaced(old, new)

    @contextmanager
    def _undoing(self) -> Iterator[tuple[Rollback, list[int]]]:
        """Enclose the linker's transaction: yields the rollback stack of the machine's steps, and the list of its
        traps.

        This rollback runs after the linker's, which closes the images.
        """
        traps: list[int] = []
        with Rollback() as undo:
            undo.callback(self._code_removed)
            undo.callback(self._host_symbols.remove, traps)
            undo.callback(self._link_maps.relink)
            undo.callback(self._lazy_calls.forget_closed)
            with self._host_symbols.owned_by(traps):
                yield undo, traps
            undo.pop_all()

    @contextmanager
    def _carrying_out(
        self,
        load: Load,
        undo: Rollback,
        traps: list[int],
        prepare: Prepare | None = None,
        *,
        run_initialisers: bool = True,
    ) -> Iterator[PendingLoad]:
        """Link, and yield the machine's steps; steps not done in the block are done at its end."""
        with load:
            load.run_to(Phase.RELOCATE)
            plan = load.plan
            self._check_float_abi(plan)
            initialisers = self._initialisers
            construct = initialisers.construct if run_initialisers else initialisers.defer
            undo.callback(self._forget_deferred, plan)
            relro: list[_Pages] = []
            pending = PendingLoad(
                plan,
                {
                    "publish": partial(self._publish, load, undo, relro),
                    "prepare": partial(prepare, plan, undo) if prepare is not None else _nothing,
                    "ifuncs": partial(self._resolve_ifuncs, plan, relro),
                    "tls": partial(self._threads.initialise, plan.static_tls),
                    "construct": partial(construct, plan),
                },
            )
            try:
                yield pending
                pending.advance()
            except BaseException:
                self._lazy_calls.name_callers()
                self._hooks.load_failed(plan.images)
                raise
            load.commit()
        if not run_initialisers:
            initialisers.mark_deferred(plan)
        self._host_symbols.owned[plan.root] += traps
        for completed in self.on_load:
            completed(plan)

    def _forget_deferred(self, plan: Plan) -> None:
        for image in plan.images:
            self._initialisers.forget(image)

    def _check_float_abi(self, plan: Plan) -> None:
        """Raise FloatAbiMismatch for an image whose floating-point calling convention is not the machine's."""
        ours = self._convention.float_abi
        for image in plan.images:
            theirs = image.float_abi
            if theirs is not None and theirs is not ours:
                supported = float_convention(image.architecture.name, theirs) is not None
                raise FloatAbiMismatch(image.name, theirs.value, ours.value, supported=supported)

    def _publish(self, load: Load, undo: Rollback, relro: list[_Pages]) -> None:
        """Map the images in the guest, and report host variables that an executable has copied.

        When ifunc resolvers will run, PT_GNU_RELRO stays writable for them and is recorded in `relro`.
        """
        plan, writable = load.plan, dict[Region, tuple[Pages, ...]]()
        if plan.ifuncs:
            held = [image for image in plan.images if image.decoded.relro and not plan.relocates_itself(image)]
            for image in held:
                pages = place.pages(image.decoded, image.region, relro=False)
                writable.update(sparse.published(image.region, pages))
            relro += [(region, pages) for region, pages in plan.regions if region in writable]
            plan.regions[:] = [(region, writable.get(region, pages)) for region, pages in plan.regions]
        for image in plan.images:
            asked = image.decoded.stack_executable
            if self._memory.architecture.executable_stack if asked is None else asked:
                self._stack.make_executable(undo)
        with self._link_maps.changing(State.ADD, len(plan.images)):
            load.publish()
        for image in plan.images:
            undo.callback(self._return_variables, image)
            for copied in _from_host(image):
                self._hooks.variable_moved(copied.symbol, copied.destination)
        if plan.root in plan.images and plan.root.decoded.is_executable:
            self._set_global_pointer(plan.root, undo)

    def _resolve_ifuncs(self, plan: Plan, relro: Sequence[_Pages]) -> None:
        """Run ifunc resolvers, then make the ranges in `relro` read-only (glibc, `_dl_relocate_object`)."""
        self._initialisers.resolve_ifuncs(plan)
        for region, pages in relro:
            for run in pages:
                self._memory.protect_pages(region.address + run.offset, run.size, run.protection)

    def _set_global_pointer(self, program: Image, undo: Rollback) -> None:
        """Set the global pointer, for code of the program that runs before its entry point (glibc,
        sysdeps/riscv/dl-machine.h).
        """
        cpu, rule = self._cpu, ISAS[self._memory.architecture.name].start.global_pointer
        if rule is not None:
            register, symbol = rule
            address = program.exports.get(symbol)
            if address is not None:
                undo.callback(cpu.write_register, register, cpu.read_register(register))
                cpu.write_register(register, address)

    def provide(self, name: str, symbols: Mapping[str, SymbolValue]) -> None:
        """See `Machine.provide`."""
        linker, traps = self._linker, list[int]()
        if linker.loaded(name) is not None:
            raise LinkError(name, "is already loaded: the host cannot provide it too")
        if name in linker.provided:
            raise LinkError(name, "is provided already")
        try:
            linker.provided[name] = DefinedSymbols(self._host_symbols.define_all(symbols, traps))
            linker.changes += 1
        except BaseException:
            self._host_symbols.remove(traps)
            raise

    # ------------------------------------------------------------ going

    def unload(self, image: Image) -> None:
        """See `Machine.unload`."""
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
        for doomed in self._linker.unloadable(image):
            self._initialisers.destruct(doomed)
        self.discard(image)

    def discard(self, image: Image) -> None:
        """Undo one load of an image without running destructors."""
        self._release(partial(self._linker.unload, image))

    def collect(self) -> None:
        """Unload unused images, after running their destructors."""
        for doomed in self._linker.unloadable():
            self._initialisers.destruct(doomed)
        self._release(self._linker.unload_unused)

    def finish(self) -> None:
        """Run atexit handlers, then all destructors, before the machine is closed."""
        self._unloading = []  # everything is unloaded, so nested unloads need no separate processing
        self._hooks.finish()
        self._initialisers.finalise()

    def _release(self, unload: Callable[[], list[Image]]) -> None:
        """Call `unload`, and free the machine's resources for the images it returns."""
        self._lazy_calls.name_callers()
        with self._link_maps.changing(State.DELETE):
            for image in unload():
                for forget in self.on_release:
                    forget(image)
            self._code_removed()

    def _return_variables(self, image: Image) -> None:
        """Report that host variables are at their own addresses again."""
        for copied in _from_host(image):
            self._hooks.variable_moved(copied.symbol, copied.source)

    def _code_removed(self) -> None:
        traps, memory = self._traps, self._memory
        self._hooks.code_removed(lambda address: address in traps or memory.region_at(address) is not None)


def _nothing() -> None:
    """An empty step."""


def _from_host(image: Image) -> list[Copied]:
    """The hosted C library's variables that were copied into an image."""
    return [copied for copied in image.relocated.copies if copied.provider is None]

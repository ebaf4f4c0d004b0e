"""One load of a machine: the linker's transaction, with the machine's own steps in it (see `emu.load.loader`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from emu.debug.link_maps import State
from emu.isa.registry import ISAS, float_convention
from emu.load.pending import CONSTRUCT, IFUNCS, PREPARE, PUBLISH, TLS, PendingLoad
from relink.arch.spec import one_float_abi
from relink.errors import FloatAbiMismatch, RelinkError
from relink.linker import Load, Phase
from relink.memory import placement as place
from relink.memory import sparse
from relink.memory.address_space import Pages, Region
from relink.memory.rollback import Rollback
from relink.records import Assigned
from relink.relocate.lazy import BindMode

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.debug.link_maps import LinkMaps
    from emu.host.symbols import HostSymbols, Owner
    from emu.isa.convention import CallingConvention
    from emu.load.initialisers import Initialisers
    from emu.load.lazy_binding import LazyCalls
    from emu.memory.guest_memory import GuestMemory
    from emu.ports import LoadHooks
    from emu.run.stack import Stack
    from emu.run.threads import Threads
    from emu.run.traps import TrapTable
    from relink.image import Image
    from relink.linker import Linker
    from relink.load.plan import Plan

#: Prepares a program after its memory is mapped; called with the plan and the rollback stack.
Prepare: TypeAlias = "Callable[[Plan, Rollback], None]"
_ADD, _DELETE, _RELOCATE = State.ADD, State.DELETE, Phase.RELOCATE  # members of enums are found slowly
_Pages: TypeAlias = "tuple[Region, tuple[Pages, ...]]"


class LoadSteps(Assigned):
    """The machine's steps of a load, and what undoes them."""

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
        self._checks_float_abi = memory.architecture.float_abi is not one_float_abi
        self._stack, self._threads = stack, threads
        self._link_maps = link_maps
        self._host_symbols = host_symbols
        self._lazy_calls = lazy_calls
        self._initialisers = initialisers
        self._hooks = hooks
        self.binding = binding  #: default binding mode of loads
        self.dynamic_tls = dynamic_tls  #: whether loads make thread-local storage dynamic when possible
        #: Called with each image that has been unloaded.
        self.on_release: list[Callable[[Image], None]] = [
            initialisers.forget,
            self._return_variables,
            lazy_calls.forget,
            host_symbols.forget,
        ]
        #: Called with the plan of each completed load; cheaper than an observer (`relink.events`).
        self.on_load: list[Callable[[Plan], None]] = []

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
        plan = load.plan
        if plan.ifuncs:
            writable: dict[Region, tuple[Pages, ...]] = {}
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
        self._link_maps.change(_ADD, load.publish, len(plan.images))
        for image in plan.images:
            if image.relocated.copies:
                undo.callback(self._return_variables, image)
                for copied in image.relocated.copies:
                    if copied.provider is None:  # of the hosted C library
                        self._hooks.variable_moved(copied.symbol, copied.destination)
        if plan.root in plan.images and plan.root.decoded.is_executable:
            self._set_global_pointer(plan.root, undo)

    def _resolve_ifuncs(self, plan: Plan, relro: Sequence[_Pages]) -> None:
        """Run ifunc resolvers, then make the ranges in `relro` read-only (glibc, `_dl_relocate_object`)."""
        self._initialisers.resolve_ifuncs(plan)
        for region, pages in relro:
            for run in pages:
                self._memory.protect_pages(region.address + run.offset, run.size, run.protection)

    def _initialise_tls(self, plan: Plan) -> None:
        """Initialise static TLS blocks: the last that is done before the load's code can run."""
        if plan.static_tls:
            self._threads.initialise(plan.static_tls)
        unprepared = self._linker.unprepared
        unprepared -= {*plan.images}

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

    def _return_variables(self, image: Image) -> None:
        """Report that host variables are at their own addresses again."""
        for copied in image.relocated.copies:
            if copied.provider is None:
                self._hooks.variable_moved(copied.symbol, copied.source)

    def _code_removed(self) -> None:
        traps, memory = self._traps, self._memory
        self._hooks.code_removed(lambda address: address in traps or memory.region_at(address) is not None)

    def _forget_load(self, traps: Sequence[int], images: Sequence[Image]) -> None:
        """Forget what a load that is undone has left outside of the linker; `images` were there before."""
        rest = Rollback(
            (
                (self._code_removed, ()),
                (self._host_symbols.remove, (traps,)),
                (self._link_maps.relink, ()),
                (self._lazy_calls.forget_closed, ()),
                (self._forget_others, (images,)),
            )
        )
        try:
            rest.close()
        finally:
            if rest.calls:
                rest.close()

    def collect(self) -> None:
        """Unload unused images, after running their destructors."""
        for doomed in self._linker.unloadable():
            self._initialisers.destruct(doomed)
        self._release(self._linker.unload_unused)

    def _collect_after(self, error: BaseException | None) -> None:
        """`collect`, after a load that is undone: what it has used may have been unloaded meanwhile."""
        if self._linker.unloadable():
            try:
                self.collect()
            except RelinkError as another:
                if error is None:
                    raise
                error.add_note(f"a destructor of what nothing uses any more raised {another!r}")

    def _release(self, unload: Callable[[], list[Image]]) -> None:
        """Call `unload`, and free the machine's resources for the images it returns."""
        self._lazy_calls.name_callers()
        self._link_maps.change(_DELETE, partial(self._unload_and_forget, unload))

    def _unload_and_forget(self, unload: Callable[[], list[Image]]) -> None:
        rest = Rollback(((self._code_removed, ()), (self._forget_others, (self._linker.images.copy(),))))
        try:
            unload()
            rest.close()
        finally:
            if rest.calls:
                rest.close()

    def _forget_others(self, images: Sequence[Image]) -> None:
        """Forget those of the images that are not loaded any more."""
        loaded = {*self._linker.images}
        for image in images:
            if image not in loaded:
                for forget in self.on_release:
                    forget(image)


class Transaction:
    """One load. In its `with` block:

        pending = transaction.link(load)    # up to relocation: the guest is still unchanged
        pending.advance(...)                # some of the machine's steps
        transaction.complete()              # the rest, and the end of the load

    A block that ends without `complete` undoes everything: first the linker's part, which closes the images, then
    the machine's. Two `with` statements for one transaction do so even if a signal handler raises where the end of
    the block begins.
    """

    __slots__ = (
        "_completed",
        "_load",
        "_owner",
        "_pending",
        "_prepare",
        "_rest",
        "_run_initialisers",
        "_steps",
        "completion",
        "traps",
        "undo",
    )

    def __init__(self, steps: LoadSteps, prepare: Prepare | None = None, *, run_initialisers: bool = True) -> None:
        self._steps, self._prepare, self._run_initialisers = steps, prepare, run_initialisers
        self.undo = Rollback()  #: of the machine's steps
        #: What a swap does after the linker's commit, whatever a signal handler raises.
        self.completion: Rollback | None = None
        self.traps: list[int] = []  #: made for the load
        self._owner: Owner = self.traps, {}
        self._load: Load | None = None
        self._completed = False
        self._pending: PendingLoad | None = None
        self._rest: Rollback | None = None  #: what undoes the load, once that has begun

    def __enter__(self) -> Self:
        return self  # and nothing else: where a signal handler raises here, `__exit__` is not called

    def link(self, load: Load) -> PendingLoad:
        """Link the images, and return the machine's steps."""
        steps, undo = self._steps, self.undo
        self._load = load
        steps._host_symbols.begin(self._owner)
        load.run_to(_RELOCATE)
        plan = load.plan
        if steps._checks_float_abi:
            steps._check_float_abi(plan)
        prepare = self._prepare
        construct = steps._initialisers.construct if self._run_initialisers else steps._initialisers.defer
        relro: list[_Pages] = []
        work: list[tuple[int, Callable[[], None]]] = [(PUBLISH, partial(steps._publish, load, undo, relro))]
        if prepare is not None:
            work += [(PREPARE, partial(prepare, plan, undo))]
        if plan.ifuncs:
            work += [(IFUNCS, partial(steps._resolve_ifuncs, plan, relro))]
        work += [(TLS, partial(steps._initialise_tls, plan))]
        work += [(CONSTRUCT, partial(construct, plan))]
        self._pending = pending = PendingLoad(plan, work)
        steps._initialisers.expect(plan)
        return pending

    def complete(self) -> None:
        """Do the steps that are left, and complete the load."""
        load, pending, steps = self._load, self._pending, self._steps
        assert load is not None
        assert pending is not None
        pending.advance()
        load.commit()
        self._settle(pending.plan)
        for completed in steps.on_load:
            completed(pending.plan)

    def _settle(self, plan: Plan) -> None:
        """Complete the machine's part of a load that the linker has committed."""
        steps = self._steps
        if self.traps:
            owned = steps._host_symbols.owned[plan.root]
            owned += {*self.traps}.difference(owned)
        if not self._run_initialisers:
            steps._initialisers.mark_deferred(plan)
        steps._host_symbols.end(self._owner)
        if self.completion is not None:
            self.completion.close()
        self._completed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._completed:
            return
        load, pending, steps = self._load, self._pending, self._steps
        if load is not None and load.committed:  # and then a signal handler has raised
            self._settle(load.plan)
            return
        rest = self._rest
        if rest is None:
            rest = Rollback()
            rest.callback(steps._collect_after, error)
            images = [*steps._linker.images, *(() if pending is None else pending.plan.images)]
            rest.callback(steps._forget_load, self.traps, images)
            rest.callback(self.undo.close)
            rest.callback(steps._host_symbols.end, self._owner)
            if load is not None:
                rest.callback(load.__exit__, kind, error, trace)
            if pending is not None:
                rest.callback(steps._hooks.load_failed, pending.plan.images)
                rest.callback(steps._lazy_calls.name_callers)
            self._rest = rest
        try:
            rest.close()
        finally:
            if rest.calls:
                rest.close()

"""Images come and go: the linker's plans carried out on the machine, and everything taken back.

A load is the linker's transaction (`relink.linker`) with the machine's own steps in it, in this order:

    publish      the guest gets its memory, debuggers are told           memory.guest_memory, debug.link_maps
    prepare      a program to be started gets its stack                  linux.process
    ifuncs       resolvers are asked, their answers stored               load.initialisers
    tls          blocks are filled: they may hold what ifuncs answered   run.threads
    construct    constructors run                                        load.initialisers

Where any of them fails the machine is as it was before. What goes has its destructors run first, and then
loses what the machine has kept for it: traps, lazy slots, patches, handlers of atexit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from emu.debug.link_maps import State
from emu.isa.registry import ISAS
from relink.errors import RelinkError, UnsupportedElf
from relink.linker import LoadOptions
from relink.search.graph import Node

if TYPE_CHECKING:
    from emu.host.symbols import Symbols
    from emu.linux.process import Process
    from emu.machine import Machine
    from relink.image import Image
    from relink.load.plan import Plan
    from relink.module import TlsModule
    from relink.relocate.result import Copied
    from relink.search.search_path import Source


class Loader:
    """Loads and unloads for one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._linker = machine.linker
        #: Told of each image that has gone.
        self.on_release: list[Callable[[Image], None]] = [
            machine.initialisers.forget,
            self._return_variables,
            machine.lazy_calls.forget,
            machine.host_symbols.forget,
        ]
        self._unloading: list[Image] | None = None  #: what is still to be unloaded, while something is

    # ------------------------------------------------------------ coming

    def load(
        self,
        source: Source | Sequence[Source] | Node,
        options: LoadOptions,
        *,
        name: str | None = None,
        symbols: Symbols | None = None,
        late_symbols: Symbols | None = None,
        allow_unresolved: bool = False,
        process: Process | None = None,
    ) -> Plan:
        """Load an image with all it needs, or a program for its `process`: see `Machine.load`, `Machine.start`."""
        host_symbols = self._machine.host_symbols
        with self._undoing() as (undo, traps):
            options = replace(
                options,
                sources=host_symbols.sources(symbols, traps),
                late_sources=host_symbols.sources(late_symbols, traps),
                unresolved=partial(host_symbols.unresolved, traps) if allow_unresolved else options.unresolved,
            )
            linking = self._linker.loading(source, name=name, options=options)
            return self._carry_out(linking, undo, traps, process)

    def adopt(
        self,
        address: int,
        *,
        source: Source | None,
        name: str | None,
        relocated: bool,
        symbols: Symbols | None,
        tls: TlsModule | None,
    ) -> Plan:
        """Take what lies at `address` for an image: see `Machine.adopt`."""
        with self._undoing() as (undo, traps):
            options = LoadOptions(sources=self._machine.host_symbols.sources(symbols, traps))
            linking = self._linker.adopting(
                address, source=source, name=name, relocated=relocated, tls=tls, options=options
            )
            return self._carry_out(linking, undo, traps)

    @contextmanager
    def _undoing(self) -> Iterator[tuple[ExitStack, list[int]]]:
        """(what is to be done if the block raises, the traps made for this load), around the linker's transaction.

        By the time the machine takes back its own the linker has closed the images.
        """
        machine = self._machine
        traps: list[int] = []
        with ExitStack() as undo:
            undo.callback(self._forget_handlers)
            undo.callback(machine.host_symbols.remove, traps)
            undo.callback(machine.link_maps.relink)
            undo.callback(machine.lazy_calls.forget_closed)
            with machine.host_symbols.owned_by(traps):
                yield undo, traps
            undo.pop_all()

    def _carry_out(
        self,
        linking: AbstractContextManager[Plan],
        undo: ExitStack,
        traps: list[int],
        process: Process | None = None,
    ) -> Plan:
        """Link, and do what the linker leaves to do."""
        machine = self._machine
        with linking as plan:
            start = time.perf_counter()
            self._check_float_abi(plan)
            try:
                self._publish(plan, undo)
                if process is not None:
                    process.prepare(plan, undo)
                machine.initialisers.resolve_ifuncs(plan)
                machine.threads.initialise(plan.static_tls)
                if machine.run_initialisers:
                    machine.initialisers.construct(plan)
            except BaseException:
                machine.dynamic.abandon(plan.images)
                raise
            plan.timings.add("start", time.perf_counter() - start)
        machine.host_symbols.owned[plan.root] += traps
        return plan

    def _check_float_abi(self, plan: Plan) -> None:
        """Floating-point values go where this machine's convention says: images that differ would read garbage."""
        ours = self._machine.convention.float_abi
        for image in plan.images:
            if image.float_abi not in (None, ours):
                assert image.float_abi is not None
                theirs = image.float_abi.value
                problem = f"makes {theirs} calls, this machine {ours.value} ones"
                raise UnsupportedElf(image.name, f"{problem}: give Machine(float_abi={theirs!r})")

    def _publish(self, plan: Plan, undo: ExitStack) -> None:
        """Give the guest its memory, and the hosted C library the variables an executable took over."""
        machine = self._machine
        with machine.link_maps.changing(State.ADD, len(plan.images)):
            for region, pages in plan.regions:
                machine.memory.publish(region, pages)
        for image in plan.images:
            undo.callback(self._return_variables, image)
            for copied in _from_host(image):
                machine.libc.place_variable(copied.symbol, copied.destination)
        if plan.root in plan.images and plan.root.decoded.is_executable:
            self._set_global_pointer(plan.root, undo)

    def _set_global_pointer(self, program: Image, undo: ExitStack) -> None:
        """For the program's code that runs before its entry, as ld.so does (glibc, sysdeps/riscv/dl-machine.h)."""
        cpu, rule = self._machine.cpu, ISAS[self._machine.arch.name].start.global_pointer
        if rule is not None:
            register, symbol = rule
            address = program.exports.get(symbol)
            if address is not None:
                undo.callback(cpu.write_register, register, cpu.read_register(register))
                cpu.write_register(register, address)

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
            self._machine.initialisers.destruct(doomed)
        self.discard(image)

    def discard(self, image: Image) -> None:
        """Drop one load of an image at once, and run nothing of the guest's."""
        self._release(partial(self._linker.unload, image))

    def collect(self) -> None:
        """Let go of images nothing needs any longer, destructors run."""
        for doomed in self._linker.unloadable():
            self._machine.initialisers.destruct(doomed)
        self._release(self._linker.unload_unused)

    def finish(self) -> None:
        """Run what is due when everything ends: handlers of atexit, then all destructors."""
        self._unloading = []  # everything goes: what is unloaded now need not go by itself
        self._machine.libc.finish()
        self._machine.initialisers.finalise()

    def _release(self, unload: Callable[[], list[Image]]) -> None:
        """Have the linker let images go, and forget them."""
        with self._machine.link_maps.changing(State.DELETE):
            for image in unload():
                for forget in self.on_release:
                    forget(image)
            self._forget_handlers()

    def _return_variables(self, image: Image) -> None:
        """The hosted C library has its variables back that an executable took over."""
        for copied in _from_host(image):
            self._machine.libc.place_variable(copied.symbol, copied.source)

    def _forget_handlers(self) -> None:
        """Drop the handlers of atexit and its kin whose code is gone."""
        machine = self._machine
        machine.libc.forget_handlers(
            lambda address: address in machine.traps or machine.memory.region_at(address) is not None
        )


def _from_host(image: Image) -> list[Copied]:
    """The hosted C library's variables that an image took over."""
    return [copied for copied in image.relocated.copies if copied.provider is None]

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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Unpack

from emu.load.arguments import named
from emu.load.pending import PendingLoad, RolledBack
from emu.load.transaction import LoadSteps, Prepare, Transaction
from relink.elf.source import FileMode
from relink.errors import LinkError, RelinkError
from relink.linker import Load, LoadOptions
from relink.memory.rollback import Rollback
from relink.relocate.lazy import BindMode
from relink.resolve.sources import DefinedSymbols
from relink.search.graph import Node

if TYPE_CHECKING:
    from emu.host.symbols import Symbols, SymbolValue
    from emu.load.options import AdoptingKeywords, LoadKeywords, SwapKeywords
    from relink.image import Image
    from relink.load.plan import Plan
    from relink.load.replace import Replacement
    from relink.search.search_path import Source


class Loader(LoadSteps):
    """Loads and unloads for one machine."""

    _unloading: list[Image] | None = None  #: pending unloads, while an unload is in progress

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
        run_initialisers = keywords.get("run_initialisers", True)
        with Transaction(self, prepare, run_initialisers=run_initialisers) as transaction, transaction:
            pending = transaction.link(self._begin(source, transaction.traps, prepare, **keywords))
            transaction.complete()
        return pending.plan

    def _begin(
        self,
        source: Source | Sequence[Source] | Node,
        traps: list[int],
        prepare: Prepare | None,
        **keywords: Unpack[LoadKeywords],
    ) -> Load:
        options = self._options(traps, program=prepare is not None, **keywords)
        return Load(self._linker, source, keywords.get("name"), options)

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
            with Transaction(self, prepare, run_initialisers=run_initialisers) as transaction, transaction:
                pending = transaction.link(self._begin(source, transaction.traps, prepare, **keywords))
                yield pending
                transaction.complete()
        except RolledBack as request:
            if request.load is not pending:
                raise

    def _options(self, traps: list[int], *, program: bool, **keywords: Unpack[LoadKeywords]) -> LoadOptions:
        """The linker's options for these keywords; traps made for symbols are appended to `traps`."""
        if not keywords:
            return _options_without_keywords(self.binding, self.dynamic_tls, program)
        host_symbols = self._host_symbols
        passed_on: dict[str, Any] = dict(keywords)
        for ours in ("name", "run_initialisers"):
            passed_on.pop(ours, None)
        if (binding := passed_on.get("binding") or self.binding).__class__ is not BindMode:
            binding = named(BindMode, "binding", binding)
        passed_on["binding"] = binding
        passed_on["sources"] = host_symbols.sources(passed_on.pop("symbols", None), traps)
        passed_on["late_sources"] = host_symbols.sources(passed_on.pop("late_symbols", None), traps)
        if passed_on.pop("allow_unresolved", False) or passed_on.get("allow_deferred"):
            passed_on.setdefault("unresolved", host_symbols.unresolved(traps))
        if (mode := passed_on.get("mapping")) is not None:
            passed_on["mapping"] = named(FileMode, "mapping", mode)
        try:
            return LoadOptions(**{"dynamic_tls": self.dynamic_tls, "program": program, **passed_on})
        except TypeError as error:  # says which keyword, of a function that the user has not called
            raise TypeError(str(error).replace("LoadOptions.__init__()", "load()")) from None

    def adopt(self, address: int, *, symbols: Symbols | None = None, **keywords: Unpack[AdoptingKeywords]) -> Plan:
        """Adopt the image at `address`: see `Machine.adopt`."""
        with Transaction(self) as transaction, transaction:
            options = LoadOptions(sources=self._host_symbols.sources(symbols, transaction.traps))
            load = self._linker.begin_adoption(address, options=options, **keywords)
            pending = transaction.link(load)
            transaction.complete()
        return pending.plan

    @contextmanager
    def replacing(
        self, old: Image, source: Source, **keywords: Unpack[SwapKeywords]
    ) -> Iterator[tuple[Replacement, PendingLoad, Rollback]]:
        """Load a new version in the place of an image, step by step, with the rollback stack: see
        `emu.patch.swap`. At the end of the block the old version is unloaded.
        """
        from relink.load.replace import Replacement

        errors: list[Exception] = []
        with Transaction(self) as transaction, transaction:
            options = self._options(transaction.traps, program=False, **keywords)
            load = Replacement(self._linker, old, source, keywords.get("name"), options)
            pending = transaction.link(load)
            transaction.completion = completion = Rollback()
            completion.callback(self._collect_replaced, errors)
            completion.callback(self._hand_over, old, load.plan.root)
            completion.callback(load.hand_over)
            yield load, pending, transaction.undo
            transaction.complete()
        if errors:
            raise errors[0]

    def _collect_replaced(self, errors: list[Exception]) -> None:
        """`collect`, with what destructors raise in `errors`: they are not called again."""
        try:
            self.collect()
        except Exception as error:
            errors.append(error)

    def _hand_over(self, old: Image, new: Image) -> None:
        """Give what belongs to a replaced image to the new one: traps of symbols, link map, dlopen handles. May be
        repeated.
        """
        owned = self._host_symbols.owned
        traps = owned[new]
        traps += {*owned[old]}.difference(traps)
        owned.pop(old, None)
        self._link_maps.hand_over(old, new)
        self._hooks.image_replaced(old, new)

    def provide(self, name: str, symbols: Mapping[str, SymbolValue]) -> None:
        """See `Machine.provide`."""
        linker, traps = self._linker, list[int]()
        if not isinstance(symbols, Mapping):
            raise TypeError(f"symbols={symbols!r} is no table by name")
        if linker.loaded(name) is not None:
            raise LinkError(name, "is already loaded: the host cannot provide it too")
        if name in linker.provided:
            raise LinkError(name, "is provided already")
        try:
            linker.provided[name] = DefinedSymbols(self._host_symbols.define_all(symbols, traps))
            linker.changes += 1
        except BaseException:
            linker.provided.pop(name, None)
            self._host_symbols.remove(traps)
            raise

    # ------------------------------------------------------------ going

    def unload(self, image: Image) -> None:
        """See `Machine.unload`."""
        if self._unloading is not None:
            image.check_open()
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
        linker = self._linker
        image.check_open()
        unused, changes, called = linker.unloadable(image), linker.changes, False
        for doomed in unused:
            called |= self._initialisers.destruct(doomed)
        # Destructors may have loaded and unloaded others.
        known = None if called or linker.changes != changes else unused
        self._release(partial(linker.unload, image, known))

    def discard(self, image: Image) -> None:
        """Undo one load of an image without running destructors."""
        self._release(partial(self._linker.unload, image))

    def finalise(self) -> None:
        """Run all destructors, as at the end of a process. What they close stays until all have run (glibc,
        elf/dl-fini.c).
        """
        if self._unloading is not None:  # a destructor of a library that is being closed has ended the process
            self._initialisers.finalise()
            return
        closed: list[Image] = []
        self._unloading = closed
        try:
            self._initialisers.finalise()
        finally:
            self._unloading = None
        for image in closed:
            self.unload(image)

    def finish(self) -> None:
        """Run atexit handlers, then all destructors, before the machine is closed."""
        self._unloading = []  # everything is unloaded, so nested unloads need no separate processing
        self._hooks.finish()
        self._initialisers.finalise()


@lru_cache(maxsize=16)
def _options_without_keywords(binding: BindMode, dynamic_tls: bool, program: bool) -> LoadOptions:
    return LoadOptions(binding=binding, dynamic_tls=dynamic_tls, program=program)

"""The linker: the phases of a load in order, one verb each. A newcomer starts reading here.

    open      decode the file, find and decode everything it needs        relink.elf, relink.search.graph
    check     every library and every version asked for exists            relink.search.version_check
    map       a region and a load bias for each new image, its bytes      relink.load.map, relink.memory.placement
    hold      count the load; what keeps an image from being unloaded     relink.load.lifetime
    join      search lists, and the global scope                          relink.resolve.scopes
    tls       a module id, and perhaps a static offset, for each with TLS relink.tls
    relocate  bind symbols, apply relocations in host buffers             relink.resolve, relink.relocate.engine
    → Plan    what is left to do on the machine                           relink.load.plan

Objects and archives have become one image when they are opened (`relink.objects.combine`). An image that lies in
memory already (`relink.load.adopt`) is opened and mapped by reading it there; one that has been relocated, or a
static program that will do it itself, is passed over by `tls` and `relocate`. Jump slots may wait for their first
call: the machine then comes back with `Linker.bind_slot` (`relink.relocate.lazy`).

A load is a transaction: every step leaves word of how to undo it, and whatever goes wrong, up to and
including the machine's own steps, undoes them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from relink.arch import Architecture
from relink.errors import LinkError, raise_all
from relink.image import Image
from relink.load import announce as tell
from relink.load import lifetime
from relink.load import map as mapping
from relink.load.options import LoadOptions, Policy
from relink.load.plan import Plan
from relink.load.timings import Clock
from relink.memory.address_space import AddressSpace, Protection
from relink.module import Stage, TlsModule
from relink.relocate.lazy import LazyHost, SlotBinding
from relink.relocate.relocate import relocate
from relink.relocate.state import Environment
from relink.relocate.tls import DescriptorStubs
from relink.resolve import scopes
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import LookupScope
from relink.search import graph
from relink.search import version_check as requirements
from relink.search.graph import Node, SearchContext
from relink.search.search_path import SearchPath, Source
from relink.tls import DEFAULT_STATIC_SIZE, LoadTls, TlsLayout

if TYPE_CHECKING:
    from relink.events import Observer
    from relink.relocate.handlers import RelocationHandler
    from relink.search.scan import Scan

__all__ = ["Linker", "LoadOptions", "Policy"]


class Linker:
    """Links images into one address space.

    >>> linker = Linker(HostMemory("aarch64"))            # doctest: +SKIP
    >>> image = linker.load("plugin.so")                  # doctest: +SKIP
    >>> linker.memory.read(image.symbol("table").address, 8)  # doctest: +SKIP
    """

    def __init__(
        self,
        memory: AddressSpace,
        *,
        search: SearchPath | None = None,
        policy: Policy | None = None,
        tls_size: int = DEFAULT_STATIC_SIZE,
    ) -> None:
        self.memory = memory
        self.architecture: Architecture = memory.architecture
        self.search = search or SearchPath()
        self.policy = policy or Policy()
        self.resolver = Resolver()
        self.resolver.holds_data = self._holds_data
        self.tls = TlsLayout(self.architecture, tls_size)
        self.images: list[Image] = []  #: everything loaded, in load order
        self.global_scope: list[Image] = []  #: what later images see
        self.relocation_handlers: list[RelocationHandler] = []  #: see `relink.relocate.handlers`
        self.observers: list[Observer] = []  #: see `relink.events`
        self.lazy_host: LazyHost | None = None  #: who has traps for lazy binding; without one all is bound at once
        #: Guest addresses something outside still uses (a thread-local destructor's): their images stay.
        self.held: Callable[[], Collection[int]] = tuple
        self._descriptor_stubs = DescriptorStubs(memory)
        self._turns = count()

    # ------------------------------------------------------------ the one call

    def load(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        name: str | None = None,
        options: LoadOptions | None = None,
    ) -> Image:
        """Load an image with all it needs, without a machine: nothing of it is run.

        See `loading` for the arguments. Places an IFUNC decides are left as they were.
        """
        with self.loading(source, name=name, options=options) as plan:
            for region, pages in plan.regions:
                self.memory.publish(region, pages)
        return plan.root

    @contextmanager
    def loading(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        name: str | None = None,
        options: LoadOptions | None = None,
    ) -> Iterator[Plan]:
        """Link `source` and yield the plan; commit when the block ends, undo everything when it raises.

        `source` is a path, bytes, a file object, a bare library name to search for, or what `find` has found;
        `name` is what messages call it. Relocatable objects and archives, or a list of them, become one image.

        Raises ElfError, LibraryNotFound, another LinkError or LinkErrors, AddressSpaceError.
        """
        with self._transaction(name, source) as undo:
            plan = self._link(source, name, options or LoadOptions(), undo)
            yield plan
            self._commit(plan)

    @contextmanager
    def _transaction(self, name: str | None, source: object) -> Iterator[ExitStack]:
        """What is noted in the stack is undone if the block raises."""
        try:
            with ExitStack() as undo:
                yield undo
                undo.pop_all()
        except BaseException as error:
            tell.failed(self.observers, name, source, error)
            raise

    def _commit(self, plan: Plan) -> None:
        for image in plan.images:
            image.stage = Stage.INITIALISED
        tell.loaded(self.observers, plan.images)
        for node in plan.nodes:
            if node.image is not None:
                node.image.names |= node.names

    @contextmanager
    def adopting(
        self,
        address: int,
        *,
        source: Source | None = None,
        name: str | None = None,
        relocated: bool,
        tls: TlsModule | None = None,
        options: LoadOptions | None = None,
    ) -> Iterator[Plan]:
        """`loading` for an image that lies in memory already, its ELF header at `address` (see
        `relink.load.adopt`).

        `source` is the file it came from; without, all is read from memory. `relocated` says whether it has been
        relocated there. An image that has not is linked as by `loading`, libraries it needs included; of one
        that has, only what is loaded already counts as needed. `tls` is the module and place in the static TLS
        area that a relocated image's words lead to, where they do not tell themselves.

        Raises ElfError, LinkError, TlsError, AddressSpaceError where memory is not mapped.
        """
        from relink.load.adopt import adopted_nodes, write_back

        with self._transaction(name, f"<image at {address:#x}>") as undo:
            clock = Clock()
            root, nodes = adopted_nodes(
                self.memory,
                self.images,
                self.search_context(),
                address,
                source,
                name,
                relocated=relocated,
                tls=tls,
            )
            plan = self._link_nodes(root, nodes, options or LoadOptions(), undo, clock, check=not relocated)
            if not relocated:
                write_back(self.memory, plan.root, undo)
            yield plan
            self._commit(plan)

    def adopt(
        self,
        address: int,
        *,
        source: Source | None = None,
        name: str | None = None,
        relocated: bool,
        tls: TlsModule | None = None,
        options: LoadOptions | None = None,
    ) -> Image:
        """`load` for an image that lies in memory already: see `adopting`."""
        with self.adopting(
            address, source=source, name=name, relocated=relocated, tls=tls, options=options
        ) as plan:
            for region, pages in plan.regions:
                self.memory.publish(region, pages)
        return plan.root

    def unload(self, image: Image) -> list[Image]:
        """Drop one reference to `image`; release it and whatever only it needed once none is left.

        Returns the images released, in the order their destructors should have run before (see
        `unloadable`). Raises UseAfterUnload if it is closed already, LinkError if every explicit load of it
        has been undone.
        """
        image.check_open()
        if image.lifetime.references < 1:
            raise LinkError(image.name, "was loaded for others only, there is no load of it to undo")
        doomed = self.unloadable(image)
        image.lifetime.references -= 1
        self._forget_all(doomed)
        return doomed

    def unload_unused(self) -> list[Image]:
        """Release what nothing needs any longer, as `unload` does: images something outside has held till now."""
        doomed = self.unloadable()
        self._forget_all(doomed)
        return doomed

    def unloadable(self, image: Image | None = None) -> list[Image]:
        """What unloading `image` now would release, dependents first: the order destructors run in."""
        return lifetime.unloadable(self.images, self.held(), image)

    def teardown_order(self) -> list[Image]:
        """All images, dependents first: the order destructors run in when everything ends."""
        return lifetime.teardown_order(self.images)

    def close(self) -> None:
        """Release everything, whoever still refers to it."""
        self._forget_all(self.teardown_order())
        self._descriptor_stubs.close()

    # ------------------------------------------------------------ the phases

    def _link(
        self, source: Source | Sequence[Source] | Node, name: str | None, options: LoadOptions, undo: ExitStack
    ) -> Plan:
        clock = Clock()
        if options.no_load and not self.is_loaded(source):
            raise LinkError(name or str(source), "is not loaded, and was not to be")
        root, nodes = self.survey(source, name, options.preload, options.want, whole_archive=options.whole_archive)
        if root.stand_in:
            raise LinkError(root.name, "is answered by the host: there is no image to load")
        return self._link_nodes(root, nodes, options, undo, clock, check=True)

    def _link_nodes(
        self,
        root: Node,
        nodes: Sequence[Node],
        options: LoadOptions,
        undo: ExitStack,
        clock: Clock,
        *,
        check: bool,
    ) -> Plan:
        clock.lap("open")
        tell.opened(self.observers, nodes)
        if options.strict:
            mapping.refuse_warnings(nodes)
        if check:
            hosts = self.policy.stand_ins | self.policy.fallbacks
            requirements.check(root, nodes, self.loaded, hosts)
        plan = self._map(root, nodes, options, undo)
        clock.lap("map")
        lifetime.hold(plan.root, plan.first, options.no_delete, undo)
        self._join_scopes(plan, options, undo)
        tls = LoadTls(self.tls, undo, options.dynamic_tls)
        self._assign_tls(plan, tls, undo)
        self._relocate(plan, options, tls, undo)
        plan.static_tls = [*plan.images, *tls.late]
        clock.lap("relocate")
        plan.timings = clock.timings
        return plan

    def _map(self, root: Node, nodes: Sequence[Node], options: LoadOptions, undo: ExitStack) -> Plan:
        """Regions, biases and bytes for every new image; the order they are to be initialised in."""
        plan = mapping.plan_of(root, nodes, options, self.architecture, self.resolver)
        for image in plan.images:
            mapping.give_place(image, self.memory, plan, options, undo)
            tell.mapped(self.observers, image)
        plan.initialise = lifetime.initialisation_order(plan.images, plan.root)
        for image in plan.initialise:
            image.lifetime.init_index = next(self._turns)
        mapping.put_program_first(plan)
        return plan

    def _join_scopes(self, plan: Plan, options: LoadOptions, undo: ExitStack) -> None:
        """Preloads, the root and what they need, breadth-first: joined to the global scope unless local."""
        group = scopes.Group(plan.root, scopes.search_list(plan.first))
        added = [] if options.local else [i for i in group.members if i not in self.global_scope]
        before = set(self.images), set(self.resolver.unique)
        undo.callback(self._leave_scopes, plan.images, group, added, *before)
        self.images += plan.images
        scopes.join_group(group, plan.images)
        scopes.join_global(self.global_scope, added)

    def _leave_scopes(
        self,
        new: Sequence[Image],
        group: scopes.Group[Image],
        added: Sequence[Image],
        before: set[Image],
        unique: set[str],
    ) -> None:
        """Take a failed load out of all it joined, given which images and unique symbols were there before.

        What its constructors have loaded or unloaded meanwhile (dlopen) is no part of it and stays so.
        """
        self.images[:] = [image for image in self.images if image not in new]
        self.global_scope[:] = [image for image in self.global_scope if image not in added]
        scopes.leave_groups(self.images, new, group)
        nested = {*self.images} - before
        self.resolver.unique = {
            name: definition
            for name, definition in self.resolver.unique.items()
            if name in unique or definition[0] in nested
        }

    def _assign_tls(self, plan: Plan, tls: LoadTls, undo: ExitStack) -> None:
        for image in plan.images:
            if image.already_initialised and image.decoded.tls is not None:
                from relink.load.adopt import claim_tls

                image.tls = claim_tls(self.tls, image, undo)
        tls.assign([image for image in plan.images if not plan.relocates_itself(image)])
        tell.given_tls(self.observers, plan.images)

    def _relocate(self, plan: Plan, options: LoadOptions, tls: LoadTls, undo: ExitStack) -> None:
        """Relocate dependencies first, as ld.so does; report what is wrong with all of them together."""
        environment = Environment(
            self.resolver,
            descriptor_stubs=lambda: self._descriptor_stubs.addresses(plan.regions, undo),
            unresolved=options.unresolved,
            tls=tls,
            binding=options.binding,
            lazy=self.lazy_host,
            read=self.memory.read,
            is_running=lambda image: image not in plan.images,
        )
        handlers = (*options.relocation_handlers, *self.relocation_handlers)
        errors: list[LinkError] = []
        for image in plan.initialise:
            if not plan.relocates_itself(image):
                about = [handler for handler in handlers if handler.wants(image)]
                image.relocated = result = relocate(image, self._lookup_scope(image), environment, about)
                errors += result.errors
                plan.ifuncs += result.ifuncs
                if result.copies:
                    from relink.relocate.copy import copied_ifuncs

                    plan.ifuncs += copied_ifuncs(result.copies, plan.ifuncs)
                tell.applied(self.observers, image)
                tell.relocated(self.observers, image)
            image.stage = Stage.RELOCATED
        raise_all(plan.root.name, errors)

    def _holds_data(self, address: int) -> bool:
        """Whether memory that cannot be executed lies at an address."""
        protection = self.memory.protection(address)
        return protection is not None and not protection & Protection.X

    def bind_slot(self, image: Image, slot: int) -> SlotBinding:
        """Look up what a jump slot that waits is for, in the scope of its image. Raises UnresolvedSymbol."""
        slots = image.relocated.lazy
        assert slots is not None
        return slots.bind(slot, self.resolver, self._lookup_scope(image))

    def _lookup_scope(self, image: Image) -> LookupScope:
        """Where the references of `image` are looked up."""
        return LookupScope(
            scopes.lookup_order(image, self.global_scope), image.scopes.sources, image.scopes.late_sources
        )

    # ------------------------------------------------------------ what is there, and what would be found

    def survey(
        self,
        source: Source | Sequence[Source] | Node,
        name: str | None = None,
        preload: Sequence[Source] = (),
        want: Sequence[str] = (),
        *,
        whole_archive: bool = False,
    ) -> tuple[Node, list[Node]]:
        """What a load would bring in, without mapping anything: the root's node and the whole closure.

        Missing libraries are nodes whose `missing` is set; nothing is raised for them.
        """
        search_context = self.search_context()
        root = graph.root(source, search_context, name, want, whole_archive=whole_archive)
        preloads = [graph.root(library, search_context) for library in preload]
        return root, graph.closure(root, search_context, preloads)

    def scan(
        self,
        source: Source | Sequence[Source],
        name: str | None = None,
        *,
        preload: Sequence[Source] = (),
        want: Sequence[str] = (),
        whole_archive: bool = False,
    ) -> Scan:
        """What a load would bring in, for people and planners: see `relink.search.scan`. Nothing is mapped.

        Missing libraries are no error here. Raises ElfError.
        """
        from relink.search.scan import Scan

        return Scan(self.architecture, *self.survey(source, name, preload, want, whole_archive=whole_archive))

    def find(self, name: str, chain: Sequence[Image] = ()) -> Node:
        """A library by the name an image gives it, through the rules for DT_NEEDED; opened, not mapped.

        `chain` is the image that asks and those whose RPATH counts too, nearest first. Names with a slash are
        paths of the guest's file system. Raises what opening a damaged file raises.
        """
        return graph.find(name, self.search_context(), [image.decoded for image in chain])

    def search_context(self) -> SearchContext:
        """What the closure of a load is computed against."""
        return SearchContext(
            self.architecture,
            self.search,
            self.loaded,
            self._loaded_from,
            self.policy.stand_ins,
            self.policy.fallbacks,
        )

    def loaded(self, name: str) -> Image | None:
        """The loaded image of that SONAME, or that was asked for by that name before."""
        return next((i for i in self.images if name == i.soname or name in i.names), None)

    def is_loaded(self, source: Source | Sequence[Source] | Node) -> bool:
        """Whether loading `source` would find it loaded already: by name, SONAME or file."""
        if isinstance(source, Node):
            return source.image is not None
        return isinstance(source, (str, os.PathLike)) and (
            self.loaded(str(source)) is not None or self._loaded_from(Path(source)) is not None
        )

    def _loaded_from(self, path: Path) -> Image | None:
        return next((i for i in self.images if graph.is_file(i.decoded, path)), None)

    # ------------------------------------------------------------ the way out

    def _forget_all(self, images: Sequence[Image]) -> None:
        closing = [(image, image.base, image.region.size) for image in images]
        for image in images:
            self._forget(image)
        tell.closed(self.observers, closing)

    def _forget(self, image: Image) -> None:
        """Release everything an image holds."""
        self.images.remove(image)
        scopes.leave_groups(self.images, {image})
        if image in self.global_scope:
            self.global_scope.remove(image)
        self.resolver.forget(image)
        if image.tls is not None:
            self.tls.release(image.tls)
        region = image.region
        image.close()
        if not region.foreign:
            self.memory.release(region)

"""The linker: the phases of a load in order, one verb each. A newcomer starts reading here.

    open      decode the file, find and decode everything it needs        relink.elf, relink.graph
    check     every version asked for exists                              (here)
    map       a region and a load bias for each new image, its bytes      relink.place
    tls       a module id, and perhaps a static offset, for each with TLS relink.tls
    relocate  bind symbols, apply relocations in host buffers             relink.symbols, relink.relocate
    → Plan    what is left to do on the machine                           relink.plan

A load is a transaction: every step leaves word of how to undo it, and whatever goes wrong, up to and
including the machine's own steps, undoes them all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from relink import graph, place
from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import VER_FLG_WEAK
from relink.errors import LinkError, LinkErrors, MalformedElf, VersionNotFound
from relink.graph import Node, Surroundings
from relink.image import Image, Stage, Timings
from relink.lazy import Answer, Binding, LazyHost
from relink.memory import PAGE, AddressSpace, Pages, Protection, Region
from relink.plan import Plan
from relink.relocate import Environment, Outcome, relocate
from relink.scopes import Group, breadth_first, lookup_scope, search_list
from relink.search import SearchPath, Source
from relink.symbols import Lookup, Resolver, SymbolSource
from relink.tls import DEFAULT_STATIC_SIZE, LoadTls, TlsLayout, TlsModule

if TYPE_CHECKING:
    from relink.handlers import RelocationHandler
    from relink.observe import Observer
    from relink.scan import Scan

#: Where the second stub lies in the page of TLS descriptor stubs.
_SECOND_STUB = 64


@dataclass(frozen=True)
class Policy:
    """Libraries the host stands in for."""

    #: SONAMEs the host always answers for itself (a hosted C library), never looked for as files.
    stand_ins: frozenset[str] = frozenset()
    #: SONAMEs the host answers for when no file is found.
    fallbacks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LoadOptions:
    """How one load is done."""

    base: int | None = None  #: guest address of the root image's first page (None: the address space chooses)
    local: bool = False  #: keep the images out of the scope that later loads see (RTLD_LOCAL)
    deep_bind: bool = False  #: the images look into their own search list first (RTLD_DEEPBIND)
    no_load: bool = False  #: only what is loaded already (RTLD_NOLOAD)
    no_delete: bool = False  #: the root stays until everything ends (RTLD_NODELETE)
    binding: Binding = Binding.NOW  #: when what is called by way of the PLT is bound
    preload: Sequence[Source] = ()  #: images that come before the root in the scope, and stay as long as it
    sources: Sequence[SymbolSource | Lookup] = ()  #: asked before every image for what the new images refer to
    #: Given image and symbol, an address for a strong symbol nobody defines; None makes it an error.
    unresolved: Callable[[str, str], int | None] = lambda image, symbol: None
    #: Symbols the root's archives are asked for beside what its objects need (ld's -u); see `relink.collect`.
    want: Sequence[str] = ()
    whole_archive: bool = False  #: take all members of the root's archives (ld's --whole-archive)
    dynamic_tls: bool = False  #: thread-local storage is dynamic but where it must be static; see `relink.tls`
    #: Guest addresses of images' first pages: by SONAME, name or file name, or told by a function (None:
    #: anywhere). For the root `base` goes before.
    place: Mapping[str, int] | Callable[[Decoded], int | None] | None = None
    late_sources: Sequence[SymbolSource | Lookup] = ()  #: asked after every image, before the linker's own
    relocation_handlers: Sequence[RelocationHandler] = ()  #: before the linker's own
    #: The root is going to be started at its entry: a static PIE relocates itself then, as a kernel expects.
    program: bool = False


class Linker:
    """Links images into one address space.

    >>> linker = Linker(HostMemory("aarch64"))            # doctest: +SKIP
    >>> image = linker.load("plugin.so")                  # doctest: +SKIP
    >>> linker.memory.read(image.symbol("table").address, 8)  # doctest: +SKIP
    """

    def __init__(
        self, memory: AddressSpace, *, search: SearchPath | None = None, policy: Policy | None = None,
        tls_size: int = DEFAULT_STATIC_SIZE,
    ) -> None:  # fmt: skip
        self.memory = memory
        self.architecture: Architecture = memory.architecture
        self.search = search or SearchPath()
        self.policy = policy or Policy()
        self.resolver = Resolver()
        self.resolver.holds_data = self._holds_data
        self.tls = TlsLayout(self.architecture, tls_size)
        self.images: list[Image] = []  #: everything loaded, in load order
        self.global_scope: list[Image] = []  #: what later images see
        self.relocation_handlers: list[RelocationHandler] = []  #: see `relink.handlers`
        self.observers: list[Observer] = []  #: see `relink.observe`
        self.lazy_host: LazyHost | None = None  #: who has traps for lazy binding; without one all is bound at once
        #: Guest addresses something outside still uses (a thread-local destructor's): their images stay.
        self.held: Callable[[], Collection[int]] = tuple
        self._descriptor_stub: Region | None = None
        self._turns = count()

    # ------------------------------------------------------------ the one call

    def load(
        self, source: Source | Sequence[Source] | Node, *, name: str | None = None,
        options: LoadOptions | None = None,
    ) -> Image:  # fmt: skip
        """Load an image with all it needs, without a machine: nothing of it is run.

        See `loading` for the arguments. Places an IFUNC decides are left as they were.
        """
        with self.loading(source, name=name, options=options) as plan:
            for region, pages in plan.regions:
                self.memory.publish(region, pages)
        return plan.root

    @contextmanager
    def loading(
        self, source: Source | Sequence[Source] | Node, *, name: str | None = None,
        options: LoadOptions | None = None,
    ) -> Iterator[Plan]:  # fmt: skip
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
        with ExitStack() as undo:
            if self.observers:
                from relink import observe

                undo.push(observe.failure_report(self.observers, name, source))
            yield undo
            undo.pop_all()

    def _commit(self, plan: Plan) -> None:
        for image in plan.images:
            image.stage = Stage.INITIALISED
        if self.observers:
            from relink import observe

            observe.tell_loaded(self.observers, plan.images)
        for node in plan.nodes:
            if node.image is not None:
                node.image.names |= node.names

    @contextmanager
    def adopting(
        self, address: int, *, source: Source | None = None, name: str | None = None, relocated: bool,
        tls: TlsModule | None = None, options: LoadOptions | None = None,
    ) -> Iterator[Plan]:  # fmt: skip
        """`loading` for an image that lies in memory already, its ELF header at `address` (see `relink.adopt`).

        `source` is the file it came from; without, all is read from memory. `relocated` says whether it has been
        relocated there. An image that has not is linked as by `loading`, libraries it needs included; of one
        that has, only what is loaded already counts as needed. `tls` is the module and place in the static TLS
        area that a relocated image's words lead to, where they do not tell themselves.

        Raises ElfError, LinkError, TlsError, AddressSpaceError where memory is not mapped.
        """
        from relink.adopt import adopted_nodes, write_back

        with self._transaction(name, f"<image at {address:#x}>") as undo:
            clock = _Clock()
            root, nodes = adopted_nodes(self, address, source, name, relocated=relocated, tls=tls)
            clock.lap("open")
            if self.observers:
                from relink import observe

                observe.tell_opened(self.observers, nodes)
            if not relocated:
                self._check_versions(root, nodes)
            plan = self._link_nodes(root, nodes, options or LoadOptions(), undo, clock)
            if not relocated:
                write_back(self.memory, plan.root, undo)
            yield plan
            self._commit(plan)

    def adopt(
        self, address: int, *, source: Source | None = None, name: str | None = None, relocated: bool,
        tls: TlsModule | None = None, options: LoadOptions | None = None,
    ) -> Image:  # fmt: skip
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
        if image.references < 1:
            raise LinkError(image.name, "was loaded for others only, there is no load of it to undo")
        doomed = self.unloadable(image)
        image.references -= 1
        self._forget_all(doomed)
        return doomed

    def unload_unused(self) -> list[Image]:
        """Release what nothing needs any longer, as `unload` does: images something outside has held till now."""
        doomed = self.unloadable()
        self._forget_all(doomed)
        return doomed

    def unloadable(self, image: Image | None = None) -> list[Image]:
        """What unloading `image` now would release, dependents first: the order destructors run in."""
        held = self.held()
        roots = [
            i for i in self.images
            if i.references > (i is image) or i.no_delete or any(map(i.contains, held))
        ]  # fmt: skip
        kept = {id(i) for i in graph.dependency_order(roots, _uses)}
        return [i for i in self.teardown_order() if id(i) not in kept]

    def teardown_order(self) -> list[Image]:
        """All images, dependents first: the order destructors run in when everything ends."""
        by_turn = sorted(self.images, key=lambda i: i.turn)
        return list(reversed(graph.dependency_order(by_turn, _outlived_by)))

    def close(self) -> None:
        """Release everything, whoever still refers to it."""
        self._forget_all(self.teardown_order())
        if self._descriptor_stub is not None:
            self._drop_descriptor_stub(self._descriptor_stub)

    # ------------------------------------------------------------ the phases

    def _link(
        self, source: Source | Sequence[Source] | Node, name: str | None, options: LoadOptions, undo: ExitStack
    ) -> Plan:
        clock = _Clock()
        if options.no_load and not self.is_loaded(source):
            raise LinkError(name or str(source), "is not loaded, and was not to be")
        root, nodes = self.survey(
            source, name, options.preload, options.want, whole_archive=options.whole_archive
        )
        clock.lap("open")
        if root.stand_in:
            raise LinkError(root.name, "is answered by the host: there is no image to load")
        if self.observers:
            from relink import observe

            observe.tell_opened(self.observers, nodes)
        self._check_versions(root, nodes)
        return self._link_nodes(root, nodes, options, undo, clock)

    def _link_nodes(
        self, root: Node, nodes: Sequence[Node], options: LoadOptions, undo: ExitStack, clock: _Clock
    ) -> Plan:
        plan = self._map(root, nodes, options, undo)
        clock.lap("map")
        self._hold(plan, options, undo)
        self._join_scopes(plan, options, undo)
        tls = LoadTls(self.tls, undo, options.dynamic_tls)
        self._assign_tls(plan, tls, undo)
        self._relocate(plan, options, tls, undo)
        plan.static_tls = [*plan.images, *tls.late]
        clock.lap("relocate")
        plan.timings = clock.timings
        return plan

    def bind_slot(self, image: Image, slot: int) -> Answer:
        """Look up what a jump slot that waits is for, in the scope of its image. Raises UnresolvedSymbol."""
        assert image.lazy is not None
        return image.lazy.bind(slot, self.resolver, lookup_scope(image, self.global_scope))

    def survey(
        self, source: Source | Sequence[Source] | Node, name: str | None = None, preload: Sequence[Source] = (),
        want: Sequence[str] = (), *, whole_archive: bool = False,
    ) -> tuple[Node, list[Node]]:  # fmt: skip
        """What a load would bring in, without mapping anything: the root's node and the whole closure.

        Missing libraries are nodes whose `missing` is set; nothing is raised for them.
        """
        surroundings = self.surroundings()
        root = self._root(source, name, surroundings, want, whole_archive=whole_archive)
        preloads = [self._root(library, None, surroundings) for library in preload]
        return root, graph.closure(root, surroundings, preloads)

    def scan(
        self, source: Source | Sequence[Source], name: str | None = None, *, preload: Sequence[Source] = (),
        want: Sequence[str] = (), whole_archive: bool = False,
    ) -> Scan:  # fmt: skip
        """What a load would bring in, for people and planners: see `relink.scan`. Nothing is mapped.

        Missing libraries are no error here. Raises ElfError.
        """
        from relink.scan import Scan

        return Scan(self.architecture, *self.survey(source, name, preload, want, whole_archive=whole_archive))

    def find(self, name: str, chain: Sequence[Image] = ()) -> Node:
        """A library by the name an image gives it, through the rules for DT_NEEDED; opened, not mapped.

        `chain` is the image that asks and those whose RPATH counts too, nearest first. Names with a slash are
        paths of the guest's file system. Raises what opening a damaged file raises.
        """
        return graph.find(name, self.surroundings(), [image.decoded for image in chain])

    def surroundings(self) -> Surroundings:
        """What the closure of a load is computed against."""
        return Surroundings(
            self.architecture, self.search, self.loaded, self._loaded_from, self.policy.stand_ins,
            self.policy.fallbacks,
        )  # fmt: skip

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

    def _root(
        self, source: Source | Sequence[Source] | Node, name: str | None, surroundings: Surroundings,
        want: Sequence[str] = (), *, whole_archive: bool = False,
    ) -> Node:  # fmt: skip
        """The node of what the user asked for; a bare name that is no file here is searched for."""
        if isinstance(source, Node):
            return source
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            if "/" in str(source) or _exists(path):
                same = self._loaded_from(path)
                if same is not None:
                    return Node(str(source), None, "already loaded", image=same)
            else:
                return graph.find(str(source), surroundings)
        decoded = graph.open_image(source, self.architecture, name, want, whole_archive=whole_archive)
        return Node(decoded.name, None, "asked for", decoded=decoded)

    def _check_versions(self, root: Node, nodes: Sequence[Node]) -> None:
        """All that is missing, in one go: libraries, and versions of libraries (gABI symbol versioning)."""
        errors: list[LinkError] = [node.error() for node in nodes if node.missing]
        providers = {node.name: node for node in nodes}
        providers |= {n.decoded.soname: n for n in nodes if n.decoded is not None and n.decoded.soname}
        for node in nodes:
            if node.decoded is None:
                continue
            for need in node.decoded.versions.needed:
                if need.flags & VER_FLG_WEAK:
                    continue
                provider, loaded = providers.get(need.library), self.loaded(need.library)
                if provider is None and loaded is None and need.library not in self._hosts:
                    # glibc stops at an assertion here (elf/dl-version.c, find_needed).
                    problem = f"asks for version {need.name} of {need.library}, which it does not need"
                    errors.append(LinkError(node.decoded.name, problem))
                    continue
                found = provider.contents if provider is not None else None
                decoded = loaded.decoded if provider is None and loaded is not None else found
                if decoded is None:
                    continue
                defined = decoded.versions.defined
                # glibc tolerates a library without any versions (elf/dl-version.c, match_symbol).
                if defined and need.name not in {version.name for version in defined}:
                    errors.append(VersionNotFound(node.decoded.name, need.library, need.name, decoded.name))
        _raise_all(root.name, errors)

    @property
    def _hosts(self) -> frozenset[str]:
        return self.policy.stand_ins | self.policy.fallbacks

    def _map(self, root: Node, nodes: Sequence[Node], options: LoadOptions, undo: ExitStack) -> Plan:
        """Regions, biases and bytes for every new image; edges between images."""
        images: dict[int, Image] = {}
        for node in nodes:
            if node.image is not None:
                images[id(node)] = node.image
            elif node.decoded is not None:
                images[id(node)] = Image(node.decoded, self.architecture, self.resolver)
        plan = Plan(images[id(root)], nodes=list(nodes), program=options.program)
        asked_for = nodes[: nodes.index(root) + 1]
        plan.first = [images[id(node)] for node in asked_for if id(node) in images]
        for node in nodes:
            if node.image is not None or node.decoded is None:
                continue
            image = images[id(node)]
            image.names |= node.names
            image.references = 0
            image.sources = tuple(options.sources)
            image.late_sources = tuple(options.late_sources)
            image.deep_bind = options.deep_bind
            image.dependencies = [images[id(child)] for child in node.needs if id(child) in images]
            image.filtees = [images[id(child)] for child in node.filtees if id(child) in images]
            if not node.decoded.segments:
                raise MalformedElf(node.decoded.name, "has no segment to load")
            if node.adopted is not None:
                image.adopted = node.adopted
                image.place(node.adopted.region)
                undo.callback(image.close)
            else:
                base = options.base if node is root else None
                region = self._reserve_region(node.decoded, place.chosen(options.place, node.decoded, base), undo)
                image.place(region)
                undo.callback(image.close)
                place.fill(region, node.decoded)
                relro = not plan.relocates_itself(image)
                plan.regions.append((region, place.pages(node.decoded, relro=relro)))
            plan.images.append(image)
            if self.observers:
                from relink import observe

                observe.tell_mapped(self.observers, image)
        for image in plan.images:
            image.scope = breadth_first([image])
        ordered = graph.dependency_order(reversed(plan.images), _needs)
        # Where needs go in a circle, the root comes last all the same (glibc's force_first).
        plan.initialise = sorted((i for i in ordered if i in plan.images), key=lambda i: i is plan.root)
        for image in plan.initialise:
            image.turn = next(self._turns)
        if plan.root in plan.images and plan.root.decoded.is_executable:
            # The program is the first of all, also before what is preloaded (gABI, "Shared Object Dependencies").
            for images_of in (plan.first, plan.images):
                images_of.remove(plan.root)
                images_of.insert(0, plan.root)
        return plan

    def _reserve_region(self, decoded: Decoded, base: int | None, undo: ExitStack) -> Region:
        region = place.reserve(self.memory, decoded, base)
        undo.callback(self.memory.release, region)
        return region

    def _hold(self, plan: Plan, options: LoadOptions, undo: ExitStack) -> None:
        """What keeps the images loaded: a reference to the root, and the root keeps the preloads."""
        root = plan.root
        undo.callback(_restore_holds, root, root.references, root.no_delete, list(root.keeps))
        root.references += 1
        root.no_delete = root.no_delete or options.no_delete
        root.keeps += [image for image in plan.first if image is not root and image not in root.keeps]

    def _join_scopes(self, plan: Plan, options: LoadOptions, undo: ExitStack) -> None:
        """Preloads, the root and what they need, breadth-first: joined to the global scope unless local.

        Images that were there before get the new search list as well, after those they have.
        """
        undo.callback(
            self._leave_scopes, plan.images, set(self.images), set(self.global_scope), set(self.resolver.unique)
        )
        self.images += plan.images
        group = Group(plan.root, search_list(plan.first))
        for image in group.members:
            if image in plan.images or all(known.root is not group.root for known in image.groups):
                image.groups.append(group)
        if not options.local:
            self.global_scope += [image for image in group.members if image not in self.global_scope]
            program = next((image for image in self.global_scope if image.decoded.is_executable), None)
            if program is not None:  # of several, the first to come
                self.global_scope.remove(program)
                self.global_scope.insert(0, program)

    def _assign_tls(self, plan: Plan, tls: LoadTls, undo: ExitStack) -> None:
        for image in plan.images:
            if image.runs_elsewhere and image.decoded.tls is not None:
                from relink.adopt import claim_tls

                image.tls = claim_tls(self, image, undo)
        tls.assign([i for i in plan.images if not (i.runs_elsewhere or plan.relocates_itself(i))])
        if self.observers:
            from relink import observe

            observe.tell_tls(self.observers, plan.images)

    def _relocate(self, plan: Plan, options: LoadOptions, tls: LoadTls, undo: ExitStack) -> None:
        """Relocate dependencies first, as ld.so does; report what is wrong with all of them together."""
        if self.observers:
            from relink import observe
        environment = Environment(
            self.resolver, lambda: self._tls_descriptor_stubs(plan, undo), options.unresolved, tls,
            options.binding, self.lazy_host, (*options.relocation_handlers, *self.relocation_handlers),
            observe.telling(self.observers) if self.observers else None, self.memory.read,
            lambda image: image not in plan.images,
        )  # fmt: skip
        errors: list[LinkError] = []
        for image in plan.initialise:
            if image.runs_elsewhere:
                image.stage = Stage.RELOCATED
                continue
            itself, scope = plan.relocates_itself(image), lookup_scope(image, self.global_scope)
            image.outcome = Outcome() if itself else relocate(image, scope, environment)
            image.stage = Stage.RELOCATED
            errors += image.outcome.errors
            plan.ifuncs += image.outcome.ifuncs
            if image.outcome.copies:
                from relink.copies import copied_ifuncs

                plan.ifuncs += copied_ifuncs(image.outcome.copies, plan.ifuncs)
            if self.observers:
                observe.tell_relocated(self.observers, image)
        _raise_all(plan.root.name, errors)

    def _tls_descriptor_stubs(self, plan: Plan, undo: ExitStack) -> tuple[int, int]:
        """The addresses of the stubs that answer TLS descriptors; made by the first load that needs them."""
        tls = self.architecture.tls
        if self._descriptor_stub is None:
            region = self.memory.reserve(PAGE, name="TLS descriptor stubs")
            undo.callback(self._drop_descriptor_stub, region)
            for offset, code in ((0, tls.descriptor_stub), (_SECOND_STUB, tls.undefined_descriptor_stub)):
                region.buffer[offset : offset + len(code)] = list(code)
            plan.regions.append((region, (Pages(0, PAGE, Protection.R | Protection.X),)))
            self._descriptor_stub = region
        return self._descriptor_stub.address, self._descriptor_stub.address + _SECOND_STUB

    def _holds_data(self, address: int) -> bool:
        """Whether memory that cannot be executed lies at an address."""
        protection = self.memory.protection(address)
        return protection is not None and not protection & Protection.X

    # ------------------------------------------------------------ undoing

    def _drop_descriptor_stub(self, region: Region) -> None:
        self._descriptor_stub = None
        self.memory.release(region)

    def _leave_scopes(
        self, new: Sequence[Image], images: set[Image], scope: set[Image], unique: set[str]
    ) -> None:
        """Take a failed load out of everything it joined, given what was there before.

        What its constructors have loaded or unloaded meanwhile (dlopen) is no part of it and stays so.
        """
        nested = {image for image in self.images if image not in images and image not in new}
        self._drop_groups({*new})
        self.images[:] = [image for image in self.images if image not in new]
        self.global_scope[:] = [image for image in self.global_scope if image in scope or image in nested]
        self.resolver.unique = {
            name: definition
            for name, definition in self.resolver.unique.items()
            if name in unique or definition[0] in nested
        }

    def _forget_all(self, images: Sequence[Image]) -> None:
        closing = [(image, image.base, image.region.size) for image in images] if self.observers else []
        for image in images:
            self._forget(image)
        if closing:
            from relink import observe

            observe.tell_closed(self.observers, closing)
    def _drop_groups(self, roots: set[Image]) -> None:
        """Take the search lists of loads whose root is gone from the images that stay."""
        for image in self.images:
            image.groups[:] = [group for group in image.groups if group.root not in roots]

    def _forget(self, image: Image) -> None:
        """Release everything an image holds."""
        self.images.remove(image)
        self._drop_groups({image})
        if image in self.global_scope:
            self.global_scope.remove(image)
        self.resolver.forget(image)
        if image.tls is not None:
            self.tls.release(image.tls)
        region = image.region
        image.close()
        if not region.foreign:
            self.memory.release(region)


class _Clock:
    """Splits a load's time into phases."""

    def __init__(self) -> None:
        self.timings = Timings()
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.timings.add(phase, now - self._last)
        self._last = now


def _raise_all(image: str, errors: Sequence[LinkError]) -> None:
    """One error as itself, several as a LinkErrors, none as nothing."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise LinkErrors(image, errors)


def _needs(image: Image) -> list[Image]:
    """What is initialised before an image, and outlives it."""
    return [*image.filtees, *image.dependencies] if image.filtees else image.dependencies


def _uses(image: Image) -> list[Image]:
    """What an image keeps alive: all it needs or was told to keep, and every image it bound a symbol to."""
    kept = [*_needs(image), *image.keeps]
    if image.lazy is not None:
        kept += [answer.provider for answer in image.lazy.bound.values() if answer.provider is not None]
    bound = image.outcome.bindings if image.outcome else None
    if bound is None:
        return kept
    numbers = {int(n) for n in set(bound.provider.tolist()) if n > 0}
    return [*kept, *(bound.images[n] for n in numbers)]


def _outlived_by(image: Image) -> list[Image]:
    """What is torn down after an image: needs that were initialised before it, and whom else it is bound to."""
    return [used for used in _uses(image) if used.turn < image.turn or used not in image.scope]


def _restore_holds(image: Image, references: int, no_delete: bool, keeps: list[Image]) -> None:
    image.references, image.no_delete, image.keeps = references, no_delete, keeps


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False

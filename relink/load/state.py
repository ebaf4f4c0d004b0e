"""The state that all loads of a linker share: memory, settings, loaded images, and loads in progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from relink.image import Image
from relink.load import emit, lifetime
from relink.load.by_address import ImagesByAddress
from relink.load.loaded import LoadedImages
from relink.load.options import Policy
from relink.memory import sparse
from relink.memory.address_space import AddressSpace, Protection
from relink.memory.rollback import Rollback, Step
from relink.records import Assigned
from relink.records.unpicklable import Unpicklable
from relink.relocate.lazy import LazyHost
from relink.relocate.tls import DescriptorStubs
from relink.resolve import scopes
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import DefinedSymbols
from relink.search.graph import Node, SearchContext
from relink.search.search_path import SearchPath, Source
from relink.tls import DEFAULT_STATIC_SIZE, TlsLayout

if TYPE_CHECKING:
    from relink.events import Observer
    from relink.relocate.handlers import RelocationHandler


class UnderWay(Protocol):
    """The part of a load (`relink.load.load`) that `Linker.close` uses."""

    def abandon(self) -> None:
        """Undo everything."""

    def check_idle(self) -> None:
        """Raise LoadOrderError while a phase is running."""


class LinkerState(Unpicklable, Assigned, SearchContext):
    """The state a linker keeps between loads."""

    _instead = "it links into memory of this process: make one in each"

    def __init__(
        self,
        memory: AddressSpace,
        *,
        search: SearchPath | None = None,
        policy: Policy | None = None,
        tls_size: int = DEFAULT_STATIC_SIZE,
    ) -> None:
        try:
            architecture = memory.architecture
        except AttributeError:
            problem = "is no memory to link into: give HostMemory(architecture), or that of a machine"
            raise TypeError(f"{memory!r:.80} {problem}") from None
        super().__init__(architecture, search or SearchPath())
        self.memory = memory
        self.policy = policy or Policy()
        self.resolver = Resolver()
        self.resolver.holds_data = self._holds_data
        self.tls = TlsLayout(self.architecture, tls_size)
        self.images: list[Image] = []  #: everything loaded, in load order
        self.known = LoadedImages()  #: the same by name and file
        self._by_address = ImagesByAddress()
        self.mapped: dict[Image, None] = {}  #: the loaded images whose files are mapped, not copied
        self.global_scope: list[Image] = []  #: the global scope
        #: Those of loads in progress whose code cannot run yet: relocations, ifuncs or TLS blocks are not done.
        self.unprepared: set[Image] = set()
        #: Libraries without a file, by DT_NEEDED name; images that need one find its symbols.
        self.provided: dict[str, DefinedSymbols] = {}
        self.provided_to_all: dict[str, None] = {}  #: the ones in the global scope (RTLD_GLOBAL), in order
        self.relocation_handlers: list[RelocationHandler] = []  #: see `relink.relocate.handlers`
        self.observers: list[Observer] = []  #: see `relink.events`
        #: provides traps for lazy binding; without it all slots are bound during the load
        self.lazy_host: LazyHost | None = None
        #: Guest addresses in use from outside (such as a thread-local destructor): their images stay loaded.
        self.pinned_addresses: Callable[[], Collection[int]] = tuple
        self.descriptor_stubs = DescriptorStubs(memory)
        self.init_index = 0  #: the next position in the order of initialisation
        self.changes = 0  #: number of times that images were added or removed
        #: For `call_scope`: scopes, with what they have been made of. Without those of released images.
        self.call_scopes: dict[Image, tuple[object, list[Image], list[scopes.Group[Image]], LookupScope]] = {}
        self.under_way: list[
            UnderWay
        ] = []  #: loads that are neither committed nor rolled back, in the order they began

    @property
    def host_provided(self) -> Collection[str]:
        policy, provided = self.policy, self.provided
        return policy.host_provided | provided.keys() if provided else policy.host_provided

    @property
    def fallbacks(self) -> Collection[str]:
        return self.policy.fallbacks

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self._by_address.find(self.images, address)

    def loaded(self, name: str) -> Image | None:
        return self.known.named(name)

    def loaded_from(self, path: str | os.PathLike[str], file: tuple[int, int] | None = None) -> Image | None:
        return self.known.from_file(path, file)

    def loaded_twin(self, node: Node) -> Image | None:
        """The loaded image of the file or names of a node that is not loaded itself."""
        assert node.decoded is not None
        names = [*node.names, *([node.decoded.soname] if node.decoded.soname else [])]
        found = next((image for image in map(self.loaded, names) if image is not None), None)
        if found is None and node.decoded.path is not None:
            return self.loaded_from(node.decoded.path)
        return found

    def is_loaded(self, source: Source | Sequence[Source] | Node) -> bool:
        """Whether `source` is already loaded, by name, SONAME or file."""
        if isinstance(source, Node):
            return source.image is not None
        return isinstance(source, (str, os.PathLike)) and (
            self.loaded(str(source)) is not None or self.loaded_from(source) is not None
        )

    def lookup_scope(self, image: Image) -> LookupScope:
        """The scope in which the references of `image` are looked up."""
        record, order = image.scopes, scopes.lookup_order(image, self.global_scope)
        late = (*record.late_sources, *self.provided_to(order)) if self.provided else record.late_sources
        return LookupScope(order, record.sources, late)

    def call_scope(self, image: Image) -> LookupScope:
        """`lookup_scope`, kept for the next call: until anything that it is made of has changed."""
        record, scope_of_all = image.scopes, self.global_scope
        key = (
            self.changes, record.deep_bind, record.sources, record.late_sources, len(self.provided),
            len(self.provided_to_all),
        )  # fmt: skip
        known = self.call_scopes.get(image)
        if known is None or known[0] != key or known[1] != scope_of_all or known[2] != record.groups:
            known = key, scope_of_all.copy(), record.groups.copy(), self.lookup_scope(image)
            self.call_scopes[image] = known
        return known[3]

    def leave_scopes(
        self,
        new: set[Image],
        group: scopes.Group[Image],
        added: Sequence[Image],
        before: Sequence[Image],
        unique: Sequence[str],
    ) -> None:
        """Undo what a load has done to join its `new` images, given the images and unique symbols from before.

        Images that constructors have loaded since (dlopen) are released if they use one of the new images; others,
        and what has been unloaded since, are not affected.
        """
        self.images[:] = [image for image in self.images if image not in new]
        self.unprepared.difference_update(new)
        old = {*before}
        if users := lifetime.users([image for image in self.images if image not in old], new):
            self.release_all(users)
        for image in new:
            self.known.remove(image)
            self.mapped.pop(image, None)
        self.resolver.indices.forget(new)
        self.call_scopes.clear()
        self.changes += 1
        self.global_scope[:] = scopes.without(self.global_scope, {*added})
        scopes.leave_groups(self.images, new, group)
        nested, known = {*self.images}.difference(old), {*unique}
        self.resolver.unique = {
            name: definition
            for name, definition in self.resolver.unique.items()
            if name in known or definition[0] in nested
        }

    def release_all(self, images: Sequence[Image], undone: Image | None = None) -> None:
        """Release images, and undo one load of `undone`."""
        closing = [(each, each.base, each.region.size) for each in images] if self.observers else []
        gone = {*images}
        remaining = [image for image in self.images if image not in gone]
        remaining_global = scopes.without(self.global_scope, gone)
        rest = Rollback([(self.call_scopes.clear, ())])
        if closing:
            rest.calls += [(emit.closed, (self.observers, closing))]
        for each in images[::-1]:
            rest.calls += self._release_steps(each)
        rest.calls += ((self.resolver.forget, (gone,)), (scopes.leave_groups, (remaining, gone)))
        change = 1 if images else 0
        try:  # whatever a signal handler raises before leaves everything, afterwards nothing
            if undone is not None:
                undone.lifetime.references -= 1
            self.images[:], self.global_scope[:] = remaining, remaining_global
            self.changes += change
            rest.close()
        finally:
            if rest.calls:
                rest.close()

    def users(self, new: Sequence[Image]) -> list[Image]:
        """The images that have been loaded since these were, and use one of them."""
        if not new or new[0] not in self.images:
            return []
        return lifetime.users(self.images[self.images.index(new[0]) :], new)

    def _release_steps(self, image: Image) -> list[Step]:
        """The steps that release what an image holds, last first."""
        region = image.region
        steps: list[Step] = [] if region.foreign else [(sparse.release, (self.memory, region))]
        if image.tls is not None:
            steps += [(self.tls.release, (image.tls,))]
        if image in self.mapped:
            steps += [(self.mapped.pop, (image, None))]
        return [*steps, (self.known.remove, (image,)), (image.close, ())]

    def lookup_scopes(self) -> Callable[[Image], LookupScope]:
        """`lookup_scope`, for the images of one load: most have the same search lists, put together once."""
        known: dict[tuple[int, ...], tuple[list[Image], list[DefinedSymbols]]] = {}

        def scope_of(image: Image) -> LookupScope:
            record = image.scopes
            key = (self.changes, len(self.global_scope), record.deep_bind, *map(id, record.groups))
            if key not in known:
                order = scopes.lookup_order(image, self.global_scope)
                known[key] = order, self.provided_to(order) if self.provided else []
            order, provided = known[key]
            return LookupScope(order, record.sources, (*record.late_sources, *provided))

        return scope_of

    def provided_to(self, images: Sequence[Image]) -> list[DefinedSymbols]:
        """The libraries in `provided` that `images` need, in the order they need them."""
        if not self.provided:
            return []
        needed = chain.from_iterable(image.decoded.needed for image in images)
        names = dict.fromkeys(chain(needed, self.provided_to_all))
        return [self.provided[name] for name in names if name in self.provided]

    def _holds_data(self, address: int) -> bool:
        """Whether the memory at an address is mapped and not executable."""
        protection = self.memory.protection(address)
        return protection is not None and not protection & Protection.X

"""The linker: what is loaded, and the operations on it. A newcomer starts reading here.

    image = linker.load("plugin.so")              # all phases of a load at once

    with linker.begin("plugin.so") as load:       # the same, phase by phase
        load.open()                               # files found and decoded          relink.search
        load.map()                                # regions, load biases, bytes      relink.load.map
        load.join()                               # reference counts, search lists   relink.resolve.scopes
        load.assign_tls()                         # TLS modules and offsets          relink.tls
        load.relocate()                           # symbols bound, entries applied   relink.relocate
        load.publish()                            # the guest gets its memory        relink.memory
        load.commit()

What happens in each phase, and what a failure undoes, is in `relink.load.load`; what a machine does beyond (ifunc
resolvers, TLS blocks, constructors) follows from the `Plan` of the load (`relink.load.plan`). Objects and archives
become one image when they are opened (`relink.objects.combine`). An image that lies in memory already is adopted
(`relink.load.adopt`): its open and map read it there. Jump slots may wait for their first call: the machine then
comes back with `Linker.bind_slot` (`relink.relocate.lazy`).

An image is an `Image` (`relink.image`) for its user and a `Module` (`relink.module`) for the phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relink.errors import LinkError
from relink.image import Image
from relink.load import emit, lifetime
from relink.load.load import Load
from relink.load.options import LoadOptions, Policy
from relink.load.phases import Phase
from relink.load.state import LinkerState
from relink.memory import sparse
from relink.module import TlsModule
from relink.objects.options import ObjectOptions
from relink.relocate.lazy import SlotBinding
from relink.resolve import scopes
from relink.search import graph
from relink.search.graph import Node
from relink.search.search_path import Source

if TYPE_CHECKING:
    from relink.search.scan import Scan

__all__ = ["Linker", "Load", "LoadOptions", "Phase", "Policy"]


class Linker(LinkerState):
    """Links images into one address space.

    >>> linker = Linker(HostMemory("aarch64"))            # doctest: +SKIP
    >>> image = linker.load("plugin.so")                  # doctest: +SKIP
    >>> linker.memory.read(image.symbol("table").address, 8)  # doctest: +SKIP
    """

    # ------------------------------------------------------------ loading

    def load(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        name: str | None = None,
        options: LoadOptions | None = None,
    ) -> Image:
        """Load an image with all it needs, without a machine: nothing of it is run.

        See `begin` for the arguments. Places an IFUNC decides are left as they were.
        """
        with self.begin(source, name=name, options=options) as load:
            return load.finish()

    def begin(
        self,
        source: Source | Sequence[Source] | Node,
        *,
        name: str | None = None,
        options: LoadOptions | None = None,
    ) -> Load:
        """A load none of whose phases has run: see `Load`.

        `source` is a path, bytes, a file object, a bare library name to search for, or what `find` has found;
        `name` is what messages call it. Relocatable objects and archives, or a list of them, become one image.

        The phases raise ElfError, LibraryNotFound, another LinkError or LinkErrors, AddressSpaceError.
        """
        return Load(self, source, name, options)

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
        """`load` for an image that lies in memory already: see `begin_adoption`."""
        load = self.begin_adoption(
            address, source=source, name=name, relocated=relocated, tls=tls, options=options
        )
        with load:
            return load.finish()

    def begin_adoption(
        self,
        address: int,
        *,
        source: Source | None = None,
        name: str | None = None,
        relocated: bool,
        tls: TlsModule | None = None,
        options: LoadOptions | None = None,
    ) -> Load:
        """`begin` for an image that lies in memory already, its ELF header at `address` (`relink.load.adopt`).

        `source` is the file it came from; without, all is read from memory. `relocated` says whether it has been
        relocated there. An image that has not is linked like any other, libraries it needs included; of one
        that has, only what is loaded already counts as needed. `tls` is the module and place in the static TLS
        area that a relocated image's words lead to, where they do not tell themselves.

        The phases raise ElfError, LinkError, TlsError, AddressSpaceError where memory is not mapped.
        """
        from relink.load.adopt import Adoption

        return Adoption(self, address, file=source, name=name, relocated=relocated, tls=tls, options=options)

    def bind_slot(self, image: Image, slot: int) -> SlotBinding:
        """Look up the symbol of a jump slot that has not been bound, in the scope of its image.

        Raises UnresolvedSymbol.
        """
        slots = image.relocated.lazy
        assert slots is not None
        return slots.bind(slot, self.resolver, self.lookup_scope(image))

    # ------------------------------------------------------------ unloading

    def unload(self, image: Image) -> list[Image]:
        """Drop one reference to `image`; once none is left, release it and the dependencies nothing else uses.

        Returns the images released, in the order their destructors should have run before (see
        `unloadable`). Raises UseAfterUnload if it is closed already, LinkError if every explicit load of it
        has been undone, or is still under way.
        """
        image.check_open()
        if image.references < 1:
            raise LinkError(image.name, "was loaded for others only, there is no load of it to undo")
        if image.references <= image.lifetime.uncommitted:
            raise LinkError(image.name, "is being loaded: that load can be rolled back, not undone")
        doomed = self.unloadable(image)
        image.lifetime.references -= 1
        self._release_all(doomed)
        return doomed

    def unload_unused(self) -> list[Image]:
        """Release images that nothing uses any longer, such as those that `pinned_addresses` has kept till now."""
        doomed = self.unloadable()
        self._release_all(doomed)
        return doomed

    def unloadable(self, image: Image | None = None) -> list[Image]:
        """What unloading `image` now would release, dependents first: the order destructors run in."""
        return lifetime.unloadable(self.images, self.pinned_addresses(), image)

    def teardown_order(self) -> list[Image]:
        """All images, dependents first: the order destructors run in when everything ends."""
        return lifetime.teardown_order(self.images)

    def close(self) -> None:
        """Roll back the loads that are under way, and release everything, whoever still refers to it."""
        for load in reversed(self.under_way.copy()):
            load.abandon()
        self._release_all(self.teardown_order())
        self.descriptor_stubs.close()

    def _release_all(self, images: Sequence[Image]) -> None:
        closing = [(image, image.base, image.region.size) for image in images]
        gone = set(images)
        self.images[:] = [image for image in self.images if image not in gone]
        self.global_scope[:] = [image for image in self.global_scope if image not in gone]
        scopes.leave_groups(self.images, gone)
        self.resolver.forget(gone)
        for image in images:
            self._release(image)
        self.changes += bool(images)
        emit.closed(self.observers, closing)

    def _release(self, image: Image) -> None:
        """Release what an image holds."""
        self.known.remove(image)
        if image.tls is not None:
            self.tls.release(image.tls)
        region = image.region
        image.close()
        if not region.foreign:
            sparse.release(self.memory, region)

    # ------------------------------------------------------------ what would be found

    def survey(
        self,
        source: Source | Sequence[Source] | Node,
        name: str | None = None,
        preload: Sequence[Source] = (),
        undefined: Sequence[str] = (),
        *,
        whole_archive: bool = False,
    ) -> tuple[Node, list[Node]]:
        """What a load would bring in, without mapping anything: see `relink.search.graph.survey`."""
        return graph.survey(self.search_context(), source, name, preload, ObjectOptions(undefined, whole_archive))

    def scan(
        self,
        source: Source | Sequence[Source],
        name: str | None = None,
        *,
        preload: Sequence[Source] = (),
        undefined: Sequence[str] = (),
        whole_archive: bool = False,
    ) -> Scan:
        """What a load would bring in, for people and planners: see `relink.search.scan`. Nothing is mapped.

        Missing libraries are no error here. Raises ElfError.
        """
        from relink.search.scan import Scan

        return Scan(self.architecture, *self.survey(source, name, preload, undefined, whole_archive=whole_archive))

    def find(self, name: str, chain: Sequence[Image] = ()) -> Node:
        """A library by the name an image gives it, through the rules for DT_NEEDED; opened, not mapped.

        `chain` is the image that asks and those whose RPATH counts too, nearest first. Names with a slash are
        paths of the guest's file system. Raises what opening a damaged file raises.
        """
        return graph.find(name, self.search_context(), [image.decoded for image in chain])

"""The linker: the loaded images and the operations on them. Start reading here.

    image = linker.load("plugin.so")              # all phases of a load at once

    with linker.begin("plugin.so") as load:       # the same, phase by phase
        load.open()                               # files found and decoded          relink.search
        load.map()                                # regions, load biases, bytes      relink.load.map
        load.join()                               # reference counts, search lists   relink.resolve.scopes
        load.assign_tls()                         # TLS modules and offsets          relink.tls
        load.relocate()                           # symbols bound, entries applied   relink.relocate
        load.publish()                            # regions mapped in the guest        relink.memory
        load.commit()

- `relink.load.load` describes the phases and their rollback.
- The remaining work of a machine (ifunc resolvers, TLS blocks, constructors) is in the load's `Plan`
  (`relink.load.plan`).
- Objects and archives are combined into one image when they are opened (`relink.objects.combine`).
- An image that is already in memory is adopted (`relink.load.adopt`).
- Lazily bound jump slots are bound by `Linker.bind_slot` at their first call (`relink.relocate.lazy`).
- Users hold an `Image` (`relink.image`); the phases use its base class `Module` (`relink.module`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relink.errors import LinkError
from relink.image import Image
from relink.load import lifetime
from relink.load.load import Load
from relink.load.options import LoadOptions, Policy
from relink.load.phases import Phase
from relink.load.state import LinkerState
from relink.module import TlsModule
from relink.objects.options import ObjectOptions
from relink.relocate.lazy import SlotBinding
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
        """Load an image with its dependencies, without running any of its code. See `begin` for the arguments.

        Places that need an ifunc resolver are not changed.
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
        """Create a `Load`, of which no phase has run.

        `source` is a path, bytes, a file object, a library name to search for, or a result of `find`; `name` is
        its name in messages. Relocatable objects and archives, or a list of them, are combined into one image. The
        phases raise ElfError, LibraryNotFound, another LinkError or LinkErrors, AddressSpaceError.
        """
        if options is not None and not isinstance(options, LoadOptions):
            raise TypeError(f"options={options!r}: give a relink.LoadOptions")
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
        """Like `load`, for an image that is already in memory: see `begin_adoption`."""
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
        """Like `begin`, for an image that is already in memory with its ELF header at `address`
        (`relink.load.adopt`).

        - `source`: its file; without it everything is read from memory.
        - `relocated`: whether it has been relocated there. If not, it is linked like any other, with its
          dependencies; if so, only dependencies that are already loaded are used.
        - `tls`: the TLS module and offset of a relocated image, when its words do not show them.

        The phases raise ElfError, LinkError, TlsError, and AddressSpaceError for unmapped memory.
        """
        from relink.load.adopt import Adoption

        return Adoption(self, address, file=source, name=name, relocated=relocated, tls=tls, options=options)

    def bind_slot(self, image: Image, slot: int) -> SlotBinding:
        """Look up the symbol of an unbound jump slot in the scope of its image. Raises UnresolvedSymbol."""
        slots = image.relocated.lazy
        assert slots is not None
        return slots.bind(slot, self.resolver, self.call_scope(image))

    # ------------------------------------------------------------ unloading

    def unload(self, image: Image, known: list[Image] | None = None) -> list[Image]:
        """Undo one load of `image`; after the last one, release it and the dependencies that nothing else uses.

        Returns the released images in the order of their destructors, which the caller must have run before (see
        `unloadable`, and `known` for what it returns now, if the caller knows). Raises UseAfterUnload if the image
        is closed, LinkError if it has no explicit load that is committed.
        """
        image.check_open()
        record = image.lifetime
        if record.references < 1:
            raise LinkError(image.name, "was loaded only as a dependency, there is no load of it to undo")
        if record.references <= record.uncommitted:
            raise LinkError(image.name, "is still being loaded: roll that load back instead")
        doomed = self.unloadable(image) if known is None else known
        self.release_all(doomed, undone=image)
        return doomed

    def unload_unused(self) -> list[Image]:
        """Release unused images, such as those that were kept by `pinned_addresses`."""
        doomed = self.unloadable()
        self.release_all(doomed)
        return doomed

    def unloadable(self, image: Image | None = None) -> list[Image]:
        """The images that unloading `image` now would release, dependents first: the order of destructors."""
        return lifetime.unloadable(self.images, self.pinned_addresses(), image)

    def teardown_order(self) -> list[Image]:
        """All images, dependents first: the order of destructors when the process ends."""
        return lifetime.teardown_order(self.images)

    def check_closable(self) -> None:
        """Raise LoadOrderError while a phase of a load is running (an observer or a hook of it calls this)."""
        for load in self.under_way:
            load.check_idle()

    def close(self) -> None:
        """Roll back loads in progress and release all images, even those still in use. Raises as
        `check_closable`.
        """
        self.check_closable()
        for load in reversed(self.under_way.copy()):
            load.abandon()
        self.release_all(self.teardown_order())
        self.descriptor_stubs.close()

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
        """The libraries that a load would add, without mapping anything: see `relink.search.graph.survey`."""
        return graph.survey(self, source, name, preload, ObjectOptions(undefined, whole_archive))

    def scan(
        self,
        source: Source | Sequence[Source],
        name: str | None = None,
        *,
        preload: Sequence[Source] = (),
        undefined: Sequence[str] = (),
        whole_archive: bool = False,
    ) -> Scan:
        """Describe the libraries that a load would add: see `relink.search.scan`.

        Nothing is mapped, and missing libraries are not an error. Raises ElfError.
        """
        from relink.search.scan import Scan

        return Scan(self.architecture, *self.survey(source, name, preload, undefined, whole_archive=whole_archive))

    def find(self, name: str, chain: Sequence[Image] = ()) -> Node:
        """Find a library by name with the rules for DT_NEEDED; it is opened but not mapped.

        `chain` is the requesting image and the images whose RPATH also counts, nearest first. Names with a slash
        are paths of the guest's file system. Raises ElfError for a damaged file.
        """
        return graph.find(name, self, [image.decoded for image in chain])

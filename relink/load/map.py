"""Mapping: an `Image` for each new file of a load, its dependencies, and its bytes in a region."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from relink.errors import AddressSpaceError, LinkError, MalformedElf
from relink.image import Image
from relink.load import deferred, emit
from relink.load.neighbours import limit_for, low_if_possible
from relink.load.plan import Plan
from relink.memory import placement as place
from relink.memory import sparse
from relink.memory.address_space import HostMemory
from relink.memory.host_pages import HostBlock
from relink.memory.rollback import Rollback

if TYPE_CHECKING:
    from relink.arch import Architecture
    from relink.elf.source import FileMapping
    from relink.load.options import LoadOptions
    from relink.load.state import LinkerState
    from relink.load.timings import Timings
    from relink.memory.address_space import AddressSpace, Region
    from relink.resolve.resolver import Resolver
    from relink.search.graph import Node


def plan_of(
    root: Node,
    nodes: Sequence[Node],
    options: LoadOptions,
    architecture: Architecture,
    resolver: Resolver,
    timings: Timings,
) -> Plan:
    """The plan of a load, with an image without a region for each new file."""
    images: dict[Node, Image] = {}
    new: list[Image] = []
    sources, late_sources = tuple(options.sources), tuple(options.late_sources)
    for node in nodes:
        if node.image is not None:
            images[node] = node.image
        elif node.decoded is not None:
            image = images[node] = Image(node.decoded, architecture, resolver)
            new += [image]
            image.names |= node.names
            image.file, image.adopted = node.file, node.adopted
            image.already_initialised = node.adopted is not None and node.adopted.relocated
            scopes = image.scopes
            scopes.sources, scopes.late_sources, scopes.deep_bind = sources, late_sources, options.deep_bind
    for node in nodes:
        if node.needs and node.is_new:
            images[node].scopes.dependencies = [images[child] for child in node.needs if child in images]
        if node.filtees and node.is_new:
            images[node].scopes.filtees = [images[child] for child in node.filtees if child in images]
    first: list[Image] = []
    for node in nodes:  # the root comes after the preloads (see `graph.closure`)
        if node in images:
            first += [images[node]]
        if node is root:
            break
    return Plan(images[root], new, first, [*nodes], timings=timings, program=options.program)


def check_place(root: Node, options: LoadOptions) -> None:
    """Raise LinkError for a link script for a file that has been linked, and for another base of a root that is
    loaded than the one it has.
    """
    if options.script is not None and (root.decoded is None or not root.decoded.is_relocatable):
        raise LinkError(root.name, "is no relocatable object: a link script cannot place it")
    if (loaded := root.image) is not None:
        base = place.chosen(options.place, loaded.decoded, options.base)
        if base is not None and base != loaded.base:
            problem = f"is loaded at {loaded.base:#x} already, not at {base:#x}: unload it first, or give no base"
            raise LinkError(root.name, problem)


def refuse_warnings(nodes: Sequence[Node]) -> None:
    """Raise the first warning about a new file: a violation of the gABI that loaders tolerate."""
    for node in nodes:
        if node.is_new and node.decoded is not None and node.decoded.warnings:
            raise node.decoded.warnings[0]


def mapped_files(nodes: Sequence[Node]) -> set[FileMapping]:
    """The new files that are mapped, not copied."""
    new: set[FileMapping] = set()
    for node in nodes:
        if node.decoded is not None and node.image is None and (mapped := node.decoded.mapping) is not None:
            new.add(mapped)
    return new


def check_files(new: Collection[FileMapping], loaded: Collection[Image]) -> None:
    """Raise ElfError where a new file that is mapped has been changed, or that of a `loaded` image cut short."""
    for mapped in new:
        mapped.check()
    for image in loaded:
        if (mapping := image.decoded.mapping) is not None and mapping not in new:
            mapping.check(overwritten=False)


def put_program_first(plan: Plan) -> None:
    """Move a root that is a program to the front, before preloads (gABI, "Shared Object Dependencies")."""
    if plan.root in plan.images:
        for images in (plan.first, plan.images):
            images.sort(key=lambda image: image is not plan.root)


def _reserve(image: Image, base: int | None, state: LinkerState) -> Region:
    objects = None
    if image.decoded.is_relocatable and base is None and state.architecture.bits != 32:
        objects = image.objects
    if objects is None:
        return place.reserve(state.memory, image.decoded, base)
    limit = limit_for(objects, state)
    if limit is None and (preferred := low_if_possible(objects, state)) is not None:
        try:  # not `suppress`, whose end is a call: see `AddressSpace.reserve`
            return place.reserve(state.memory, image.decoded, None, preferred)
        except AddressSpaceError:
            pass
    return place.reserve(state.memory, image.decoded, base, limit)


def give_places(state: LinkerState, plan: Plan, options: LoadOptions, undo: Rollback) -> None:
    """Give each image of a plan its place (see `give_place`), in the order of the plan.

    Those that are not mapped from their files have memory of the host together: `Plan.block`.
    """
    memory, block = state.memory, None
    if plan.images[1:] and not state.observers and isinstance(memory, HostMemory):
        together = [image for image in plan.images if _goes_together(image)]
        if len(together) > 1:
            block = plan.block = _block_of(together)
    for image in plan.images:
        if block is None or image not in block.images:
            give_place(image, state, plan, options, undo)
            if state.observers:
                emit.mapped(state.observers, image)
            continue
        assert isinstance(memory, HostMemory)
        memory.given = block.part(image)
        try:
            give_place(image, state, plan, options, undo, fill=image not in block.filled)
        finally:
            memory.given = None


def _goes_together(image: Image) -> bool:
    return image.adopted is None and place.is_copied(image.decoded)


def _block_of(images: Sequence[Image]) -> HostBlock:
    small = {image: place.content(image.decoded) for image in images if place.is_small(image.decoded)}
    return HostBlock(small, {image: place.region_size(image.decoded) for image in images if image not in small})


def give_place(
    image: Image, state: LinkerState, plan: Plan, options: LoadOptions, undo: Rollback, *, fill: bool = True
) -> None:
    """Reserve a region for an image and, unless it is to be done later, `fill` it from the file; an adopted image
    already has its region.

    Raises MalformedElf for a file without segments, AddressSpaceError.
    """
    decoded, memory = image.decoded, state.memory
    if not decoded.segments:
        raise MalformedElf(decoded.name, "has no segment to load")
    if image.adopted is not None:
        image.place(image.adopted.region)
        undo.callback(image.close)
        return
    base = options.base if image is plan.root else None
    if options.place is not None:
        base = place.chosen(options.place, decoded, base)
    reserved: list[Region] = []
    undo.calls += ((_withdraw, (memory, image, reserved)),)
    region = _reserve(image, base, state)
    reserved += [region]  # no call, of which a signal handler's exception could come
    image.place(region)
    if fill:
        place.fill(region, decoded)
    pages = place.pages(decoded, region, relro=not plan.relocates_itself(image))
    plan.regions += sparse.published(region, pages) if region.parts else [(region, pages)]


def publish(memory: AddressSpace, plan: Plan, undo: Rollback) -> None:
    """Map the regions of a plan in the guest. Raises AddressSpaceError."""
    new = []
    for region, pages in plan.regions:
        if not region.pages:  # descriptor stubs may already be in use by another load
            new += [(region, pages)]
    if isinstance(memory, HostMemory):
        memory.publish_all(new)
    else:
        for region, pages in new:
            memory.publish(region, pages)
    if plan.rebound:
        deferred.store(plan.rebound, memory, undo)


def _withdraw(memory: AddressSpace, image: Image, reserved: Sequence[Region]) -> None:
    try:
        image.close()
    finally:
        for region in reserved:
            sparse.release(memory, region)

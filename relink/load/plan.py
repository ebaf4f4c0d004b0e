"""The work left for the machine once the images are linked in host buffers.

The linker does not use a CPU: it returns a `Plan`, which the machine executes in this order:

1. publish the regions (the guest is unchanged until then);
2. run the ifunc resolvers and store their answers;
3. set up TLS blocks, whose initial contents may include such answers;
4. run the constructors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from relink.elf import Decoded
from relink.elf.constants import DynamicFlag1
from relink.errors import AddressSpaceError
from relink.image import Image
from relink.load.timings import Timings
from relink.memory.address_space import Pages, Region
from relink.memory.buffers import read_words
from relink.memory.host_pages import HostBlock
from relink.memory.once import once_per_file
from relink.module import Module
from relink.records import dataclass, field
from relink.relocate.result import IfuncCalls
from relink.search.graph import Node

if TYPE_CHECKING:
    from relink.relocate.deferred import Rebound

_INIT_FIRST = int(DynamicFlag1.INITFIRST)  # operators of enums are slow


@dataclass(slots=True, weakref_slot=True)
class Plan:
    """One load, linked but not yet visible to the guest."""

    root: Image
    images: list[Image] = field(default_factory=list)  #: newly mapped, in load order
    first: list[Image] = field(default_factory=list)  #: preloads and the root, the first images of the scope
    #: the whole closure, including host-provided libraries and images of earlier loads
    nodes: list[Node] = field(default_factory=list)
    regions: list[tuple[Region, tuple[Pages, ...]]] = field(default_factory=list)
    block: HostBlock | None = None  #: the host's memory of the small images
    rebound: list[Rebound] = field(default_factory=list)  #: of earlier images, what this load has brought
    ifuncs: list[IfuncCalls] = field(default_factory=list)
    static_tls: list[Module] = field(default_factory=list)  #: images whose static TLS blocks must be initialised
    #: the images in initialisation order, dependencies first
    initialise: list[Image] = field(default_factory=list)
    timings: Timings = field(default_factory=Timings)
    program: bool = False  #: the root will be started at its entry point, and then runs its own constructors

    def relocates_itself(self, image: Image) -> bool:
        """Whether the linker does not relocate the image or set up its TLS: it was already relocated, or is a
        static program that relocates itself when started.
        """
        return image.already_initialised or (self.program and image is self.root and image.decoded.needs_no_linker)


def initialisers(plan: Plan) -> Iterator[tuple[Image, str, int]]:
    """(image, which, guest address) of the functions that run when the plan's images start, in order.

    An executable's DT_PREINIT_ARRAY comes first; constructors run after those of the image's dependencies (gABI,
    "Initialization and Termination Functions").
    """
    for which, address in preinitialisers(plan):
        yield plan.root, which, address
    for image in constructed(plan, plan.initialise):
        for which, address in constructors(image):
            yield image, which, address


def preinitialisers(plan: Plan) -> Iterator[tuple[str, int]]:
    """(which, guest address) of the functions that run before all constructors: those of DT_PREINIT_ARRAY of a new
    executable. That of a shared object is ignored.
    """
    decoded = plan.root.decoded
    if decoded.is_executable and plan.root in plan.images and not plan.relocates_itself(plan.root):
        yield from _array(plan.root, "preinit_array", decoded.preinit_array)


def constructed(plan: Plan, order: Sequence[Image]) -> list[Image]:
    """The images whose constructors are run. The first is one that asks for it (DF_1_INITFIRST), of several the
    one mapped last (glibc, elf/dl-load.c).
    """
    if order[1:]:
        asking = [image for image in plan.images if image.decoded.flags_1 & _INIT_FIRST]
        if asking:
            order = sorted(order, key=lambda image: image is not asking[-1])
    # The C library of a program that will be started runs the program's before main.
    return [
        image for image in order if not image.already_initialised and not (plan.program and image is plan.root)
    ]


@once_per_file
def runs_code(decoded: Decoded) -> bool:
    """Whether a file has constructors or destructors, so that it matters whether they have run."""
    if decoded.init or decoded.fini or decoded.dso_handle is not None:
        return True
    return decoded.init_array is not None or decoded.fini_array is not None


def constructors(image: Image) -> Iterator[tuple[str, int]]:
    """(which, guest address) of an image's constructors in running order: DT_INIT, then DT_INIT_ARRAY.

    The array is read after relocation; entries 0 and -1 are skipped, as in ld.so.
    """
    decoded = image.decoded
    if decoded.init and image.architecture.runs_init_fini:
        yield "DT_INIT", image.address_of(decoded.init)
    if decoded.init_array is not None:
        yield from _array(image, "init_array", decoded.init_array)


def destructors(image: Image) -> Iterator[tuple[str, int]]:
    """(which, guest address) of an image's destructors in running order: DT_FINI_ARRAY backwards, then DT_FINI."""
    decoded = image.decoded
    if decoded.fini_array is not None:
        yield from reversed(list(_array(image, "fini_array", decoded.fini_array)))
    if decoded.fini and image.architecture.runs_init_fini:
        yield "DT_FINI", image.address_of(decoded.fini)


def _array(image: Image, name: str, array: tuple[int, int] | None) -> Iterable[tuple[str, int]]:
    if array is None:
        return
    vaddr, count = array
    size = image.architecture.word_size
    if not 0 <= count * size <= image.region.size:
        raise AddressSpaceError(f"{image.name}: its {name} of {count} entries is larger than the image")
    where = image.runs.index(vaddr) + size * np.arange(count, dtype=np.int64)
    for index, address in enumerate(read_words(image.region.buffer, where, size).tolist()):
        if address not in (0, image.architecture.address_mask):
            yield f"{name}[{index}]", address

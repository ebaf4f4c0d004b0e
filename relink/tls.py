"""Thread-local storage: module ids, and each module's offset from the thread pointer.

A *static* module has its block at the same offset from every thread pointer. Offsets follow the ISA's variant
(Drepper, "ELF Handling For Thread-Local Storage", section 3.4): I above the thread pointer, II below it. A
*dynamic* module has an id only: each thread's block is allocated on first access. Modules are static while there
is space, because that is faster. Part of the area is reserved for modules that must be static: code of the
initial- or local-exec model contains the offset. A dynamic module becomes static when such a relocation refers to
it, unless a thread already has a block for it (glibc, elf/dl-reloc.c, _dl_try_allocate_static_tls).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol

from relink.arch import Architecture, TlsVariant
from relink.elf.constants import DynamicFlag
from relink.errors import TlsError
from relink.memory.rollback import Rollback
from relink.module import Module, TlsModule
from relink.records import Assigned, dataclass, field

if TYPE_CHECKING:
    from relink.elf import Decoded, ProgramHeader

#: Bytes of static TLS, including the surplus (glibc's default surplus is 1664 bytes).
DEFAULT_STATIC_SIZE = 0x10000
#: The fraction of the area reserved for modules that must be static.
_SURPLUS = 4
#: The alignment of the thread pointer, and therefore the largest p_align of a static module.
MAX_ALIGN = 4096
#: The largest block of a dynamic module and its largest alignment, in bytes.
MAX_DYNAMIC_SIZE = 1 << 28
MAX_DYNAMIC_ALIGN = 1 << 24
_SPENT = "cannot allocate memory in static TLS block"  #: glibc's message
_HOST_ID = 0x4000_0000
#: Ids from here on: of adopted images whose words tell none. The words of others, which may be adopted later, have
#: ids that a loader counted from 1.
_ASSUMED_ID = 0x2000_0000


def static_size_for(decoded: Decoded) -> int:
    """Bytes of static TLS for running a program: the default plus the size of the program's TLS segment, as ld.so
    allocates at start-up.
    """
    segment = decoded.tls
    return DEFAULT_STATIC_SIZE + (0 if segment is None else segment.memsz + segment.align)


class Blocks(Protocol):
    """Allocates the blocks of dynamic modules, one per thread; implemented by a machine."""

    def descriptor(self, image: Module, undo: Rollback) -> int:
        """The guest address of the function for TLS descriptors whose argument is an offset in the image's
        block.
        """

    def in_use(self, module: TlsModule) -> bool:
        """Whether a thread has a block of this dynamic module."""

    def forget(self, module: TlsModule) -> None:
        """Free the blocks of a module that is being unloaded; its id may be used again."""


class TlsLayout(Assigned):
    """Allocates module ids and offsets in the static area. `static_size` is in bytes."""

    def __init__(self, arch: Architecture, static_size: int = DEFAULT_STATIC_SIZE) -> None:
        self.variant = arch.tls.variant
        self.tcb_size = arch.tls.tcb_size
        self.static_size = static_size
        self.modules: dict[int, TlsModule] = {}
        #: By module id: the number of loads that stored the offset of a static module of an earlier load.
        self.relied_on: Counter[int] = Counter()
        self.blocks: Blocks | None = None
        self._changes = [0]  #: number of modules added; an attribute could not be set without a call

    @property
    def changes(self) -> int:
        """For `add`: a number that increases with every module."""
        return self._changes[0]

    def allocate(self, image: str, size: int, align: int, vaddr: int) -> TlsModule:
        """Allocate a static block of `size` bytes whose address is congruent to `vaddr` modulo `align`, with the
        lowest free id.

        Raises TlsError for `image` if the alignment is too large or the static area is exhausted.
        """
        while True:
            seen = self.changes
            offset = self.offset_for(image, size, align, vaddr)
            if (module := self.add(seen, offset, size)) is not None:
                return module

    def allocate_first(self, image: str, size: int, align: int, vaddr: int) -> TlsModule:
        """`allocate`, at the offset that static linkers assume for an executable: nearest to the thread pointer.
        Raises TlsError also when another module is there.
        """
        while True:
            seen = self.changes
            offset = self.offset_for(image, size, align, vaddr)
            if offset != self._fit([], size, max(align, 1), vaddr):
                problem = "an executable's block must be the first: load the executable before all others"
                raise TlsError(image, f"{_SPENT}: {problem}")
            if (module := self.add(seen, offset, size)) is not None:
                return module

    def assumed_id(self) -> int:
        """A free id for an image whose words do not tell which it has."""
        return self._free_id(_ASSUMED_ID)

    def allocate_spare(self, image: str, size: int, align: int, vaddr: int) -> TlsModule:
        """A module in the unreserved part of the static area; a dynamic module when that is exhausted.

        Raises TlsError for `image` when the block's size or alignment is too large.
        """
        spare = self.static_size - self.static_size // _SURPLUS
        while True:
            seen = self.changes
            offset = self._place(size, align, vaddr, spare) if align <= MAX_ALIGN else None
            if offset is None:
                return self.allocate_dynamic(image, size, align)
            if (module := self.add(seen, offset, size)) is not None:
                return module

    def allocate_dynamic(self, image: str, size: int, align: int) -> TlsModule:
        """Allocate an id only. Raises TlsError for `image` when the block's size or alignment is too large."""
        if size > MAX_DYNAMIC_SIZE or align > MAX_DYNAMIC_ALIGN:
            raise TlsError(
                image,
                f"a TLS segment of {size} bytes aligned to {align:#x}; at most {MAX_DYNAMIC_SIZE} bytes and "
                f"{MAX_DYNAMIC_ALIGN:#x} can be met outside the static area (tls_size, --tls-size)",
            )
        while True:
            if (module := self.add(self.changes, None, size)) is not None:
                return module

    def make_static(self, module: TlsModule, image: str, align: int, vaddr: int) -> TlsModule:
        """Replace a dynamic module by a static one with the same id. Raises TlsError as `allocate` does."""
        while True:
            seen = self.changes
            offset = self.offset_for(image, module.size, align, vaddr)
            if (static := self.add(seen, offset, module.size, module.id)) is not None:
                return static

    def _free_id(self, first: int) -> int:
        return next(number for number in count(first) if number not in self.modules)

    def add(self, seen: int, offset: int | None, size: int, number: int = 0) -> TlsModule | None:
        """Add a module at a free offset, or a dynamic one, with an id or else the lowest free one. None, if others
        were added since `changes` was `seen`: a signal handler may load, too.
        """
        number = number or self._free_id(1)
        module, changes = TlsModule(number, offset or 0, size, offset is not None), self._changes
        if changes[0] != seen:  # from here on without a call, in which a signal handler could come between
            return None
        changes[0] = seen + 1
        self.modules[number] = module
        return module

    def offset_for(self, image: str, size: int, align: int, vaddr: int) -> int:
        """Where `allocate` would put a static block; raises TlsError as it does."""
        if align > MAX_ALIGN:
            raise TlsError(
                image, f"{_SPENT}: a TLS segment aligned to {align:#x} bytes; at most {MAX_ALIGN:#x} can be met"
            )
        offset = self._place(size, align, vaddr, self.static_size)
        if offset is None:
            used = sum(module.size for module in [*self.modules.values()] if module.static)
            enough = (used + size + 2 * align + self.tcb_size + MAX_ALIGN) & -MAX_ALIGN
            raise TlsError(
                image,
                f"{_SPENT}: needs {size} bytes; {used} of {self.static_size} are in use "
                f"(tls_size, --tls-size: {enough} is enough)",
            )
        return offset

    def allocate_far(self, size: int, align: int) -> TlsModule:
        """Allocate the host's block, at the far end of the static area and with an id that no image gets.

        The offset nearest to the thread pointer must stay free for an executable's block, which local-exec code
        expects there.
        """
        offset = (self.static_size - size) & -align if self.variant is TlsVariant.I else -self.static_size & -align
        module = self.modules[_HOST_ID] = TlsModule(_HOST_ID, offset, size)
        return module

    def release(self, module: TlsModule) -> None:
        """Release a block and its module id; both may be reused."""
        if self.blocks is not None:
            self.blocks.forget(module)
        self.modules.pop(module.id, None)
        self.relied_on.pop(module.id, None)

    def rely_on(self, module: TlsModule, undo: Rollback) -> None:
        """Record that a load depends on the offset of a static module, until the load is undone."""
        counted = list[TlsModule]()
        undo.callback(self._rely_no_more, counted)
        relied_on = self.relied_on
        number, uses = module.id, relied_on[module.id] + 1
        counted += [module]  # without a call from here on, of which an exception of a signal handler could come
        relied_on[number] = uses

    def _rely_no_more(self, counted: list[TlsModule]) -> None:
        relied_on = self.relied_on
        for module in counted.copy():
            number, uses = module.id, relied_on[module.id] - 1
            counted[:] = ()  # the same
            relied_on[number] = uses

    def _place(self, size: int, align: int, vaddr: int, limit: int) -> int | None:
        """The free offset nearest to the thread pointer within `limit` bytes of it, or None."""
        taken = sorted((m.offset, m.offset + m.size) for m in [*self.modules.values()] if m.static)
        offset = self._fit(taken, size, max(align, 1), vaddr)
        reach = offset + size if self.variant is TlsVariant.I else -offset
        return offset if reach <= limit else None

    def _fit(self, taken: Sequence[tuple[int, int]], size: int, align: int, vaddr: int) -> int:
        """The offset nearest to the thread pointer that overlaps none of the ranges `taken` (sorted)."""
        residue = vaddr % align
        if self.variant is TlsVariant.I:
            offset = self.tcb_size + (residue - self.tcb_size) % align
            for low, high in taken:
                if offset + size <= low:
                    break
                if high > offset:
                    offset = high + (residue - high) % align
            return offset
        offset = -size - (-size - residue) % align
        for low, high in reversed(taken):
            if offset >= high:
                break
            if low < offset + size:
                offset = low - size - (low - size - residue) % align
        return offset


@dataclass(slots=True)
class LoadTls:
    """The TLS of one load: assigns modules to its images and decides which are static."""

    layout: TlsLayout
    undo: Rollback
    dynamic: bool = False  #: whether modules are static only when required
    #: Images of earlier loads whose modules became static: the blocks of all threads must be initialised.
    late: list[Module] = field(default_factory=list)
    _new: set[Module] = field(default_factory=set)

    def assign(self, images: Sequence[Module]) -> None:
        """Assign a module to each of these new images, which have thread-local storage, executables first. Raises
        TlsError.
        """
        self._new.update(images)
        for image in sorted(images, key=lambda image: not image.decoded.is_executable):
            assert image.decoded.tls is not None
            self.give(image, partial(self._module, image, image.decoded.tls))

    def give(self, image: Module, new: Callable[[], TlsModule]) -> None:
        """Assign the module that `new` returns to an image, until the load is undone."""
        given = list[TlsModule]()
        self.undo.callback(self._release, image, given)
        given += [new()]  # `image.tls =` may call, and be interrupted before it has assigned
        image.tls = given[0]

    def _release(self, image: Module, given: Sequence[TlsModule]) -> None:
        for module in given:
            self.layout.release(image.tls or module)

    def _module(self, image: Module, segment: ProgramHeader) -> TlsModule:
        layout, decoded = self.layout, image.decoded
        what = image.name, segment.memsz, segment.align
        if decoded.is_executable:
            return layout.allocate_first(*what, segment.vaddr)
        if decoded.flags & DynamicFlag.STATIC_TLS:
            try:
                return layout.allocate(*what, segment.vaddr)
            except TlsError:
                # the flag may concern the TLS of other images; otherwise a relocation reports the error and its
                # place
                pass
        elif not self.dynamic:
            return layout.allocate_spare(*what, segment.vaddr)
        return layout.allocate_dynamic(*what[:3])

    def make_static(self, image: Module) -> str | None:
        """Make an image's module static. Returns None, or why that is impossible."""
        segment, module = image.decoded.tls, image.tls
        assert segment is not None
        assert module is not None
        if module.static:
            self.rely_on(image)
            return None
        layout = self.layout
        if layout.blocks is not None and layout.blocks.in_use(module):
            return f"{_SPENT}: {image.short_name} is already in use as a dynamic module"
        self.undo.callback(self._restore, image, module)
        try:
            image.tls = layout.make_static(module, image.name, segment.align, segment.vaddr)
        except TlsError as error:
            return f"{error.problem}, for {image.short_name}"
        if image not in self._new:
            self.late.append(image)
        return None

    def rely_on(self, image: Module) -> None:
        """Record that this load has stored the offset of an image's static module."""
        if image.tls is not None and image not in self._new and image not in self.late:
            self.layout.rely_on(image.tls, self.undo)

    def _restore(self, image: Module, module: TlsModule) -> None:
        """Make a module dynamic again, unless a load made by a constructor of this one depends on its offset."""
        if image in self._new or not (image.closed or self.layout.relied_on[module.id] > 0):
            image.tls = self.layout.modules[module.id] = module

    def descriptor(self, image: Module) -> int | None:
        """The function of TLS descriptors for a dynamic module; None without a machine."""
        blocks = self.layout.blocks
        return None if blocks is None else blocks.descriptor(image, self.undo)

"""Thread-local storage: module ids, and each module's offset from the thread pointer.

A *static* module has its block at the same offset from every thread pointer. Offsets follow the ISA's variant
(Drepper, "ELF Handling For Thread-Local Storage", section 3.4): I above the thread pointer, II below it. A
*dynamic* one has an id only: each thread gets its block, wherever there is memory, when it first asks for it.

Modules are static while there is room, whenever they are loaded, since that is quicker; what is kept back of
the area is for those that must be: code of the initial- or local-exec model has the offset written into it. A
dynamic module that such a relocation names becomes static, unless a thread has a block of it already (glibc,
elf/dl-reloc.c, _dl_try_allocate_static_tls).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from relink.arch import Architecture, TlsVariant
from relink.elf.constants import DynamicFlag
from relink.errors import TlsError
from relink.module import Module, TlsModule
from relink.records import dataclass, field

if TYPE_CHECKING:
    from relink.elf import Decoded, ProgramHeader

#: Bytes of static TLS, surplus included. glibc's default surplus is 1664 bytes; nothing here needs thrift.
DEFAULT_STATIC_SIZE = 0x10000
#: What part of the area modules that need no place in it leave to those that do.
_SURPLUS = 4
#: The thread pointer's own alignment, and so the greatest p_align of a static module.
MAX_ALIGN = 4096
#: The greatest block of a dynamic module, and its greatest alignment, in bytes.
MAX_DYNAMIC_SIZE = 1 << 28
MAX_DYNAMIC_ALIGN = 1 << 24
_SPENT = "cannot allocate memory in static TLS block"  #: as glibc words it
_HOST_ID = 0x4000_0000


def static_size_for(decoded: Decoded) -> int:
    """Bytes of static TLS for a machine to run a program: as much as usual, and room for the program's own,
    however big it is, as ld.so makes at start-up."""
    segment = decoded.tls
    return DEFAULT_STATIC_SIZE + (0 if segment is None else segment.memsz + segment.align)


class Blocks(Protocol):
    """Allocates the blocks of dynamic modules, one for each thread: a machine."""

    def descriptor(self, image: Module, undo: ExitStack) -> int:
        """Guest address of the function for TLS descriptors whose argument is an offset in the image's block."""

    def in_use(self, module: TlsModule) -> bool:
        """Whether a thread has a block of this dynamic module."""

    def forget(self, module: TlsModule) -> None:
        """Free the blocks of a module that is being unloaded; its id may be used again."""


class TlsLayout:
    """Hands out module ids and places in the static area. `static_size` in bytes."""

    def __init__(self, arch: Architecture, static_size: int = DEFAULT_STATIC_SIZE) -> None:
        self.variant = arch.tls.variant
        self.tcb_size = arch.tls.tcb_size
        self.static_size = static_size
        self.modules: dict[int, TlsModule] = {}
        #: By module id: how many loads have written the offset of a static module of an earlier one somewhere.
        self.relied_on: Counter[int] = Counter()
        self.blocks: Blocks | None = None

    def allocate(self, image: str, size: int, align: int, vaddr: int) -> TlsModule:
        """A static block of `size` bytes whose address is congruent to `vaddr` modulo `align`.

        Raises TlsError naming `image` if the alignment cannot be met or the static area is spent.
        """
        return self._add(self._offset(image, size, align, vaddr), size)

    def allocate_spare(self, image: str, size: int, align: int, vaddr: int) -> TlsModule:
        """The same, but only in the part of the area that is not kept back; a dynamic module where that is spent.

        Raises TlsError naming `image` for a block that is too big, or aligned more, than can be.
        """
        spare = self.static_size - self.static_size // _SURPLUS
        offset = self._place(size, align, vaddr, spare) if align <= MAX_ALIGN else None
        return self.allocate_dynamic(image, size, align) if offset is None else self._add(offset, size)

    def allocate_dynamic(self, image: str, size: int, align: int) -> TlsModule:
        """An id alone. Raises TlsError naming `image` for a block too big, or aligned more, than can be."""
        if size > MAX_DYNAMIC_SIZE or align > MAX_DYNAMIC_ALIGN:
            raise TlsError(
                image,
                f"a TLS segment of {size} bytes aligned to {align:#x}; at most {MAX_DYNAMIC_SIZE} bytes and "
                f"{MAX_DYNAMIC_ALIGN:#x} can be met outside the static area (tls_size, --tls-size)",
            )
        return self._add(None, size)

    def make_static(self, module: TlsModule, image: str, align: int, vaddr: int) -> TlsModule:
        """A dynamic module's successor of the same id with a static place. Raises TlsError as `allocate`."""
        offset = self._offset(image, module.size, align, vaddr)
        self.modules[module.id] = TlsModule(module.id, offset, module.size)
        return self.modules[module.id]

    def is_first(self, module: TlsModule, align: int, vaddr: int) -> bool:
        """Whether a static module lies where static linkers put an executable's: nearest to the thread pointer."""
        return module.offset == self._fit([], module.size, max(align, 1), vaddr)

    def _add(self, offset: int | None, size: int) -> TlsModule:
        number = next(n for n in range(1, len(self.modules) + 2) if n not in self.modules)
        module = TlsModule(number, offset or 0, size, offset is not None)
        self.modules[number] = module
        return module

    def _offset(self, image: str, size: int, align: int, vaddr: int) -> int:
        if align > MAX_ALIGN:
            raise TlsError(
                image, f"{_SPENT}: a TLS segment aligned to {align:#x} bytes; at most {MAX_ALIGN:#x} can be met"
            )
        offset = self._place(size, align, vaddr, self.static_size)
        if offset is None:
            used = sum(module.size for module in self.modules.values() if module.static)
            enough = (used + size + 2 * align + self.tcb_size + MAX_ALIGN) & -MAX_ALIGN
            raise TlsError(
                image,
                f"{_SPENT}: needs {size} bytes; {used} of {self.static_size} are in use already "
                f"(tls_size, --tls-size: {enough} would do)",
            )
        return offset

    def allocate_far(self, size: int, align: int) -> TlsModule:
        """The host's own block, at the far end of the static area and under an id no image gets.

        Local-exec code expects an executable's block, the first one, nearest to the thread pointer.
        """
        offset = (self.static_size - size) & -align if self.variant is TlsVariant.I else -self.static_size & -align
        module = self.modules[_HOST_ID] = TlsModule(_HOST_ID, offset, size)
        return module

    def release(self, module: TlsModule) -> None:
        """Give a block and its module id back; both may be used again."""
        if self.blocks is not None:
            self.blocks.forget(module)
        del self.modules[module.id], self.relied_on[module.id]

    def rely_on(self, module: TlsModule, undo: ExitStack) -> None:
        """Note that a load, unless it is undone, needs a static module to stay where it is."""
        self.relied_on[module.id] += 1
        undo.callback(self.relied_on.subtract, (module.id,))

    def _place(self, size: int, align: int, vaddr: int, limit: int) -> int | None:
        """The free offset nearest to the thread pointer within `limit` bytes of it, or None."""
        taken = sorted((m.offset, m.offset + m.size) for m in self.modules.values() if m.static)
        offset = self._fit(taken, size, max(align, 1), vaddr)
        reach = offset + size if self.variant is TlsVariant.I else -offset
        return offset if reach <= limit else None

    def _fit(self, taken: Sequence[tuple[int, int]], size: int, align: int, vaddr: int) -> int:
        """The offset nearest to the thread pointer that meets none of the ranges `taken` (sorted)."""
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
    undo: ExitStack
    dynamic: bool = False  #: whether only what must be static is
    #: Images of earlier loads whose modules became static: every thread's block is to be initialised.
    late: list[Module] = field(default_factory=list)
    _new: set[Module] = field(default_factory=set)

    def assign(self, images: Sequence[Module]) -> None:
        """A module for each new image that has thread-local storage, executables first. Raises TlsError."""
        self._new.update(images)
        users = [image for image in images if image.decoded.tls is not None]
        for image in sorted(users, key=lambda image: not image.decoded.is_executable):
            assert image.decoded.tls is not None
            image.tls = self._module(image, image.decoded.tls)
            self.undo.callback(self.layout.release, image.tls)

    def _module(self, image: Module, segment: ProgramHeader) -> TlsModule:
        layout, decoded = self.layout, image.decoded
        what = image.name, segment.memsz, segment.align
        if decoded.is_executable:
            module = layout.allocate(*what, segment.vaddr)
            if not layout.is_first(module, segment.align, segment.vaddr):
                layout.release(module)
                problem = "an executable's block must be the first: load the executable before all others"
                raise TlsError(image.name, f"{_SPENT}: {problem}")
            return module
        if decoded.flags & DynamicFlag.STATIC_TLS:
            try:
                return layout.allocate(*what, segment.vaddr)
            except TlsError:
                pass  # it may mean the TLS of others; a relocation against its own says what is wrong, and where
        elif not self.dynamic:
            return layout.allocate_spare(*what, segment.vaddr)
        return layout.allocate_dynamic(*what[:3])

    def make_static(self, image: Module) -> str | None:
        """Make an image's module static. None, or why it cannot be."""
        segment, module = image.decoded.tls, image.tls
        assert segment is not None
        assert module is not None
        if module.static:
            self.rely_on(image)
            return None
        layout = self.layout
        if layout.blocks is not None and layout.blocks.in_use(module):
            return f"{_SPENT}: {image.short_name} has been used as a dynamic module already"
        try:
            image.tls = layout.make_static(module, image.name, segment.align, segment.vaddr)
        except TlsError as error:
            return f"{error.problem}, for {image.short_name}"
        if image not in self._new:
            self.late.append(image)
        self.undo.callback(self._restore, image, module)
        return None

    def rely_on(self, image: Module) -> None:
        """Note that this load has written the offset of an image's static module somewhere."""
        if image.tls is not None and image not in self._new and image not in self.late:
            self.layout.rely_on(image.tls, self.undo)

    def _restore(self, image: Module, module: TlsModule) -> None:
        """Make a module dynamic again, unless a load made by a constructor of this one holds its offset."""
        if image in self._new or not (image.closed or self.layout.relied_on[module.id] > 0):
            image.tls = self.layout.modules[module.id] = module

    def descriptor(self, image: Module) -> int | None:
        """The function of descriptors for a dynamic module's variables; None where no machine runs any."""
        blocks = self.layout.blocks
        return None if blocks is None else blocks.descriptor(image, self.undo)

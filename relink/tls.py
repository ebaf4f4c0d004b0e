"""Static thread-local storage: module ids, and each module's offset from the thread pointer.

Every module, whenever it is loaded, gets its block in the static area, as ld.so does for the modules present
at start-up and, from its surplus, for late ones that ask for it. Offsets follow the ISA's variant (Drepper,
"ELF Handling For Thread-Local Storage", section 3.4): I above the thread pointer, II below it.
"""

from __future__ import annotations

from dataclasses import dataclass

from relink.arch import Architecture, TlsVariant
from relink.errors import TlsError

#: Bytes of static TLS, surplus included. glibc's default surplus is 1664 bytes; nothing here needs thrift.
DEFAULT_STATIC_SIZE = 0x10000
#: The thread pointer's own alignment, and so the greatest p_align a TLS segment may have.
MAX_ALIGN = 4096
_HOST_ID = 0x4000_0000


@dataclass(frozen=True, slots=True)
class TlsModule:
    """One image's TLS block."""

    id: int  #: what DTPMOD stores; 1 is the first
    offset: int  #: of the block from the thread pointer (T): negative in variant II
    size: int  #: bytes, p_memsz


class TlsLayout:
    """Hands out module ids and places in the static area. `static_size` in bytes."""

    def __init__(self, arch: Architecture, static_size: int = DEFAULT_STATIC_SIZE) -> None:
        self.variant = arch.tls.variant
        self.tcb_size = arch.tls.tcb_size
        self.static_size = static_size
        self.modules: dict[int, TlsModule] = {}

    def allocate(self, image: str, size: int, align: int, vaddr: int) -> TlsModule:
        """A block of `size` bytes whose address is congruent to `vaddr` modulo `align`.

        Raises TlsError naming `image` if the alignment cannot be met or the static area is spent.
        """
        align = max(align, 1)
        if align > MAX_ALIGN:
            raise TlsError(image, f"a TLS segment aligned to {align:#x} bytes; at most {MAX_ALIGN:#x} can be met")
        offset = self._place(size, align, vaddr % align)
        if offset is None:
            used = sum(module.size for module in self.modules.values())
            raise TlsError(
                image, f"needs {size} bytes of static TLS; {used} of {self.static_size} are in use already"
            )
        number = next(n for n in range(1, len(self.modules) + 2) if n not in self.modules)
        module = self.modules[number] = TlsModule(number, offset, size)
        return module

    def allocate_far(self, size: int, align: int) -> TlsModule:
        """The host's own block, at the far end of the static area and under an id no image gets.

        Local-exec code expects an executable's block, the first one, nearest to the thread pointer.
        """
        offset = (self.static_size - size) & -align if self.variant is TlsVariant.I else -self.static_size & -align
        module = self.modules[_HOST_ID] = TlsModule(_HOST_ID, offset, size)
        return module

    def release(self, module: TlsModule) -> None:
        """Give a block and its module id back; both may be used again."""
        del self.modules[module.id]

    def _place(self, size: int, align: int, residue: int) -> int | None:
        """The free offset nearest to the thread pointer, or None."""
        taken = sorted((m.offset, m.offset + m.size) for m in self.modules.values())
        if self.variant is TlsVariant.I:
            offset = self.tcb_size + (residue - self.tcb_size) % align
            for low, high in taken:
                if offset + size <= low:
                    break
                if high > offset:
                    offset = high + (residue - high) % align
            return offset if offset + size <= self.static_size else None
        offset = -size - (-size - residue) % align
        for low, high in reversed(taken):
            if offset >= high:
                break
            if low < offset + size:
                offset = low - size - (low - size - residue) % align
        return offset if -offset <= self.static_size else None

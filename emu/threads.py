"""The guest thread's block: thread pointer, TCB, and the static TLS area around it.

Drepper, "ELF Handling For Thread-Local Storage", section 3: in variant II the blocks lie below the thread
pointer and the TCB above it; in variant I the blocks lie above, and the C library's own part of the TCB
below.
"""

from __future__ import annotations

from emu.space import GuestMemory
from relink.arch import TlsVariant
from relink.image import Image
from relink.memory import PAGE, page_ceil

#: Offsets from the thread pointer of what compilers read there by itself: (self pointers, stack guard).
#: x86-64 and i386: the head of glibc's tcbhead_t (sysdeps/*/nptl/tls.h), an ABI of -fstack-protector.
_TCB_SELF = {"x86_64": (0x0, 0x10), "i386": (0x0, 0x8)}
_TCB_GUARD = {"x86_64": 0x28, "i386": 0x14}
STACK_GUARD = 0x5BD1_E995_A3C6_4F00  #: its low byte is 0, as glibc's is, to stop string overflows


class ThreadBlock:
    """One guest thread's TLS. `static_size` bytes are set aside for modules' blocks."""

    def __init__(self, memory: GuestMemory, static_size: int) -> None:
        arch = memory.architecture
        self._memory = memory
        area = page_ceil(static_size)
        start = memory.map_anonymous(area + PAGE, name="[tls]")
        self.thread_pointer = start + (area if arch.tls.variant is TlsVariant.II else PAGE)
        for offset in _TCB_SELF.get(arch.name, ()):
            memory.write_uint(self.thread_pointer + offset, arch.word_size, self.thread_pointer)
        if (guard := _TCB_GUARD.get(arch.name)) is not None:
            memory.write_uint(self.thread_pointer + guard, arch.word_size, STACK_GUARD)

    def block(self, image: Image) -> int:
        """Guest address of an image's TLS block. The image must have one."""
        assert image.tls is not None
        return self.thread_pointer + image.tls.offset

    def initialise(self, image: Image) -> None:
        """Copy an image's (relocated) initialisation image into its block and zero the rest."""
        segment = image.decoded.tls
        if segment is None or image.tls is None:
            return
        content = self._memory.read(image.address_of(segment.vaddr), segment.filesz) if segment.filesz else b""
        self._memory.write(self.block(image), content + bytes(segment.memsz - segment.filesz))

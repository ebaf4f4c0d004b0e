"""mmap and related operations on pages, for the hosted C library and system calls.

Source: mmap(2), mprotect(2), munmap(2), mremap(2), madvise(2) of the Linux man-pages.
"""

from __future__ import annotations

from typing import Protocol

from emu.cpu.protocol import Protection
from emu.libc.errno import Errno, FileError
from emu.ports import PageMemory
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, page_ceil
from relink.records import dataclass

__all__ = ["Shared", "advise", "map_memory", "protect", "remap", "unmap", "write_back"]

_MAP_SHARED, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x01, 0x10, 0x20, 0x10_0000
_PROT_WRITE = 2
_MREMAP_MAYMOVE = 1
_MADV_DONTNEED = 4
#: Limit for the size of a mapping in bytes: engines need time for every page, and one of them has a limited
#: address space.
LARGEST = 1 << 32
_NAME = "[mmap]"


class OpenFile(Protocol):
    """The file of a descriptor; `data` is None when it cannot be mapped."""

    @property
    def data(self) -> bytearray | bytes | None: ...
    @property
    def readable(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    def read(self, count: int, at: int | None = None) -> bytes: ...
    def write(self, data: bytes, at: int | None = None) -> int: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """A writable shared mapping of a file: [start, end) of memory, and where `start` is in the file."""

    start: int
    end: int
    file: OpenFile
    offset: int


class OpenFiles(Protocol):
    """The table of descriptors."""

    shared: list[Shared]  #: mappings whose contents are to be written back

    def get(self, number: int) -> OpenFile: ...


def protection_of(bits: int) -> Protection:
    """Convert PROT_* bits, whose order is the reverse of ELF's; write permission implies read permission."""
    found = Protection.NONE
    for bit, meant in ((1, Protection.R), (2, Protection.W), (4, Protection.X)):
        if bits & bit:
            found |= meant
    return found | Protection.R if found & Protection.W else found


def map_memory(
    memory: PageMemory, files: OpenFiles, hint: int, size: int, bits: int, flags: int, number: int, offset: int
) -> int:
    """Map zeroed memory, or a private copy of a file's bytes, and return the address. Raises FileError.

    Shared mappings are not written back to files, so a writable shared mapping of a file fails with ENODEV.
    """
    if not size or offset % PAGE or (hint % PAGE and flags & (_MAP_FIXED | _MAP_FIXED_NOREPLACE)):
        raise FileError(Errno.EINVAL)
    if size > LARGEST:
        raise FileError(Errno.ENOMEM)
    content, shared = b"", False
    if not flags & _MAP_ANONYMOUS:
        descriptor = files.get(number)
        writes = bool(flags & _MAP_SHARED and bits & _PROT_WRITE)
        shared = writes and isinstance(descriptor.data, bytes | bytearray)
        if not descriptor.readable or (shared and not descriptor.writable):
            raise FileError(Errno.EACCES)
        content = descriptor.read(size, offset) if isinstance(descriptor.data, bytes | bytearray) else b""
    address = _place(memory, hint, page_ceil(size), flags, protection_of(bits))
    if content:
        memory.write(address, content)
    if shared:
        files.shared.append(Shared(address, address + page_ceil(size), descriptor, offset))
    return address


def write_back(memory: PageMemory, files: OpenFiles, start: int = 0, end: int = 1 << 64) -> None:
    """Write to their files what shared mappings have changed in a range. Raises FileError."""
    for mapped in files.shared:
        low, high = max(start, mapped.start), min(end, mapped.end)
        at = mapped.offset + low - mapped.start
        size = min(high - low, len(mapped.file.data or b"") - at)
        if size > 0 and memory.is_mapped(low, page_ceil(size)):
            content = memory.read(low, size)
            if content != bytes((mapped.file.data or b"")[at : at + size]):
                mapped.file.write(content, at)


def _forget(files: OpenFiles, start: int, end: int) -> None:
    """The range is no longer mapped."""
    kept: list[Shared] = []
    for mapped in files.shared:
        if mapped.start < start:
            kept.append(Shared(mapped.start, min(mapped.end, start), mapped.file, mapped.offset))
        if mapped.end > end:
            after = max(mapped.start, end)
            kept.append(Shared(after, mapped.end, mapped.file, mapped.offset + after - mapped.start))
    files.shared[:] = kept


def _place(memory: PageMemory, hint: int, size: int, flags: int, protection: Protection) -> int:
    try:
        if flags & _MAP_FIXED_NOREPLACE:
            if not memory.is_free(hint, size):
                raise FileError(Errno.EEXIST)
            return memory.map_anonymous(size, protection, name=_NAME, at=hint)
        if flags & _MAP_FIXED:
            memory.map_over(hint, size, protection, name=_NAME)
            return hint
        return memory.map_anonymous(size, protection, name=_NAME)
    except AddressSpaceError:
        raise FileError(Errno.ENOMEM) from None


def unmap(memory: PageMemory, files: OpenFiles, address: int, size: int) -> None:
    """Unmap all pages of a range, mapped or not. Raises FileError."""
    if address % PAGE or not size:
        raise FileError(Errno.EINVAL)
    end = address + page_ceil(size)
    write_back(memory, files, address, end)
    _forget(files, address, end)
    memory.unmap_pages(address, page_ceil(size))


def protect(memory: PageMemory, address: int, size: int, bits: int) -> None:
    """Change the protection of whole pages. Raises FileError."""
    if address % PAGE:
        raise FileError(Errno.EINVAL)
    if not size:
        return
    try:
        memory.protect_pages(address, page_ceil(size), protection_of(bits))
    except AddressSpaceError:
        raise FileError(Errno.ENOMEM) from None


def remap(memory: PageMemory, old: int, old_size: int, size: int, flags: int) -> int:
    """Resize a mapping; growing moves it, which requires MREMAP_MAYMOVE. Raises FileError."""
    old_size, size = page_ceil(old_size), page_ceil(size)
    if old % PAGE or not size or flags & ~_MREMAP_MAYMOVE:
        raise FileError(Errno.EINVAL)
    if max(size, old_size) > LARGEST:
        raise FileError(Errno.ENOMEM)
    if size <= old_size:
        if size < old_size:
            memory.unmap_pages(old + size, old_size - size)
        return old
    protection = memory.protection(old)
    if protection is None:
        raise FileError(Errno.EFAULT)
    if not flags & _MREMAP_MAYMOVE:
        raise FileError(Errno.ENOMEM)
    content = memory.read(old, old_size)
    try:
        address = memory.map_anonymous(size, protection, name=_NAME)
    except AddressSpaceError:
        raise FileError(Errno.ENOMEM) from None
    memory.write(address, content)
    memory.unmap_pages(old, old_size)
    return address


def advise(memory: PageMemory, address: int, size: int, advice: int) -> None:
    """MADV_DONTNEED zeroes the pages; other advice is accepted without effect. Raises FileError."""
    if address % PAGE:
        raise FileError(Errno.EINVAL)
    if advice == _MADV_DONTNEED and size:
        if not memory.is_mapped(address, page_ceil(size)):
            raise FileError(Errno.ENOMEM)
        memory.zero(address, page_ceil(size))

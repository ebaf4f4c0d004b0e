"""mmap and related operations on pages, for the hosted C library and system calls.

Source: mmap(2), mprotect(2), munmap(2), mremap(2), madvise(2) of the Linux man-pages.
"""

from __future__ import annotations

from typing import Protocol

from emu.cpu.protocol import Protection
from emu.libc.errno import Errno, FileError
from emu.libc.shared import MappedFile, Shared, forget, make_writable, refuse_conflicts
from emu.ports import PageMemory
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, page_ceil

__all__ = ["advise", "map_memory", "protect", "remap", "unmap", "write_back"]

_MAP_SHARED, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x01, 0x10, 0x20, 0x10_0000
_PROT_WRITE = 2
_MREMAP_MAYMOVE = 1
_MADV_DONTNEED = 4
#: Limit for the size of a mapping in bytes: engines need time for every page, and one of them has a limited
#: address space.
LARGEST = 1 << 32
_NAME = "[mmap]"


class OpenFile(MappedFile, Protocol):
    """The file of a descriptor."""

    def read(self, count: int, at: int | None = None) -> bytes: ...


class OpenFiles(Protocol):
    """The table of descriptors."""

    shared: list[Shared]

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
    """Map zeroed memory, or a copy of a file's bytes, and return the address. Raises FileError, and GuestAbort for
    what `emu.libc.shared` refuses.
    """
    if not size or offset % PAGE or (hint % PAGE and flags & (_MAP_FIXED | _MAP_FIXED_NOREPLACE)):
        raise FileError(Errno.EINVAL)
    if size > LARGEST:
        raise FileError(Errno.ENOMEM)
    content, shared, writes = b"", False, bool(bits & _PROT_WRITE)
    if not flags & _MAP_ANONYMOUS:
        descriptor = files.get(number)
        is_file = isinstance(descriptor.data, bytes | bytearray)
        shared = bool(flags & _MAP_SHARED) and is_file
        if not descriptor.readable or (shared and writes and not descriptor.writable):
            raise FileError(Errno.EACCES)
        content = descriptor.read(size, offset) if is_file else b""
    if flags & _MAP_FIXED:
        forget(files.shared, hint, hint + page_ceil(size))
    address = _place(memory, hint, page_ceil(size), flags, protection_of(bits))
    if content:
        memory.write(address, content)
    if shared:
        row = Shared(address, address + page_ceil(size), descriptor, offset, memory, content, writes)
        refuse_conflicts(files.shared, row)
        files.shared.append(row)
    return address


def write_back(files: OpenFiles, start: int = 0, end: int = 1 << 64) -> None:
    """Write to their files what shared mappings have changed in a range."""
    for row in files.shared:
        if row.start < end and start < row.end:
            base = row.offset - row.start
            row.synchronize(base + max(start, row.start), base + min(end, row.end))


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
    forget(files.shared, address, address + page_ceil(size))
    memory.unmap_pages(address, page_ceil(size))


def protect(memory: PageMemory, files: OpenFiles, address: int, size: int, bits: int) -> None:
    """Change the protection of whole pages. Raises FileError."""
    if address % PAGE:
        raise FileError(Errno.EINVAL)
    if not size:
        return
    if bits & _PROT_WRITE and files.shared and not make_writable(files.shared, address, address + size):
        raise FileError(Errno.EACCES)
    try:
        memory.protect_pages(address, page_ceil(size), protection_of(bits))
    except AddressSpaceError:
        raise FileError(Errno.ENOMEM) from None


def remap(memory: PageMemory, files: OpenFiles, old: int, old_size: int, size: int, flags: int) -> int:
    """Resize a mapping; growing moves it, which requires MREMAP_MAYMOVE. Raises FileError, also for an old size of
    zero, which asks for a second mapping of the same memory.
    """
    old_size, size = page_ceil(old_size), page_ceil(size)
    if old % PAGE or not size or not old_size or flags & ~_MREMAP_MAYMOVE:
        raise FileError(Errno.EINVAL)
    if max(size, old_size) > LARGEST:
        raise FileError(Errno.ENOMEM)
    if size <= old_size:
        if size < old_size:
            unmap(memory, files, old + size, old_size - size)
        return old
    protection = memory.protection(old)
    if protection is None:
        raise FileError(Errno.EFAULT)
    if not flags & _MREMAP_MAYMOVE:
        raise FileError(Errno.ENOMEM)
    moved = [row for row in files.shared if row.start < old + old_size and old < row.end]
    forget(files.shared, old, old + old_size)
    content = memory.read(old, old_size)
    try:
        address = memory.map_anonymous(size, protection, name=_NAME)
    except AddressSpaceError:
        raise FileError(Errno.ENOMEM) from None
    memory.write(address, content)
    memory.unmap_pages(old, old_size)
    for row in moved:
        part = row.part(max(row.start, old), min(row.end, old + old_size))
        part.start, part.end = (
            address + part.start - old,
            address + (size if part.end == old + old_size else part.end - old),
        )
        files.shared.append(part)
        part.synchronize()
    return address


def advise(memory: PageMemory, address: int, size: int, advice: int) -> None:
    """MADV_DONTNEED zeroes the pages; other advice is accepted without effect. Raises FileError."""
    if address % PAGE:
        raise FileError(Errno.EINVAL)
    if advice == _MADV_DONTNEED and size:
        if not memory.is_mapped(address, page_ceil(size)):
            raise FileError(Errno.ENOMEM)
        memory.zero(address, page_ceil(size))

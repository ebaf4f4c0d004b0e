"""System calls about memory: the program break and mappings, page by page as the kernel keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.filesystem import file_system
from emu.linux.syscalls.kernel import call
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, Protection, page_ceil

if TYPE_CHECKING:
    from emu.linux.syscalls.kernel import SystemCalls

_MAP_FIXED, _MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x10, 0x20, 0x10_0000
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_MADV_DONTNEED = 4
#: Bytes of the greatest mapping and heap: engines take time for every page, and one of them has no room for more.
_LARGEST = 1 << 32
_MAP_UNIT = 4096  #: bytes in which mmap2 counts offsets
#: Room kept free for the break above a program that can lie anywhere.
_BREAK_ROOM = 64 << 20


def _protection(bits: int) -> Protection:
    """PROT_READ, PROT_WRITE and PROT_EXEC are ELF's bits the other way round."""
    found = Protection.NONE
    for bit, meant in ((1, Protection.R), (2, Protection.W), (4, Protection.X)):
        if bits & bit:
            found |= meant
    return found | Protection.R if found & Protection.W else found


@call("brk")
def brk(kernel: SystemCalls, wanted: int) -> int:
    """The new break, or the old one where memory cannot be had; it never shrinks below its start."""
    if not kernel.break_start:
        kernel.break_start = kernel.break_end = _first_break(kernel)
    mapped, needed = page_ceil(kernel.break_end), page_ceil(wanted)
    if not 0 <= wanted - kernel.break_start <= _LARGEST:
        return kernel.break_end
    try:
        if needed > mapped:
            if not kernel.mappings.is_free(mapped, needed - mapped):
                return kernel.break_end
            kernel.mappings.map_over(mapped, needed - mapped, Protection.R | Protection.W, name="[heap]")
        elif needed < mapped:
            kernel.mappings.unmap_pages(needed, mapped - needed)
    except AddressSpaceError:
        return kernel.break_end
    kernel.break_end = wanted
    return wanted


def _first_break(kernel: SystemCalls) -> int:
    """Behind a program at a fixed address, as in Linux; else where there is room."""
    image = kernel.image
    if image is not None and not image.closed and image.bias == 0:
        return image.region.end
    region = kernel.mappings.reserve(_BREAK_ROOM)
    kernel.mappings.release(region)
    return region.address


@call("mmap")
def mmap(kernel: SystemCalls, hint: int, size: int, bits: int, flags: int, number: int, offset: int) -> int:
    """Zeroed memory, or a private copy of a file's bytes."""
    if not size or (hint % PAGE and flags & _MAP_FIXED):
        return -Errno.EINVAL
    if size > _LARGEST:
        return -Errno.ENOMEM
    content = b""
    if not flags & _MAP_ANONYMOUS:
        content = file_system(kernel.libc).get(kernel.signed(number, 4)).read(size, offset)
    try:
        address = _mapped(kernel, hint, page_ceil(size), flags, _protection(bits))
    except AddressSpaceError:
        return -(Errno.EEXIST if flags & _MAP_FIXED_NOREPLACE else Errno.ENOMEM)
    if content:
        kernel.mappings.write(address, content)
    return address


def _mapped(kernel: SystemCalls, hint: int, size: int, flags: int, protection: Protection) -> int:
    memory = kernel.mappings
    if flags & _MAP_FIXED_NOREPLACE:
        return memory.map_anonymous(size, protection, name="[mmap]", at=hint)
    if flags & _MAP_FIXED:
        memory.map_over(hint, size, protection, name="[mmap]")
        return hint
    return memory.map_anonymous(size, protection, name="[mmap]")


@call("mmap2")
def mmap2(kernel: SystemCalls, hint: int, size: int, bits: int, flags: int, number: int, offset: int) -> int:
    return mmap(kernel, hint, size, bits, flags, number, offset * _MAP_UNIT)


@call("munmap")
def munmap(kernel: SystemCalls, address: int, size: int) -> int:
    if address % PAGE or not size:
        return -Errno.EINVAL
    kernel.mappings.unmap_pages(address, page_ceil(size))
    return 0


@call("mprotect")
def mprotect(kernel: SystemCalls, address: int, size: int, bits: int) -> int:
    if address % PAGE:
        return -Errno.EINVAL
    try:
        kernel.mappings.protect_pages(address, page_ceil(size), _protection(bits))
    except AddressSpaceError:
        return -Errno.ENOMEM
    return 0


@call("mremap")
def mremap(kernel: SystemCalls, old: int, old_size: int, size: int, flags: int) -> int:
    """Grown mappings move, which MREMAP_MAYMOVE must allow."""
    old_size, size = page_ceil(old_size), page_ceil(size)
    if old % PAGE or not size or flags & ~_MREMAP_MAYMOVE:
        return -Errno.EINVAL
    if max(size, old_size) > _LARGEST:
        return -Errno.ENOMEM
    if size <= old_size:
        if size < old_size:
            kernel.mappings.unmap_pages(old + size, old_size - size)
        return old
    protection = kernel.mappings.protection(old)
    if protection is None:
        return -Errno.EFAULT
    if not flags & _MREMAP_MAYMOVE:
        return -Errno.ENOMEM
    content = kernel.mappings.read(old, old_size)
    try:
        address = kernel.mappings.map_anonymous(size, protection, name="[mmap]")
    except AddressSpaceError:
        return -Errno.ENOMEM
    kernel.mappings.write(address, content)
    kernel.mappings.unmap_pages(old, old_size)
    return address


@call("madvise")
def madvise(kernel: SystemCalls, address: int, size: int, advice: int) -> int:
    """MADV_DONTNEED gives zeros afterwards; other advice is taken with thanks."""
    if address % PAGE:
        return -Errno.EINVAL
    if advice == _MADV_DONTNEED and size:
        if not kernel.mappings.is_mapped(address, page_ceil(size)):
            return -Errno.ENOMEM
        kernel.mappings.zero(address, page_ceil(size))
    return 0

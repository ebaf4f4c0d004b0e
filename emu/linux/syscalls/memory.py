"""System calls for memory: the program break and mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import mapping
from emu.libc.errno import Errno
from emu.libc.filesystem import file_system
from emu.linux.syscalls.kernel import call
from relink.errors import AddressSpaceError
from relink.memory.address_space import Protection, page_ceil

if TYPE_CHECKING:
    from emu.linux.syscalls.kernel import SystemCalls

_MAP_UNIT = 4096  #: unit of mmap2's offset in bytes
#: Address space kept free for the break above a position-independent program.
_BREAK_ROOM = 64 << 20


@call("brk")
def brk(kernel: SystemCalls, wanted: int) -> int:
    """The new break, or the old one when no memory is available; it never goes below its start."""
    if not kernel.break_start:
        kernel.break_start = kernel.break_end = _first_break(kernel)
    mapped, needed = page_ceil(kernel.break_end), page_ceil(wanted)
    if not 0 <= wanted - kernel.break_start <= mapping.LARGEST:
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
    """The initial break: after a program at a fixed address, as in Linux; else at a free address."""
    image = kernel.image
    if image is not None and not image.closed and image.bias == 0:
        return image.region.end
    region = kernel.mappings.reserve(_BREAK_ROOM)
    kernel.mappings.release(region)
    return region.address


@call("mmap")
def mmap(kernel: SystemCalls, hint: int, size: int, bits: int, flags: int, number: int, offset: int) -> int:
    files = file_system(kernel.libc)
    return mapping.map_memory(kernel.mappings, files, hint, size, bits, flags, kernel.signed(number, 4), offset)


@call("mmap2")
def mmap2(kernel: SystemCalls, hint: int, size: int, bits: int, flags: int, number: int, offset: int) -> int:
    return mmap(kernel, hint, size, bits, flags, number, offset * _MAP_UNIT)


@call("munmap")
def munmap(kernel: SystemCalls, address: int, size: int) -> int:
    mapping.unmap(kernel.mappings, file_system(kernel.libc), address, size)
    return 0


@call("msync")
def msync(kernel: SystemCalls, address: int, size: int, flags: int) -> int:
    if address % _MAP_UNIT:
        return -Errno.EINVAL
    mapping.write_back(file_system(kernel.libc), address, address + page_ceil(size))
    return 0


@call("mprotect")
def mprotect(kernel: SystemCalls, address: int, size: int, bits: int) -> int:
    mapping.protect(kernel.mappings, file_system(kernel.libc), address, size, bits)
    return 0


@call("mremap")
def mremap(kernel: SystemCalls, old: int, old_size: int, size: int, flags: int) -> int:
    return mapping.remap(kernel.mappings, file_system(kernel.libc), old, old_size, size, flags)


@call("madvise")
def madvise(kernel: SystemCalls, address: int, size: int, advice: int) -> int:
    mapping.advise(kernel.mappings, address, size, advice)
    return 0

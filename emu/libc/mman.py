"""mmap and related functions (see `emu.libc.mapping`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import mapping
from emu.libc.errno import Errno
from emu.libc.files import attempt
from emu.libc.filesystem import FileError, file_system
from emu.libc.table import export
from relink.memory.address_space import PAGE, page_ceil

if TYPE_CHECKING:
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc


def _map(libc: Libc, hint: int, size: int, bits: int, flags: int, number: int, offset: int) -> int:
    memory, files = libc.mappings, file_system(libc)
    try:
        return mapping.map_memory(memory, files, hint, size, bits, flags, number, offset)
    except FileError as error:
        return libc.fail(error.errno, libc.arch.address_mask)


@export("void *mmap(void *hint, size_t size, int protection, int flags, int number, off_t offset)")
def mmap(libc: Libc, hint: int, size: int, protection: int, flags: int, number: int, offset: int) -> int:
    return _map(libc, hint, size, protection, flags, number, offset)


@export("void *mmap64(void *hint, size_t size, int protection, int flags, int number, off64_t offset)")
def mmap64(libc: Libc, hint: int, size: int, protection: int, flags: int, number: int, offset: int) -> int:
    return _map(libc, hint, size, protection, flags, number, offset)


@export("void *mremap(void *old, size_t old_size, size_t size, int flags, ...)")
def mremap(libc: Libc, old: int, old_size: int, size: int, flags: int, arguments: Arguments | None = None) -> int:
    try:
        return mapping.remap(libc.mappings, file_system(libc), old, old_size, size, flags)
    except FileError as error:
        return libc.fail(error.errno, libc.arch.address_mask)


@export("int mprotect(void *address, size_t size, int protection)", alias=("__mprotect",))
def mprotect(libc: Libc, address: int, size: int, protection: int) -> int:
    return attempt(libc, lambda: mapping.protect(libc.mappings, file_system(libc), address, size, protection))


@export("int munmap(void *address, size_t size)", alias=("__munmap",))
def munmap(libc: Libc, address: int, size: int) -> int:
    return attempt(libc, lambda: mapping.unmap(libc.mappings, file_system(libc), address, size))


@export("int madvise(void *address, size_t size, int advice)", alias=("__madvise",))
def madvise(libc: Libc, address: int, size: int, advice: int) -> int:
    return attempt(libc, lambda: mapping.advise(libc.mappings, address, size, advice))


@export("int posix_madvise(void *address, size_t size, int advice)")
def posix_madvise(libc: Libc, address: int, size: int, advice: int) -> int:
    """POSIX's advice never drops contents."""
    return 0


@export("int msync(void *address, size_t size, int flags)")
def msync(libc: Libc, address: int, size: int, flags: int) -> int:
    if address % PAGE:
        return libc.fail(Errno.EINVAL)
    end = address + page_ceil(size)
    return attempt(libc, lambda: mapping.write_back(file_system(libc), address, end))


@export("int mlock(const void *address, size_t size)", alias=("munlock",))
def mlock(libc: Libc, address: int, size: int) -> int:
    return 0


@export("int mlockall(int flags)")
def mlockall(libc: Libc, flags: int) -> int:
    return 0


@export("int munlockall(void)")
def munlockall(libc: Libc) -> int:
    return 0


@export("int mincore(void *address, size_t size, unsigned char *result)")
def mincore(libc: Libc, address: int, size: int, result: int) -> int:
    """All mapped pages are resident; ENOMEM if one is not mapped."""
    if address % PAGE:
        return libc.fail(Errno.EINVAL)
    pages = page_ceil(size) // PAGE
    for page in range(address, address + pages * PAGE, PAGE):
        if libc.mappings.region_at(page) is None:
            return libc.fail(Errno.ENOMEM)
        libc.check_budget()
    libc.memory.fill(result, b"\1", pages)
    return 0


@export("int __riscv_flush_icache(void *begin, void *end, unsigned long flags)")
def riscv_flush_icache(libc: Libc, begin: int, end: int, flags: int) -> int:
    """The engines notice changed code without it."""
    return 0


@export("void __clear_cache(void *begin, void *end)")
def clear_cache(libc: Libc, begin: int, end: int) -> None:
    """`__clear_cache` of the compiler's helper library; see `__riscv_flush_icache`."""

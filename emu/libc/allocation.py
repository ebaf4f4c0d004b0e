"""malloc and related functions, on the machine's heap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


def _or_enomem(libc: Libc, address: int) -> int:
    return address or libc.fail(Errno.ENOMEM, 0)


@export("void *malloc(size_t size)", alias=("_Znwm", "_Znwj", "_Znam", "_Znaj"))
def malloc(libc: Libc, size: int) -> int:
    return libc.heap.malloc(size) or libc.fail(Errno.ENOMEM, 0)


@export("void *calloc(size_t count, size_t size)")
def calloc(libc: Libc, count: int, size: int) -> int:
    return _or_enomem(libc, libc.heap.calloc(count, size))


@export("void *realloc(void *old, size_t size)")
def realloc(libc: Libc, old: int, size: int) -> int:
    if old and not size:  # glibc frees and returns NULL
        libc.heap.free(old)
        return 0
    return _or_enomem(libc, libc.heap.realloc(old, size))


@export("void *reallocarray(void *old, size_t count, size_t size)")
def reallocarray(libc: Libc, old: int, count: int, size: int) -> int:
    if count * size > libc.arch.address_mask:
        return libc.fail(Errno.ENOMEM, 0)
    return realloc(libc, old, count * size)


@export("void free(void *block)", alias=("cfree", "_ZdlPv", "_ZdaPv"))
def free(libc: Libc, block: int) -> None:
    libc.heap.free(block)


@export("void free_aligned_sized(void *block, size_t alignment, size_t size)")
def free_aligned_sized(libc: Libc, block: int, alignment: int, size: int) -> None:
    libc.heap.free(block)


@export("void _ZdlPvm(void *block, size_t size)", alias=("_ZdlPvj", "_ZdaPvm", "_ZdaPvj", "free_sized"))
def sized_delete(libc: Libc, block: int, size: int) -> None:
    libc.heap.free(block)


@export("void *aligned_alloc(size_t alignment, size_t size)")
def aligned_alloc(libc: Libc, alignment: int, size: int) -> int:
    if alignment <= 0 or alignment & (alignment - 1):
        return libc.fail(Errno.EINVAL, 0)
    return _or_enomem(libc, libc.heap.aligned_alloc(alignment, size))


@export("void *memalign(size_t alignment, size_t size)")
def memalign(libc: Libc, alignment: int, size: int) -> int:
    """As in glibc, an alignment is rounded up to a power of two."""
    if alignment > 1 << libc.arch.bits - 1:
        return libc.fail(Errno.EINVAL, 0)
    return _or_enomem(libc, libc.heap.aligned_alloc(1 << max(alignment - 1, 0).bit_length(), size))


@export("void *valloc(size_t size)")
def valloc(libc: Libc, size: int) -> int:
    return aligned_alloc(libc, libc.arch.page_size, size)


@export("void *pvalloc(size_t size)")
def pvalloc(libc: Libc, size: int) -> int:
    """Whole pages."""
    page = libc.arch.page_size
    return aligned_alloc(libc, page, size + page - 1 & -page)


@export("int posix_memalign(void **result, size_t alignment, size_t size)")
def posix_memalign(libc: Libc, result: int, alignment: int, size: int) -> int:
    if alignment < libc.word or alignment & (alignment - 1):
        return Errno.EINVAL
    address = libc.heap.posix_memalign(alignment, size)
    if not address:
        return Errno.ENOMEM
    libc.set_pointer(result, address)
    return 0


@export("size_t malloc_usable_size(void *block)")
def malloc_usable_size(libc: Libc, block: int) -> int:
    return libc.heap.usable_size(block)


@export("int malloc_trim(size_t pad)")
def malloc_trim(libc: Libc, pad: int) -> int:
    return 0

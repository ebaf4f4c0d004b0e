"""qsort, bsearch and linear searches, calling the guest's comparator.

Only positions are sorted while the comparator runs; the array is permuted once, at the end. So the
comparator sees the array untouched, and one that faults or raises leaves it so. The sort is stable, as
glibc's merge sort is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_COMPARATOR = "int(const void *, const void *)"
_COMPARATOR_R = "int(const void *, const void *, void *)"


def _sort(libc: Libc, base: int, count: int, size: int, order: Callable[[int, int], int]) -> None:
    if count < 2 or not size:
        return
    addresses = sorted(range(base, base + count * size, size), key=functools.cmp_to_key(order))
    data = libc.memory.read(base, count * size)
    libc.memory.write(base, b"".join(data[a - base : a - base + size] for a in addresses))


@export("void qsort(void *base, size_t count, size_t size, void *compare)")
def qsort(libc: Libc, base: int, count: int, size: int, compare: int) -> None:
    _sort(libc, base, count, size, lambda a, b: libc.call_int(compare, _COMPARATOR, a, b))


@export("void qsort_r(void *base, size_t count, size_t size, void *compare, void *context)")
def qsort_r(libc: Libc, base: int, count: int, size: int, compare: int, context: int) -> None:
    _sort(libc, base, count, size, lambda a, b: libc.call_int(compare, _COMPARATOR_R, a, b, context))


@export("void *bsearch(const void *key, const void *base, size_t count, size_t size, void *compare)")
def bsearch(libc: Libc, key: int, base: int, count: int, size: int, compare: int) -> int:
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        found = base + middle * size
        order = libc.call_int(compare, _COMPARATOR, key, found)
        if order == 0:
            return found
        low, high = (low, middle) if order < 0 else (middle + 1, high)
    return 0


@export("void *lfind(const void *key, const void *base, size_t *count, size_t size, void *compare)")
def lfind(libc: Libc, key: int, base: int, count: int, size: int, compare: int) -> int:
    for element in range(base, base + libc.pointer(count) * size, size or 1):
        if libc.call_int(compare, _COMPARATOR, key, element) == 0:
            return element
    return 0


@export("void *lsearch(const void *key, void *base, size_t *count, size_t size, void *compare)")
def lsearch(libc: Libc, key: int, base: int, count: int, size: int, compare: int) -> int:
    found = lfind(libc, key, base, count, size, compare)
    if not found:
        used = libc.pointer(count)
        found = base + used * size
        libc.memory.write(found, libc.memory.read(key, size))
        libc.set_pointer(count, used + 1)
    return found

"""qsort, bsearch and linear searches, calling the guest's comparator.

Positions are sorted while the comparator runs; the array is permuted once, at the end. So the comparator sees the
original array, and the array is unchanged when it faults or raises. The sort is stable, like glibc's merge sort.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.libc.table import export
from emu.memory.guest_view import PIECE

if TYPE_CHECKING:
    from emu.libc.library import Libc

_COMPARATOR = "int(const void *, const void *)"
_COMPARATOR_R = "int(const void *, const void *, void *)"


#: Limit for sorting positions: more elements would need too much host memory and are sorted in place.
_BY_POSITION = 1 << 18
_Order = Callable[[int, int], int]


def _sort(libc: Libc, base: int, count: int, size: int, order: _Order) -> None:
    if count < 2 or not size:
        return
    libc.memory.require(base, count * size)
    libc.memory.require(base, count * size, Protection.W)
    if count > _BY_POSITION or size > PIECE:
        _sort_in_place(libc, base, count, size, order)
        return
    addresses = sorted(range(base, base + count * size, size), key=functools.cmp_to_key(order))
    if not libc.limit.take(2 * count * size):
        _sort_in_place(libc, base, count, size, order)
        return
    try:
        data = libc.memory.read(base, count * size)
        libc.memory.write(base, b"".join(data[a - base : a - base + size] for a in addresses))
    finally:
        libc.limit.give(2 * count * size)


def _sort_in_place(libc: Libc, base: int, count: int, size: int, order: _Order) -> None:
    """Heapsort: not stable, but without extra memory; glibc's qsort also uses it when memory is short."""

    def swap(a: int, b: int) -> None:
        for offset in range(0, size, PIECE):
            step = min(PIECE, size - offset)
            held = libc.memory.read(a + offset, step)
            libc.memory.copy(a + offset, b + offset, step)
            libc.memory.write(b + offset, held)

    def sift(root: int, end: int) -> None:
        while (child := 2 * root + 1) < end:
            place = base + child * size
            if child + 1 < end and order(place, place + size) < 0:
                child, place = child + 1, place + size
            if order(base + root * size, place) >= 0:
                return
            swap(base + root * size, place)
            root = child

    for root in range(count // 2 - 1, -1, -1):
        sift(root, count)
    for end in range(count - 1, 0, -1):
        swap(base, base + end * size)
        sift(0, end)


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
        found = (base + middle * size) & libc.arch.address_mask
        order = libc.call_int(compare, _COMPARATOR, key, found)
        if order == 0:
            return found
        low, high = (low, middle) if order < 0 else (middle + 1, high)
    return 0


@export("void *lfind(const void *key, const void *base, size_t *count, size_t size, void *compare)")
def lfind(libc: Libc, key: int, base: int, count: int, size: int, compare: int) -> int:
    for place in range(base, base + libc.pointer(count) * size, size or 1):
        libc.check_budget()
        element = place & libc.arch.address_mask
        if libc.call_int(compare, _COMPARATOR, key, element) == 0:
            return element
    return 0


@export("void *lsearch(const void *key, void *base, size_t *count, size_t size, void *compare)")
def lsearch(libc: Libc, key: int, base: int, count: int, size: int, compare: int) -> int:
    found = lfind(libc, key, base, count, size, compare)
    if not found:
        used = libc.pointer(count)
        found = base + used * size
        libc.memory.copy(found, key, size)
        libc.set_pointer(count, used + 1)
    return found

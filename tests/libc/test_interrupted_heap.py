"""The heap where a signal handler raises, or allocates and frees, at any point of an operation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise

import pytest

from emu.errors import GuestAbort
from emu.memory.heap import Heap
from emu.memory.limit import MemoryLimit
from emu.memory.small_blocks import RUN, RUN_COST
from relink.arch import architecture
from tests.grouping import each
from tests.interrupts import interrupted
from tests.libc.fake import FakeMemory

#: What is live before each operation: large blocks with free ones beside them, and two small ones.
_SIZES = (5000, 16, 3000, 7000, 24, 2000, 60_000)


def _heap() -> tuple[Heap, list[int]]:
    heap = Heap(FakeMemory(), architecture("x86_64"), MemoryLimit())
    blocks = [heap.malloc(size) for size in _SIZES]
    heap.free(blocks.pop(2))
    return heap, blocks


def _freed_before(heap: Heap, blocks: list[int]) -> None:
    heap.free(blocks[2])  # merged with the one before it
    heap.free(blocks[0])


def _fill_all_runs(heap: Heap, blocks: list[int]) -> None:
    for _ in range(2 * RUN // 1024 + 2):  # the arrays of small blocks are made larger
        heap.malloc(1024)


#: The operations, with how many blocks they leave more.
OPERATIONS: dict[str, tuple[int | None, Callable[[Heap, list[int]], object]]] = {
    "a large block": (1, lambda heap, blocks: heap.malloc(2500)),
    "one in a new arena": (1, lambda heap, blocks: heap.malloc(1 << 20)),
    "an aligned one": (1, lambda heap, blocks: heap.aligned_alloc(4096, 2000)),
    "zeros": (1, lambda heap, blocks: heap.calloc(3, 1000)),
    "new runs": (None, _fill_all_runs),
    "free, merged with both": (None, _freed_before),
    "longer where it is": (0, lambda heap, blocks: heap.realloc(blocks[-1], 61_000)),
    "shorter where it is": (0, lambda heap, blocks: heap.realloc(blocks[-1], 20_000)),
    "moved": (0, lambda heap, blocks: heap.realloc(blocks[2], 20_000)),
    "small, moved": (0, lambda heap, blocks: heap.realloc(blocks[1], 900)),
}


def _check(heap: Heap) -> None:
    """All arenas consist of live blocks, runs and free extents, which have no free ones beside them."""
    heap._join_arenas()
    extents = sorted((start, size) for size, start in heap._extents)
    assert heap._extents == sorted(heap._extents)
    assert dict(extents) == heap._extent_at
    assert {start + size: start for start, size in extents} == heap._extent_ending
    bounds = heap._arena_bounds
    for (start, size), (following, _) in pairwise(extents):
        assert start + size < following or following in bounds
    runs = [(start, RUN) for start in (*heap.small._runs, *heap.small.spare)]
    parts = sorted([*extents, *runs, *heap._live.items()])
    for (start, size), (following, _) in pairwise(parts):
        assert start + size == following or (start + size in bounds and following in bounds)
    assert sum(size for _, size in parts) == heap.mapped
    end = 0
    for address, size in heap.blocks().items():
        assert address >= end
        end = address + size


def _charged(heap: Heap) -> int:
    """What is charged beside runs."""
    assert heap._account is not None
    return heap._account.used - RUN_COST * len((*heap.small._runs, *heap.small.spare))


@each("what", OPERATIONS)
def test_an_operation_has_happened_or_not(what: str) -> None:
    more, operation = OPERATIONS[what]
    for number in count(1):
        heap, blocks = _heap()
        before, mapped, charged = heap.blocks(), heap.mapped, _charged(heap)
        ended: list[bool] = []
        passed = interrupted(lambda: ended.append(bool(operation(heap, blocks))), number, starts=True)  # noqa: B023
        _check(heap)
        if more is not None:
            assert len(heap.blocks()) == len(before) + more * bool(ended), number
            assert sum(address not in heap.blocks() for address in before) <= 1
        assert (_charged(heap) > charged) == (heap.mapped > mapped)
        if passed < number:
            break
    assert number > 5


@each("what", OPERATIONS)
def test_a_handler_may_allocate_and_free(what: str) -> None:
    _, operation = OPERATIONS[what]
    for number in count(1):
        heap, blocks = _heap()
        others = [heap.malloc(size) for size in (4000, 4000, 4000, 100)]
        taken: list[int] = []

        def handler() -> None:
            heap.free(others.pop())  # noqa: B023
            heap.free(others.pop(0))  # noqa: B023
            taken.extend(heap.malloc(size) for size in (2496, 1 << 18, 8, 900, 5000))  # noqa: B023
            taken.extend(heap.malloc(1024) for _ in range(40))  # noqa: B023
            heap.free(others.pop(0))  # noqa: B023

        passed = interrupted(lambda: operation(heap, blocks), number, starts=True, handler=handler)  # noqa: B023
        _check(heap)
        live = heap.blocks()
        assert all(block in live for block in [*others, *taken]), number
        if passed < number:
            break


def test_a_handler_may_take_the_arenas_that_are_being_taken() -> None:
    for number in count(1):
        heap, _ = _heap()
        before = heap.mapped
        for _ in range(3):
            heap._new_arenas += [(1 << 20, heap.memory.map_anonymous(1 << 20))]
            heap.mapped += 1 << 20
        passed = interrupted(heap._join_arenas, number, starts=True, handler=heap._join_arenas)
        assert heap.mapped == before + (3 << 20)
        _check(heap)
        if passed < number:
            break
    assert number > 6


def test_a_limit_holds_though_a_handler_allocates_too() -> None:
    for number in count(1):
        heap = Heap(FakeMemory(), architecture("x86_64"), MemoryLimit(), limit=1 << 20)
        allocate = heap.malloc
        passed = interrupted(
            lambda: allocate(600_000),  # noqa: B023
            number,
            starts=True,
            handler=lambda: allocate(600_000),  # noqa: B023
        )
        assert heap.mapped <= heap.limit
        assert heap.live_blocks == 1
        _check(heap)
        if passed < number:
            break


def test_a_block_that_a_handler_frees_too_is_freed_twice() -> None:
    heap, blocks = _heap()
    with pytest.raises(GuestAbort, match="double free"):
        interrupted(lambda: heap.free(blocks[0]), 1, starts=True, handler=lambda: heap.free(blocks[0]))
    _check(heap)

"""The guest heap: blocks never overlap, freed memory comes back, misuse is named."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emu.errors import GuestAbort
from emu.memory.heap import Heap
from relink.arch import architecture
from tests.interrupts import interrupted
from tests.libc.fake import FakeMemory

_SIZES = st.one_of(st.integers(0, 64), st.integers(0, 2000), st.integers(0, 400_000))


class HeapMachine(RuleBasedStateMachine):
    """Random programs; every live block keeps the pattern written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = FakeMemory()
        self.heap = Heap(self.memory, architecture("x86_64"))
        self.blocks: dict[int, tuple[int, int]] = {}  # address -> (size, fill byte)
        self.stamp = 0

    def _fill(self, address: int, size: int) -> None:
        self.stamp = (self.stamp + 1) % 255
        self.memory.write(address, bytes([self.stamp + 1]) * size)
        self.blocks[address] = (size, self.stamp + 1)

    def _check(self, address: int) -> tuple[int, int]:
        size, fill = self.blocks.pop(address)
        assert self.memory.read(address, size) == bytes([fill]) * size
        return size, fill

    @rule(size=_SIZES)
    def malloc(self, size: int) -> None:
        self._fill(self.heap.malloc(size), size)

    @rule(size=_SIZES)
    def calloc(self, size: int) -> None:
        address = self.heap.calloc(size, 1)
        assert self.memory.read(address, size) == bytes(size)
        self._fill(address, size)

    @rule(size=_SIZES, shift=st.integers(0, 13))
    def aligned(self, size: int, shift: int) -> None:
        address = self.heap.aligned_alloc(1 << shift, size)
        assert address % (1 << shift) == 0
        self._fill(address, size)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data(), size=_SIZES)
    def realloc(self, data: st.DataObject, size: int) -> None:
        address = data.draw(st.sampled_from(sorted(self.blocks)))
        old, fill = self._check(address)
        moved = self.heap.realloc(address, size)
        assert self.memory.read(moved, min(old, size)) == bytes([fill]) * min(old, size)
        self._fill(moved, size)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.blocks)))
        self._check(address)
        self.heap.free(address)
        with pytest.raises(GuestAbort, match=r"double free|invalid pointer|bytes into"):
            self.heap.free(address)

    @invariant()
    def blocks_are_apart_and_aligned(self) -> None:
        end = 0
        for address, size in self.heap.blocks().items():
            assert address % 16 == 0
            assert address >= end
            end = address + size
            assert self.heap.usable_size(address) == size
        assert self.heap.live_blocks == len(self.blocks)


TestHeap = HeapMachine.TestCase
TestHeap.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def _heap(limit: int | None = None) -> Heap:
    return Heap(FakeMemory(), architecture("arm"), limit=limit)


def test_everything_freed_makes_the_next_large_block_fit_without_growing() -> None:
    heap = _heap()
    blocks = [heap.malloc(5000) for _ in range(40)]
    mapped = heap.mapped
    for block in blocks[::2] + blocks[1::2]:
        heap.free(block)
    assert heap.malloc(40 * 5008 - 16)
    assert heap.mapped == mapped


def test_small_blocks_of_a_class_are_reused_last_in_first_out() -> None:
    heap = _heap()
    a, b = heap.malloc(24), heap.malloc(30)
    heap.free(a)
    heap.free(b)
    assert (heap.malloc(32), heap.malloc(17)) == (b, a)


def test_a_signal_handler_may_allocate_wherever_it_interrupts_the_free_of_a_small_block() -> None:
    number = 1
    while _free_interrupted(number) >= number:
        number += 1
    assert number > 2


def _free_interrupted(number: int) -> int:
    """Free a block; a handler at the `number`-th point needs several runs, so that the arrays are replaced."""
    heap = _heap()
    first, freed, last = (heap.malloc(16) for _ in range(3))
    taken: list[int] = []
    passed = interrupted(
        lambda: heap.free(freed),
        number,
        starts=True,
        handler=lambda: taken.extend([heap.malloc(1024) for _ in range(40)]),
    )
    again = [heap.malloc(16) for _ in range(4)]
    assert again[0] == freed
    assert sorted(heap.blocks()) == sorted([first, last, *taken, *again])
    assert all(start + size <= following for (start, size), (following, _) in pairwise(heap.blocks().items()))
    return passed


@pytest.mark.parametrize("size", [1 << 20, 1 << 31, 1 << 63, (1 << 64) - 1])
def test_past_the_limit_malloc_answers_null_and_goes_on(size: int) -> None:
    heap = _heap(limit=1 << 19)
    assert heap.malloc(size) == 0
    assert heap.calloc(size, 16) == 0
    assert heap.malloc(100)


def test_the_limit_can_be_used_up_to_the_last_page() -> None:
    heap = _heap(limit=1 << 18)
    count = 0
    while heap.malloc(4096):
        count += 1
    assert count == (1 << 18) // 4096
    assert heap.malloc(16) == 0


@pytest.mark.parametrize("offset", [8, 16, 100])
def test_a_pointer_into_a_block_is_named_with_its_block(offset: int) -> None:
    heap = _heap()
    block = heap.malloc(200)
    with pytest.raises(GuestAbort, match=f"free\\(\\): {block + offset:#x} is {offset} bytes into"):
        heap.free(block + offset)


def test_a_foreign_pointer_is_named() -> None:
    with pytest.raises(GuestAbort, match=r"invalid pointer 0xdead000: it was never allocated by the heap"):
        _heap().free(0xDEAD000)


@given(st.integers(min_value=-8, max_value=100).filter(lambda n: n <= 0 or n & (n - 1)))
def test_an_alignment_that_is_no_power_of_two_is_an_error(alignment: int) -> None:
    with pytest.raises(ValueError, match="not a power of two"):
        _heap().aligned_alloc(alignment, 8)

"""The hook of malloc and free of every host, run as a guest on the project's own machine: what Python does."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator

import numpy as np
import pytest

from emu import Machine
from emu.cpu.hooks.heap_hook import BlockArrays, HeapCall, HeapFunction
from emu.memory.small_blocks import LARGEST, RUN, SmallBlocks

from .host_hooks import HOSTS, mapped_hooks

_ARGUMENT, _RESULT = 3, 5  #: numbers of registers


class HostHeap:
    """The hooks of a host on a copy of some blocks' arrays; uc_reg_read and uc_reg_write are host functions."""

    def __init__(self, machine: Machine, host: str, blocks: SmallBlocks) -> None:
        self.machine, self.blocks, memory = machine, blocks, machine.memory
        self.registers = {_ARGUMENT: 0, _RESULT: 0}
        hooks = mapped_hooks(machine, host)
        self.entries = {HeapFunction.MALLOC: hooks["heap.allocate"], HeapFunction.FREE: hooks["heap.release"]}
        self._views = views = blocks._view()
        self._sources = np.asarray(views.state), np.asarray(views.words), views.addresses, views.table
        self.places = [machine.heap.malloc(each.nbytes) for each in self._sources]
        self.arrays = BlockArrays(*self.places, views.arrays.mask, views.arrays.count)
        self._arrays_at, self._call_at = machine.heap.malloc(64), machine.heap.malloc(64)
        read = machine.define("uc_reg_read", (self._read, "int(void *, int, void *)"))
        write = machine.define("uc_reg_write", (self._write, "int(void *, int, void *)"))
        memory.write(self._call_at, bytes(HeapCall(self._arrays_at, read, write, _ARGUMENT, _RESULT)))
        self.put()

    def _read(self, engine: int, register: int, place: int) -> int:
        self.machine.memory.write_uint(place, 8, self.registers[register])
        return 0

    def _write(self, engine: int, register: int, place: int) -> int:
        self.registers[register] = self.machine.memory.read_uint(place, 8)
        return 0

    def put(self) -> None:
        """Copy the arrays as they are to the hooks' place."""
        for place, source in zip(self.places, self._sources, strict=True):
            self.machine.memory.write(place, source.tobytes())

    def get(self) -> list[bytes]:
        """The hooks' arrays."""
        memory = self.machine.memory
        return [memory.read(place, each.nbytes) for place, each in zip(self.places, self._sources, strict=True)]

    def mine(self) -> list[bytes]:
        """Python's."""
        return [each.tobytes() for each in self._sources]

    def perform(self, function: HeapFunction, argument: int, result: int = 0) -> int:
        """Come to the nop of a function."""
        self.registers = {_ARGUMENT: argument, _RESULT: result}
        self.machine.memory.write(self._arrays_at, bytes(self.arrays))
        prototype = "void(void *, uint64_t, uint32_t, void *)"
        self.machine.call(self.entries[function], prototype, 0x1234, 0x4000, 4, self._call_at)
        return self.registers[_RESULT]


@pytest.fixture(params=HOSTS)
def heap(request: pytest.FixtureRequest) -> Iterator[HostHeap]:
    blocks = SmallBlocks()
    taken = []
    for number in (7, 3, 0x3_FFFF_0000):
        blocks.add_run(number * RUN)
        taken += [blocks.take(48) for _ in range(21 if number < 8 else 0)]  # all but 16 granules
    assert all(blocks.give(block) for block in taken[::5])
    with Machine(request.param) as machine:
        yield HostHeap(machine, request.param, blocks)


def test_it_gives_and_takes_what_python_does(heap: HostHeap) -> None:
    blocks = heap.blocks
    rng, live = random.Random(3), list[int]()
    for _ in range(400):
        if live and rng.random() < 0.45:
            block = live.pop(rng.randrange(len(live)))
            assert heap.perform(HeapFunction.FREE, block) == blocks.give(block) == 1
        else:
            size = rng.choice((0, 1, 15, 16, 17, 100, 500, 1023, 1024))
            block = blocks.take((size + 15) // 16 or 1)
            assert heap.perform(HeapFunction.MALLOC, size) == block
            live += [block] if block else []
        assert heap.get() == heap.mine()
    assert len(live) > 10


def test_it_leaves_to_python_what_it_cannot_do(heap: HostHeap) -> None:
    blocks = heap.blocks
    block, freed = blocks.take(4), blocks.take(4)
    blocks.give(freed)
    heap.put()
    malloc, free = HeapFunction.MALLOC, HeapFunction.FREE
    assert [heap.perform(malloc, size) for size in (1025, 1 << 40, (1 << 64) - 1)] == [0, 0, 0]
    wrong = (block + 16, block + 1, freed, 16, RUN, 0x3_FFFF_0001 * RUN, 7 * RUN + 16, (1 << 64) - 16)
    assert [heap.perform(free, each) for each in wrong] == [0] * len(wrong)
    assert heap.perform(free, 0) == 1
    assert [heap.perform(malloc, 64, result=9), heap.perform(free, block, result=9)] == [9, 9]
    heap.arrays.paused = 1
    assert [heap.perform(malloc, 64), heap.perform(free, block), heap.perform(free, 0)] == [0, 0, 0]
    heap.arrays.paused = 0
    assert heap.get() == heap.mine()
    while blocks.take(LARGEST):
        pass
    heap.put()
    assert heap.perform(malloc, 1024) == 0
    assert heap.get() == heap.mine()


def test_it_uses_no_number_beyond_the_arrays(heap: HostHeap) -> None:
    """The host's memory around them, here a guest's, is not touched: a read there would be a fault."""
    block, state = heap.blocks.take(4), heap._sources[0]
    before = state.copy()
    for places, value in (((4,), 1 << 20), ((4,), (1 << 64) - 1), ((65, 66), 1 << 40), ((65, 66), (1 << 64) - 70)):
        state[list(places)] = np.uint64(value)
        heap.put()
        assert heap.perform(HeapFunction.MALLOC, 64) == 0
        assert heap.get()[1:] == heap.mine()[1:]
    state[:] = before
    heap.put()
    heap.arrays.count = 0
    assert heap.perform(HeapFunction.FREE, block) == 0


def test_the_structures_are_those_of_the_code() -> None:
    assert [ctypes.sizeof(BlockArrays), ctypes.sizeof(HeapCall)] == [56, 32]

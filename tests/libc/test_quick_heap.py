"""malloc and free inside the engine: what Python's do, with the same blocks, wherever the guest is stopped."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emu import Machine
from emu.cpu.protocol import StopReason
from emu.errors import BudgetExceeded, GuestAbort
from emu.library import Library
from emu.memory.heap import Heap
from emu.memory.small_blocks import SmallBlocks
from tests.fixtures import arch_of, each_target
from tests.objects.build import compiled

_SOURCE = """
typedef __SIZE_TYPE__ size;
extern void *malloc(size);
extern void free(void *);
static void *blocks[64];
/* Each step is (slot, size): free the block of the slot if it has one, else allocate and mark it. */
int work(const unsigned *steps, int count)
{
    int damaged = 0;
    for (int i = 0; i < count; i++) {
        unsigned slot = steps[2 * i], wanted = steps[2 * i + 1];
        unsigned char *block = blocks[slot];
        if (block) {
            damaged += *block != slot;
            free(block);
            blocks[slot] = 0;
        } else if ((block = malloc(wanted))) {
            *block = slot;
            blocks[slot] = block;
        }
    }
    return damaged;
}
void *take(size n) { return malloc(n); }
void give(void *block) { free(block); }
int pairs(int n) { while (n--) { void *volatile block = malloc(40); free(block); } return 7; }
int both(void) { void *volatile block = malloc(24); free(block); free(0); return 5; }
"""

target = each_target()


def _loaded(target: str) -> tuple[Machine, Library]:
    machine = Machine(arch_of(target))
    library = machine.load(compiled(target, _SOURCE, "-g", "-w", "-fno-builtin"))
    library.pairs(1)  # the first calls of each are Python's
    return machine, library


def _noting(function: Callable[[Heap, int], int], calls: list[int]) -> Callable[[Heap, int], int]:
    def noted(heap: Heap, value: int) -> int:
        calls.append(value)
        return function(heap, value)

    return noted


def _steps(seed: int, count: int) -> bytes:
    rng = random.Random(seed)
    sizes = (0, 1, 15, 16, 17, 40, 100, 1008, 1024, 1025, 5000, 70_000)
    return np.array([[rng.randrange(64), rng.choice(sizes)] for _ in range(count)], np.uint32).tobytes()


def test_its_blocks_are_those_that_python_gives(target: str) -> None:
    steps = _steps(1, 4000)
    blocks = []
    for paused in (False, True):
        machine, library = _loaded(target)
        with machine:
            assert machine.cpu.heap_calls is not None
            machine.cpu.heap_calls.pause(machine, paused)
            work = library.function("work", "int(const unsigned *, int)")
            assert work(steps, 2000) == 0
            machine.heap.free(machine.heap.malloc(40))  # Python's in between
            assert work(steps[16000:], 2000) == 0
            blocks.append((machine.heap.blocks(), machine.heap.live_blocks, machine.heap.live_bytes))
    assert blocks[0] == blocks[1]
    assert blocks[0][2] == sum(blocks[0][0].values()) > 0


def test_the_engine_is_left_for_new_runs_only(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, library = _loaded(target)
    with machine:
        calls: list[int] = []
        for name in ("malloc", "free"):
            original = getattr(Heap, name)
            monkeypatch.setattr(Heap, name, _noting(original, calls))
        assert library.pairs(500) == 7
        assert not calls
        taken = [library.take(64) for _ in range(600)]
        assert len(set(taken)) == 600
        assert len(calls) <= 4


def test_misuse_has_the_same_errors(target: str) -> None:
    machine, library = _loaded(target)
    with machine:
        block, other = library.take(100), library.take(100)
        library.give(block)
        with pytest.raises(GuestAbort, match=f"double free of {block:#x}"):
            library.give(block)
        for offset in (1, 16, 96):
            with pytest.raises(GuestAbort, match=f"{offset} bytes into the block at {other:#x}"):
                library.give(other + offset)
        for wrong in (0x10, other + 112, library.image.base, machine.stack.top - 64):
            with pytest.raises(GuestAbort, match=r"never allocated|already freed"):
                library.give(wrong & -16)
        library.give(other)
        assert machine.heap.live_blocks == 0


def test_a_limit_at_any_instruction_leaves_a_heap_that_works(target: str) -> None:
    machine, library = _loaded(target)
    with machine:
        both = library.function("both", "int()")
        assert both() == 5
        for limit in range(1, 100):
            lost = machine.heap.live_blocks
            try:
                assert both(max_instructions=limit) == 5
            except BudgetExceeded:
                assert machine.heap.live_blocks - lost in (0, 1)
            else:
                break
        assert machine.heap.live_blocks < limit, "some limits were between the two calls, not all"
        assert both() == 5
        for block in machine.heap.blocks():
            machine.heap.free(block)


def test_single_steps_do_each_once(target: str) -> None:
    machine, library = _loaded(target)
    with machine:
        cpu, traps = machine.cpu, machine.traps
        address, seen = library.function_symbol("both").address, set()
        plan = machine.runner.plan("int(void)")
        names, values, stack, bottom, *_ = plan.enter(machine.runner, (), machine.stack.top, traps.return_address)
        if stack:
            cpu.write(bottom, stack)
        cpu.set_registers(names, values)
        for _ in range(100):
            stop = cpu.step(address)
            if stop.reason is StopReason.TRAP:
                break
            address = cpu.read_register("pc")
            seen.add(machine.heap.live_blocks)
        assert (stop.pc, seen, machine.heap.live_blocks) == (traps.return_address, {0, 1}, 0)


def test_traces_have_its_calls(target: str) -> None:
    machine, library = _loaded(target)
    with machine:
        with machine.trace(library) as trace:
            assert library.pairs(2) == 7
        assert [call.function for call in trace.calls if call.function in ("malloc", "free")] == [
            "malloc",
            "free",
        ] * 2
        assert library.pairs(2) == 7


def test_snapshots_keep_it(target: str, tmp_path: Path) -> None:
    machine, library = _loaded(target)
    with machine, machine.snapshot() as snapshot:
        before = machine.state_hash()
        first = [library.take(64) for _ in range(300)]
        assert machine.state_hash() != before
        library.give(first[7])
        machine.restore(snapshot)
        assert (machine.heap.live_blocks, machine.state_hash()) == (0, before)
        assert [library.take(64) for _ in range(300)] == first
        with machine.snapshot() as later:
            later.save(tmp_path / "file")
        take, pairs = (library.function_symbol(name).address for name in ("take", "pairs"))
        blocks, following = machine.heap.blocks(), library.take(64)
    with Machine.from_snapshot(tmp_path / "file") as read:
        assert read.heap.blocks() == blocks
        assert read.call(take, "void *(unsigned long)", 64) == following
        assert read.call(pairs, "int(int)", 10) == 7


def test_other_code_at_its_place_after_a_restore_is_just_code(target: str) -> None:
    with Machine(arch_of(target)) as machine, machine.snapshot() as empty:
        source = compiled(target, _SOURCE, "-g", "-w", "-fno-builtin")
        for _ in range(3):
            library = machine.load(source)
            assert [library.pairs(20), library.both()] == [7, 5]
            assert machine.heap.live_blocks == 0
            machine.restore(empty)
            other = machine.load(compiled(target, "int plain(int n) { return n + 1; }\n", "-g"))
            assert other.plain(3) == 4
            machine.restore(empty)


def test_damaged_arrays_are_refused() -> None:
    for name, value in (
        ("_words", np.zeros(10, np.uint32)), ("_words", np.zeros(1024, np.uint64)),
        ("_words", np.zeros(3 * 1024, np.uint32)), ("_state", np.zeros(3, np.uint64)), ("_runs", [1 << 14] * 2),
    ):  # fmt: skip
        blocks = SmallBlocks()
        setattr(blocks, name, value)
        with pytest.raises(ValueError, match="small blocks"):
            blocks.take(1)


def test_numbers_out_of_range_stay_within_the_arrays(target: str) -> None:
    """As a forged snapshot has them: machine code leaves the call to Python, which raises."""
    machine, library = _loaded(target)
    with machine:
        kept = library.take(64)
        for place, wrong in ((4, 1 << 40), (4, (1 << 64) - 1), (65, 1 << 50)):
            state = machine.heap.small.save_state()
            machine.heap.small._state[place] = wrong
            machine.heap.small._state[66] |= np.uint64(wrong)
            with pytest.raises(GuestAbort):
                library.take(64)
            machine.heap.small.restore_state(state)
        assert machine.heap.blocks() == {kept: 64}

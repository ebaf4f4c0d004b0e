"""malloc and free on LoongArch, which stop the engine, not the run. (What they do: tests/libc/test_quick_heap.)"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import numpy as np
import pytest

from emu.cpu.hooks.heap_hook import HeapFunction
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Stop, StopReason
from emu.memory.small_blocks import RUN, SmallBlocks
from tests.interrupts import interrupted
from tests.libc.test_quick_heap import _loaded as loaded
from tests.loongarch64.assembler import A0, A1, A2, RA, T0, ZERO, code, insn, jirl
from tests.loongarch64.test_compiled import branch
from tests.loongarch64.test_engine_changes import Interruption
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RW, RX, TRAPS, TRAPS_SIZE, pages

_PLACE = 0x6C00  # cpucfg zero, zero
_BLOCKS = 0x40000  # a multiple of RUN


@pytest.fixture(params=[True, False], ids=["compiled", "interpreted"])
def cpu(request: pytest.FixtureRequest) -> Iterator[IcicleCpu]:
    """A CPU with a place at CODE: the result in t0, for the argument in a0."""
    cpu = IcicleCpu()
    cpu.jit = request.param
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(CODE, PAGE, RX, pages(code(_PLACE, jirl(ZERO, RA))))
    yield cpu
    cpu.close()


@pytest.fixture
def blocks() -> SmallBlocks:
    blocks = SmallBlocks()
    blocks.add_run(_BLOCKS)
    return blocks


def _run(cpu: IcicleCpu, argument: int, result: int = 0) -> int:
    cpu.write_registers({"a0": argument, "t0": result, "ra": TRAPS})
    assert cpu.run(CODE) == Stop(StopReason.TRAP, TRAPS)
    assert cpu.read_register("a0") == argument
    return cpu.read_register("t0")


def test_a_place_does_nothing_until_it_is_connected_and_while_it_is_paused(
    cpu: IcicleCpu, blocks: SmallBlocks
) -> None:
    assert [_run(cpu, 40), _run(cpu, 40, 9)] == [0, 9]
    cpu.heap_calls.add(CODE, HeapFunction.MALLOC, blocks, "a0", "t0")
    assert cpu.heap_calls.has(CODE)
    assert [_run(cpu, 40), _run(cpu, 40, 9)] == [_BLOCKS, 9], "a result that is there stays"
    cpu.heap_calls.pause(cpu, True)
    assert _run(cpu, 40) == 0
    cpu.heap_calls.pause(cpu, False)
    assert _run(cpu, 40) == _BLOCKS + 48
    assert dict(blocks.live()) == {_BLOCKS: 48, _BLOCKS + 48: 48}


def test_what_it_cannot_do_is_left_to_python(cpu: IcicleCpu, blocks: SmallBlocks) -> None:
    cpu.heap_calls.add(CODE, HeapFunction.MALLOC, blocks, "a0", "t0")
    assert [_run(cpu, size) for size in (1025, (1 << 64) - 1)] == [0, 0]
    taken = [_run(cpu, size) for size in (0, 1, 1024)]
    assert taken == [_BLOCKS, _BLOCKS + 16, _BLOCKS + 32]
    while blocks.take(1):
        pass
    assert _run(cpu, 1) == 0
    live = dict(blocks.live())
    cpu.heap_calls.add(CODE, HeapFunction.FREE, blocks, "a0", "t0")
    wrong = (taken[0] + 1, taken[2] + 16, 16, _BLOCKS + RUN, (1 << 64) - 16)
    assert [_run(cpu, each) for each in wrong] == [0] * len(wrong)
    assert dict(blocks.live()) == live
    assert [_run(cpu, each) for each in (0, taken[0], taken[0])] == [1, 1, 0], "not twice"
    assert blocks.is_free(taken[0])


def test_other_code_at_a_place_is_only_code(cpu: IcicleCpu, blocks: SmallBlocks) -> None:
    cpu.heap_calls.add(CODE, HeapFunction.MALLOC, blocks, "a0", "t0")
    cpu.protect(CODE, PAGE, RW)
    assert cpu.run(CODE).reason is StopReason.FETCH_PROTECTED
    cpu.unmap(CODE, PAGE)
    assert not cpu.heap_calls.has(CODE)
    cpu.map(CODE, PAGE, RX, pages(code(insn("addi.d", T0, A0, 1), jirl(ZERO, RA))))
    assert _run(cpu, 40) == 41
    assert not list(blocks.live())


def test_a_signal_handler_may_unmap_the_place(blocks: SmallBlocks) -> None:
    stops = Counter[StopReason]()
    for number in count(1):
        cpu = IcicleCpu()
        cpu.set_trap_range(TRAPS, TRAPS_SIZE)
        cpu.map(CODE, PAGE, RX, pages(code(_PLACE, jirl(ZERO, RA))))
        cpu.heap_calls.add(CODE, HeapFunction.MALLOC, blocks, "a0", "t0")
        cpu.write_registers({"a0": 40, "t0": 0, "ra": TRAPS})

        def handler() -> None:
            cpu.unmap(CODE, PAGE)  # noqa: B023

        passed = interrupted(lambda: stops.update([cpu.run(CODE).reason]), number, starts=True, handler=handler)  # noqa: B023
        cpu.close()
        if passed < number:
            break
    assert {*stops} == {StopReason.TRAP, StopReason.FETCH_UNMAPPED}


def test_instructions_are_counted_and_limits_are_exact(cpu: IcicleCpu, blocks: SmallBlocks) -> None:
    cpu.heap_calls.add(CODE, HeapFunction.MALLOC, blocks, "a0", "t0")
    cpu.write_registers({"a0": 40, "t0": 0, "ra": TRAPS})
    assert cpu.run(CODE, max_instructions=1) == Stop(StopReason.INSTRUCTION_LIMIT, CODE + 4)
    assert (cpu.executed, cpu.read_register("t0")) == (1, _BLOCKS)
    assert cpu.run(CODE + 4, max_instructions=5) == Stop(StopReason.TRAP, TRAPS)
    assert cpu.executed == 1


#: Allocates for ever, and adds up the addresses in a1, four instructions a round.
_LOOP = code(insn("or", T0, ZERO, ZERO), _PLACE, insn("add.d", A1, A1, T0), branch(20, -3))


class _Acting(SmallBlocks):
    """Blocks that act like a signal handler when the one of this number is allocated."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        super().__init__()
        self._left, self._act = number, act

    def allocate(self, size: int) -> int:
        self._left -= 1
        if not self._left:
            self._act()
        return super().allocate(size)


def _looping(cpu: IcicleCpu, blocks: SmallBlocks) -> None:
    cpu.write(CODE, _LOOP)
    cpu.heap_calls.add(CODE + 4, HeapFunction.MALLOC, blocks, "a0", "t0")
    cpu.write_registers({"a0": 16, "a1": 0})


def _added_up(blocks: int) -> int:
    return sum(range(_BLOCKS, _BLOCKS + 16 * blocks, 16))


def test_limits_are_exact_over_many_calls(cpu: IcicleCpu, blocks: SmallBlocks) -> None:
    rng, ran, pc = random.Random(4), 0, CODE
    _looping(cpu, blocks)
    for limit in (3, 4, 1, 2, 1025, *(rng.randrange(1, 60) for _ in range(40)), 1200):
        stop = cpu.run(pc, max_instructions=limit)
        ran, pc = ran + limit, stop.pc
        assert (stop, cpu.executed) == (Stop(StopReason.INSTRUCTION_LIMIT, CODE + ran % 4 * 4), limit)
        assert cpu.read_register("a1") == _added_up((ran + 1) // 4)
    assert cpu.compiled == bool(cpu.jit)


def test_a_guest_that_does_nothing_but_call_ends_in_time(cpu: IcicleCpu, blocks: SmallBlocks) -> None:
    _looping(cpu, blocks)
    cpu.write(CODE, code(insn("or", T0, ZERO, ZERO), _PLACE, insn("or", A0, T0, ZERO), branch(20, -3)))
    cpu.heap_calls.add(CODE + 4, HeapFunction.FREE, blocks, "a0", "t0")
    cpu.write_register("a0", 0)
    cpu.run(CODE, max_instructions=4)
    cpu._hot.slice = 1 << 24  # as after compiled code that ran for long
    assert cpu.run(CODE, timeout=0.01).reason is StopReason.TIMEOUT
    assert cpu.executed < 1 << 20


def test_instructions_before_a_signal_handler_that_raises_are_counted(cpu: IcicleCpu) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    blocks = _Acting(7, interrupt)
    blocks.add_run(_BLOCKS)
    _looping(cpu, blocks)
    with pytest.raises(KeyboardInterrupt):
        cpu.run(CODE)
    assert (cpu.executed, cpu.read_register("pc")) == (6 * 4 + 2, CODE + 4)
    assert cpu.read_register("a1") == _added_up(6)


def test_code_that_a_signal_handler_changes_runs_as_changed_after_the_call(cpu: IcicleCpu) -> None:
    blocks = _Acting(7, lambda: cpu.write(CODE + 8, code(insn("addi.d", A2, A2, 1))))
    blocks.add_run(_BLOCKS)
    _looping(cpu, blocks)
    cpu.write_register("a2", 0)
    assert cpu.run(CODE, max_instructions=400).reason is StopReason.INSTRUCTION_LIMIT
    assert (cpu.read_register("a1"), cpu.read_register("a2")) == (_added_up(6), 94)


def test_compiled_code_gets_the_blocks_that_interpreted_code_gets() -> None:
    rng = random.Random(5)
    steps = np.array([[rng.randrange(64), rng.choice((0, 40, 1024, 5000))] for _ in range(900)], np.uint32)
    blocks = []
    for jit in (True, False, None):
        machine, library = loaded("loongarch64")
        with machine:
            assert isinstance(machine.cpu, IcicleCpu)
            machine.cpu.jit = jit
            assert library.function("work", "int(const unsigned *, int)")(steps.tobytes(), len(steps)) == 0
            blocks.append(machine.heap.blocks())
    assert blocks[0] == blocks[1] == blocks[2]


@pytest.mark.parametrize("first", range(1, 97, 6))
def test_a_signal_handler_that_raises_leaves_the_heap_whole(first: int) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    machine, library = loaded("loongarch64")
    with machine:
        kept = library.take(40)
        with suppress(KeyboardInterrupt), Interruption(first, interrupt):
            library.pairs(4)
        assert library.pairs(20) == 7
        blocks = machine.heap.blocks()
        assert kept in blocks
        for block in blocks:
            library.give(block)
        assert not machine.heap.blocks()

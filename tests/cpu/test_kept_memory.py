"""Memory that the engine or its hooks use stays as long as they may, whatever a signal handler raises."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from emu.boards import Device
from emu.cpu.hooks.event_hooks import Places
from emu.cpu.hooks.first_call_hook import FirstCallBlock, FirstCallData
from emu.cpu.hooks.meter import Meter
from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.misrun import SignallingNan
from emu.cpu.pages import PAGE_SIZE
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api, quick_run
from emu.cpu.unicorn.batches import GroupData
from emu.cpu.unicorn.cpu import UnicornCpu
from emu.cpu.unicorn.first_calls import UnicornFirstCalls
from emu.cpu.unicorn.watched import Watched
from relink.arrays import U64
from relink.memory.host_pages import host_pages
from tests.grouping import each
from tests.interrupts import interrupted

BASE = 0x1_0000
ALL = Protection.R | Protection.W | Protection.X
Pointer = tuple[Callable[[], object], Callable[[], int | None], Callable[[], int]]


def _places() -> Pointer:
    places = Places()
    places.fill(range(BASE, BASE + 4))
    more = range(BASE, BASE + 20)
    return lambda: places.fill(more), lambda: places.table, lambda: int(places._words.ctypes.data)


def _meter() -> Pointer:
    request = StopRequest()
    table: Any = Meter("x86_64", request, blocks=None, read=lambda address, size: b"")._table  # type: ignore[arg-type]
    return lambda: table._make(4096), lambda: request.table, lambda: int(table._words.ctypes.data)


def _place_of_stops() -> Pointer:
    some, more = GroupData([1], 8), GroupData([1, 2, 3], 8)
    run = quick_run.QuickRun(ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_uint64(), some)
    del some
    return lambda: run.read_after(more), lambda: run._run.numbers, lambda: ctypes.addressof(run._place.numbers)


@each("made", [_places, _meter, _place_of_stops])
def test_an_interrupted_change_leaves_no_pointer_to_memory_that_is_freed(made: Callable[[], Pointer]) -> None:
    for number in count(1):
        change, pointer, kept = made()
        passed = interrupted(change, number, starts=True)
        assert pointer() == kept(), number
        if passed < number:
            break


@each("change", ["forget", "prepare again"])
def test_the_hook_of_first_calls_reads_living_arrays(change: str) -> None:
    for number in count(1):
        calls = UnicornFirstCalls(FirstCallData())
        living = dict[int, weakref.ref[Any]]()
        for start in (BASE, 2 * BASE):
            arrays = np.zeros(8, np.uint64), np.zeros(8, np.uint64)
            living |= {array.ctypes.data: weakref.ref(array) for array in arrays}
            calls.prepare(start, *arrays)
            del arrays
        if change == "forget":
            passed = interrupted(partial(calls.forget, BASE), number, starts=True)
        else:
            new = np.zeros(8, np.uint64)
            living[new.ctypes.data] = weakref.ref(new)
            passed = interrupted(partial(calls.prepare, BASE, new, new), number, starts=True)
        data = calls._data
        blocks = (FirstCallBlock * data.blocks).from_address(data.block)
        for block in blocks:
            assert living[block.answers]() is not None, number
            assert living[block.places]() is not None, number
        if passed < number:
            assert len(blocks) == (1 if change == "forget" else 2)
            break


def test_a_handler_that_prepares_first_calls_is_not_undone() -> None:
    """By the list that it has interrupted."""
    for number in count(1):
        calls, array = UnicornFirstCalls(FirstCallData()), np.zeros(8, np.uint64)
        calls.prepare(BASE, array, array)

        def handler(calls: UnicornFirstCalls = calls, some: U64 = array) -> None:
            calls.forget(BASE)
            calls.prepare(3 * BASE, some, some)

        passed = interrupted(partial(calls.prepare, 2 * BASE, array, array), number, starts=True, handler=handler)
        if passed < number:
            break
        data = calls._data
        blocks = (FirstCallBlock * data.blocks).from_address(data.block)
        assert {block.start for block in blocks} == {2 * BASE, 3 * BASE}, number


def test_the_data_of_a_hook_is_kept_when_its_instruction_gets_another() -> None:
    """Hooks are never removed: the former one still reads its data."""
    cpu = UnicornCpu("riscv64")
    assert cpu._watched is not None
    watched: Watched = cpu._watched
    guard = SignallingNan(("f1", "f2"), True)
    watched.hook_instruction(BASE, watched.instructions, guard)
    former = weakref.ref(watched._guards[BASE])
    watched.hook_instruction(BASE, watched.instructions, guard)
    kept = former()
    assert kept is not None
    assert kept.request == ctypes.addressof(watched._never)


def test_callbacks_of_a_device_are_kept_where_a_signal_handler_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after the engine has got them."""
    cpu, given = UnicornCpu("arm", "cortex-m4"), list[object]()
    library = api.uclib

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(library, name)

        def uc_mmio_map(self, *arguments: Any) -> int:
            assert not library.uc_mmio_map(*arguments)
            given.extend([arguments[3], arguments[5]])
            raise KeyboardInterrupt

    monkeypatch.setattr(api, "uclib", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        cpu.map_device(0x4000_0000, PAGE_SIZE, Device())  # type: ignore[arg-type]
    assert len(given) == 2
    assert all(any(each is callback for each in cpu._kept) for callback in given)


def test_memory_beside_an_interrupted_mapping_is_unmapped_in_the_engine() -> None:
    """Otherwise the guest could write to memory that the host uses for something else then."""
    cpu = UnicornCpu("x86_64")
    cpu._late.end()
    for number in (0, 2):
        cpu.map(BASE + number * PAGE_SIZE, PAGE_SIZE, ALL, host_pages(PAGE_SIZE))
    # As where a signal handler raises in `map`: the engine does not have this one.
    cpu._pages.add(BASE + PAGE_SIZE, memoryview(bytearray(PAGE_SIZE)), ALL)
    cpu.unmap(BASE, 3 * PAGE_SIZE)
    for number in range(3):
        cpu.map(BASE + number * PAGE_SIZE, PAGE_SIZE, ALL, host_pages(PAGE_SIZE))  # is refused for an overlap

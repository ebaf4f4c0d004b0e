"""Handles on a library that is swapped many times, and back by snapshots."""

from __future__ import annotations

import gc
import weakref

import pytest

from emu import Machine
from relink.errors import UseAfterUnload
from tests.machine.test_swap import ONE, TWO, library


def test_versions_in_between_are_forgotten() -> None:
    versions = library("riscv64", ONE, "-g"), library("riscv64", TWO, "-g")
    with Machine("riscv64") as machine:
        handle = machine.load(versions[0])
        never_used, variable = handle.function("count", "int(void)"), handle.symbols["state"]
        images = []
        for number in range(1, 7):
            images.append(weakref.ref(handle.image))
            machine.swap(handle, versions[number % 2])
        gc.collect()
        kept = [number for number, image in enumerate(images) if image() is not None]
        assert {*kept} <= {0, 5}, "the first one is the handles', the last one may be that of `swapped`"
        assert never_used() == 0
        assert variable.symbol.image is handle.image


def test_a_return_to_before_a_swap_takes_it_back() -> None:
    one, two = library("riscv64", ONE, "-g"), library("riscv64", TWO, "-g")
    with Machine("riscv64") as machine:
        handle = machine.load(one)
        work, calls = handle.function("work", "int(int)"), handle.symbols["calls"]
        label = calls.as_type("unsigned char[2]")
        before = machine.snapshot()
        for _ in range(2):
            first = handle.image
            machine.swap(handle, two)
            assert (work(10), handle.work(10), calls.value, list(label.value)) == (31, 32, 2, [2, 0])
            late, after = handle.function("work", "int(int)"), machine.snapshot()
            machine.restore(before)
            assert (work(10), handle.work(10), calls.value, list(label.value)) == (21, 22, 2, [2, 0])
            assert handle.image is first
            with pytest.raises(UseAfterUnload):
                late(10)
            machine.restore(after)
            assert (work(10), late(10), calls.value) == (33, 34, 4)
            machine.restore(before)

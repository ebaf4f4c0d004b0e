"""Pages whose mapping or protection a signal handler interrupts: the engine and its CPU agree on them."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Protection
from relink.errors import AddressSpaceError
from tests.interrupts import interrupted

PAGE, DATA = 4096, 0x40000
RW = Protection.R | Protection.W


def _is_in_engine(cpu: IcicleCpu, address: int) -> bool:
    try:
        cpu._engine.mem_read(address, 1)
    except cpu._words.memory_error:
        return False
    return True


def test_pages_are_mapped_in_both_or_in_none() -> None:
    cpu = IcicleCpu("loongarch64")
    try:
        buffer, known = np.zeros(PAGE, np.uint8), set[bool]()
        for number in count(1):
            passed = interrupted(lambda: cpu.map(DATA, PAGE, RW, buffer), number, starts=True)
            mapped = cpu.extent(DATA, Protection.NONE) > 0
            known.add(mapped)
            assert _is_in_engine(cpu, DATA) is mapped, number
            assert cpu._pages.spans == sorted(cpu._pages.spans)
            if not mapped:
                cpu.map(DATA, PAGE, RW, buffer)
            cpu.unmap(DATA, PAGE)
            if passed < number:
                break
        assert known == {False, True}
    finally:
        cpu.close()


def test_pages_whose_protection_changes_stay_mapped() -> None:
    cpu = IcicleCpu("loongarch64")
    try:
        for at in (0, 2):
            cpu.map(DATA + at * PAGE, 2 * PAGE, RW, np.zeros(2 * PAGE, np.uint8))
        for number in count(1):
            passed = interrupted(lambda: cpu.protect(DATA + PAGE, PAGE, Protection.R), number, starts=True)
            assert cpu._pages.covers(DATA, DATA + 4 * PAGE), number
            cpu.protect(DATA + PAGE, PAGE, RW)
            cpu.store(DATA + PAGE, b"x")
            if passed < number:
                break
        assert number > 5
    finally:
        cpu.close()


def test_the_engine_may_refuse_a_mapping() -> None:
    cpu = IcicleCpu("loongarch64")
    try:
        cpu.map(DATA, PAGE, RW, np.zeros(PAGE, np.uint8))
        cpu._pages.remove(DATA, DATA + PAGE)
        with pytest.raises(AddressSpaceError, match="refuses"):
            cpu.map(DATA, PAGE, RW, np.zeros(PAGE, np.uint8))
        assert _is_in_engine(cpu, DATA)
    finally:
        cpu.close()

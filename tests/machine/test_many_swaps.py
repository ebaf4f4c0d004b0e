"""Swaps again and again: nothing of old versions is kept, and words of files are not taken for addresses."""

from __future__ import annotations

import gc
import weakref

import pytest

from emu import Machine, SwapRefused
from relink import Image
from tests.fixtures import each_target
from tests.machine.test_swap import ONE, TWO, library, user

target = each_target()


def test_old_versions_are_not_kept(target: str) -> None:
    """Neither their objects nor, so, the time that a swap's snapshot takes grow with the number of swaps."""
    versions = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target) as machine:
        handle = machine.load(versions[0])
        users = machine.load(user(target, versions[0]))
        olds: list[weakref.ref[Image]] = []
        for number in range(1, 7):
            olds.append(weakref.ref(handle.image))
            machine.swap(handle, versions[number % 2])
            assert users.function("direct", "int(int)")(0) == number
            bindings = users.image.relocated.bindings
            assert bindings is not None
            assert not [image for image in bindings.images if image.closed]
        gc.collect()
        assert [image() for image in olds[1:-1]] == [None] * 4


CONSTANTS = """
extern int add(int, int);
const unsigned looks = 0x60000010;
unsigned alike[4] = {1, 0x60000010, 0x60000014, 2};
unsigned number(int n) { alike[0] = add(alike[0], 1); return n < 4 ? alike[n] : looks; }
"""


@pytest.mark.parametrize("target", ["arm", "riscv32", "i386"])
def test_constants_of_files_are_not_taken_for_addresses(target: str) -> None:
    one = library(target, ONE)
    two = library(
        target, TWO + CONSTANTS.replace("extern", "").replace("looks", "also").replace("number", "digit")
    )
    with Machine(target) as machine:
        old = machine.load(one, place=lambda image: 0x6000_0000)
        users = machine.load(user(target, one, CONSTANTS))
        number = users.function("number", "unsigned(int)")
        assert [number(n) for n in (1, 2, 4)] == [0x6000_0010, 0x6000_0014, 0x6000_0010]
        users.symbols["alike"].write(0x6000_0018, "unsigned")
        with pytest.raises(SwapRefused, match=r"alike.* holds 0x60000018: no symbol"):
            machine.swap(old, two)
        users.symbols["alike"].write(5, "unsigned")
        machine.swap(old, two)
        assert [number(n) for n in (0, 1, 2, 4)] == [6, 0x6000_0010, 0x6000_0014, 0x6000_0010]
        assert old.function("digit", "unsigned(int)")(4) == 0x6000_0010

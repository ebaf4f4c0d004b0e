"""Watched memory beside what else happens in a machine."""

from __future__ import annotations

import pytest

from emu import Machine
from tests.fixtures import each_target

target = each_target()


def test_what_a_host_function_that_raises_has_accessed_is_not_told_of_the_next_call(machine: Machine) -> None:
    block, found = machine.heap.malloc(64), list[int]()

    def touch(at: int, fails: int) -> None:
        machine.parts.guest_view.write(at, b"abcd")
        if fails:
            raise ArithmeticError

    prototype = "void(unsigned long, int)"
    function = machine.define("touch", (touch, prototype))
    with machine.watch(block, 4, action=lambda hit: found.append(hit.address)):
        with pytest.raises(ArithmeticError):
            machine.call(function, prototype, block, 1)
        machine.call(machine.define("other", (lambda: None, "void(void)")), "void(void)")
        assert found == []
        machine.call(function, prototype, block, 0)
    assert len(found) == 1

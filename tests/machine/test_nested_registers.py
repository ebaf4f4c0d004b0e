"""What a guest function keeps in registers across a host function outlives whatever happens in there."""

from __future__ import annotations

import pytest

from emu import HostFunction, Machine
from emu.errors import GuestFault
from emu.isa.registry import convention
from tests.fixtures import fixture


def test_floating_point_registers_survive_a_fault_in_a_nested_call(machine: Machine, target: str) -> None:
    preserved = convention(machine.arch.name).preserved_floats
    if not preserved:
        pytest.skip(f"{machine.arch.name} has no floating-point register that a callee keeps")
    before = {name: 0x3FF0_0000_0000_0000 + number for number, name in enumerate(preserved)}

    def spoil(value: int) -> int:
        machine.cpu.write_registers(before)
        clobber = machine.define("clobber", HostFunction(fault, "int(int)"))
        with pytest.raises(GuestFault):
            machine.call(clobber, "int(int)", 1)
        assert dict(zip(preserved, machine.cpu.read_registers(preserved), strict=True)) == before
        return value

    def fault(value: int) -> int:
        machine.cpu.write_registers(dict.fromkeys(preserved, 0))
        null_read()
        return value

    library = machine.load(fixture(target, "faults"), symbols={"host_callback": HostFunction(spoil, "int(int)")})
    null_read = library.function("null_read", "int(void)")
    assert library.function("fault_around_host", "int(int)")(7) == 7

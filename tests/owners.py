"""The machine of a library, which fixtures that make both leave to it."""

from __future__ import annotations

from emu import Library, Machine


def machine_of(library: Library) -> Machine:
    machine = library._machine
    assert isinstance(machine, Machine)
    return machine

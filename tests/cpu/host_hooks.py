"""Hooks in machine code of any host as functions of a guest."""

from __future__ import annotations

from emu import Machine
from emu.cpu.hooks.host_code import HOSTS, host_code
from relink.memory.address_space import Protection

__all__ = ["ENGINE", "HOSTS", "EmuStop", "mapped_hooks"]

ENGINE = 0x1234  #: stands for the engine's address, which hooks hand on to `uc_emu_stop`


class EmuStop:
    """`uc_emu_stop` as a host function of a machine."""

    def __init__(self, machine: Machine) -> None:
        self.count = 0  #: calls so far
        self.address = machine.define("uc_emu_stop", (self._stop, "void uc_emu_stop(void *)"))

    def _stop(self, engine: int) -> None:
        assert engine == ENGINE
        self.count += 1


def mapped_hooks(machine: Machine, host: str) -> dict[str, int]:
    """Map a host's code into a machine: FILE.NAME -> guest address."""
    code = host_code(host)
    assert code is not None
    begin = machine.memory.map_anonymous(-(-len(code.content) // 4096) * 4096, Protection.R | Protection.X)
    machine.memory.write(begin, code.content)
    return {name: begin + offset for name, offset in code.places.items()}

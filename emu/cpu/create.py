"""Which engine runs which ISA."""

from __future__ import annotations

from emu.cpu.protocol import Cpu


def engine_of(arch: str) -> str:
    """The engine that runs `arch` (a canonical name): "icicle" for loongarch64, "unicorn" for the others."""
    return "icicle" if arch == "loongarch64" else "unicorn"


def create_cpu(arch: str) -> Cpu:
    """A CPU of `arch` (a canonical name) on its engine."""
    if engine_of(arch) == "icicle":
        from emu.cpu.icicle import IcicleCpu

        return IcicleCpu(arch)
    from emu.cpu.unicorn import UnicornCpu

    return UnicornCpu(arch)

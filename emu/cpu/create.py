"""Selection of the engine for an ISA."""

from __future__ import annotations

from emu.cpu import unicorn_isas
from emu.cpu.protocol import Cpu
from relink.errors import UnsupportedElf

#: ISAs that Icicle runs; Unicorn runs those in `emu.cpu.unicorn_isas`.
ICICLE_ISAS = frozenset({"loongarch64"})


def engine_of(arch: str) -> str:
    """The engine that runs `arch` (a canonical name), "icicle" or "unicorn". Raises UnsupportedElf for neither."""
    if arch in ICICLE_ISAS:
        return "icicle"
    if arch not in unicorn_isas.ISAS:
        raise UnsupportedElf(arch, "no engine supports this ISA")
    return "unicorn"


def create_cpu(arch: str) -> Cpu:
    """A CPU of `arch` (a canonical name) on its engine."""
    if engine_of(arch) == "icicle":
        from emu.cpu.icicle import IcicleCpu

        return IcicleCpu(arch)
    from emu.cpu.unicorn import UnicornCpu

    return UnicornCpu(arch)

"""Selection of the engine for an ISA."""

from __future__ import annotations

from typing import cast

from emu.cpu.protocol import Cpu, DeviceCpu
from emu.cpu.unicorn import isas as unicorn_isas
from relink.errors import UnsupportedElf

#: ISAs that Icicle runs; Unicorn runs those in `emu.cpu.unicorn.isas`.
ICICLE_ISAS = frozenset({"loongarch64"})


def engine_of(arch: str) -> str:
    """The engine that runs `arch` (a canonical name), "icicle" or "unicorn". Raises UnsupportedElf for neither."""
    if arch in ICICLE_ISAS:
        return "icicle"
    if arch not in unicorn_isas.ISAS:
        raise UnsupportedElf(arch, "no engine supports this ISA")
    return "unicorn"


def create_cpu(arch: str, *, at_once: bool = False) -> Cpu:
    """A CPU of `arch` (a canonical name) on its engine. Unless `at_once`, Unicorn's is made when it is needed."""
    if engine_of(arch) == "icicle":
        from emu.cpu.icicle.cpu import IcicleCpu

        return IcicleCpu(arch)
    if not at_once:
        from emu.cpu.unicorn.waiting import WaitingCpu

        return cast(Cpu, WaitingCpu(arch))
    from emu.cpu.unicorn.cpu import UnicornCpu

    return UnicornCpu(arch)


def create_device_cpu(arch: str, model: str | None = None) -> DeviceCpu:
    """A CPU of `arch` with memory-mapped devices. `model` is a name in `emu.cpu.unicorn.isas.MODELS`; None: the
    default of the ISA. Raises UnsupportedElf where the engine has no devices, or no such model.
    """
    engine = engine_of(arch)
    if engine != "unicorn":
        raise UnsupportedElf(arch, f"runs on {engine}, which has no memory-mapped devices")
    from emu.cpu.unicorn.cpu import UnicornCpu

    return UnicornCpu(arch, model)

"""Selection of the engine for an ISA."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, cast

from emu.cpu.protocol import Cpu, DeviceCpu
from emu.cpu.unicorn import isas as unicorn_isas
from relink.errors import MachineError, UnsupportedElf

#: ISAs that Icicle runs; Unicorn runs those in `emu.cpu.unicorn.isas`.
ICICLE_ISAS = frozenset({"loongarch64"})

#: The folders of files that are no Python modules. Machine code and compiled functions of libc would be missed
#: late, or never, because hosts and ABIs may lack them.
_FOLDERS: Final = ("cpu/hooks/native", "cpu/loongarch64/Ghidra", "libc/compiled/built")


def engine_of(arch: str) -> str:
    """The engine that runs `arch` (a canonical name), "icicle" or "unicorn". Raises UnsupportedElf for neither."""
    if arch in ICICLE_ISAS:
        return "icicle"
    if arch not in unicorn_isas.ISAS:
        raise UnsupportedElf(arch, "no engine supports this ISA")
    return "unicorn"


def create_cpu(arch: str, *, at_once: bool = False) -> Cpu:
    """A CPU of `arch` (a canonical name) on its engine. Unless `at_once`, Unicorn's is made when it is needed.

    Raises UnsupportedElf; MachineError where files of this project are missing.
    """
    _check_folders()
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
    default of the ISA. Raises UnsupportedElf where the engine has no devices, or no such model, MachineError
    as `create_cpu`.
    """
    _check_folders()
    engine = engine_of(arch)
    if engine != "unicorn":
        raise UnsupportedElf(arch, f"runs on {engine}, which has no memory-mapped devices")
    from emu.cpu.unicorn.cpu import UnicornCpu

    return UnicornCpu(arch, model)


@cache
def _check_folders() -> None:
    package = Path(__file__).parents[1]
    for name in _FOLDERS:
        if not (package / name).is_dir():
            raise MachineError(
                f"relink-emu is not installed completely: there is no folder {package / name} (it does not run "
                "from a zip archive; a frozen application needs the data files of the package emu)"
            )

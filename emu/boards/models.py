"""CPU models of boards, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from emu.boards.errors import BoardError

if TYPE_CHECKING:
    from emu.boards.profile import Profile


def _cortex_m(name: str) -> Profile:
    from emu.boards.cortex_m import CortexM

    return CortexM(name)


def _riscv(name: str) -> Profile:
    from emu.boards.riscv import MachineMode

    return MachineMode(name)


def _aarch64(name: str) -> Profile:
    from emu.boards.arm.aarch64 import AArch64

    return AArch64(name)


def _arm32(name: str) -> Profile:
    from emu.boards.arm.arm32 import Arm32

    return Arm32(name)


def _i386(name: str) -> Profile:
    from emu.boards.i386 import I386

    return I386(name)


_ARM32 = ("cortex-a7", "cortex-a8", "cortex-a9", "cortex-a15", "cortex-r5", "cortex-r5f")
_AARCH64 = ("cortex-a53", "cortex-a57", "cortex-a72")
_RISCV = ("rv32imc", "rv32imac", "rv32imafc", "rv32gc", "rv64imac", "rv64gc")
_CORTEX_M = ("m0", "m0plus", "m1", "m3", "m4", "m4f", "m7", "m23", "m33")

#: Name -> what makes its profile.
MODELS: Mapping[str, Callable[[str], Profile]] = {
    **{f"cortex-{name}": _cortex_m for name in _CORTEX_M},
    **dict.fromkeys(_RISCV, _riscv),
    **dict.fromkeys(_AARCH64, _aarch64),
    **dict.fromkeys(_ARM32, _arm32),
    "i386": _i386,
}
#: Name -> why there is no profile.
_REFUSED: Mapping[str, str] = dict.fromkeys(
    ("loongarch64", "la464", "la264"),
    "its engine (icicle) reports no accesses to devices, and its instructions are those of user programs, "
    "without CSRs and ERTN",
) | {"x86_64": "protected mode of 32 bits is modelled (i386), long mode is not"}


def profile_for(name: str) -> Profile:
    """The profile of a CPU model. Raises BoardError for an unknown one."""
    if (reason := _REFUSED.get(name.lower())) is not None:
        raise BoardError(f"there is no profile for {name}: {reason}")
    make = MODELS.get(name.lower())
    if make is None:
        raise BoardError(f"unknown CPU {name!r}; known are {', '.join(MODELS)}")
    return make(name.lower())

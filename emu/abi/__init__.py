"""Calling conventions: one small page of data for each, found by architecture."""

from __future__ import annotations

from emu.abi import aarch64, arm, i386, loongarch64, riscv, x86_64
from emu.abi.spec import (
    CallingConvention,
    DataModel,
    FloatFormat,
    IfuncArgument,
    PairAlignment,
    SaveArea,
    VaListStruct,
    VariadicRule,
    X87Stack,
)  # fmt: skip
from relink.arch import architecture

__all__ = [
    "CONVENTIONS", "CallingConvention", "DataModel", "FloatFormat", "IfuncArgument", "PairAlignment",
    "SaveArea", "VaListStruct", "VariadicRule", "X87Stack", "convention",
]  # fmt: skip

#: Every convention by the canonical name of its architecture.
CONVENTIONS: dict[str, CallingConvention] = {
    page.arch: page
    for page in (
        x86_64.X86_64, i386.I386, aarch64.AARCH64, arm.ARM,
        riscv.RISCV64, riscv.RISCV32, loongarch64.LOONGARCH64,
    )
}  # fmt: skip


def convention(arch: str) -> CallingConvention:
    """The convention of an architecture (canonical name or alias). Raises relink.arch.UnknownArchitecture."""
    return CONVENTIONS.get(arch) or CONVENTIONS[architecture(arch).name]

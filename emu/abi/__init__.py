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
from relink.arch import FloatAbi, architecture

__all__ = [
    "CONVENTIONS", "CallingConvention", "DataModel", "FloatFormat", "IfuncArgument", "PairAlignment",
    "SaveArea", "VaListStruct", "VariadicRule", "X87Stack", "convention", "float_convention",
]  # fmt: skip

#: Every convention by the canonical name of its architecture.
CONVENTIONS: dict[str, CallingConvention] = {
    page.arch: page
    for page in (
        x86_64.X86_64, i386.I386, aarch64.AARCH64, arm.ARM,
        riscv.RISCV64, riscv.RISCV32, loongarch64.LOONGARCH64,
    )
}  # fmt: skip


#: Those that pass floating-point values otherwise, by names like "arm:soft-float".
_VARIANTS = {page.arch: page for page in (*arm.VARIANTS, *riscv.VARIANTS, *loongarch64.VARIANTS)}


def convention(arch: str) -> CallingConvention:
    """The convention of an architecture (canonical name or alias). Raises relink.arch.UnknownArchitecture.

    A convention's own name (`CallingConvention.arch`) names it too: "riscv32:soft-float".
    """
    return CONVENTIONS.get(arch) or _VARIANTS.get(arch) or CONVENTIONS[architecture(arch).name]


def float_convention(arch: str, float_abi: FloatAbi) -> CallingConvention | None:
    """The convention of an architecture (canonical name) with that way to pass floating-point values; None where
    there is none."""
    usual = CONVENTIONS[arch]
    return usual if usual.float_abi is float_abi else _VARIANTS.get(f"{arch}:{float_abi.value}")

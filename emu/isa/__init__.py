"""Calling conventions: one small page of data for each, found by architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType

from emu.isa.spec import (
    CallingConvention,
    DataModel,
    FloatFormat,
    IfuncArgument,
    PairAlignment,
    SaveArea,
    VaListStruct,
    VariadicRule,
    X87Stack,
)
from relink.arch import ARCHITECTURES, FloatAbi, architecture, module_name
from relink.errors import UnsupportedElf

__all__ = [
    "CONVENTIONS", "CallingConvention", "DataModel", "FloatFormat", "IfuncArgument", "PairAlignment",
    "SaveArea", "VaListStruct", "VariadicRule", "X87Stack", "chosen_convention", "convention", "float_convention",
]  # fmt: skip


class _Conventions(Mapping[str, CallingConvention]):
    def __getitem__(self, arch: str) -> CallingConvention:
        return _page(arch)

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHITECTURES)

    def __len__(self) -> int:
        return len(ARCHITECTURES)


#: Every convention by the canonical name of its architecture; its page is read when first asked for.
CONVENTIONS: Mapping[str, CallingConvention] = _Conventions()


def _module(arch: str) -> ModuleType:
    return import_module(f"emu.isa.{module_name(arch)}")


@cache
def _page(arch: str) -> CallingConvention:
    page: CallingConvention = getattr(_module(arch), arch.upper())
    return page


@cache
def _variants(arch: str) -> dict[str, CallingConvention]:
    """Those that pass floating-point values otherwise, by names like "arm:soft-float"."""
    pages: tuple[CallingConvention, ...] = getattr(_module(arch), "VARIANTS", ())
    return {page.arch: page for page in pages}


def convention(arch: str) -> CallingConvention:
    """The convention of an architecture (canonical name or alias). Raises relink.arch.UnknownArchitecture.

    A convention's own name (`CallingConvention.arch`) names it too: "riscv32:soft-float".
    """
    if arch in ARCHITECTURES:
        return CONVENTIONS[arch]
    plain, colon, _ = arch.partition(":")
    if colon and plain in ARCHITECTURES and arch in _variants(plain):
        return _variants(plain)[arch]
    return CONVENTIONS[architecture(arch).name]


def float_convention(arch: str, float_abi: FloatAbi) -> CallingConvention | None:
    """The convention of an architecture (canonical name) with that way to pass floating-point values; None where
    there is none."""
    usual = CONVENTIONS[arch]
    return usual if usual.float_abi is float_abi else _variants(arch).get(f"{arch}:{float_abi.value}")


def chosen_convention(arch: str, float_abi: FloatAbi | str | None) -> CallingConvention:
    """The same for what a user gives: perhaps a name; None is the usual way. Raises UnsupportedElf."""
    if float_abi is None:
        return CONVENTIONS[arch]
    known = {abi.value: abi for abi in FloatAbi}
    abi = float_abi if isinstance(float_abi, FloatAbi) else known.get(float_abi)
    found = None if abi is None else float_convention(arch, abi)
    if found is None:
        raise UnsupportedElf(arch, f"has no calling convention {float_abi!r}; see FloatAbi")
    return found

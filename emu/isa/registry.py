"""ISAs and their calling conventions by name. A page is imported on first use.

`relink.arch` has the names, and the module of each ISA's page: `emu.isa.<module>` defines it under the ISA's name
in capitals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from emu.isa.convention import CallingConvention
from emu.isa.spec import Isa
from relink.arch import ARCHITECTURES, FloatAbi, architecture, module_name
from relink.errors import UnsupportedElf


class _Isas(Mapping[str, Isa]):
    def __getitem__(self, arch: str) -> Isa:
        return _page(arch)

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHITECTURES)

    def __len__(self) -> int:
        return len(ARCHITECTURES)


@cache
def _page(arch: str) -> Isa:
    page: Isa = getattr(import_module(f"emu.isa.{module_name(arch)}"), arch.upper())
    return page


#: Every ISA by the canonical name of its architecture.
ISAS: Mapping[str, Isa] = _Isas()


def convention(arch: str) -> CallingConvention:
    """The default convention of an architecture (canonical name or alias), or the convention with that name.

    A convention's name is `CallingConvention.arch`, such as "riscv32:soft-float".
    Raises relink.arch.UnknownArchitecture.
    """
    if arch in ARCHITECTURES:
        return ISAS[arch].convention
    plain, colon, _ = arch.partition(":")
    if colon and plain in ARCHITECTURES:
        for variant in ISAS[plain].variants:
            if variant.arch == arch:
                return variant
    return ISAS[architecture(arch).name].convention


def float_convention(arch: str, float_abi: FloatAbi) -> CallingConvention | None:
    """The convention of an architecture (canonical name) with that floating-point ABI, or None."""
    isa = ISAS[arch]
    return next((page for page in (isa.convention, *isa.variants) if page.float_abi is float_abi), None)


def chosen_convention(arch: str, float_abi: FloatAbi | str | None) -> CallingConvention:
    """The convention for a user's choice, which may be a name; None means the default. Raises UnsupportedElf when
    the architecture has no such convention.
    """
    if float_abi is None:
        return ISAS[arch].convention
    known = {abi.value: abi for abi in FloatAbi}
    abi = float_abi if isinstance(float_abi, FloatAbi) else known.get(float_abi)
    found = None if abi is None else float_convention(arch, abi)
    if found is None:
        abis = ", ".join(known for known, abi in known.items() if float_convention(arch, abi))
        raise UnsupportedElf(arch, f"has no calling convention {float_abi!r}, only {abis}")
    return found

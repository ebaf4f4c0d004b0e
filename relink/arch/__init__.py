"""The seven architectures: one page each, found by name, alias or ELF header."""

from __future__ import annotations

from relink.arch import aarch64, arm, i386, loongarch64, riscv, x86_64
from relink.arch.spec import Architecture, FloatAbi, Formula, Reloc, Role, Tls, TlsVariant
from relink.errors import RelinkError

__all__ = [
    "ARCHITECTURES", "Architecture", "FloatAbi", "Formula", "Reloc", "Role", "Tls", "TlsVariant",
    "UnknownArchitecture", "architecture", "architecture_of",
]  # fmt: skip

#: Every architecture by its canonical name, in the order people list them.
ARCHITECTURES: dict[str, Architecture] = {
    page.name: page
    for page in (
        x86_64.X86_64, i386.I386, aarch64.AARCH64, arm.ARM,
        riscv.RISCV64, riscv.RISCV32, loongarch64.LOONGARCH64,
    )
}  # fmt: skip

_BY_ALIAS = {alias: page for page in ARCHITECTURES.values() for alias in (page.name, *page.aliases)}
_BY_HEADER = {(page.machine, page.bits): page for page in ARCHITECTURES.values()}


class UnknownArchitecture(RelinkError):
    """A name that is neither an architecture nor an alias of one."""


def architecture(name: str) -> Architecture:
    """The architecture people call `name` (canonical or alias, any case). Raises UnknownArchitecture."""
    try:
        return _BY_ALIAS[name.strip().lower().replace("-", "_")]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise UnknownArchitecture(f"unknown architecture {name!r}; there are {known}") from None


def architecture_of(machine: int, bits: int) -> Architecture | None:
    """The architecture an ELF header's e_machine and class (32 or 64) name, if it is one of ours."""
    return _BY_HEADER.get((machine, bits))

"""The seven architectures: one page each, found by name, alias or ELF header, and read when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from relink.arch.spec import Architecture, FloatAbi, Formula, Reloc, Role, Tls, TlsVariant
from relink.errors import RelinkError

__all__ = [
    "ARCHITECTURES", "Architecture", "FloatAbi", "Formula", "Reloc", "Role", "Tls", "TlsVariant",
    "UnknownArchitecture", "architecture", "architecture_of", "module_name",
]  # fmt: skip

#: Name → (the module of its page, which has it under its name in capitals; e_machine; 32 or 64).
_PAGES = {
    "x86_64": ("x86_64", 62, 64),
    "i386": ("i386", 3, 32),
    "aarch64": ("aarch64", 183, 64),
    "arm": ("arm", 40, 32),
    "riscv64": ("riscv", 243, 64),
    "riscv32": ("riscv", 243, 32),
    "loongarch64": ("loongarch64", 258, 64),
}


class _Architectures(Mapping[str, Architecture]):
    """Every architecture by its canonical name; a page is imported when it is first asked for."""

    def __getitem__(self, name: str) -> Architecture:
        return _page(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_PAGES)

    def __len__(self) -> int:
        return len(_PAGES)


@cache
def _page(name: str) -> Architecture:
    page: Architecture = getattr(import_module(f"relink.arch.{module_name(name)}"), name.upper())
    return page


def module_name(name: str) -> str:
    """The module an architecture (canonical name) has its pages in, here and in `emu.isa`. Raises KeyError."""
    return _PAGES[name][0]


#: Every architecture by its canonical name, in the order people list them.
ARCHITECTURES: Mapping[str, Architecture] = _Architectures()


class UnknownArchitecture(RelinkError):
    """A name that is neither an architecture nor an alias of one."""


def architecture(name: str) -> Architecture:
    """The architecture people call `name` (canonical or alias, any case). Raises UnknownArchitecture."""
    plain = name.strip().lower().replace("-", "_")
    if plain in ARCHITECTURES:
        return ARCHITECTURES[plain]
    for page in ARCHITECTURES.values():
        if plain in page.aliases:
            return page
    known = ", ".join(ARCHITECTURES)
    raise UnknownArchitecture(f"unknown architecture {name!r}; there are {known}")


def architecture_of(machine: int, bits: int) -> Architecture | None:
    """The architecture an ELF header's e_machine and class (32 or 64) name, if it is one of ours."""
    name = next((name for name, (_, *header) in _PAGES.items() if header == [machine, bits]), None)
    return None if name is None else ARCHITECTURES[name]

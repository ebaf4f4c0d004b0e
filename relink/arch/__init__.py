"""The seven architectures, found by name, alias or ELF header. Each has one page (module), imported on first
use.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from relink.arch.spec import Architecture, FloatAbi, Formula, Reloc, Role, Tls, TlsVariant
from relink.errors import RelinkError

__all__ = [
    "ARCHITECTURES", "Architecture", "FloatAbi", "Formula", "Reloc", "Role", "Tls", "TlsVariant",
    "UnknownArchitecture", "architecture", "architecture_of", "module_name",
]  # fmt: skip

#: Name → (module of the page, e_machine, 32 or 64). The page defines the architecture under its name in capitals.
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
    """Mapping of canonical names to architectures; a page is imported on first access."""

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
    """The name of an architecture's page module, the same here and in `emu.isa`. `name` is canonical. Raises
    KeyError.
    """
    return _PAGES[name][0]


#: Every architecture by its canonical name, in the usual order of presentation.
ARCHITECTURES: Mapping[str, Architecture] = _Architectures()


class UnknownArchitecture(RelinkError):
    """The name is neither an architecture nor an alias of one."""


def architecture(name: str) -> Architecture:
    """The architecture with the canonical name or alias `name`, in any case. Raises UnknownArchitecture."""
    plain = str(name).strip().lower().replace("-", "_")
    if plain in ARCHITECTURES:
        return ARCHITECTURES[plain]
    for page in ARCHITECTURES.values():
        if plain in page.aliases:
            return page
    known = ", ".join(ARCHITECTURES)
    raise UnknownArchitecture(f"unknown architecture {name!r}; there are {known}")


def _reduced(given: Architecture) -> Any:
    """For pickle and copy: one of the seven is found by its name."""
    if ARCHITECTURES.get(given.name) is given:
        return architecture, (given.name,)
    return object.__reduce_ex__(given, 4)


copyreg.pickle(Architecture, _reduced)


def architecture_of(machine: int, bits: int) -> Architecture | None:
    """The architecture for e_machine and class (32 or 64) of an ELF header; None for an unsupported one."""
    name = next((name for name, (_, *header) in _PAGES.items() if header == [machine, bits]), None)
    return None if name is None else ARCHITECTURES[name]

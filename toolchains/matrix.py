"""The relocation types in the fixtures, compared with the linker's tables."""

from __future__ import annotations

from dataclasses import dataclass

from relink.arch import architecture
from toolchains.manifest import Manifest
from toolchains.psabi import relocation_names
from toolchains.targets import COMPILERS, PACKED, PREFIX, VARIANTS

_NAMED = 3


@dataclass(frozen=True)
class Row:
    """One relocation type: its psABI name, and per compiler the recipes whose file has it."""

    name: str
    files: dict[str, list[str]]

    def count(self, compiler: str) -> int:
        """The number of recipes that have it, as built by `compiler`."""
        return len(self.files.get(compiler, ()))

    @property
    def summary(self) -> str:
        """The first few recipes by name."""
        names = list(dict.fromkeys(name for names in self.files.values() for name in names))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more


def matrix_of(arch: str, manifest: Manifest) -> list[Row]:
    """A row for every type of `arch`: those of the psABI, those of `relink.arch`, those a fixture holds.

    In the order of their numbers, the packed tables last.
    """
    numbers = {name: number for number, name in relocation_names(arch).items()}
    names = dict(relocation_names(arch))
    for number, reloc in architecture(arch).relocations.items():
        names.setdefault(number, f"{PREFIX[arch]}_{reloc.name}")
    holders: dict[str, dict[str, list[str]]] = {}
    for file, entry in manifest.items():
        name, _, path = file.partition("/")
        variant, recipe = VARIANTS[name], path.rpartition(".")[0]
        if variant.target.arch == arch:
            for kind in entry.relocations:
                recipes = holders.setdefault(kind, {name: [] for name in COMPILERS})[variant.compiler]
                if recipe not in recipes:
                    recipes.append(recipe)
    extra = [kind for kind in holders if kind not in numbers and kind not in names.values()]
    ordered = [names[number] for number in sorted(names)]
    packed = [kind.name for kind in PACKED.values()]
    everything = dict.fromkeys([*ordered, *(kind for kind in extra if kind not in packed), *packed])
    return [Row(name, holders.get(name, {})) for name in everything]

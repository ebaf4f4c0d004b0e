"""The updater (updater.c) on an emulated CPU, over a model of the device's flash."""

from __future__ import annotations

from pathlib import Path

from emu import Library, Machine, NorFlash
from emu.build.build import build
from emu.build.compilers import find
from emu.build.recipe import Recipe
from emu.build.store import Store, default_folder
from emu.build.targets import targets_of

SOURCE = Path(__file__).with_name("updater.c")


def compiled(source: Path, arch: str, *flags: str, kind: str = "o", **defines: object) -> Path:
    """A C file compiled for an architecture with `-D` of `defines`; `kind` is "so" or "o"."""
    (target,) = targets_of(arch)
    macros = tuple((name, str(value)) for name, value in defines.items())
    flags = ("-ffreestanding", *flags)
    recipe = Recipe(source.stem, (source,), source.parent, kind=kind, cflags=flags, defines=macros)
    (file,) = build(recipe, find(target), Store(default_folder()))
    return file


def load(machine: Machine, file: Path, flash: NorFlash) -> Library:
    """The compiled updater in a machine, with the functions by which it reads and writes flash."""
    memory = machine.memory
    return machine.load(
        file,
        symbols={
            "flash_read": (
                lambda at, to, size: memory.write(to, flash.read(at, size)),
                "void(uint32_t, void *, uint32_t)",
            ),
            "flash_program": (
                lambda at, data, size: flash.program(at, memory.read(data, size)) and None,
                "void(uint32_t, const void *, uint32_t)",
            ),
            "flash_erase": (lambda at, size: flash.erase(at, size) and None, "void(uint32_t, uint32_t)"),
        },
    )

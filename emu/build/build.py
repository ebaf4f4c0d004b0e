"""Building a library for a target."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from emu.build.compilers import Compiler, run
from emu.build.errors import BuildError
from emu.build.inputs import Inputs, inputs_of, listed
from emu.build.recipe import Recipe
from emu.build.store import Store


def build(recipe: Recipe, compiler: Compiler, store: Store, *, rebuild: bool = False) -> list[Path]:
    """The library's files, built if the store has none of these sources, headers, flags and compiler: one shared
    object, or the relocatable objects in the order of their sources.

    Raises CompilerFailed, CompilerMissing, BuildError.
    """
    try:
        key = recipe.key(compiler)
    except OSError as error:
        raise BuildError(f"{error.filename} cannot be read: {error.strerror}") from None
    folder = store.get(key, partial(_make, recipe, compiler, store.folder), rebuild=rebuild)
    if recipe.kind == "so":
        return [folder / f"{recipe.name}.so"]
    return [folder / name if isinstance(name, str) else name for name in _objects(recipe)]


def _objects(recipe: Recipe) -> list[str | Path]:
    """The inputs of a link: the names of objects, which are numbered because two sources may have one name, and
    the files that are linked as they are."""
    compiled = set(recipe.compiled)
    return [
        f"{number}-{source.stem}.o" if source in compiled else source
        for number, source in enumerate(recipe.sources)
    ]


def _make(recipe: Recipe, compiler: Compiler, scratch: Path, folder: Path) -> Inputs:
    began = time.time_ns()
    inputs: list[Path] = []
    dependencies: list[str] = []
    target = compiler.target.name
    for source, name in zip(recipe.sources, _objects(recipe), strict=True):
        if isinstance(name, Path):
            inputs.append(name)
            continue
        output, rule = folder / name, folder / f"{name}.d"
        inputs.append(output)
        flags = [*recipe.flags, "-MMD", "-MF", str(rule)]
        run(target, compiler.compile(source, flags, output, scratch), recipe.base)
        if rule.exists():  # there is none for assembly that is not preprocessed
            dependencies += listed(rule.read_text(encoding="utf-8", errors="surrogateescape"))
            rule.unlink()
    if recipe.kind == "so":
        run(target, compiler.link(inputs, recipe.ldflags, folder / f"{recipe.name}.so"), recipe.base)
    return inputs_of((*dependencies, *map(str, recipe.sources)), recipe.include, recipe.base, began)

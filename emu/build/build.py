"""Building a library for a target."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from emu.build.compilers import COMPILED, Compiler, run
from emu.build.errors import BuildError, CompilerFailed
from emu.build.inputs import Inputs, inputs_of, listed
from emu.build.recipe import Recipe
from emu.build.store import Store

_LINKED = (b"\x7fELF", b"!<arch>\n", b"!<thin>\n", b"BC\xc0\xde")
_SCRIPTS = (".ld", ".lds")


def build(recipe: Recipe, compiler: Compiler, store: Store, *, rebuild: bool = False) -> list[Path]:
    """The library's files, built if the store has none of these sources, headers, flags and compiler: one shared
    object, or the relocatable objects in the order of their sources.

    Raises CompilerFailed, CompilerMissing, BuildError.
    """
    for path in recipe.sources:
        _check_kind(path, compiled=path in recipe.compiled)
    try:
        key = recipe.key(compiler)
    except OSError as error:
        raise BuildError(f"{error.filename} cannot be read: {error.strerror}") from None
    folder = store.get(key, partial(_make, recipe, compiler, store.folder), rebuild=rebuild)
    if recipe.kind == "so":
        return [folder / f"{recipe.name}.so"]
    return [folder / name if isinstance(name, str) else name for name in _objects(recipe)]


def _check_kind(path: Path, *, compiled: bool) -> None:
    """Refuse what is neither compiled nor linked: a pattern may match headers and notes beside sources."""
    if compiled or path.suffix in _SCRIPTS:
        return
    with suppress(OSError), path.open("rb") as file:
        if not file.read(8).startswith(_LINKED):
            raise BuildError(
                f"{path} is neither a source ({', '.join(sorted(COMPILED))}) nor an object, archive, library or "
                f"linker script ({', '.join(_SCRIPTS)})"
            )


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
        flags = [*recipe.flags, "-MD", "-MF", str(rule)]
        _run(target, compiler.compile(source, flags, output, scratch), recipe.base, output)
        if rule.exists():  # there is none for assembly that is not preprocessed
            named = listed(rule.read_text(encoding="utf-8", errors="surrogateescape"))
            dependencies += [name for name in named if not name.startswith(compiler.own_headers)]
            rule.unlink()
    if recipe.kind == "so":
        output = folder / f"{recipe.name}.so"
        _run(target, compiler.link(inputs, recipe.ldflags, output), recipe.base, output)
    return inputs_of((*dependencies, *map(str, recipe.sources)), recipe.header_folders, recipe.base, began)


def _run(target: str, command: Sequence[str], base: Path, output: Path) -> None:
    said = run(target, command, base)
    if not output.exists():
        raise CompilerFailed(target, command, f"{said}\nIt ended without an error, but did not write {output}.")

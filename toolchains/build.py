"""Planning, building changed files, and checking.

A file is kept when its `origin` (see `toolchains.manifest`) is that of a new build, its bytes match the manifest,
and it has the relocation types that its recipe requires.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolchains.engine import Command, Engine
from toolchains.errors import BuildFailed, BuildsFailed, ToolchainError, WrongRelocations
from toolchains.manifest import FIXTURES, Entry, Manifest, sha256_of
from toolchains.recipe import Kind, Recipe, words_on
from toolchains.recipes import RECIPES
from toolchains.relocations import relocation_counts
from toolchains.targets import PREFIX, TARGETS, VARIANTS, Variant

SOURCES = FIXTURES / "src"
BUILT = FIXTURES / "built"
_HEADER = "fixture.h"
_ORIGIN_DIGITS = 32

Report = Callable[[str, str], None]


def selected(compiler: str, targets: Iterable[str] | None = None) -> list[tuple[Variant, list[Recipe]]]:
    """Each variant of `compiler` with its recipes, in build order. `None` selects every target."""
    wanted = [Variant(TARGETS[name], compiler) for name in (TARGETS if targets is None else targets)]
    return [(variant, [r for r in RECIPES.values() if variant.name in r.variants]) for variant in wanted]


def commands_for(recipe: Recipe, variant: Variant, engine: Engine) -> list[Command]:
    """The commands that build `recipe` for `variant`: compiles, stub libraries, and last the link or archive."""
    target = variant.target
    output = f"{{built}}/{variant.name}/{recipe.file}"
    pic = "-fno-pic" if not recipe.pic else "-fPIE" if recipe.kind is Kind.EXECUTABLE else "-fPIC"
    cflags = (pic, *recipe.cflags, *words_on(recipe.cflags_on, variant))
    if recipe.kind is Kind.OBJECT:
        (source,) = recipe.sources
        return [engine.compile(target, source, output, cflags)]
    if recipe.kind is Kind.ARCHIVE:
        members = [f"{{work}}/{Path(source).stem}.o" for source in recipe.sources]
        compiles = (engine.compile(target, *pair, cflags) for pair in zip(recipe.sources, members, strict=True))
        return [*compiles, engine.archive(target, members, output)]
    commands, objects, libraries = [], [], []
    for number, source in enumerate(recipe.sources):
        objects.append(f"{{work}}/{number}.o")
        commands.append(engine.compile(target, source, objects[-1], cflags))
    if recipe.stubs:
        commands.append(engine.compile(target, "empty.c", "{work}/empty.o", ("-fPIC",)))
    for soname in recipe.stubs:
        stub = f"{{work}}/{soname}"
        commands.append(engine.link(target, ("{work}/empty.o",), stub, ("-shared", f"-soname={soname}")))
        libraries.append(stub)
    libraries += [f"{{built}}/{variant.name}/{RECIPES[need].file}" for need in recipe.needs]
    kind = () if recipe.kind is Kind.EXECUTABLE else ("-shared", *_soname(recipe))
    ldflags = (*kind, *recipe.strip, *recipe.ldflags, *words_on(recipe.ldflags_on, variant))
    commands.append(engine.link(target, (*objects, *libraries), output, ldflags))
    return commands


def _soname(recipe: Recipe) -> tuple[str, ...]:
    name = recipe.file.rsplit("/", 1)[-1] if recipe.soname is None else recipe.soname
    return (f"-soname={name}",) if name else ()


def _inputs(recipe: Recipe, variant: Variant) -> tuple[str, ...]:
    read = (*recipe.sources, _HEADER, *recipe.inputs, *(("empty.c",) if recipe.stubs else ()))
    needed = (f"built/{variant.name}/{RECIPES[need].file}" for need in recipe.needs)
    return (*(f"src/{name}" for name in read), *needed)


def origin_of(recipe: Recipe, variant: Variant, engine: Engine, version: str, built: Path = BUILT) -> str:
    """A digest of all inputs of the file; nothing is built for it, and no tool is required."""
    words = tuple(shlex.join(command) for command in commands_for(recipe, variant, engine))
    digest = hashlib.sha256(json.dumps([version, {**engine.flags}, words]).encode())
    for name in _inputs(recipe, variant):
        place = built / name.removeprefix("built/") if name.startswith("built/") else FIXTURES / name
        digest.update(f"{name} {sha256_of(place)}\n".encode())
    return digest.hexdigest()[:_ORIGIN_DIGITS]


def expected_types(recipe: Recipe, variant: Variant) -> tuple[str, ...]:
    """The psABI names of the relocation types `recipe` must hold as `variant`."""
    target = variant.target
    roles = set(recipe.expects).union(*(recipe.expects_on.get(key, ()) for key in variant.keys))
    held = {f"{PREFIX[target.arch]}_{name}" for name in words_on(recipe.holds_on, variant)}
    return tuple(sorted({target.relocations[role].name for role in roles} | held))


def build_one(
    recipe: Recipe, variant: Variant, engine: Engine, built: Path, known: Entry | None
) -> tuple[Entry, bool]:
    """Builds one file under `built` unless `known` describes it already.

    Returns its manifest entry, and whether it was built. Raises `BuildFailed`, `WrongRelocations`.
    """
    version = engine.version(variant.target)
    origin = origin_of(recipe, variant, engine, version, built)
    expected = set(expected_types(recipe, variant))
    fixture = f"{variant.name}/{recipe.file}"
    output = built / fixture
    if (
        known is not None
        and known.origin == origin
        and expected <= known.relocations.keys()
        and output.is_file()
        and sha256_of(output) == known.sha256
    ):
        return known, False
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="relink-fixture-") as work:
        places = {"work": work, "built": str(built), "sources": str(SOURCES)}
        for command in commands_for(recipe, variant, engine):
            engine.run(fixture, command, places, SOURCES)
    output.chmod(0o644)
    counts = relocation_counts(output, variant.target.arch)
    missing = expected - set(counts)
    if missing:
        output.unlink()
        raise WrongRelocations(fixture, missing, counts)
    entry = Entry(version, origin, output.stat().st_size, sha256_of(output), counts)
    return entry, True


def build(
    engine: Engine,
    targets: Iterable[str] | None = None,
    *,
    built: Path = BUILT,
    manifest: Manifest | None = None,
    jobs: int = 1,
    report: Report | None = None,
) -> Manifest:
    """Builds every fixture of `targets` into `built`; at most `jobs` targets at a time.

    `manifest` has the known entries (empty: build all). Returns the updated manifest: the entries of built targets
    are replaced, so that removed recipes leave no entry. `report(file, "built"|"kept")` is called for each file.
    Raises `CompilerMissing`, `CompilerTooOld`, or `BuildsFailed` with all that failed.
    """
    known = dict(manifest or {})
    failures: list[ToolchainError] = []

    def build_variant(variant: Variant, recipes: list[Recipe]) -> Manifest:
        entries: Manifest = {}
        failed: set[str] = set()
        for recipe in recipes:
            name = f"{variant.name}/{recipe.file}"
            if failed.intersection(recipe.needs):
                failed.add(recipe.name)
                continue
            try:
                entries[name], fresh = build_one(recipe, variant, engine, built, known.get(name))
            except (BuildFailed, WrongRelocations) as failure:
                failed.add(recipe.name)
                failures.append(failure)
                continue
            if report:
                report(name, "built" if fresh else "kept")
        return entries

    chosen = selected(engine.compiler, targets)
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        results = list(pool.map(lambda pair: build_variant(*pair), chosen))
    if failures:
        raise BuildsFailed(failures)
    kept = set(VARIANTS) - {variant.name for variant, _ in chosen}
    updated = {name: entry for name, entry in known.items() if name.partition("/")[0] in kept}
    for entries in results:
        updated.update(entries)
    return updated


def remove_strays(manifest: Manifest, built: Path = BUILT) -> list[str]:
    """Deletes files under `built` without a manifest entry, and returns their names."""
    files = (str(path.relative_to(built)) for path in sorted(built.rglob("*")) if path.is_file())
    strays = [name for name in files if name not in manifest]
    for name in strays:
        (built / name).unlink()
    return strays


def differences(manifest: Manifest, rebuilt: Manifest, built: Path = BUILT) -> dict[str, str]:
    """Differences between the manifest, a rebuild, and the files under `built`: file → sentence. Empty when all
    three agree.
    """
    problems = {}
    for name, entry in rebuilt.items():
        path = built / name
        if name not in manifest:
            problems[name] = "is not in the manifest: build it"
        elif manifest[name].compiler != entry.compiler:
            problems[name] = f"was built with {manifest[name].compiler}; this is {entry.compiler}"
        elif manifest[name].sha256 != entry.sha256:
            changed = manifest[name].origin != entry.origin
            problems[name] = "is older than its sources" if changed else "differs with unchanged sources"
        elif not path.is_file():
            problems[name] = "is missing: build it"
        elif sha256_of(path) != entry.sha256:
            problems[name] = "was changed by hand: what is built comes from its source; build it again"
    return problems

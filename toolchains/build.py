"""Plans, builds what changed, checks, and keeps the manifest.

The manifest (`arch_fixtures/manifest.json`) says of each file what went in (sources and needed fixtures),
how (the commands, with placeholders for places), with what compiler, and what came out: size, sha256,
relocation counts and the types it was required to hold. Sources are hashed once for all; `origin` is one hash
over everything that went into a file. A file is left alone when its origin is what a build would have now,
and its bytes are what the manifest says.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from toolchains.engine import Command, Engine
from toolchains.errors import BuildFailed, BuildsFailed, ToolchainError, WrongRelocations
from toolchains.recipe import Kind, Recipe, words_on
from toolchains.recipes import RECIPES
from toolchains.relocations import relocation_counts
from toolchains.targets import PREFIX, TARGETS, VARIANTS, Variant

FIXTURES = Path(__file__).resolve().parent.parent / "arch_fixtures"
SOURCES = FIXTURES / "src"
BUILT = FIXTURES / "built"
MANIFEST = FIXTURES / "manifest.json"
_HEADER = "fixture.h"

Report = Callable[[str, str], None]


@dataclass(frozen=True)
class Entry:
    """One block of the manifest: a built file and where it came from.

    `inputs` are relative to `arch_fixtures`; `origin` is the sha256 over their contents, the commands with
    their shared flags, and the compiler's version.
    """

    recipe: str
    target: str
    compiler: str
    inputs: tuple[str, ...]
    commands: tuple[str, ...]
    origin: str
    size: int
    sha256: str
    relocations: Mapping[str, int]
    expected: tuple[str, ...]


Manifest = dict[str, Entry]


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """The manifest, by file name relative to `built/`; empty when there is none yet."""
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text())["files"]
    lists = ("inputs", "commands", "expected")
    return {name: Entry(**row | {key: tuple(row[key]) for key in lists}) for name, row in rows.items()}


def sources() -> dict[str, str]:
    """The sha256 of every source and script, by path relative to `arch_fixtures`."""
    files = (path for path in sorted(SOURCES.rglob("*")) if path.is_file())
    return {str(path.relative_to(FIXTURES)): sha256_of(path) for path in files}


def read_sources(path: Path = MANIFEST) -> dict[str, str]:
    """The sources' hashes as the manifest has them."""
    return dict(json.loads(path.read_text())["sources"])


def read_flags(path: Path = MANIFEST) -> dict[str, dict[str, str]]:
    """By compiler, what the placeholders `{compile}` and `{link}` in its commands stand for."""
    return dict(json.loads(path.read_text())["flags"]) if path.is_file() else {}


def write_manifest(manifest: Manifest, engine: Engine, path: Path = MANIFEST) -> None:
    """Writes the manifest, sorted, a list on one line, so that diffs are small.

    `engine` is what built last; the other compiler's flags stay as they are.
    """
    files = {}
    for name in sorted(manifest):
        pairs = asdict(manifest[name]).items()
        fields = (f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in pairs)
        files[name] = "{\n" + ",\n".join(fields) + "\n  }"
    blocks = ",\n".join(f"  {json.dumps(name)}: {block}" for name, block in files.items())
    flags = read_flags(path) | {engine.compiler: {name: shlex.join(words) for name, words in engine.flags.items()}}
    facts = {"version": 2, "flags": dict(sorted(flags.items())), "sources": sources()}
    head = json.dumps(facts, indent=1).removesuffix("\n}")
    path.write_text(f'{head},\n "files": {{\n{blocks}\n }}\n}}\n')


def selected(compiler: str, targets: Iterable[str] | None = None) -> list[tuple[Variant, list[Recipe]]]:
    """Each variant of `compiler` with its recipes, in build order. `None` selects every target."""
    wanted = [Variant(TARGETS[name], compiler) for name in (TARGETS if targets is None else targets)]
    return [(variant, [r for r in RECIPES.values() if variant.name in r.variants]) for variant in wanted]


def commands_for(recipe: Recipe, variant: Variant, engine: Engine) -> list[Command]:
    """What builds `recipe` for `variant`: its compiles, its stub libraries, and last the link or archive."""
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


def _origin(inputs: tuple[str, ...], built: Path, words: tuple[str, ...], engine: Engine, version: str) -> str:
    digest = hashlib.sha256(json.dumps([version, {**engine.flags}, words]).encode())
    for name in inputs:
        place = built / name.removeprefix("built/") if name.startswith("built/") else FIXTURES / name
        digest.update(f"{name} {sha256_of(place)}\n".encode())
    return digest.hexdigest()


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
    commands = commands_for(recipe, variant, engine)
    words = tuple(shlex.join(command) for command in commands)
    inputs = _inputs(recipe, variant)
    origin = _origin(inputs, built, words, engine, version)
    expected = expected_types(recipe, variant)
    fixture = f"{variant.name}/{recipe.file}"
    output = built / fixture
    if (
        known is not None
        and (known.origin, known.expected) == (origin, expected)
        and output.is_file()
        and sha256_of(output) == known.sha256
    ):
        return known, False
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="relink-fixture-") as work:
        places = {"work": work, "built": str(built), "sources": str(SOURCES)}
        for command in commands:
            engine.run(fixture, command, places, SOURCES)
    output.chmod(0o644)
    counts = relocation_counts(output, variant.target.arch)
    missing = set(expected) - set(counts)
    if missing:
        output.unlink()
        raise WrongRelocations(fixture, missing, counts)
    entry = Entry(
        recipe.name,
        variant.target.name,
        version,
        inputs,
        words,
        origin,
        output.stat().st_size,
        sha256_of(output),
        counts,
        expected,
    )
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

    `manifest` is what is known already (nothing: build all). Returns its update: entries of the targets
    built replace theirs, so that a recipe that is gone leaves no entry. `report(file, "built"|"kept")` is
    called for each file. Raises `CompilerMissing`, `CompilerTooOld`, or `BuildsFailed` with all that failed.
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
    """Deletes files under `built` that no manifest entry names, and says which."""
    files = (str(path.relative_to(built)) for path in sorted(built.rglob("*")) if path.is_file())
    strays = [name for name in files if name not in manifest]
    for name in strays:
        (built / name).unlink()
    return strays


def differences(manifest: Manifest, rebuilt: Manifest, built: Path = BUILT) -> dict[str, str]:
    """What a rebuild, or a file under `built`, says otherwise than the manifest: file → sentence.

    Empty when all three agree.
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

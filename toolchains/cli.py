"""`python -m toolchains`: build, check, list, matrix, image, oracle, static-oracle."""

from __future__ import annotations

import enum
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from emu.fetch.errors import FetchError
from toolchains import build as building
from toolchains import compiled_library, host_code
from toolchains.engine import Engine, Gnu, Llvm, Zig
from toolchains.errors import ToolchainError
from toolchains.image import CONTAINERS, STAGES, Buildah, timed_build
from toolchains.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from toolchains.recipe import Recipe
from toolchains.recipes import RECIPES
from toolchains.targets import COMPILERS, TARGETS, VARIANTS, Variant

app = typer.Typer(
    help="Builds the fixtures of every architecture.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


class EngineName(enum.StrEnum):
    """What builds: see `engine.py` and `image.py`."""

    ZIG = "zig"
    LOCAL = "local"
    DOCKER = "docker"
    BUILDAH = "buildah"


class CompilerName(enum.StrEnum):
    """The two compilers fixtures are built with."""

    CLANG = "clang"
    GCC = "gcc"


Arch = Annotated[list[str] | None, typer.Option("--arch", "-a", help="Only this target; may be repeated.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Targets built at a time.")]
Builder = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        "-e",
        help="What builds: the ziglang wheel, Debian's compilers on this host, or those in a container.",
    ),
]
Which = Annotated[
    CompilerName | None,
    typer.Option("--compiler", "-c", help="zig has clang; the others gcc, and clang 19 for comparison."),
]
_JOBS = min(4, os.cpu_count() or 1)


def _chosen(arch: list[str] | None) -> list[str]:
    unknown = [name for name in arch or () if name not in TARGETS]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(TARGETS)}")
    return arch or list(TARGETS)


def _compiler(engine: EngineName, compiler: CompilerName | None) -> CompilerName:
    if engine is EngineName.ZIG and compiler is CompilerName.GCC:
        raise typer.BadParameter("the ziglang wheel has no gcc: --engine docker, buildah or local")
    return compiler or (CompilerName.CLANG if engine is EngineName.ZIG else CompilerName.GCC)


def _engine(engine: EngineName, compiler: CompilerName) -> Engine:
    if engine is EngineName.ZIG:
        return Zig()
    return Gnu() if compiler is CompilerName.GCC else Llvm()


def _inside(
    engine: EngineName, command: str, compiler: CompilerName, targets: list[str], jobs: int, *more: str
) -> None:
    """Runs the command in the toolchain image, on this tree."""
    container = CONTAINERS[engine]
    container.build("toolchain")
    words = ["python3", "-m", "toolchains", command, "--engine", "local", "--compiler", compiler, "-j", str(jobs)]
    container.run("toolchain", [*words, *(f"--arch={name}" for name in targets), *more], mount=True)


def _build(
    engine: Engine, targets: list[str], jobs: int, built: Path, known: Manifest
) -> tuple[Manifest, Counter[str]]:
    tally: Counter[str] = Counter()
    total = sum(len(recipes) for _, recipes in building.selected(engine.compiler, targets))
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("building", total=total)

        def report(name: str, outcome: str) -> None:
            tally[outcome] += 1
            progress.update(task, advance=1, description=name)

        manifest = building.build(engine, targets, built=built, manifest=known, jobs=jobs, report=report)
    return manifest, tally


def _say_what_is_lacking(compiler: str, targets: list[str]) -> None:
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, recipe in RECIPES.items():
        for target in targets:
            variant = VARIANTS[f"{target}-{compiler}"]
            if recipe.wanted(variant) and (reason := recipe.lacking(variant)):
                reasons.setdefault((name, reason), []).append(target)
    for (name, reason), where in reasons.items():
        err.print(
            f"not built: {name} ({', '.join(where)}): {reason}", markup=False, highlight=False, soft_wrap=True
        )


@app.command()
def build(
    arch: Arch = None,
    engine: Builder = EngineName.ZIG,
    compiler: Which = None,
    jobs: Jobs = _JOBS,
    output: Annotated[
        Path | None, typer.Option(help="Build into this folder, with a manifest of its own.")
    ] = None,
) -> None:
    """Build the fixtures that changed, and update the manifest."""
    targets, which = _chosen(arch), _compiler(engine, compiler)
    if engine is not EngineName.ZIG and which is CompilerName.CLANG and output is None:
        raise typer.BadParameter("the committed clang set is the ziglang wheel's; say --output FOLDER to compare")
    if engine in CONTAINERS:
        if output is not None:
            raise typer.BadParameter("--output is for the engines zig and local")
        _inside(engine, "build", which, targets, jobs)
        return
    builder = _engine(engine, which)
    built, place = (output, output / "manifest") if output else (building.BUILT, MANIFEST)
    manifest, tally = _build(builder, targets, jobs, built, read_manifest(place))
    write_manifest(manifest, place)
    strays = building.remove_strays(manifest, built) if output is None else []
    _say_what_is_lacking(which, targets)
    if engine is EngineName.ZIG and output is None:
        compiled_library.build()
        host_code.build()
    size = sum(entry.size for entry in manifest.values())
    out.print(
        f"{tally['built']} built, {tally['kept']} unchanged, {len(strays)} removed; "
        f"{len(manifest)} files, {size / 1e6:.2f} MB in all"
    )


@app.command()
def check(arch: Arch = None, engine: Builder = EngineName.ZIG, compiler: Which = None, jobs: Jobs = _JOBS) -> None:
    """Rebuild everything elsewhere and compare with the manifest and the committed files, byte for byte."""
    targets, which = _chosen(arch), _compiler(engine, compiler)
    if engine in CONTAINERS:
        _inside(engine, "check", which, targets, jobs)
        return
    manifest = read_manifest()
    with tempfile.TemporaryDirectory(prefix="relink-check-") as place:
        rebuilt, _ = _build(_engine(engine, which), targets, jobs, Path(place), {})
    problems = building.differences(manifest, rebuilt)
    whole = engine is EngineName.ZIG and not arch
    stale = [*compiled_library.differences(), *host_code.differences()] if whole else []
    for sentence in [*(f"{name}: {problem}" for name, problem in problems.items()), *stale]:
        err.print(sentence, markup=False, highlight=False, soft_wrap=True)
    out.print(f"{len(rebuilt) - len(problems)} of {len(rebuilt)} files are identical")
    if problems or stale:
        raise typer.Exit(1)


@app.command(name="list")
def list_fixtures() -> None:
    """List the fixtures and, per target, their sizes in bytes by clang and by gcc."""
    manifest = read_manifest()
    table = Table("fixture", *TARGETS)
    for recipe in RECIPES.values():
        table.add_row(
            recipe.name,
            *(
                " ".join(_size(manifest, recipe, VARIANTS[f"{target}-{compiler}"]) for compiler in COMPILERS)
                for target in TARGETS
            ),
        )
    out.print(table)
    for compiler in COMPILERS:
        _say_what_is_lacking(compiler, list(TARGETS))


def _size(manifest: Manifest, recipe: Recipe, variant: Variant) -> str:
    entry = manifest.get(f"{variant.name}/{recipe.file}")
    return str(entry.size) if entry else "-"


@app.command()
def matrix(
    arch: Annotated[
        list[str] | None, typer.Option("--arch", "-a", help="Only this architecture; may be repeated.")
    ] = None,
    holes: Annotated[bool, typer.Option("--holes", help="Only the types no fixture holds.")] = False,
) -> None:
    """Which relocation type which fixtures hold, and which of the psABIs' types none does."""
    from toolchains.matrix import matrix_of

    manifest = read_manifest()
    for name in dict.fromkeys(TARGETS[target].arch for target in _chosen(arch)):
        rows = matrix_of(name, manifest)
        missing = [row.name for row in rows if not row.files]
        if not holes:
            table = Table("type", *COMPILERS, "fixtures", title=name)
            for row in rows:
                table.add_row(row.name, *(str(row.count(compiler)) for compiler in COMPILERS), row.summary)
            out.print(table)
        out.print(
            f"{name}: {len(rows) - len(missing)} of {len(rows)} types held; in no fixture: "
            f"{', '.join(missing) or 'none'}",
            soft_wrap=True,
            highlight=False,
        )


@app.command()
def image(
    engine: Annotated[EngineName, typer.Option("--engine", "-e", help="docker or buildah.")] = EngineName.DOCKER,
    stage: Annotated[str, typer.Option(help=f"How far: {', '.join(STAGES)}.")] = "test",
    test: Annotated[bool, typer.Option("--test", help="Run the suite inside, without a network.")] = False,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="buildah: make the base image anew with debootstrap.")
    ] = False,
) -> None:
    """Build the container image; buildah (as root) needs no Docker engine."""
    if engine not in CONTAINERS:
        raise typer.BadParameter(f"{engine} is no container engine: docker or buildah")
    if stage not in STAGES:
        raise typer.BadParameter(f"{stage}: not one of {', '.join(STAGES)}")
    container = CONTAINERS[engine]
    if bootstrap and isinstance(container, Buildah):
        container.bootstrap()
    out.print(timed_build(engine, stage), highlight=False)
    if test:
        started = time.monotonic()
        container.run("test", ["pytest", "-n", "auto"], mount=False)
        out.print(f"the suite ran inside in {time.monotonic() - started:.0f} s", highlight=False)


@app.command()
def oracle(
    arch: Arch = None,
    compiler: Annotated[
        CompilerName | None, typer.Option("--compiler", "-c", help="Only this compiler's fixtures.")
    ] = None,
    fixture: Annotated[
        list[str] | None,
        typer.Option("--fixture", "-f", help="Only show what it says of this one; may be repeated."),
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Ask about real libraries, fetched.")] = False,
) -> None:
    """Ask each target's real dynamic linker, and write the golden files."""
    from toolchains.cli_oracle import ask

    compilers = [compiler.value] if compiler else COMPILERS
    ask([Variant(TARGETS[name], each) for name in _chosen(arch) for each in compilers], fixture or (), real)


@app.command(name="static-oracle")
def static_oracle(
    objects: Annotated[list[Path], typer.Argument(help="Object files, in link order.", exists=True)],
    arch: Annotated[str, typer.Option("--arch", "-a", help="What they are for.")],
    at: Annotated[list[str], typer.Option(help="SECTION=ADDRESS, for each section.")],
    symbol: Annotated[list[str] | None, typer.Option(help="NAME=ADDRESS, for what they leave undefined.")] = None,
    linker: Annotated[str, typer.Option(help="lld (of the ziglang wheel) or gnu.")] = "lld",
) -> None:
    """Link objects at given addresses with somebody else's linker, and print the sections."""
    from toolchains.cli_oracle import link
    from toolchains.static_link import Linker

    if linker not in [each.value for each in Linker]:
        raise typer.BadParameter(f"{linker}: not one of {', '.join(Linker)}")
    link(objects, arch, at, symbol or (), Linker(linker))


def main() -> None:
    """The entry point: an error of a tool or a fetch becomes one message and exit status 1."""
    try:
        app()
    except (ToolchainError, FetchError) as error:
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None

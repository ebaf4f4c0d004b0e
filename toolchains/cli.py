"""`python -m toolchains`: build, check, list, fetch."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from toolchains import build as building
from toolchains.debian import CACHE_VARIABLE, DEFAULT_PACKAGES, Sysroot
from toolchains.engine import Zig
from toolchains.errors import ToolchainError
from toolchains.recipes import RECIPES
from toolchains.targets import TARGETS

app = typer.Typer(
    help="Builds the fixtures of every architecture and fetches real libraries.",
    no_args_is_help=True, pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

Arch = Annotated[list[str] | None, typer.Option("--arch", "-a", help="Only this target; may be repeated.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Targets built at a time.")]
_JOBS = min(4, os.cpu_count() or 1)


def _chosen(arch: list[str] | None) -> list[str]:
    unknown = [name for name in arch or () if name not in TARGETS]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(TARGETS)}")
    return arch or list(TARGETS)


def _build(
    targets: list[str], jobs: int, built: Path, known: building.Manifest
) -> tuple[building.Manifest, Counter[str]]:
    tally: Counter[str] = Counter()
    total = sum(len(recipes) for _, recipes in building.selected(targets))
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("building", total=total)

        def report(name: str, outcome: str) -> None:
            tally[outcome] += 1
            progress.update(task, advance=1, description=name)

        manifest = building.build(Zig(), targets, built=built, manifest=known, jobs=jobs, report=report)
    return manifest, tally


@app.command()
def build(arch: Arch = None, jobs: Jobs = _JOBS) -> None:
    """Build the fixtures that changed, and update the manifest."""
    manifest, tally = _build(_chosen(arch), jobs, building.BUILT, building.read_manifest())
    building.write_manifest(manifest, Zig())
    strays = building.remove_strays(manifest)
    size = sum(entry.size for entry in manifest.values())
    out.print(f"{tally['built']} built, {tally['kept']} unchanged, {len(strays)} removed; "
              f"{len(manifest)} files, {size / 1e6:.2f} MB in all")


@app.command()
def check(arch: Arch = None, jobs: Jobs = _JOBS) -> None:
    """Rebuild everything elsewhere and compare with the manifest, byte for byte."""
    manifest = building.read_manifest()
    with tempfile.TemporaryDirectory(prefix="relink-check-") as place:
        rebuilt, _ = _build(_chosen(arch), jobs, Path(place), {})
    problems = building.differences(manifest, rebuilt)
    for name, problem in problems.items():
        err.print(f"{name}: {problem}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"{len(rebuilt) - len(problems)} of {len(rebuilt)} files are identical")
    if problems:
        raise typer.Exit(1)


@app.command(name="list")
def list_fixtures() -> None:
    """List the fixtures and, per target, their sizes in bytes."""
    manifest = building.read_manifest()
    table = Table("fixture", *TARGETS)
    for recipe in RECIPES.values():
        sizes = [manifest.get(f"{target}/{recipe.file}") for target in TARGETS]
        table.add_row(recipe.name, *(str(entry.size) if entry else "-" for entry in sizes))
    out.print(table)


@app.command()
def fetch(
    packages: Annotated[
        list[str] | None,
        typer.Argument(help=f"Debian's binary packages. Without any: {', '.join(DEFAULT_PACKAGES)}."),
    ] = None,
    arch: Arch = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Where to keep them.", envvar=CACHE_VARIABLE, show_default="~/.cache/relink-emu/debian"
        ),
    ] = None,
) -> None:
    """Fetch real libraries from the host's Debian mirror into a cache; build those of riscv32 from source."""
    failed = False
    for name in dict.fromkeys(TARGETS[target].arch for target in _chosen(arch)):
        sysroot = Sysroot(name, cache)
        try:
            got = sysroot.fetch(packages or ())
        except ToolchainError as error:
            failed = True
            err.print(f"{name}: {error}", markup=False, highlight=False, soft_wrap=True)
            continue
        out.print(f"{name}: {sysroot.root}", highlight=False)
        for package, facts in got.items():
            out.print(f"  {package} {facts.version}  sha256 {facts.sha256}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """The entry point: a `ToolchainError` becomes one message and exit status 1."""
    try:
        app()
    except ToolchainError as error:
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None

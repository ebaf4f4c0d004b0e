"""The commands `oracle` and `static-oracle` of `python -m toolchains`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from toolchains.oracle import goldens, real
from toolchains.oracle.run import Oracle
from toolchains.oracle.scenarios import no_oracle, scenarios
from toolchains.static_link import Linker, link_at
from toolchains.targets import TARGETS, Variant

out = Console()
err = Console(stderr=True)


def ask(variants: Sequence[Variant], fixtures: Sequence[str], libraries: bool) -> None:
    """Writes the golden files of `variants`. With `fixtures` only shows what the oracle says of them, and writes
    nothing; with `libraries` asks about real libraries instead."""
    if libraries:
        for arch in dict.fromkeys(variant.target.arch for variant in variants):
            if arch in real.ARCHES:
                found = real.make(arch)
                real.write({arch: found})
                out.print(f"{arch}: " + ", ".join(f"{name} {row.words} words" for name, row in found.items()))
            else:
                out.print(f"{arch}: no real libraries, Debian has no port for it")
        return
    for variant in variants:
        if fixtures:
            _show(variant, fixtures)
        else:
            _write(variant)


def _write(variant: Variant) -> None:
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task(variant.name, total=len(scenarios(variant)))
        golden = goldens.make(
            variant, lambda key: progress.update(task, advance=1, description=f"{variant.name} {key}")
        )
    path = goldens.write(golden, variant)
    words = sum(outcome.compared for outcome in golden.outcomes.values())
    out.print(
        f"{variant.name}: {golden.interpreter} under {golden.emulator}: {len(golden.outcomes)} loads, {words} "
        f"words, {len(golden.none)} without an oracle; {path.stat().st_size} bytes",
        highlight=False,
    )


def _show(variant: Variant, fixtures: Sequence[str]) -> None:
    chosen = [scenario for scenario in scenarios(variant) if scenario.fixture in fixtures]
    if not chosen:
        raise typer.BadParameter(f"{variant.name} has none of the fixtures {', '.join(fixtures)}")
    with Oracle(variant) as oracle:
        for scenario in chosen:
            if (reason := no_oracle(scenario, variant)) is not None:
                out.print(f"{scenario.key}: no oracle: {reason}", markup=False)
                continue
            outcome = oracle.observe(scenario)
            table = Table("module", "word", "is", title=f"{variant.name} {scenario.key}")
            for name, words in outcome.words.items():
                for address, told in words.items():
                    table.add_row(name, f"{address:#x}", told)
            out.print(table)
            for name, value in outcome.results:
                out.print(f"{name} returned {value}", markup=False)
            if outcome.refused or outcome.fault:
                out.print(
                    f"refused: {outcome.refused}" if outcome.refused else f"signal {outcome.fault}", markup=False
                )


def _pairs(texts: Sequence[str], option: str) -> dict[str, int]:
    found = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            found[name] = int(number, 0)
        except ValueError:
            raise typer.BadParameter(f"{option} {text}: not NAME=ADDRESS") from None
    return found


def link(objects: Sequence[Path], arch: str, at: Sequence[str], symbols: Sequence[str], linker: Linker) -> None:
    """Prints the sections a static linker makes of `objects`, in hex."""
    if arch not in TARGETS:
        raise typer.BadParameter(f"{arch}: not one of {', '.join(TARGETS)}")
    addresses = _pairs(at, "--at")
    for name, content in link_at(objects, addresses, _pairs(symbols, "--symbol"), TARGETS[arch], linker).items():
        out.print(f"{name} at {addresses[name]:#x}, {len(content)} bytes", highlight=False)
        for offset in range(0, len(content), 16):
            row = content[offset : offset + 16]
            out.print(f"  {addresses[name] + offset:08x}  {row.hex(' ')}", highlight=False)

"""`relink-emu arches`: the architectures."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, ClassVar

from emu.cli.output import table
from emu.cpu.create import engine_of
from relink.arch import ARCHITECTURES, Role
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.plain import Console

_DISTRIBUTIONS = {"unicorn": "unicorn", "icicle": "icicle-emu"}


@dataclass(frozen=True)
class ArchitectureEntry:
    """One architecture. `relocations` is the number of types in its table, `refused` the number of refused
    ones.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    bits: int
    machine: int
    psabi: str
    engine: str
    engine_version: str | None
    relocations: int
    refused: int


@dataclass(frozen=True)
class ArchesReport:
    """All architectures."""

    schema: ClassVar[str] = "relink-emu/arches/1"
    architectures: tuple[ArchitectureEntry, ...]


def report() -> ArchesReport:
    """Make the report."""
    entries = []
    for arch in ARCHITECTURES.values():
        engine = engine_of(arch.name)
        rows = arch.relocations.values()
        entries.append(
            ArchitectureEntry(
                arch.name,
                arch.title,
                arch.aliases,
                arch.bits,
                arch.machine,
                arch.psabi,
                engine,
                _version(engine),
                len(rows),
                sum(row.role is Role.REFUSED for row in rows),
            )
        )
    return ArchesReport(tuple(entries))


def _version(engine: str) -> str | None:
    try:
        return version(_DISTRIBUTIONS[engine])
    except PackageNotFoundError:
        return None


def show(report: ArchesReport, console: Console) -> None:
    """Print the table."""
    rows = table("name", "also called", "psABI", "engine", ">types")
    rows.unbroken.add(2)
    for entry in report.architectures:
        rows.add_row(entry.name, ", ".join(entry.aliases), entry.psabi, entry.engine, str(entry.relocations))
    console.print(rows)
    engines = {entry.engine: entry.engine_version for entry in report.architectures}
    versions = ", ".join(f"{engine} {found or '(not installed)'}" for engine, found in engines.items())
    console.print(f"\ntypes: relocation types known. Engines: {versions}.")

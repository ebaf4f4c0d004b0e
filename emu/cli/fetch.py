"""`relink-emu fetch`: Debian's libraries for each architecture, in a cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from emu.build.errors import BuildError
from emu.build.targets import ALL, targets_of
from emu.cli.command import Usage
from emu.fetch.debian import Sysroot
from emu.fetch.errors import FetchError
from relink.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emu.cli.plain import Console


@dataclass(frozen=True)
class FetchedPackage:
    """An unpacked package. `origin` is its file's name, `sha256` that file's digest."""

    name: str
    version: str
    origin: str
    sha256: str


@dataclass(frozen=True)
class FetchedSysroot:
    """The result for one architecture. `sysroot` is the folder for --sysroot, `problem` why packages are
    missing.
    """

    arch: str
    sysroot: str
    packages: tuple[FetchedPackage, ...]
    problem: str | None


@dataclass(frozen=True)
class FetchReport:
    """The packages that were fetched, or were there already."""

    schema: ClassVar[str] = "relink-emu/fetch/1"
    sysroots: tuple[FetchedSysroot, ...]

    @property
    def complete(self) -> bool:
        """Whether every architecture has every package."""
        return all(each.problem is None for each in self.sysroots)


def report(packages: Sequence[str], arches: Sequence[str], cache: Path | None) -> FetchReport:
    """Fetch the packages (none: the usual ones). Raises Usage for an unknown architecture."""
    try:
        names = dict.fromkeys(target.arch for target in targets_of(arches or ALL))
    except BuildError as error:
        raise Usage(str(error), param_hint="'--arch'") from None
    return FetchReport(tuple(_fetched(name, packages, cache) for name in names))


def _fetched(arch: str, packages: Sequence[str], cache: Path | None) -> FetchedSysroot:
    sysroot, problem = Sysroot(arch, cache), None
    try:
        found = sysroot.fetch(packages)
    except FetchError as error:
        found, problem = sysroot.packages(), str(error)
    except OSError as error:
        found, problem = {}, f"{error.filename or sysroot.folder}: {error.strerror}"
    rows = (FetchedPackage(name, each.version, each.origin, each.sha256) for name, each in found.items())
    return FetchedSysroot(arch, str(sysroot.root), tuple(rows), problem)


def show(report: FetchReport, console: Console) -> None:
    """Print the packages, and what is missing."""
    for each in report.sysroots:
        console.print(f"{each.arch}: {each.sysroot}", soft_wrap=True)
        for package in each.packages:
            console.print(f"  {package.name} {package.version}  sha256 {package.sha256}", soft_wrap=True)
        if each.problem is not None:
            console.print(f"  error: {each.problem}", soft_wrap=True)

"""`relink-emu report`: the relocation types in archives and objects, and whether this linker applies them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from emu.cli.output import table
from emu.cli.text import printable
from relink.arch import Architecture, Role, architecture_of
from relink.elf.archive import Archive
from relink.elf.constants import SectionFlag
from relink.elf.machines import machine_text
from relink.elf.objects import ObjectFile, decode_object
from relink.errors import ElfError, NotElf
from relink.objects.archive_members import is_archive_file
from relink.records import dataclass, field
from relink.relocate.static import DYNAMIC_ONLY

if TYPE_CHECKING:
    from emu.cli.plain import Console

IMPLEMENTED, REFUSED, UNKNOWN = "implemented", "refused", "unknown"


@dataclass(frozen=True)
class TypeCount:
    """A relocation type and how often it occurs; `loaded` counts entries in sections that are loaded."""

    name: str
    number: int
    entries: int
    loaded: int
    status: str  #: "implemented", "refused" (see `reason`) or "unknown"
    reason: str | None


@dataclass(frozen=True)
class ArchitectureReport:
    """All objects of one architecture. `share` is the share of entries with an implemented type, 1 without
    entries.
    """

    arch: str
    objects: int
    entries: int
    implemented: int
    share: float
    types: tuple[TypeCount, ...]  #: most frequent first


@dataclass(frozen=True)
class Skipped:
    """A file or member that was not counted, and why."""

    name: str
    problem: str


@dataclass(frozen=True)
class RelocationReport:
    """The relocation types in the files."""

    schema: ClassVar[str] = "relink-emu/report/1"
    files: tuple[str, ...]
    architectures: tuple[ArchitectureReport, ...]
    skipped: tuple[Skipped, ...]

    @property
    def complete(self) -> bool:
        """Whether every type is implemented."""
        return all(report.implemented == report.entries for report in self.architectures)


@dataclass
class _Tally:
    objects: int = 0
    entries: Counter[int] = field(default_factory=Counter)
    loaded: Counter[int] = field(default_factory=Counter)


def report(files: Sequence[str]) -> RelocationReport:
    """Read all objects in the files. Other files and members are listed as skipped. Raises ElfError when there are
    only these.
    """
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    arches: dict[str, Architecture] = {}
    skipped: list[Skipped] = []
    errors: list[ElfError] = []
    for file in files:
        try:
            for found in _objects(file):
                problem = found if isinstance(found, Skipped) else _count(found, tallies, arches)
                if problem is not None:
                    skipped.append(problem)
        except ElfError as error:
            errors.append(error)
            skipped.append(Skipped(file, error.problem))
    if errors and not tallies:
        raise errors[0]
    return RelocationReport(
        tuple(files), tuple(_summary(arches[name], tally) for name, tally in tallies.items()), tuple(skipped)
    )


def _objects(file: str) -> Iterator[ObjectFile | Skipped]:
    """The objects of a file. Raises ElfError for one that is neither an archive nor an object."""
    if not is_archive_file(file):
        try:
            yield decode_object(file)
        except NotElf:
            Archive.open(file)  # recognises other files that are named .a
            raise
        return
    archive = Archive.open(file)
    for number, member in enumerate(archive.members):
        try:
            yield archive.object(number)
        except ElfError as error:
            yield Skipped(member.full_name, error.problem)


def _count(file: ObjectFile, tallies: defaultdict[str, _Tally], arches: dict[str, Architecture]) -> Skipped | None:
    """Add an object to the counts of its architecture; return why that is impossible, or None."""
    arch = architecture_of(file.header.machine, file.header.bits)
    if arch is None:
        return Skipped(file.name, f"is for {machine_text(file.header.machine, file.header.bits)}")
    try:
        tables = file.relocations
    except ElfError as error:
        return Skipped(file.name, error.problem)
    arches[arch.name] = arch
    tally = tallies[arch.name]
    tally.objects += 1
    for rows in tables:
        numbers, counts = np.unique(rows.type, return_counts=True)
        found = Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        tally.entries += found
        if file.sections[rows.section].flags & SectionFlag.ALLOC:
            tally.loaded += found
    return None


def _summary(arch: Architecture, tally: _Tally) -> ArchitectureReport:
    types = tuple(
        _type(arch, number, count, tally.loaded[number]) for number, count in tally.entries.most_common()
    )
    entries = sum(tally.entries.values())
    implemented = sum(kind.entries for kind in types if kind.status == IMPLEMENTED)
    return ArchitectureReport(
        arch.name, tally.objects, entries, implemented, implemented / entries if entries else 1.0, types
    )


def _type(arch: Architecture, number: int, entries: int, loaded: int) -> TypeCount:
    row = arch.relocations.get(number)
    status, reason = IMPLEMENTED, None
    if row is None:
        status = UNKNOWN
        reason = "not in the table" if arch.is_known(number) else "the psABI has no such type"
    elif row.role in DYNAMIC_ONLY:
        status = REFUSED
        reason = row.reason if row.role is Role.REFUSED else "only a dynamic linker may meet it"
    return TypeCount(arch.relocation_name(number), number, entries, loaded, status, reason)


# ---------------------------------------------------------------- for people


def show(report: RelocationReport, console: Console) -> None:
    """Print a report."""
    if not report.architectures and not report.skipped:  # glibc's libdl.a and libpthread.a are such
        console.print(f"{', '.join(map(printable, report.files))}: no objects", soft_wrap=True)
    for number, part in enumerate(report.architectures):
        if number:
            console.print()
        share = f"{100 * part.share:.4g} % implemented"
        title = f"{part.arch}: {part.objects} objects, {part.entries} relocations, {share}"
        console.print(title, style="bold", soft_wrap=True)
        rows = table("type", ">number", ">entries", ">loaded", "status")
        for kind in part.types:
            status = kind.status if kind.reason is None else f"{kind.status}: {kind.reason}"
            rows.add_row(kind.name, str(kind.number), str(kind.entries), str(kind.loaded), status)
        console.print(rows)
    if report.skipped:
        console.print()
        console.print("Skipped", style="bold")
        for member in report.skipped:
            console.print(f"  {printable(member.name)}: {printable(member.problem)}", soft_wrap=True)

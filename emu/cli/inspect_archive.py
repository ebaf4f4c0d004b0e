"""`relink-emu inspect` of a static archive: its members and its index."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from emu.cli.output import shown, table
from emu.cli.text import printable
from emu.debug.demangle import demangled
from relink.arch import architecture_of
from relink.elf.archive import Archive
from relink.elf.machines import machine_text
from relink.errors import ElfError, UnsupportedElf
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.options import Target
    from emu.cli.plain import Console


@dataclass(frozen=True)
class MemberEntry:
    """A member. For a member that is not an object of a supported architecture, `arch` is None and `problem` has
    the reason.
    """

    name: str
    offset: int  #: archive offset of its header
    size: int  #: bytes
    arch: str | None
    sections: int
    relocations: int
    defined: int  #: number of symbols it defines for others
    undefined: int  #: number of undefined symbols
    problem: str | None


@dataclass(frozen=True)
class IndexEntry:
    """A symbol of the index and the member that defines it."""

    symbol: str
    demangled: str | None
    member: str


@dataclass(frozen=True)
class ArchiveReport:
    """The contents of an archive."""

    schema: ClassVar[str] = "relink-emu/archive/1"
    file: str
    size: int  #: bytes
    thin: bool  #: whether members are separate files
    members: tuple[MemberEntry, ...]
    index: tuple[IndexEntry, ...]


def report(target: Target, file: str) -> ArchiveReport:
    """Read `file`. Raises ElfError; UnsupportedElf for a member that is not for the given architecture."""
    archive = Archive.open(file)
    named = target.architecture()
    members = tuple(_member(archive, number) for number in range(len(archive.members)))
    for member in members:
        if named is not None and member.arch not in (None, named.name):
            raise UnsupportedElf(f"{file}({member.name})", f"is for {member.arch}, not {named.name}")
    index = archive.index
    rows = zip(index.names.texts(), index.member.tolist(), strict=True)
    entries = (IndexEntry(name, demangled(name), members[number].name) for name, number in rows)
    return ArchiveReport(file, len(archive.data), archive.thin, members, tuple(entries))


def _member(archive: Archive, number: int) -> MemberEntry:
    member = archive.members[number]
    arch, counts, problem = None, (0, 0, 0, 0), None
    try:
        file = archive.object(number)
        found = architecture_of(file.header.machine, file.header.bits)
        arch = found.name if found else None
        problem = None if found else f"is for {machine_text(file.header.machine, file.header.bits)}"
        entries = sum(len(rows) for rows in file.relocations)
        counts = len(file.sections), entries, len(file.symbols.defined_globals), len(file.symbols.undefined)
    except ElfError as error:
        problem = error.problem
    return MemberEntry(member.name, member.offset, member.size, arch, *counts, problem)


def show(report: ArchiveReport, console: Console, *, symbols: bool = False, demangle: bool = True) -> None:
    """Print a report; `symbols` lists the index."""
    kind = "thin archive" if report.thin else "archive"
    arches = Counter(member.arch for member in report.members if member.arch)
    what = f"{len(report.members)} members, {len(report.index)} symbols, {', '.join(arches) or 'no objects'}"
    console.print(f"{printable(report.file)}: {kind}, {report.size} bytes", style="bold", soft_wrap=True)
    console.print(what)
    console.print()
    rows = table("member", ">size", ">sections", ">relocations", ">defined", ">undefined", "")
    for member in report.members:
        numbers = (member.size, member.sections, member.relocations, member.defined, member.undefined)
        rows.add_row(printable(member.name), *map(str, numbers), printable(member.problem or ""))
    console.print(rows)
    if symbols:
        console.print()
        console.print("Index", style="bold")
        index = table("symbol", "member")
        for entry in report.index:
            index.add_row(shown(entry.symbol, demangle=demangle), printable(entry.member))
        console.print(index)

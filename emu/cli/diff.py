"""`relink-emu diff`: how the interface of a newer version of a library differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from emu.cli.output import shown
from emu.patch.interface import Difference, Interface, compare
from relink.elf.machines import supported
from relink.objects.archive_members import header_of
from relink.records import dataclass
from relink.search.open import open_image

if TYPE_CHECKING:
    from emu.cli.options import Target
    from emu.cli.plain import Console
    from relink.arch import Architecture

#: Bits of the exit status, as those of abidiff.
CHANGED, INCOMPATIBLE = 4, 8
_MOST_USERS = 6


@dataclass(frozen=True)
class Count:
    """The number of relocation entries of one type."""

    type: str
    old: int
    new: int


@dataclass(frozen=True)
class DiffReport:
    """All differences. `typed` tells whether the types of exports were compared: both files have DWARF."""

    schema: ClassVar[str] = "relink-emu/diff/1"
    arch: str
    old: str
    new: str
    typed: bool
    untyped_reasons: tuple[str, ...]
    compatible: bool
    differences: tuple[Difference, ...]
    relocations: tuple[Count, ...]  #: those that differ

    @property
    def status(self) -> int:
        """The exit status: 0, 4 for compatible changes only, else 12."""
        return CHANGED * bool(self.differences) + INCOMPATIBLE * (not self.compatible)


def report(target: Target, old: str, new: str) -> DiffReport:
    """Compare two files. Raises ElfError for a damaged one, UnsupportedElf for one of another architecture."""
    arch = target.architecture() or _architecture(old)
    before, after = (Interface(open_image(name, arch, name), arch) for name in (old, new))
    differences = tuple(compare(before, after))
    untyped = [f"{name}: no debug information" for name, each in ((old, before), (new, after)) if not each.types]
    types = sorted({*before.relocations, *after.relocations})
    counts = (Count(name, before.relocations[name], after.relocations[name]) for name in types)
    return DiffReport(
        arch.name,
        old,
        new,
        typed=bool(before.types and after.types),
        untyped_reasons=(*untyped, *dict.fromkeys([*before.problems, *after.problems])),
        compatible=all(each.compatible for each in differences),
        differences=differences,
        relocations=tuple(count for count in counts if count.old != count.new),
    )


def _architecture(file: str) -> Architecture:
    header = header_of(file)
    return supported(file, header.machine, header.bits)


def show(report: DiffReport, console: Console, *, demangle: bool = True) -> None:
    """Print a line for each difference, incompatible ones first."""
    ordered = sorted(report.differences, key=lambda each: each.compatible)
    for each in ordered:
        kind, _, name = each.subject.rpartition(" ")
        subject = f"{kind} {shown(name, demangle=demangle)}".strip()
        mark = "compatible  " if each.compatible else "INCOMPATIBLE"
        style = "" if each.compatible else "bold red"
        console.print(mark, style=style, end="")
        console.print(f"  {each.change:<8} {subject}", soft_wrap=True)
        for detail in each.details:
            console.print(f"{'':24}{detail}", soft_wrap=True)
        if each.users:
            more = len(each.users) - _MOST_USERS
            users = ", ".join(shown(user, demangle=demangle) for user in each.users[:_MOST_USERS])
            console.print(f"{'':24}used by {users}{f' and {more} more' if more > 0 else ''}", soft_wrap=True)
    for count in report.relocations:
        console.print(f"relocations   {count.type}: {count.old} -> {count.new}", soft_wrap=True)
    if not report.typed:
        console.print("types were not compared:", soft_wrap=True)
    for reason in report.untyped_reasons:
        console.print(f"  {reason}", soft_wrap=True)
    if not ordered:
        console.print("the interfaces do not differ", soft_wrap=True)

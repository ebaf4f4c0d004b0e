"""`relink-emu link`: objects linked for a device, and the file for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from emu.cli.output import Address
from emu.cli.text import printable
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.options import Target
    from emu.cli.placing import Placing
    from emu.cli.plain import Console


@dataclass(frozen=True)
class SectionFacts:
    """An output section; sizes in bytes."""

    name: str
    address: Address
    load_address: Address  #: where its bytes are stored
    size: int
    region: str
    stored: bool  #: whether it has bytes to store


@dataclass(frozen=True)
class RegionFacts:
    """A memory region and how much of it is taken."""

    name: str
    origin: Address
    length: int
    used: int


@dataclass(frozen=True)
class LinkReport:
    """The file that `link` has written."""

    schema: ClassVar[str] = "relink-emu/link/1"
    arch: str
    file: str
    entry: Address | None
    sections: tuple[SectionFacts, ...]
    regions: tuple[RegionFacts, ...]


def report(target: Target, placing: Placing, sources: Sequence[str], path: Path, format: str | None) -> LinkReport:
    """Link `sources` and write the file. Raises RelinkError, OSError."""
    from emu.cli.options import Search
    from relink.linker import Linker, LoadOptions
    from relink.memory.address_space import HostMemory
    from relink.resolve.sources import DefinedSymbols

    rules = placing.rules()
    arch = target.of(sources[0], Search())
    linker = Linker(HostMemory(arch))
    linker.resolver.after.append(DefinedSymbols(placing.definitions))
    options = LoadOptions(script=rules, undefined=placing.undefined or ())
    image = linker.load(list(sources), options=options)
    image.export(path, format)
    assert image.objects is not None
    placed = image.objects.placed
    assert placed is not None
    sections = tuple(
        SectionFacts(s.name, Address(s.address), Address(s.load_address), s.size, s.region, s.bits)
        for s in placed.sections
    )
    entry = Address(image.symbol(rules.entry).address) if rules.entry else None
    return LinkReport(arch.name, str(path), entry, sections, tuple(_regions(sections, rules.regions)))


def _regions(sections: Sequence[SectionFacts], regions: Sequence[object]) -> list[RegionFacts]:
    from relink.objects.script import MemoryRegion

    found = []
    for region in regions:
        assert isinstance(region, MemoryRegion)
        ends = [s.address + s.size for s in sections]
        ends += [s.load_address + s.size for s in sections if s.stored]
        inside = [end for end in ends if region.origin < end <= region.end]
        used = max(inside, default=region.origin) - region.origin
        found.append(RegionFacts(region.name, Address(region.origin), region.length, used))
    return found


def show(report: LinkReport, console: Console) -> None:
    """Print sections and regions."""
    width = max(len(section.name) for section in report.sections)
    for section in report.sections:
        stored = f"  stored at {section.load_address:#010x}" if section.load_address != section.address else ""
        place = f"{section.address:#010x}  {section.size:#8x}  {section.region}{stored}"
        console.print(printable(f"{section.name:<{width}}  {place}"), soft_wrap=True)
    for region in report.regions:
        share = 100 * region.used / region.length
        console.print(
            f"{region.name}: {region.used:#x} of {region.length:#x} bytes ({share:.1f} %)", soft_wrap=True
        )
    console.print(printable(f"wrote {report.file}"), soft_wrap=True)

"""`relink-emu map`: the addresses in a linked image, like a linker's map file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from emu.cli.output import Address
from emu.cli.text import printable
from emu.debug.demangle import demangled
from relink.link_map import LinkMap, MapSymbol
from relink.records import dataclass, fields, is_dataclass

if TYPE_CHECKING:
    from emu.cli.options import Loading, Search, Target
    from emu.cli.plain import Console

#: Fields of a link map that are addresses, or words that may be addresses.
_ADDRESSES = frozenset({"address", "base", "target", "got"})


@dataclass(frozen=True)
class MapReport:
    """The link maps of one load: of the library, and on request of the images loaded with it."""

    schema: ClassVar[str] = "relink-emu/map/1"
    arch: str
    library: str
    images: tuple[Mapping[str, object], ...]  #: a `LinkMap` each


def maps(target: Target, search: Search, loading: Loading, name: str, *, every: bool) -> tuple[LinkMap, ...]:
    """Link `name` on a new machine, without running its constructors. Raises RelinkError."""
    arch = target.of(name, search)
    machine = loading.machine(arch, search, loading.sources(name))
    try:
        library = loading.load(machine, name, search, run_initialisers=False)
        images = library.plan.images if every else [library.image]
        return tuple(image.link_map(machine.memory.read) for image in images)
    finally:
        machine.close(run_destructors=False)  # no destructors: it was never initialised


def report(links: tuple[LinkMap, ...]) -> MapReport:
    """The maps as a report for JSON."""
    return MapReport(links[0].arch, links[0].image, tuple(_facts(link) for link in links))


def _facts(part: object) -> dict[str, object]:
    """The fields of a part of a map, with addresses as `Address`."""
    assert is_dataclass(part)
    facts = {field.name: _fact(field.name, getattr(part, field.name)) for field in fields(part)}
    if isinstance(part, MapSymbol):
        facts["demangled"] = demangled(part.name)
    if isinstance(part, LinkMap):
        del facts["arch"]
    return facts


def _fact(name: str, value: object) -> object:
    if name in _ADDRESSES and isinstance(value, int):
        return Address(value)
    if isinstance(value, tuple):
        if name == "words":
            return tuple(map(Address, value))
        return tuple(_facts(item) if is_dataclass(item) else item for item in value)
    return value


def show(links: tuple[LinkMap, ...], console: Console) -> None:
    """Print maps."""
    for number, link in enumerate(links):
        if number:
            console.print()
        for line in str(link).split("\n"):
            title = bool(line) and not line.startswith(" ")
            console.print(printable(line), style="bold" if title else None, soft_wrap=True)

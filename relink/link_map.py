"""The link map of an image, like a linker's map file: sections, symbols, GOT slots, stubs, discarded groups.

    link_map = image.link_map()
    link_map.section(".text").address, link_map.slot("puts").value, link_map.stub("puts").target
    print(link_map)

A map is a snapshot: slots and stubs have the content of memory when it is made. For relocatable objects it is
complete, per input. For a shared object it has the sections, if the file has section headers, and the GOT slots
that relocations fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from relink.errors import LinkError, printable_lines
from relink.records import dataclass


@dataclass(frozen=True, slots=True)
class MapSegment:
    """Consecutive pages with the same permissions; `size` in bytes, `permissions` like "r-x"."""

    address: int
    size: int
    permissions: str


@dataclass(frozen=True, slots=True)
class MapSection:
    """A section; `size` and `align` in bytes, `object` the input file (None in a shared object)."""

    name: str
    object: str | None
    address: int
    size: int
    align: int
    permissions: str


@dataclass(frozen=True, slots=True)
class MapSymbol:
    """A definition. For a TLS symbol `address` is the offset in the image's block. `object` is None for
    linker-defined symbols and in shared objects.
    """

    name: str
    address: int
    size: int
    type: str  #: without STT_
    binding: str  #: without STB_
    visibility: str  #: without STV_; protected for definitions that the image's own references bind to
    object: str | None


@dataclass(frozen=True, slots=True)
class GotSlot:
    """An entry of the global offset table.

    `kind` is the name of a `Slot` ("ADDRESS", "TLS_GD", "TLS_LD", "TLS_IE", "TLS_DESC"), "PLT" for a jump slot, or
    "IRELATIVE" for a slot that an ifunc resolver fills. `symbol` is empty for a slot without a symbol.
    """

    kind: str
    symbol: str
    address: int
    words: tuple[int, ...]  #: its content
    provider: str | None  #: the provider of the symbol: an image, "the host", or None

    @property
    def value(self) -> int:
        """The first word."""
        return self.words[0]


@dataclass(frozen=True, slots=True)
class MapStub:
    """A stub that jumps to `target`, for callers out of range of the symbol or in another image."""

    symbol: str
    address: int
    size: int  #: bytes
    target: int
    provider: str | None  #: as in `GotSlot`


@dataclass(frozen=True, slots=True)
class DiscardedGroup:
    """A COMDAT group of `object` that was discarded because `kept` has one with the same signature; its sections
    without relocation sections.
    """

    signature: str
    object: str
    kept: str
    sections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapCommon:
    """A common symbol and its address; `size` and `align` in bytes, `object` the object that declares it."""

    name: str
    address: int
    size: int
    align: int
    object: str


@dataclass(frozen=True, slots=True)
class LinkMap:
    """The link map of one image. Sections and symbols are ordered by address; TLS symbols come last."""

    image: str
    arch: str
    base: int
    size: int  #: bytes of address space
    objects: tuple[str, ...]  #: inputs in link order; empty for a shared object
    segments: tuple[MapSegment, ...]
    sections: tuple[MapSection, ...]
    symbols: tuple[MapSymbol, ...]
    got: int | None  #: guest address of the GOT that this linker made
    slots: tuple[GotSlot, ...]
    stubs: tuple[MapStub, ...]
    discarded: tuple[DiscardedGroup, ...]
    commons: tuple[MapCommon, ...]

    def section(self, name: str, object: str | None = None) -> MapSection:
        """The first section of that name, or the one of input `object`. Raises LinkError."""
        found = next((s for s in self.sections if s.name == name and object in (None, s.object)), None)
        if found is None:
            raise LinkError(self.image, f"has no section {name}{f' of {object}' if object else ''}")
        return found

    def symbol(self, name: str, object: str | None = None) -> MapSymbol:
        """The first symbol of that name, local ones included. Raises LinkError."""
        found = next((s for s in self.symbols if s.name == name and object in (None, s.object)), None)
        if found is None:
            raise LinkError(self.image, f"defines no symbol {name}{f' in {object}' if object else ''}")
        return found

    def slot(self, symbol: str, kind: str | None = None) -> GotSlot:
        """A symbol's first GOT slot, or its slot of the given kind. Raises LinkError."""
        found = next((s for s in self.slots if s.symbol == symbol and kind in (None, s.kind)), None)
        if found is None:
            raise LinkError(self.image, f"has no {f'{kind} ' if kind else ''}GOT slot for {symbol}")
        return found

    def stub(self, symbol: str) -> MapStub:
        """The first stub of a symbol. Raises LinkError."""
        found = next((s for s in self.stubs if s.symbol == symbol), None)
        if found is None:
            raise LinkError(self.image, f"has no stub for {symbol}")
        return found

    def __str__(self) -> str:
        return printable_lines("\n".join(_lines(self)))


# ---------------------------------------------------------------- for people


def _lines(link: LinkMap) -> Iterator[str]:
    """The map as text."""
    digits = max(len(f"{link.base + link.size:x}"), 8)

    def address(value: int) -> str:
        return f"{value:#0{digits + 2}x}"

    yield f"{link.image}: {link.arch}, {address(link.base)} to {address(link.base + link.size)}"
    if link.objects:
        yield from _titled("Inputs", (f"  {name}" for name in link.objects))
    yield from _titled(
        "Segments", (f"  {address(s.address)}  {s.size:>#10x}  {s.permissions}" for s in link.segments)
    )
    yield from _titled("Sections and symbols", _placed(link, address))
    fixed = [f"  {s.address:>#{digits + 2}x}  {s.size:>#10x}  {s.name}" for s in link.symbols if s.type == "TLS"]
    yield from _titled("Thread-local symbols, by offset in the block", fixed)
    slots = (
        f"  {address(s.address)}  {s.kind:<9}  {' '.join(map(address, s.words))}  {_to(s.symbol, s.provider)}"
        for s in link.slots
    )
    yield from _titled("GOT slots", slots)
    stubs = (
        f"  {address(s.address)}  {s.size:>#10x}  to {address(s.target)}  {_to(s.symbol, s.provider)}"
        for s in link.stubs
    )
    yield from _titled("Stubs", stubs)
    commons = (f"  {address(c.address)}  {c.size:>#10x}  {c.align:>6}  {c.name}  {c.object}" for c in link.commons)
    yield from _titled("Common symbols", commons)
    groups = (f"  {g.signature}  {g.object}, kept from {g.kept}: {', '.join(g.sections)}" for g in link.discarded)
    yield from _titled("Discarded groups", groups)


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    rows = list(lines)
    if rows:
        yield from ("", title, *rows)


def _placed(link: LinkMap, address: Callable[[int], str]) -> Iterator[str]:
    """The lines for sections by address, each followed by its symbols; symbols outside all sections are placed by
    address.
    """
    symbols = [s for s in link.symbols if s.type != "TLS"]
    at = 0
    for section in link.sections:
        while at < len(symbols) and symbols[at].address < section.address:
            yield _symbol_line(symbols[at], address)
            at += 1
        place = f"{section.align:>6}  {section.permissions}  {section.name}"
        yield f"  {address(section.address)}  {section.size:>#10x}  {place}  {section.object or ''}".rstrip()
        while at < len(symbols) and symbols[at].address < section.address + section.size:
            yield _symbol_line(symbols[at], address)
            at += 1
    for symbol in symbols[at:]:
        yield _symbol_line(symbol, address)


def _symbol_line(symbol: MapSymbol, address: Callable[[int], str]) -> str:
    return f"  {address(symbol.address)}  {symbol.size:>#10x}               {symbol.name}"


def _to(symbol: str, provider: str | None) -> str:
    return f"{symbol or '(this image)'}  {f'in {provider}' if provider else ''}".rstrip()

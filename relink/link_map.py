"""What a link came to, as a linker's map file tells it: sections, symbols, GOT slots, stubs, what was left out.

    link_map = image.link_map()
    link_map.section(".text").address, link_map.slot("puts").value, link_map.stub("puts").target
    print(link_map)

A map is a snapshot: slots and stubs hold what memory holds when it is made. Of relocatable objects everything is
known, per input; of a shared object what its file still says: sections if it names them, and the GOT slots its
relocations fill.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Reloc, Role
from relink.arch.spec import Slot
from relink.arrays import I64
from relink.elf.constants import SHN_ABS, Binding, SectionFlag, SymbolType, Visibility
from relink.elf.object_relocations import RELOCATION_SECTIONS
from relink.elf.objects import COMMON, UNDEFINED
from relink.errors import LinkError
from relink.memory.address_space import Protection
from relink.objects.combined import CombinedObjects, StubTable, discarded_groups
from relink.resolve.resolver import HOST

if TYPE_CHECKING:
    from relink.image import Image


#: `read(address, size)`: bytes of the guest.
Read = Callable[[int, int], bytes]

#: Kinds of slots beside the names of `relink.arch.spec.Slot`.
PLT, IRELATIVE = "PLT", "IRELATIVE"

_SYMBOL_TYPES = (
    SymbolType.NOTYPE,
    SymbolType.OBJECT,
    SymbolType.FUNC,
    SymbolType.COMMON,
    SymbolType.TLS,
    SymbolType.GNU_IFUNC,
)
_MADE_UP = (".L", "$")  #: how names begin that an assembler or compiler made up
_HOST = "the host"


@dataclass(frozen=True, slots=True)
class MapSegment:
    """A run of pages with equal permissions; `size` in bytes, `permissions` like "r-x"."""

    address: int
    size: int
    permissions: str


@dataclass(frozen=True, slots=True)
class MapSection:
    """A section's place; `size` and `align` in bytes, `object` the input it is of (None for a shared object's)."""

    name: str
    object: str | None
    address: int
    size: int
    align: int
    permissions: str


@dataclass(frozen=True, slots=True)
class MapSymbol:
    """A definition. `address` of a TLS symbol is its offset in the image's block; `object` is None for what the
    linker itself defines, and in shared objects."""

    name: str
    address: int
    size: int
    type: str  #: without STT_
    binding: str  #: without STB_
    visibility: str  #: without STV_; protected is what a name of the image binds to by itself
    object: str | None


@dataclass(frozen=True, slots=True)
class GotSlot:
    """An entry of the global offset table.

    `kind` is the name of a `Slot` ("ADDRESS", "TLS_GD", "TLS_LD", "TLS_IE", "TLS_DESC"), "PLT" for a slot a PLT
    entry jumps through, "IRELATIVE" for one an ifunc resolver fills. `symbol` is empty where none is named.
    """

    kind: str
    symbol: str
    address: int
    words: tuple[int, ...]  #: what it holds
    provider: str | None  #: what the symbol bound to: an image, "the host", or None for nothing

    @property
    def value(self) -> int:
        """The first word."""
        return self.words[0]


@dataclass(frozen=True, slots=True)
class MapStub:
    """Code that jumps to `target`, for callers the symbol is out of reach of or in another image than."""

    symbol: str
    address: int
    size: int  #: bytes
    target: int
    provider: str | None  #: as in `GotSlot`


@dataclass(frozen=True, slots=True)
class DiscardedGroup:
    """A COMDAT group of `object` that was left out, for `kept` has one of that signature already; the sections
    in it less those with relocations."""

    signature: str
    object: str
    kept: str
    sections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapCommon:
    """A common symbol and the place it was given; `size` and `align` in bytes, `object` the one that asked."""

    name: str
    address: int
    size: int
    align: int
    object: str


@dataclass(frozen=True, slots=True)
class LinkMap:
    """One image's map. Sections and symbols are in order of address; TLS symbols come last."""

    image: str
    arch: str
    base: int
    size: int  #: bytes of address space
    objects: tuple[str, ...]  #: inputs in link order; empty for a shared object
    segments: tuple[MapSegment, ...]
    sections: tuple[MapSection, ...]
    symbols: tuple[MapSymbol, ...]
    got: int | None  #: guest address of the GOT this linker made
    slots: tuple[GotSlot, ...]
    stubs: tuple[MapStub, ...]
    discarded: tuple[DiscardedGroup, ...]
    commons: tuple[MapCommon, ...]

    def section(self, name: str, object: str | None = None) -> MapSection:
        """The first section of that name; of several inputs, `object` says whose. Raises LinkError."""
        found = next((s for s in self.sections if s.name == name and object in (None, s.object)), None)
        if found is None:
            raise LinkError(self.image, f"has no section {name}{f' of {object}' if object else ''}")
        return found

    def symbol(self, name: str, object: str | None = None) -> MapSymbol:
        """The first symbol of that name, local ones too. Raises LinkError."""
        found = next((s for s in self.symbols if s.name == name and object in (None, s.object)), None)
        if found is None:
            raise LinkError(self.image, f"defines no symbol {name}{f' in {object}' if object else ''}")
        return found

    def slot(self, symbol: str, kind: str | None = None) -> GotSlot:
        """A symbol's GOT slot; of several, the first, or the one of a kind. Raises LinkError."""
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
        return "\n".join(_lines(self))


def link_map(image: Image, read: Read | None = None) -> LinkMap:
    """The map of a loaded image. `read` gives guest bytes; without it the linker's own buffer is read, in which
    changes made by a running guest may be missing. Raises UseAfterUnload."""
    image.check_open()
    return _Mapper(image, read or _from_buffer(image)).run()


def _from_buffer(image: Image) -> Read:
    region = image.region
    return lambda address, size: region.buffer[address - region.address :][:size].tobytes()


class _Mapper:
    def __init__(self, image: Image, read: Read) -> None:
        self.image, self.read = image, read
        self.decoded, self.arch = image.decoded, image.architecture
        self.combined = image.decoded if isinstance(image.decoded, CombinedObjects) else None
        self.providers = self._providers()

    def run(self) -> LinkMap:
        image, combined = self.image, self.combined
        return LinkMap(
            image.name,
            self.arch.name,
            image.base,
            image.region.size,
            objects=tuple(file.name for file in combined.files) if combined else (),
            segments=tuple(self.segments()),
            sections=tuple(sorted(self.sections(), key=lambda s: (s.address, s.size))),
            symbols=tuple(sorted(self.symbols(), key=lambda s: (s.type == "TLS", s.address))),
            got=image.address_of(combined.got) if combined and combined.slots else None,
            slots=tuple(sorted(self.slots(), key=lambda s: s.address)),
            stubs=tuple(self.stubs()),
            discarded=tuple(self.discarded()),
            commons=tuple(self.commons()),
        )

    def segments(self) -> Iterator[MapSegment]:
        for pages in self.image.region.pages:
            yield MapSegment(self.image.base + pages.offset, pages.size, str(pages.protection))

    # ------------------------------------------------------------ sections

    def sections(self) -> Iterator[MapSection]:
        if self.combined is not None:
            for part in self.combined.inputs:
                address = self.image.address_of(part.offset)
                access = _access(part.flags)
                yield MapSection(part.name, part.file.name, address, part.size, part.align, access)
            return
        for section in self.decoded.sections:
            if section.flags & SectionFlag.ALLOC:
                yield MapSection(
                    section.name,
                    None,
                    self.image.address_of(section.addr),
                    section.size,
                    max(section.addralign, 1),
                    _access(section.flags),
                )

    # ------------------------------------------------------------ symbols

    def symbols(self) -> Iterator[MapSymbol]:
        table = self.decoded.symbols
        wanted = np.flatnonzero((table.section != 0) & np.isin(table.type, _SYMBOL_TYPES))
        owners = self._owners(wanted)
        columns = zip(
            table.names.take(wanted).texts(),
            table.value[wanted].tolist(),
            table.size[wanted].tolist(),
            table.type[wanted].tolist(),
            table.bind[wanted].tolist(),
            table.visibility[wanted].tolist(),
            table.section[wanted].tolist(),
            owners,
            strict=True,
        )
        for name, value, size, kind, bind, visibility, section, owner in columns:
            if name and not (bind == Binding.LOCAL and name.startswith(_MADE_UP)):
                fixed = kind == SymbolType.TLS or section == SHN_ABS
                yield MapSymbol(
                    name,
                    value if fixed else self.image.address_of(value),
                    size,
                    _name(SymbolType, kind),
                    _name(Binding, bind),
                    _name(Visibility, visibility),
                    owner,
                )

    def _owners(self, rows: I64) -> list[str | None]:
        """The object each row of the combined table is of; None for what the linker defines."""
        if self.combined is None:
            return [None] * len(rows)
        files = self.combined.files
        ends = 1 + np.cumsum([len(file.symbols) for file in files])
        number = np.searchsorted(ends, rows, side="right").tolist()
        section = np.concatenate([[UNDEFINED], *(file.symbols.section for file in files)])[rows].tolist()
        return [None if s == UNDEFINED else files[n].name for n, s in zip(number, section, strict=True)]

    def commons(self) -> Iterator[MapCommon]:
        if self.combined is None:
            return
        table, first = self.decoded.symbols, 1
        for file in self.combined.files:
            for row in np.flatnonzero(file.symbols.section == COMMON).tolist():
                index = first + row
                if table.section[index] != UNDEFINED:
                    yield MapCommon(
                        file.symbol_name(row),
                        self.image.address_of(int(table.value[index])),
                        int(table.size[index]),
                        int(file.symbols.value[row]),
                        file.name,
                    )
            first += len(file.symbols)

    def discarded(self) -> Iterator[DiscardedGroup]:
        files = self.combined.files if self.combined else ()
        for number, group, kept in discarded_groups(files):
            members = (files[number].sections[member] for member in group.members)
            names = tuple(member.name for member in members if member.type not in RELOCATION_SECTIONS)
            yield DiscardedGroup(group.signature, files[number].name, files[kept].name, names)

    # ------------------------------------------------------------ slots and stubs

    def _providers(self) -> dict[int, str | None]:
        """Symbol index -> what it bound to."""
        outcome, lazy = self.image.outcome, self.image.lazy
        if outcome is None or outcome.bindings is None:
            return {}
        later: dict[int, str | None] = {}
        if lazy is not None:
            later = {
                int(lazy.symbol[slot]): answer.provider.name if answer.provider is not None else _HOST
                for slot, answer in lazy.bound.items()
            }
        bound = outcome.bindings
        names = {number: image.name for number, image in enumerate(bound.images)}
        numbers = bound.provider[1:].tolist()
        return {
            symbol: _HOST if number == HOST else names.get(number)
            for symbol, number in zip(outcome.symbols.tolist(), numbers, strict=True)
        } | later

    def words(self, address: int, count: int) -> tuple[int, ...]:
        size = self.arch.word_size
        data = self.read(address, count * size)
        return tuple(int.from_bytes(data[i * size : (i + 1) * size], "little") for i in range(count))

    def slots(self) -> Iterator[GotSlot]:
        return self.own_slots(self.combined) if self.combined is not None else self.dynamic_slots()

    def own_slots(self, combined: CombinedObjects) -> Iterator[GotSlot]:
        names = combined.symbols.names
        for kind, (symbols, offsets) in combined.slots.items():
            pairs = zip(symbols.tolist(), offsets.tolist(), strict=True)
            for symbol, offset in [(0, int(offsets[0]))] if kind is Slot.TLS_LD else pairs:
                address = self.image.address_of(combined.got + offset)
                name = names.text(symbol) if symbol else ""
                words = self.words(address, kind.words)
                yield GotSlot(kind.name, name, address, words, self.providers.get(symbol))

    def dynamic_slots(self) -> Iterator[GotSlot]:
        """The slots dynamic relocations fill: those of kinds only a GOT has, and plain words in its sections."""
        got = [s for s in self.decoded.sections if s.name.startswith(".got")]
        names = self.decoded.symbols.names
        for table in self.decoded.relocations:
            for number in np.unique(table.type).tolist():
                row = self.arch.relocations.get(number)
                entries = np.flatnonzero(table.type == number)
                if row is None or (kind := _dynamic_kind(row)) is None:
                    continue
                for offset, symbol in zip(
                    table.offset[entries].tolist(), table.symbol[entries].tolist(), strict=True
                ):
                    if kind == "" and not any(s.addr <= offset < s.addr + s.size for s in got):
                        continue
                    address = self.image.address_of(offset)
                    count = Slot[kind].words if kind in Slot.__members__ else 1
                    yield GotSlot(
                        kind or Slot.ADDRESS.name,
                        names.text(symbol) if symbol else "",
                        address,
                        self.words(address, count),
                        self.providers.get(symbol),
                    )

    def stubs(self) -> Iterator[MapStub]:
        table: StubTable | None = self.combined.stubs if self.combined else None
        if table is None:
            return
        names = self.decoded.symbols.names
        for island in table.islands:
            for place, symbol in enumerate(table.symbols.tolist()):
                address = self.image.address_of(island + place * table.size)
                target = self.words(address + table.address_at, 1)[0]
                yield MapStub(names.text(symbol), address, table.size, target, self.providers.get(symbol))


def _dynamic_kind(row: Reloc) -> str | None:
    """The kind of slot a dynamic relocation fills; "" for one that may fill any word, None for no slot."""
    if row.role is Role.JUMP_SLOT:
        return PLT
    if row.role is Role.IRELATIVE:
        return IRELATIVE
    if row.role is Role.TLSDESC:
        return Slot.TLS_DESC.name
    if row.role is not Role.DATA or row.formula is None or row.static:
        return None
    letters = row.formula.letters
    if "M" in letters:
        return Slot.TLS_GD.name
    if "T" in letters:
        return Slot.TLS_IE.name
    if row.name == "GLOB_DAT":
        return Slot.ADDRESS.name
    return "" if "S" in letters and not letters - {"S", "A"} else None


def _access(flags: int) -> str:
    wanted = Protection.R
    if flags & SectionFlag.WRITE:
        wanted |= Protection.W
    if flags & SectionFlag.EXECINSTR:
        wanted |= Protection.X
    return str(wanted)


def _name(kind: type[enum.IntEnum], number: int) -> str:
    try:
        return kind(number).name
    except ValueError:
        return f"{number:#x}"


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
    """Sections by address, under each the symbols that lie in it; symbols in none come where they lie."""
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

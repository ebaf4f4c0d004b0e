"""Building a link map from an image and the result of its relocation."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from relink.arch import Reloc, Role
from relink.arch.spec import Slot
from relink.arrays import I64, distinct
from relink.elf.constants import LINKABLE_TYPES, SHN_ABS, SectionFlag, SymbolBind, SymbolType, Visibility
from relink.elf.object_relocations import RELOCATION_SECTIONS
from relink.elf.objects import COMMON, UNDEFINED
from relink.link_map import (
    DiscardedGroup,
    GotSlot,
    LinkMap,
    MapCommon,
    MapSection,
    MapSegment,
    MapStub,
    MapSymbol,
)
from relink.memory.address_space import Protection
from relink.module import Module
from relink.objects.combined import CombinedObjects, StubTable, combined, discarded_groups
from relink.relocate.result import Relocated
from relink.resolve.bindings import HOST

#: `read(address, size)`: bytes of the guest.
Read: TypeAlias = Callable[[int, int], bytes]

#: Kinds of slots besides the names in `relink.arch.spec.Slot`.
PLT, IRELATIVE = "PLT", "IRELATIVE"

_MADE_UP = (".L", "$")  #: prefixes of names that assemblers and compilers make up
_HOST = "the host"


def link_map(image: Module, relocated: Relocated, read: Read | None = None) -> LinkMap:
    """The map of a loaded image.

    `read` returns guest bytes; without it the linker's buffer is read, which may lack changes made by the running
    guest. Raises UseAfterUnload.
    """
    image.check_open()
    return _Mapper(image, relocated, read or _from_buffer(image)).run()


def _from_buffer(image: Module) -> Read:
    region = image.region

    def read(address: int, size: int) -> bytes:
        content = region.content(address, size)
        return b"" if content is None else content.tobytes()

    return read


class _Mapper:
    def __init__(self, image: Module, relocated: Relocated, read: Read) -> None:
        self.image, self.relocated, self.read = image, relocated, read
        self.decoded, self.arch = image.decoded, image.architecture
        self.combined = combined(image.decoded)
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
        region = self.image.region
        for part in region.parts or (region,):
            for pages in part.pages:
                yield MapSegment(part.address + pages.offset, pages.size, str(pages.protection))

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
        wanted = np.flatnonzero((table.section != 0) & np.isin(table.type, LINKABLE_TYPES))
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
            if name and not (bind == SymbolBind.LOCAL and name.startswith(_MADE_UP)):
                fixed = kind == SymbolType.TLS or section == SHN_ABS
                yield MapSymbol(
                    name,
                    value if fixed else self.image.address_of(value),
                    size,
                    _name(SymbolType, kind),
                    _name(SymbolBind, bind),
                    _name(Visibility, visibility),
                    owner,
                )

    def _owners(self, rows: I64) -> list[str | None]:
        """The object of each row of the combined symbol table; None for symbols that the link defines or adds."""
        if self.combined is None:
            return [None] * len(rows)
        files = self.combined.files
        ends = 1 + np.cumsum([len(file.symbols) for file in files])
        number = np.searchsorted(ends, rows, side="right").tolist()
        section = np.concatenate([[UNDEFINED], *(file.symbols.section for file in files)])
        section = section[np.where(rows < ends[-1], rows, 0)].tolist()
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
        batch = self.combined.batch if self.combined else None
        if batch is None:
            return
        files = batch.files
        for number, group, kept in discarded_groups(batch):
            members = (files[number].sections[member] for member in group.members)
            names = tuple(member.name for member in members if member.type not in RELOCATION_SECTIONS)
            yield DiscardedGroup(group.signature, files[number].name, files[kept].name, names)

    # ------------------------------------------------------------ slots and stubs

    def _providers(self) -> dict[int, str | None]:
        """Symbol index -> its provider."""
        bound, lazy = self.relocated.bindings, self.relocated.lazy
        if bound is None:
            return {}
        later: dict[int, str | None] = {}
        if lazy is not None:
            later = {
                int(lazy.symbol[slot]): answer.provider.name if answer.provider is not None else _HOST
                for slot, answer in lazy.bound.items()
            }
        names = {number: image.name for number, image in enumerate(bound.images)}
        numbers = bound.provider[1:].tolist()
        return {
            symbol: _HOST if number == HOST else names.get(number)
            for symbol, number in zip(self.relocated.symbols.tolist(), numbers, strict=True)
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
        """The slots that dynamic relocations fill: those of GOT-only kinds, and plain words in GOT sections."""
        got = [s for s in self.decoded.sections if s.name.startswith(".got")]
        names = self.decoded.symbols.names
        for table in self.decoded.relocations:
            for number in distinct(table.type).tolist():
                reloc_type = self.arch.relocations.get(number)
                entries = np.flatnonzero(table.type == number)
                if reloc_type is None or (kind := _dynamic_kind(reloc_type)) is None:
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


def _dynamic_kind(reloc_type: Reloc) -> str | None:
    """The kind of slot that a dynamic relocation fills; "" for a type that may fill any word, None for other
    types.
    """
    if reloc_type.role is Role.JUMP_SLOT:
        return PLT
    if reloc_type.role is Role.IRELATIVE:
        return IRELATIVE
    if reloc_type.role is Role.TLSDESC:
        return Slot.TLS_DESC.name
    if reloc_type.role is not Role.DATA or reloc_type.formula is None or reloc_type.static:
        return None
    letters = reloc_type.formula.letters
    if "M" in letters:
        return Slot.TLS_GD.name
    if "T" in letters:
        return Slot.TLS_IE.name
    if reloc_type.name == "GLOB_DAT":
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

"""Lazy binding: jump slots that are bound when they are first called through.

A slot that waits holds the address of a trap of its own: the PLT entry jumps there, the address names the
slot, and no register has been touched. In faithful mode it holds what the static linker put there, rebased, as
ld.so leaves it: the first call goes through the PLT's header to the resolver, by the convention of each psABI
(`relink.arch.spec.Plt`), with the words of DT_PLTGOT that belong to the dynamic linker filled in.

Which symbol a slot gets is decided by the resolver, in the scope of the calling image.

`bound_at_once` and `defer_slots` are the engine's side of it, `LazySlots` what is kept until the calls come.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from relink.arch import Reloc
from relink.arrays import I64, U64
from relink.elf import RelocationTable
from relink.elf.constants import SymbolBind, SymbolType
from relink.errors import RelocationOutOfImage, UnresolvedSymbol
from relink.memory import placement as place
from relink.memory.buffers import read_words, write_words
from relink.module import Module
from relink.records import dataclass, field
from relink.resolve.bindings import HOST, UNRESOLVED, Bindings
from relink.resolve.resolver import Resolver, Use
from relink.resolve.scopes import LookupScope

#: Jump slots that are not bound while loading: the entries of one type of a table.
Waiting: TypeAlias = tuple[RelocationTable, Reloc, I64]
_ALL_ONES = (1 << 64) - 1


class BindMode(enum.StrEnum):
    """When references by way of the PLT are bound."""

    NOW = "now"  #: all of them while loading
    LAZY = "lazy"  #: each when it is first called, by a trap in its slot; images that ask for NOW get it
    FAITHFUL = "faithful"  #: the same through the PLT's header, as under ld.so


class LazyHost(Protocol):
    """Provides the addresses that calls through unbound slots jump to: a machine."""

    def slot_traps(self, slots: LazySlots) -> tuple[int, int]:
        """(first guest address, bytes from each to the next) of traps, one for each slot."""

    def resolver_words(self, slots: LazySlots) -> tuple[int, int]:
        """(what names the image, the resolver's guest address): the words a PLT's header looks for."""


@dataclass(frozen=True, slots=True)
class SlotBinding:
    """What a slot is bound to."""

    name: str
    version: str | None
    address: int  #: guest address; for an ifunc that of its resolver
    provider: Module | None  #: None for the host, and for a weak symbol nobody defines
    indirect: bool  #: `address` is an ifunc resolver's
    kind: str  #: "image", "host" or "weak", as in `BoundSymbol`


@dataclass(eq=False, slots=True)
class LazySlots:
    """The jump slots of an image that were left for later. Arrays have one element per slot."""

    image: Module
    place: U64  #: guest addresses
    symbol: I64  #: indices in the symbol table
    addend: U64  #: zeros where the psABI's JUMP_SLOT has none
    entry: I64  #: numbers of the entries in DT_JMPREL
    bound: dict[int, SlotBinding] = field(default_factory=dict)  #: by slot, in the order of their first calls

    def __len__(self) -> int:
        return len(self.place)

    def name(self, slot: int) -> str:
        """The symbol a slot is for."""
        return self.image.decoded.symbols.names.text(int(self.symbol[slot]))

    def slot_at(self, place: int) -> int | None:
        """The slot at a guest address."""
        found = np.flatnonzero(self.place == np.uint64(place))
        return int(found[0]) if len(found) else None

    def slot_of_entry(self, entry: int) -> int | None:
        """The slot an entry of DT_JMPREL fills."""
        found = np.flatnonzero(self.entry == entry)
        return int(found[0]) if len(found) else None

    def bind(self, slot: int, resolver: Resolver, scope: LookupScope) -> SlotBinding:
        """Look a slot's symbol up, and remember the answer.

        Raises UnresolvedSymbol for a strong symbol nobody defines.
        """
        index = int(self.symbol[slot])
        image = self.image
        found = resolver.bind(image, np.array([index], np.int64), scope, np.array([Use.CALL], np.uint8))
        answer = _answer(found, self.name(slot), image.decoded.version_of(index), int(self.addend[slot]))
        if answer.kind == "weak" and image.decoded.symbols.bind[index] != SymbolBind.WEAK:
            raise UnresolvedSymbol(image.name, answer.name, answer.version, detail="bound at its first call")
        self.bound[slot] = answer
        return answer


def _answer(found: Bindings, name: str, version: str | None, addend: int) -> SlotBinding:
    number = int(found.provider[0])
    kind = {UNRESOLVED: "weak", HOST: "host"}.get(number, "image")
    mask = int(found.images[0].address_mask)
    return SlotBinding(
        name,
        version,
        int(found.address[0]) + addend & mask,
        found.images[number] if kind == "image" else None,
        found.type[0] == SymbolType.GNU_IFUNC,
        kind,
    )


def bound_at_once(image: Module, table: RelocationTable, indices: I64, binding: BindMode) -> I64:
    """The jump slots that are bound while loading all the same: those without a symbol, and in faithful mode those
    whose functions' arguments ld.so's resolver would lose (`Plt.bound_at_once`)."""
    symbol = table.symbol[indices]
    at_once = symbol == 0
    if binding is BindMode.FAITHFUL and image.architecture.plt.bound_at_once and not at_once.all():
        at_once |= image.decoded.symbols.other[symbol] & np.uint8(image.architecture.plt.bound_at_once) != 0
    chosen: I64 = indices[at_once]
    return chosen


def defer_slots(
    image: Module, waiting: Sequence[Waiting], binding: BindMode, host: LazyHost
) -> LazySlots | RelocationOutOfImage:
    """Fill jump slots that are bound at their first call with what leads there: the slots, or what is wrong."""
    arch, buffer = image.architecture, image.region.buffer
    slots = _slots(image, waiting)
    offset = np.concatenate([table.offset[entries] for table, _, entries in waiting])
    where = (offset - image.low).astype(np.int64)
    size, table_at = arch.word_size, image.decoded.pltgot
    if binding is BindMode.FAITHFUL and table_at is not None:
        words = [arch.plt.link_map_word, arch.plt.resolver_word]
        own = np.array([table_at + size * word & _ALL_ONES for word in words], np.uint64)
        if place.inside(image.decoded, own, size) is not None:
            return RelocationOutOfImage(
                image.name,
                "the words of the dynamic linker lie in no segment",
                section=".got.plt",
                offset=table_at,
                type_name="DT_PLTGOT",
            )
        resolver = np.array(host.resolver_words(slots), np.uint64)
        write_words(buffer, (own - image.low).astype(np.int64), size, resolver)
        value = read_words(buffer, where, size) + image.bias_word
    else:
        first, spacing = host.slot_traps(slots)
        value = np.arange(len(slots), dtype=np.uint64) * np.uint64(spacing) + np.uint64(first)
    write_words(buffer, where, size, value)
    return slots


def _slots(image: Module, waiting: Sequence[Waiting]) -> LazySlots:
    """What is kept of the entries. Numbers count in DT_JMPREL, as a PLT's header does; -1 for others."""
    places, symbols, summands, numbers = [], [], [], []
    for table, reloc_type, entries in waiting:
        formula = reloc_type.formula
        addends = table.addend if formula is not None and "A" in formula.letters else None
        places.append(table.offset[entries] + image.bias_word & image.address_mask)
        symbols.append(table.symbol[entries].astype(np.int64))
        summands.append(np.zeros(len(entries), np.uint64) if addends is None else addends[entries].view(np.uint64))
        numbers.append(entries if table.section.endswith(".plt") else np.full(len(entries), -1))
    return LazySlots(
        image, np.concatenate(places), np.concatenate(symbols), np.concatenate(summands), np.concatenate(numbers)
    )

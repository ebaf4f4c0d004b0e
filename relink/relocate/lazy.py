"""Lazy binding: jump slots that are bound at the first call through them.

- Default: an unbound slot holds the address of a separate trap. The PLT entry jumps there without changing
  registers, and the address identifies the slot.
- Faithful: an unbound slot holds the static linker's word, rebased, as under ld.so. The first call goes through
  the PLT header to the resolver, by the convention of the psABI (`relink.arch.spec.Plt`); the dynamic linker's
  words of DT_PLTGOT are filled in.

The symbol is looked up in the scope of the calling image. `bound_at_once` and `defer_slots` are used by the
engine; `LazySlots` has the data for the later calls.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

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
from relink.records.tuples import NamedTuple
from relink.resolve.few_references import version_of
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import LookupScope

if TYPE_CHECKING:
    from relink.resolve.calls_ahead import Ahead

#: Jump slots that are not bound during the load: the entries of one type of a table.
Waiting: TypeAlias = tuple[RelocationTable, Reloc, I64]
_ALL_ONES = (1 << 64) - 1
_IFUNC = int(SymbolType.GNU_IFUNC)


class BindMode(enum.StrEnum):
    """When references through the PLT are bound."""

    NOW = "now"  #: all during the load
    #: each at its first call, by a trap in its slot; images with DF_BIND_NOW are bound during the load
    LAZY = "lazy"
    FAITHFUL = "faithful"  #: the same through the PLT header, as under ld.so


class LazyHost(Protocol):
    """Provides the addresses that calls through unbound slots jump to; implemented by a machine."""

    def slot_traps(self, slots: LazySlots) -> tuple[int, int]:
        """(first guest address, bytes from each to the next) of traps, one for each slot."""

    def resolver_words(self, slots: LazySlots) -> tuple[int, int]:
        """(word that identifies the image, guest address of the resolver): the words that a PLT header loads."""

    def settle(self) -> None:
        """Record the bindings of calls so far (`LazySlots.recorded`), where the engine has bound them alone."""


class SlotBinding(NamedTuple):
    """The binding of a slot."""

    name: str
    version: str | None
    address: int  #: guest address; for an ifunc that of its resolver
    provider: Module | None  #: None for the host, and for an undefined weak symbol
    indirect: bool  #: whether `address` is that of an ifunc resolver
    kind: str  #: "image", "host" or "weak", as in `BoundSymbol`


@dataclass(eq=False, slots=True)
class LazySlots:
    """The lazily bound jump slots of an image. Arrays have one element per slot."""

    image: Module
    place: U64  #: guest addresses of the slots
    symbol: I64  #: indices in the symbol table
    addend: U64  #: addends; zeros when the psABI's JUMP_SLOT has none
    entry: I64  #: indices of the entries in DT_JMPREL
    host: LazyHost
    recorded: dict[int, SlotBinding] = field(default_factory=dict)  #: of `bound`, those that have been recorded

    def __len__(self) -> int:
        return len(self.place)

    @property
    def bound(self) -> dict[int, SlotBinding]:
        """Bindings by slot, in the order of the first calls."""
        self.host.settle()
        return self.recorded

    def name(self, slot: int) -> str:
        """The name of a slot's symbol."""
        table = self.image.decoded.symbols
        name_at = table.numbers(self.symbol.item(slot))[0]
        return table.strings.raw(name_at).decode("utf-8", "surrogateescape")

    def slot_at(self, place: int) -> int | None:
        """The slot at a guest address."""
        found = np.flatnonzero(self.place == np.uint64(place))
        return int(found[0]) if len(found) else None

    def slot_of_entry(self, entry: int) -> int | None:
        """The slot of an entry of DT_JMPREL."""
        found = np.flatnonzero(self.entry == entry)
        return int(found[0]) if len(found) else None

    def bind(self, slot: int, resolver: Resolver, scope: LookupScope) -> SlotBinding:
        """Look up a slot's symbol and record the binding. Raises UnresolvedSymbol for undefined strong ones."""
        from relink.resolve.one_name import bind_call  # few processes bind lazily

        index, image = self.symbol.item(slot), self.image
        found = bind_call(resolver, image, index, scope)
        kind = "host" if found.is_host else "weak" if found.provider is None else "image"
        if kind == "weak" and image.decoded.symbols.bind[index] != SymbolBind.WEAK:
            raise UnresolvedSymbol(image.name, found.name, found.version, detail="bound at its first call")
        address = found.address + self.addend.item(slot) & image.architecture.address_mask
        indirect = found.type == _IFUNC
        answer = SlotBinding(found.name, found.version, address, found.provider, indirect, kind)
        self.recorded[slot] = answer
        return answer

    def look_up(self, slots: I64, resolver: Resolver, scope: LookupScope) -> Ahead:
        """The answers that `bind` would give now, for slots of functions of images; those that only a call can
        tell have the address 0. Nothing shows that they were looked up.
        """
        from relink.resolve.calls_ahead import bind_ahead

        found = bind_ahead(resolver, self.image, self.symbol[slots], scope)
        address = found.address + self.addend[slots] & np.uint64(self.image.architecture.address_mask)
        return found._replace(address=address * (found.address != 0))

    def answer(self, slot: int, address: int, provider: Module) -> SlotBinding:
        """A binding that `look_up` has found, for `recorded`."""
        version = version_of(self.image.decoded, self.symbol.item(slot))
        return SlotBinding(self.name(slot), version, address, provider, False, "image")


def bound_at_once(image: Module, table: RelocationTable, indices: I64, binding: BindMode) -> I64:
    """The jump slots that are bound during the load in lazy mode too: those without a symbol, and in faithful mode
    those of functions whose arguments ld.so's resolver does not preserve (`Plt.bound_at_once`).
    """
    symbol = table.symbol[indices]
    at_once = symbol == 0
    if binding is BindMode.FAITHFUL and image.architecture.plt.bound_at_once and not at_once.all():
        at_once |= image.decoded.symbols.other[symbol] & np.uint8(image.architecture.plt.bound_at_once) != 0
    chosen: I64 = indices[at_once]
    return chosen


def defer_slots(
    image: Module, waiting: Sequence[Waiting], binding: BindMode, host: LazyHost
) -> LazySlots | RelocationOutOfImage:
    """Fill lazily bound jump slots with trap addresses or PLT addresses; return the slots, or the problem."""
    arch, buffer = image.architecture, image.region.buffer
    slots = _slots(image, waiting, host)
    offset = np.concatenate([table.offset[entries] for table, _, entries in waiting])
    where = image.runs.indices(offset)
    size, table_at = arch.word_size, image.decoded.pltgot
    if binding is BindMode.FAITHFUL and table_at is not None:
        words = [arch.plt.link_map_word, arch.plt.resolver_word]
        own = np.array([table_at + size * word & _ALL_ONES for word in words], np.uint64)
        if place.inside(image.decoded, own, size) is not None:
            return RelocationOutOfImage(
                image.name,
                "the dynamic linker's words of DT_PLTGOT lie in no segment",
                section=".got.plt",
                offset=table_at,
                type_name="DT_PLTGOT",
            )
        resolver = np.array(host.resolver_words(slots), np.uint64)
        write_words(buffer, image.runs.indices(own), size, resolver)
        value = read_words(buffer, where, size) + image.bias_word
    else:
        first, spacing = host.slot_traps(slots)
        value = np.arange(len(slots), dtype=np.uint64) * np.uint64(spacing) + np.uint64(first)
    write_words(buffer, where, size, value)
    return slots


def _slots(image: Module, waiting: Sequence[Waiting], host: LazyHost) -> LazySlots:
    """Make the `LazySlots`. Entry numbers are indices in DT_JMPREL, as PLT headers use; -1 for other tables."""
    places, symbols, summands, numbers = [], [], [], []
    for table, reloc_type, entries in waiting:
        formula = reloc_type.formula
        addends = table.addend if formula is not None and "A" in formula.letters else None
        places.append(table.offset[entries] + image.bias_word & image.address_mask)
        symbols.append(table.symbol[entries].astype(np.int64))
        summands.append(np.zeros(len(entries), np.uint64) if addends is None else addends[entries].view(np.uint64))
        numbers.append(entries if table.section.endswith(".plt") else np.full(len(entries), -1))
    symbol, addend, entry = np.concatenate(symbols), np.concatenate(summands), np.concatenate(numbers)
    return LazySlots(image, np.concatenate(places), symbol, addend, entry, host)

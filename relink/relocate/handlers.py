"""Relocation handlers: a user's functions that replace or observe parts of relocation.

    linker.relocation_handlers.append(RelocationHandler(["JUMP_SLOT"], before=divert))

A handler gets batches: all entries of one type of one table, as arrays.

- `before` is called before an image is relocated. It may claim entries: the engine then neither binds their
  symbols nor writes their places, and does not check that their types are supported.
- `after` is called with the values of the remaining entries before they are checked and written. It may return
  other values.
- Both may veto entries: each becomes a `RelocationVetoed` among the errors of the load.
- An exception aborts the load at once.

Handlers are called in order, each with the entries that earlier ones did not claim.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from relink.arch import Reloc, Role
from relink.arrays import I64, U8, U64, Bools
from relink.elf import RelocationTable
from relink.errors import RelocationVetoed
from relink.memory import placement as place
from relink.memory.buffers import read_words
from relink.module import Module
from relink.records import cached_property, dataclass, field
from relink.relocate.batch import Batch, Groups, Tables, indices_of
from relink.relocate.state import Relocation
from relink.resolve.bindings import Bindings

RELR = "RELR"  #: the type name of RELR entries, which have no type


@dataclass(eq=False)
class Entries:
    """A batch of relocation entries of one type. Arrays have one element per entry."""

    _relocation: Relocation
    table: RelocationTable
    number: int  #: the type; for RELR the ISA's RELATIVE
    reloc_type: Reloc | None  #: the row of the ISA's page; None for a type it does not know
    indices: I64  #: the entries, as indices in the table
    type: str  #: the psABI's full name, "RELR", or "R_…_type N"
    #: Set for `after` only: the value to write, modulo the ISA's word. It is the value of the formula: for an
    #: instruction the value of its field, for sums the number added, for TLS descriptors the argument.
    value: U64 | None = None
    vetoed: list[tuple[I64, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def image(self) -> Module:
        """The image that is relocated."""
        return self._relocation.image

    @property
    def section(self) -> str:
        """The table's name: ".rela.dyn", …"""
        return self.table.section

    @property
    def buffer(self) -> U8:
        """uint8: the bytes of the image, writable. `buffer[where]` are the first bytes of the places."""
        return self._relocation.buffer

    @cached_property
    def vaddr(self) -> U64:
        """Link-time addresses of the places."""
        return self.table.offset[self.indices]

    @cached_property
    def where(self) -> I64:
        """Index of each place in `buffer`; out of bounds for places outside all segments (see `inside`)."""
        return self.image.runs.indices(self.vaddr)

    @cached_property
    def place(self) -> U64:
        """P: guest addresses of the places."""
        return (self.vaddr + self.image.bias_word) & self.image.address_mask

    def inside(self, size: int) -> Bools:
        """Which places of `size` bytes lie completely in one segment."""
        found = place.inside(self.image.decoded, self.vaddr, size)
        return np.ones(len(self), np.bool_) if found is None else found

    @cached_property
    def symbol(self) -> I64:
        """Indices in the image's symbol table; 0 for none."""
        return self.table.symbol[self.indices].astype(np.int64)

    @cached_property
    def names(self) -> list[str]:
        """The symbols' names; "" for none."""
        distinct, inverse = np.unique(self.symbol, return_inverse=True)
        texts = self.image.decoded.symbols.names.take(distinct).texts() if distinct.any() else [""]
        return [texts[i] for i in inverse.tolist()]

    @cached_property
    def addend(self) -> U64:
        """A, modulo 2^64: the entry's addend, or the content of the place (for an unknown type, a word of the
        ISA).
        """
        if self.table.addend is not None:
            return self.table.addend[self.indices].view(np.uint64)
        word = None if self.reloc_type is None else self.reloc_type.word
        size = self._relocation.arch.word_size if word is None else word.size
        inside = self.inside(size)
        found = np.zeros(len(self), np.uint64)
        if word is not None and self.reloc_type is not None:
            batch = self._relocation.batch(self.table, self.reloc_type, self.indices[inside])
            found[inside] = self._relocation.addend(batch)
        else:
            found[inside] = read_words(self.buffer, self.where[inside], size)
        return found

    @cached_property
    def bindings(self) -> Bindings:
        """The bindings of the symbols, one element per entry; unresolved symbols are not an error here.

        Images that they bind to then stay loaded as long as this image.
        """
        distinct, inverse = np.unique(self.symbol, return_inverse=True)
        relocation = self._relocation
        bound = relocation.environment.resolver.bind(self.image, distinct, relocation.scope)
        found = relocation.result.looked_up
        found += [image for image in bound.providers if image is not self.image and image not in found]
        return Bindings(
            bound.address[inverse],
            bound.size[inverse],
            bound.type[inverse],
            bound.provider[inverse],
            bound.symbol[inverse],
            bound.canonical[inverse],
            bound.images,
        )

    @property
    def target(self) -> U64:
        """S: guest addresses of the symbols (for TLS: offsets in their blocks); 0 without a symbol or when
        unresolved.
        """
        return self.bindings.address

    @property
    def formula(self) -> str | None:
        """The page's formula in the psABI's letters."""
        return None if self.reloc_type is None or self.reloc_type.formula is None else self.reloc_type.formula.text

    def veto(self, which: Bools | I64 | int, reason: str) -> None:
        """Refuse entries (a mask, indices or one index of this batch): each becomes a RelocationVetoed."""
        positions = np.arange(len(self))[np.atleast_1d(np.asarray(which))]
        self.vetoed.append((positions, reason))


@dataclass(frozen=True)
class RelocationHandler:
    """A user's functions for some relocations, called before or after the engine.

    `types` are names with or without the psABI's prefix ("RELR" for packed entries), type numbers (below 65536) or
    roles; empty means all. `image` restricts it to one image (name, short name or SONAME), or to those for which a
    function returns true.
    """

    types: Collection[str | int | Role] = ()
    image: str | Callable[[Module], bool] | None = None
    #: Returns which entries of a batch it claims: bool[n]; None for none.
    before: Callable[[Entries], Bools | None] | None = None
    #: Given a batch with its `value`, the values to store instead: uint64[n]; None to leave them.
    after: Callable[[Entries], U64 | None] | None = None

    def wants(self, image: Module) -> bool:
        """Whether it is about this image."""
        if self.image is None or callable(self.image):
            return self.image is None or bool(self.image(image))
        return self.image in (image.name, image.short_name, image.decoded.soname)

    def takes(self, prefix: str, type: str, number: int, reloc_type: Reloc | None) -> bool:
        """Whether it is about this type."""
        if not self.types:
            return True
        names = {type, type.removeprefix(prefix)}
        packed = type == RELR
        return any(
            wanted in names
            if isinstance(wanted, str)
            else (reloc_type is not None and wanted is reloc_type.role)
            if isinstance(wanted, Role)
            else wanted == number and not packed
            for wanted in self.types
        )


class HandlerPass:
    """Calls the handlers for one image, and counts the entries they claim."""

    def __init__(self, relocation: Relocation, handlers: Sequence[RelocationHandler]) -> None:
        self._relocation = relocation
        self._handlers = handlers

    def claim(self, tables: Tables) -> Tables:
        """Call the `before` handlers; return the groups without claimed and vetoed entries."""
        return [(table, self._claim_groups(table, groups)) for table, groups in tables]

    def _claim_groups(self, table: RelocationTable, groups: Groups) -> Groups:
        left: Groups = []
        for number, entries in groups:
            reloc_type = self._relocation.arch.relocations.get(number)
            name = self._relocation.arch.relocation_name(number)
            indices = indices_of(table, entries)
            kept = self._unclaimed(table, number, reloc_type, indices, name)
            if len(kept) == len(indices):
                left.append((number, entries))
            elif len(kept):
                left.append((number, kept))
        return left

    def claim_packed(self, offsets: U64) -> U64:
        """`claim` for RELR, which is passed as a table of RELATIVE entries; return the remaining offsets."""
        table, number, reloc_type = self._packed(offsets)
        return offsets[self._unclaimed(table, number, reloc_type, np.arange(len(offsets)), RELR)]

    def _packed(self, offsets: U64) -> tuple[RelocationTable, int, Reloc]:
        rows = self._relocation.arch.relocations.items()
        number, reloc_type = next((n, reloc_type) for n, reloc_type in rows if reloc_type.role is Role.RELATIVE)
        none = np.zeros(len(offsets), np.uint32)
        return RelocationTable(".relr.dyn", offsets, none + np.uint32(number), none, None), number, reloc_type

    def _unclaimed(
        self, table: RelocationTable, number: int, reloc_type: Reloc | None, indices: I64, name: str
    ) -> I64:
        prefix = self._relocation.arch.prefix
        for handler in self._handlers:
            if handler.before is None or not len(indices) or not handler.takes(prefix, name, number, reloc_type):
                continue
            entries = Entries(self._relocation, table, number, reloc_type, indices, name)
            claimed = handler.before(entries)
            gone = np.zeros(len(indices), np.bool_) if claimed is None else np.array(claimed, np.bool_)
            if gone.shape != indices.shape:
                raise ValueError(f"a handler of {name} claims {gone.shape}, there are {indices.shape} entries")
            key, counts = (table.section, name), self._relocation.result.claimed
            if gone.any():
                counts[key] = counts.get(key, 0) + int(gone.sum())
            indices = indices[~(gone | self._vetoed(entries))]
        return indices

    def values(self, batch: Batch, value: U64) -> U64:
        """Call the `after` handlers; return the values to write."""
        arch = self._relocation.arch
        number = next(n for n, other in arch.relocations.items() if other is batch.reloc_type)
        name = arch.prefix + batch.reloc_type.name
        return self._answers(batch.table, number, batch.reloc_type, batch.indices, name, value)

    def packed_values(self, offsets: U64, value: U64) -> U64:
        """`values` for RELR."""
        table, number, reloc_type = self._packed(offsets)
        return self._answers(table, number, reloc_type, np.arange(len(offsets)), RELR, value)

    def _answers(
        self, table: RelocationTable, number: int, reloc_type: Reloc, indices: I64, name: str, value: U64
    ) -> U64:
        arch = self._relocation.arch
        for handler in self._handlers:
            if handler.after is None or not handler.takes(arch.prefix, name, number, reloc_type):
                continue
            shown = value & self._relocation.image.address_mask
            entries = Entries(self._relocation, table, number, reloc_type, indices, name, shown)
            answer = handler.after(entries)
            self._vetoed(entries)
            if answer is not None:
                value = np.asarray(answer).astype(np.uint64)
                if value.shape != indices.shape:
                    raise ValueError(f"a handler of {name} gives {value.shape}, there are {indices.shape} entries")
        return value

    def _vetoed(self, entries: Entries) -> Bools:
        """Report the vetoed entries, and return which they are."""
        gone = np.zeros(len(entries), np.bool_)
        for positions, reason in entries.vetoed:
            gone[positions] = True
            self._relocation.report(
                entries.table, entries.indices[positions], RelocationVetoed, entries.type, reason, entries.formula
            )
        return gone

"""The state of one image's relocation, shared by the engine, its handlers and COPY."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relink.arch import Reloc, Role
from relink.arrays import I64, U64
from relink.elf import RelocationTable
from relink.errors import RelocationError
from relink.memory.buffers import read_words
from relink.module import Module
from relink.records import dataclass
from relink.relocate.batch import Batch, Selection
from relink.relocate.bind import settle_unresolved, use_of
from relink.relocate.lazy import BindMode, LazyHost
from relink.relocate.references import References
from relink.relocate.result import Deferred, Relocated
from relink.resolve.bindings import Bindings
from relink.resolve.resolver import Resolver, Use
from relink.resolve.scopes import LookupScope
from relink.tls import LoadTls


@dataclass(slots=True)
class Environment:
    """The inputs of relocation that come from the load."""

    resolver: Resolver
    #: Guest addresses of the TLS descriptor stubs: for a static offset, for an undefined weak symbol.
    descriptor_stubs: Callable[[], tuple[int, int]]
    #: Returns an address for an undefined strong symbol, or None to make it an error.
    unresolved: Callable[[Module, str], int | None] = lambda image, symbol: None
    allow_deferred: bool = False  #: whether a later load may define it
    #: Handles TLS modules without a static offset; None when there are none.
    tls: LoadTls | None = None
    binding: BindMode = BindMode.NOW  #: when jump slots are bound
    lazy: LazyHost | None = None  #: provides the traps that unbound slots point to
    #: Reads published memory: the source of an executable's copies of host variables.
    read: Callable[[int, int], bytes] = lambda address, size: bytes(size)
    is_running: Callable[[Module], bool] = lambda image: False  #: whether an image was loaded before this load


def settle(
    image: Module, found: References, environment: Environment, result: Relocated, binding: BindMode
) -> None:
    """Note in its result what an image's references are bound to, and handle those that are unresolved."""
    result.bindings, result.symbols = found.bindings, found.symbols
    deferring = environment.allow_deferred
    stand_ins = settle_unresolved(image, found, environment.unresolved, result, allow_deferred=deferring)
    if stand_ins and deferring:
        # A copy: relocation may give functions their stubs' addresses.
        references = References(found.bindings.copy(), found.symbols, found.binding_of)
        result.deferred = Deferred(references, binding, stand_ins)


class Relocation:
    """One image's relocation: its inputs and the results so far."""

    references: References

    def __init__(self, image: Module, scope: LookupScope, environment: Environment) -> None:
        self.image = image
        self.scope = scope
        self.environment = environment
        self.arch = image.architecture
        self.buffer = image.region.buffer
        self.result = Relocated()

    @property
    def bound(self) -> Bindings:
        """The bindings of the image's references."""
        return self.references.bindings

    def binding_index(self, symbols: I64, use: Use = Use.ADDRESS) -> I64:
        """The indices of symbols in `bound`, for a use."""
        return self.references.binding_of[use][symbols]

    def batch(self, table: RelocationTable, reloc_type: Reloc, entries: Selection) -> Batch:
        """A batch of entries whose places are in the image, still without operands."""
        where = self.image.runs.indices(table.offset[entries])
        return Batch(
            table, reloc_type, entries, where, self.references.binding_of[use_of(reloc_type)], self.buffer
        )

    def addend(self, batch: Batch) -> U64:
        """A: the entries' addends, or those stored in the places; a jump slot holds an address in the PLT instead
        (musl, ldso/dynlink.c, `do_relocs`).
        """
        table, reloc_type, where = batch.table, batch.reloc_type, batch.where
        if table.addend is not None:
            return table.addend[batch.entries].view(np.uint64)
        assert reloc_type.word is not None
        if reloc_type.role is Role.JUMP_SLOT:
            return np.zeros(len(where), np.uint64)
        if reloc_type.role is Role.TLSDESC:
            where = where + reloc_type.word.size * self.arch.tls.descriptor_argument
        addend = reloc_type.word.read(read_words(self.buffer, where, reloc_type.word.size))
        if reloc_type.role is Role.TLSDESC and self.arch.tls.descriptor_holds_index:
            return np.where(table.symbol[batch.entries] == 0, addend, np.uint64(0))
        return addend

    def report(
        self,
        table: RelocationTable,
        indices: I64,
        kind: type[RelocationError],
        type_name: str,
        problem: str,
        formula: str | None = None,
    ) -> None:
        """Add an error for each of these entries."""
        from relink.relocate.diagnostics import entry_errors

        self.result.errors += entry_errors(self.image, table, indices, kind, type_name, problem, formula)

    def report_type(
        self, table: RelocationTable, indices: I64, reloc_type: Reloc, kind: type[RelocationError], problem: str
    ) -> None:
        """Report entries of a type that the page knows."""
        formula = reloc_type.formula.text if reloc_type.formula else None
        self.report(table, indices, kind, self.arch.prefix + reloc_type.name, problem, formula)

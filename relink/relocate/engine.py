"""THE relocation engine: classify, batch, check, write.

    classify   entries by their type                                    relink.relocate.batch
    bind       the symbols they ask for                                 relink.relocate.bind
    gather     S, A, P and what else a type's formula names             (here; M and T: relink.relocate.tls)
    store      compute, check the range, write into the host buffer     (here; relink.memory.buffers)

All entries of one type are applied at once on arrays. Every entry is classified by its own type: nothing is
inferred from DT_RELACOUNT, from section order or from the presence of RELR. The errors of all entries are
collected, not raised one by one (`relink.relocate.diagnostics`).

Order matters in three places only. Places that need a guest function's answer (IRELATIVE, and any reference
to an STT_GNU_IFUNC symbol) are returned as `IfuncCalls`: their resolvers may read relocated data, so they
run once everything else is in place. COPY (see `relink.relocate.copy`) comes after all other types of its table.
Jump slots that are bound at their first call (see `relink.relocate.lazy`) are filled last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Reloc, Role
from relink.arch.fields import address32
from relink.arrays import I64, U32, U64, Bools
from relink.elf.constants import SymbolType
from relink.errors import (
    RelocationError,
    RelocationOutOfImage,
    RelocationOverflow,
    UnknownRelocation,
    UnsupportedRelocation,
)
from relink.memory import placement as place
from relink.memory.buffers import read_words, write_words
from relink.objects.combined import CombinedObjects
from relink.relocate.batch import Batch, by_type, evaluate, indices_of
from relink.relocate.bind import References, asks_for_symbol, bind_references, settle_unresolved, use_of
from relink.relocate.lazy import Binding, LazyHost, Waiting, bound_at_once, leave_for_later, wants_now
from relink.relocate.result import IfuncCalls, Outcome
from relink.relocate.tls import NO_MACHINE, descriptor_functions, make_static, modules_of, write_descriptors
from relink.resolve.resolver import UNRESOLVED, Bindings, Resolver, Use

if TYPE_CHECKING:
    from relink.elf import RelocationTable
    from relink.events import Observer
    from relink.image import Image
    from relink.relocate.batch import Tables
    from relink.relocate.handlers import Handling, RelocationHandler
    from relink.tls import LoadTls


#: Every psABI numbers its types below this.
_TYPE_LIMIT = 1 << 16
_TLS_LETTERS = frozenset({"M", "T", "DTV"})


@dataclass(slots=True)
class Environment:
    """What the engine asks of whoever links."""

    resolver: Resolver
    #: Guest addresses of the TLS descriptor stubs: for a static offset, for an undefined weak symbol.
    descriptor_stubs: Callable[[], tuple[int, int]]
    #: An address for a strong symbol nobody defines, or None to make it an error.
    unresolved: Callable[[str, str], int | None] = lambda image, symbol: None
    #: Who decides about modules without a static place; None where there are none.
    tls: LoadTls | None = None
    binding: Binding = Binding.NOW  #: when jump slots are bound
    lazy: LazyHost | None = None  #: whose traps they hold until then
    handlers: Sequence[RelocationHandler] = ()
    observers: Sequence[Observer] = ()
    #: Bytes of memory that is published already: what an executable copies from the host.
    read: Callable[[int, int], bytes] = lambda address, size: bytes(size)
    is_running: Callable[[Image], bool] = lambda image: False  #: whether an image was there before this load


def relocate(image: Image, scope: Sequence[Image], environment: Environment) -> Outcome:
    """Apply all relocations of `image` to its host buffer, binding symbols in `scope`."""
    if isinstance(image.decoded, CombinedObjects):
        from relink.relocate.static import ObjectRelocator

        return ObjectRelocator(image, scope, environment).run()
    return Relocator(image, scope, environment).run()


class Relocator:
    """One image's relocation: the state its steps share."""

    references: References

    def __init__(self, image: Image, scope: Sequence[Image], environment: Environment) -> None:
        self.image = image
        self.scope = scope
        self.environment = environment
        self.arch = image.architecture
        self.buffer = image.region.buffer
        self.outcome = Outcome()
        self.tables: Tables = []
        self.handling = self._handling() if environment.handlers else None
        # What a handler is to see must be computed now.
        later = environment.lazy is not None and not wants_now(image) and self.handling is None
        self.binding = environment.binding if later else Binding.NOW
        self.waiting: list[Waiting] = []  # jump slots that are bound when called

    def _handling(self) -> Handling | None:
        from relink.relocate.handlers import Handling

        about_this = [handler for handler in self.environment.handlers if handler.wants(self.image)]
        return Handling(self, about_this) if about_this else None

    def run(self) -> Outcome:
        self.tables = [(table, self._classify(table)) for table in self.image.decoded.relocations]
        if self.handling is not None:
            self.tables = self.handling.claim(self.tables)
        self._bind()
        self._prepare()
        for table, groups in self.tables:
            for number, entries in sorted(groups, key=lambda group: self._phase(group[0])):
                row = self.arch.relocations.get(number)
                if row is None or not self._applies(row):
                    self._refuse(table, number, row, indices_of(table, entries))
                elif row.role is not Role.NONE:
                    self._apply(table, row, entries)
                    self.outcome.counts[self.arch.prefix + row.name] += len(table.offset[entries])
        if self.waiting and self.environment.lazy is not None:
            problem = leave_for_later(self.image, self.waiting, self.binding, self.environment.lazy)
            self.outcome.errors += [] if problem is None else [problem]
        if self.environment.observers:
            from relink.load import announce as tell

            claimed = {} if self.handling is None else self.handling.claimed
            tell.applied(self.environment.observers, self.image, self.tables, self.outcome.counts["RELR"], claimed)
        return self.outcome

    # ------------------------------------------------------------ what relocatable objects do differently

    def _applies(self, row: Reloc) -> bool:
        if row.role is Role.COPY:
            return self.image.decoded.is_executable
        return not row.static and row.role is not Role.REFUSED

    def _phase(self, number: int) -> int:
        """Types of a lower phase come first."""
        row = self.arch.relocations.get(number)
        return int(row is not None and row.role is Role.COPY)

    def _prepare(self) -> None:
        """What must be in place before the first type."""
        self._relr()

    def _refuse(self, table: RelocationTable, number: int, row: Reloc | None, indices: I64) -> None:
        name = self.arch.relocation_name(number)
        if row is not None and row.role is Role.COPY:
            problem = "copy relocations belong to executables, this is a shared object"
            self.report(table, indices, UnsupportedRelocation, name, problem)
        elif row is not None and not row.static:
            self.report(table, indices, UnsupportedRelocation, name, row.reason)
        elif self.arch.is_known(number):
            problem = "not a dynamic relocation: only a static linker may meet it"
            self.report(table, indices, UnsupportedRelocation, name, problem)
        else:
            self.report(table, indices, UnknownRelocation, name, f"the {self.arch.psabi} has no such type")

    # ------------------------------------------------------------ classify and bind

    def _classify(self, table: RelocationTable) -> list[tuple[int, slice | I64]]:
        types = np.ascontiguousarray(table.type)
        if len(types) and int(types.max()) >= _TYPE_LIMIT:
            odd = np.flatnonzero(types >= _TYPE_LIMIT)
            name = f"type {int(types[odd[0]]):#x}"
            self.report(table, odd, UnknownRelocation, name, "no psABI has such a type")
            types = np.where(types >= _TYPE_LIMIT, 0, types)
        return by_type(types)

    def _bind(self) -> None:
        """Bind every symbol some formula asks for."""
        found = bind_references(self.image, self.scope, self.environment.resolver, self._asked())
        self.references, self.outcome.bindings, self.outcome.symbols = found, found.bindings, found.symbols
        settle_unresolved(self.image, found, self.environment.unresolved, self.outcome)

    def _asked(self) -> Iterator[tuple[Use, U32]]:
        """The symbols that entries ask for, and what for. Jump slots that wait ask when they are called."""
        for table, groups in self.tables:
            for number, entries in groups:
                row = self.arch.relocations.get(number)
                if row is None or not asks_for_symbol(row) or (row.role is Role.COPY and not self._applies(row)):
                    continue
                if self._waits(row):
                    entries = bound_at_once(self.image, table, indices_of(table, entries), self.binding)
                yield use_of(row), table.symbol[entries]

    def _waits(self, row: Reloc) -> bool:
        return row.role is Role.JUMP_SLOT and self.binding is not Binding.NOW

    @property
    def bound(self) -> Bindings:
        """What the image's references are bound to."""
        return self.references.bindings

    def element(self, symbols: I64, use: Use = Use.ADDRESS) -> I64:
        """The elements of `bound` that symbols are, for a use."""
        return self.references.elements[use][symbols]

    # ------------------------------------------------------------ one type

    def _relr(self) -> None:
        """RELR: words that only need rebasing (gABI proposal "SHT_RELR")."""
        offsets = self.image.decoded.relr
        if not len(offsets):
            return
        size = self.arch.word_size
        inside = place.inside(self.image.decoded, offsets, size)
        if inside is not None:
            from relink.relocate.diagnostics import packed_errors

            self.outcome.errors += packed_errors(self.image, offsets[~inside])
            offsets = offsets[inside]
        if self.handling is not None:
            offsets = self.handling.claim_packed(offsets)
        where = (offsets - self.image.low).astype(np.int64)
        value = read_words(self.buffer, where, size) + self.image.bias_word
        if self.handling is not None:
            value = self.handling.packed_values(offsets, value)
        write_words(self.buffer, where, size, value)
        self.outcome.counts["RELR"] += len(offsets)

    def _apply(self, table: RelocationTable, row: Reloc, entries: slice | I64) -> None:
        """Apply all entries of one type."""
        assert row.word is not None
        if row.role is Role.COPY:
            from relink.relocate.copy import copy_symbols

            copy_symbols(self, table, row, indices_of(table, entries).tolist())
            return
        size = row.word.size * (2 if row.role is Role.TLSDESC else 1)
        inside = place.inside(self.image.decoded, table.offset[entries], size)
        if inside is not None:
            indices = indices_of(table, entries)
            self.report_row(table, indices[~inside], row, RelocationOutOfImage, "the place lies in no segment")
            entries = indices[inside]
        if self._waits(row):
            indices = indices_of(table, entries)
            entries = bound_at_once(self.image, table, indices, self.binding)
            if len(later := np.setdiff1d(indices, entries)):
                self.waiting.append((table, row, later))
        self._finish(self._gather(self.batch(table, row, entries)))

    def batch(self, table: RelocationTable, row: Reloc, entries: slice | I64) -> Batch:
        """A batch of entries that lie in the image, without letters yet."""
        where = (table.offset[entries] - self.image.low).astype(np.int64)
        return Batch(table, row, entries, where, self.references.elements[use_of(row)], self.buffer)

    def _gather(self, batch: Batch) -> Batch:
        """Add the letters the row's formula names; entries that cannot have them are reported and dropped."""
        assert batch.row.formula is not None
        letters = batch.row.formula.letters
        if "A" in letters:
            batch.letters["A"] = self.addend(batch)
        if "P" in letters:
            batch.letters["P"] = batch.table.offset[batch.entries] + self.image.bias_word
        if letters & {"M", "T"}:
            self._add_tls_letters(batch)
        if "S" in letters:
            batch.letters["S"] = self.bound.address[batch.element]
        if "Z" in letters:
            batch.letters["Z"] = self.bound.size[batch.element]
        return batch

    def addend(self, batch: Batch) -> U64:
        """A: the entries' own addends, or those their places hold."""
        table, row, where = batch.table, batch.row, batch.where
        if table.addend is not None:
            return table.addend[batch.entries].view(np.uint64)
        assert row.word is not None
        if row.role is Role.TLSDESC:
            where = where + row.word.size * self.arch.tls.descriptor_argument
        addend = row.word.read(read_words(self.buffer, where, row.word.size))
        if row.role is Role.TLSDESC and self.arch.tls.descriptor_holds_index:
            return np.where(table.symbol[batch.entries] == 0, addend, np.uint64(0))
        return addend

    def _add_tls_letters(self, batch: Batch) -> None:
        """M and T; entries whose symbol is not thread-local are reported and dropped."""
        assert batch.row.formula is not None
        if "T" in batch.row.formula.letters and batch.row.role is not Role.TLSDESC:
            refused, problem = make_static(self.bound, batch.element, self.environment.tls)
            if refused.any():
                self._report_tls(batch, refused, problem)
                batch.keep(~refused)
        host = self.environment.resolver.host_tls
        batch.letters["M"], batch.letters["T"], usable = modules_of(self.bound, batch.element, host)
        if not usable.all():
            self._report_tls(batch, ~usable, "no thread-local definition")
            batch.keep(usable)

    # ------------------------------------------------------------ compute and store

    def _finish(self, batch: Batch) -> None:
        """Compute, and store or put off."""
        row = batch.row
        assert row.formula is not None
        if row.role is Role.IRELATIVE:
            resolver = evaluate(row, self.image, **batch.letters)
            self.defer(row, batch.where, resolver & self.image.address_mask, batch.letters["A"])
            return
        if row.role is Role.TLSDESC:
            self._store_descriptors(batch)
            return
        if row.formula.letters & _TLS_LETTERS:
            # ld.so leaves the words of an undefined weak thread-local symbol alone: it has no module.
            batch.keep((batch.element == 0) | (self.bound.provider[batch.element] != UNRESOLVED))
        elif "S" in row.formula.letters:
            self.put_off_ifuncs(batch)
        self.store(batch, evaluate(row, self.image, **batch.letters))

    def put_off_ifuncs(self, batch: Batch) -> None:
        """References to STT_GNU_IFUNC symbols wait for what the resolver answers."""
        indirect = self.bound.type[batch.element] == SymbolType.GNU_IFUNC
        if indirect.any():
            addend = batch.letters.get("A", np.zeros(len(batch.where), np.uint64))
            self.defer(batch.row, batch.where[indirect], batch.letters["S"][indirect], addend[indirect])
            batch.keep(~indirect)

    def defer(self, row: Reloc, where: I64, resolver: U64, addend: U64) -> None:
        """Leave places (byte indices in the buffer) to what resolver functions will answer."""
        addresses = where.astype(np.uint64) + np.uint64(self.image.region.address)
        self.outcome.ifuncs.append(IfuncCalls(self.image, row, addresses, resolver, addend))

    def _store_descriptors(self, batch: Batch) -> None:
        value = evaluate(batch.row, self.image, **batch.letters)
        if self.handling is not None:
            value = self.handling.values(batch, value)
        functions, unanswered = self.descriptor_functions(batch.element)
        if unanswered.any():
            self._report_tls(batch, unanswered, NO_MACHINE)
        size = batch.row.word.size if batch.row.word else 0
        write_descriptors(self.buffer, batch.where, size, value, functions, self.arch)

    def descriptor_functions(self, element: I64) -> tuple[U64, Bools]:
        """What TLS descriptors of these elements call, and those for which there is nothing to call."""
        environment = self.environment
        return descriptor_functions(self.bound, element, environment.tls, environment.descriptor_stubs)

    def store(self, batch: Batch, value: U64) -> None:
        """Write values that fit their places; where one does not, report those and write none of the batch."""
        word = batch.row.word
        assert word is not None
        value = self.wrapped(value)
        if self.handling is not None:
            value = self.wrapped(self.handling.values(batch, value))
        fits = word.fits(value)
        if not isinstance(fits, bool) and not fits.all():
            bad = np.flatnonzero(~fits)
            example = int(value[bad[0]].astype(np.int64))
            problem = f"{example:#x} does not fit {word.description}"
            self.report_row(batch.table, batch.indices[bad], batch.row, RelocationOverflow, problem)
            return
        if word.keeps_raw:
            value = word.write(read_words(self.buffer, batch.where, word.size), value)
        write_words(self.buffer, batch.where, word.size, value)

    def wrapped(self, value: U64) -> U64:
        """The value as the ISA's own arithmetic has it: modulo 2^32 on a 32-bit one, sign-extended."""
        return value if self.arch.bits == 64 else address32.read(value & self.image.address_mask)

    # ------------------------------------------------------------ reports

    def report(
        self,
        table: RelocationTable,
        indices: I64,
        kind: type[RelocationError],
        type_name: str,
        problem: str,
        formula: str | None = None,
    ) -> None:
        """Note an error for each of these entries."""
        from relink.relocate.diagnostics import entry_errors

        self.outcome.errors += entry_errors(self.image, table, indices, kind, type_name, problem, formula)

    def report_row(
        self, table: RelocationTable, indices: I64, row: Reloc, kind: type[RelocationError], problem: str
    ) -> None:
        """The same for entries of a type that has a row."""
        formula = row.formula.text if row.formula else None
        self.report(table, indices, kind, self.arch.prefix + row.name, problem, formula)

    def _report_tls(self, batch: Batch, chosen: Bools, problem: str) -> None:
        from relink.relocate.diagnostics import tls_errors

        self.outcome.errors += tls_errors(self.image, batch.table, batch.indices[chosen], batch.row, problem)

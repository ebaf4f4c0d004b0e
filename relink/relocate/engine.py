"""The relocation engine: classify, batch, check, write.

    classify   entries by their type                                    relink.relocate.batch
    bind the symbols they refer to                                 relink.relocate.bind
    gather S, A, P and the other operands of the formula             (here; M and T: relink.relocate.tls)
    store      compute, check the range, write into the host buffer     (here; relink.memory.buffers)

All entries of one type are applied at once on arrays. Every entry is classified by its own type: nothing is
inferred from DT_RELACOUNT, section order or the presence of RELR. The errors of all entries are collected and
raised together (`relink.relocate.diagnostics`). Order matters in three cases:

- Places that need the answer of a guest function (IRELATIVE, and references to STT_GNU_IFUNC symbols) are returned
  as `IfuncCalls`. The resolvers may read relocated data, so they run after all other relocations.
- COPY (see `relink.relocate.copy`) comes after all other types of its table.
- Jump slots that are bound lazily (see `relink.relocate.lazy`) are filled last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Reloc, Role
from relink.arch.fields import address32
from relink.arrays import I64, U8, U32, U64, Bools, anywhere, everywhere, highest, indices_where, without
from relink.elf import RelocationTable
from relink.elf.constants import SymbolType
from relink.elf.relocations import pieces
from relink.errors import RelocationOutOfImage, RelocationOverflow, UnknownRelocation, UnsupportedRelocation
from relink.memory import placement as place
from relink.memory.buffers import read_words, write_words
from relink.module import Module
from relink.relocate.batch import (
    Batch,
    Groups,
    Selection,
    Tables,
    by_type,
    count_of,
    evaluate,
    indices_of,
    start_first,
    tables_of,
)
from relink.relocate.bind import asks_for_symbol, bind_references, use_of
from relink.relocate.lazy import BindMode, LazySlots, Waiting, bound_at_once, defer_slots
from relink.relocate.references import References
from relink.relocate.relative_start import apply_start
from relink.relocate.result import IfuncCalls, Relocated
from relink.relocate.state import Environment, Relocation, settle
from relink.relocate.tls import NO_MACHINE, descriptor_functions, make_static, modules_of, write_descriptors
from relink.resolve.bindings import UNRESOLVED
from relink.resolve.resolver import Use
from relink.resolve.scopes import LookupScope

if TYPE_CHECKING:
    from relink.relocate.handlers import HandlerPass

#: The relocation types of every psABI are below this.
_TYPE_LIMIT = 1 << 16
#: Entries applied at a time, in a handful of arrays of eight bytes each.
_IN_CACHE = 1 << 14
_IFUNC = int(SymbolType.GNU_IFUNC)
_TLS_LETTERS = frozenset({"M", "T", "DTV"})


class Relocator(Relocation):
    """Relocates one image; has the state that the steps share."""

    def __init__(self, image: Module, scope: LookupScope, environment: Environment) -> None:
        super().__init__(image, scope, environment)
        self.tables: Tables = []
        self.handlers: HandlerPass | None = None  #: the user's handlers for this image
        self.binding = BindMode.NOW
        self.waiting: list[Waiting] = []  # jump slots that are bound lazily
        self._copies = True  # whether COPY entries are applied
        self._applied = 0  # entries at the start of the first table that are applied already

    def run(self, bound: References | None = None) -> Relocated:
        """Apply all entries. Errors are collected in the result's `errors`. `bound`: the references, if the result
        says already what they are bound to.
        """
        image, environment = self.image, self.environment
        # Entries that a handler inspects must be computed now.
        if environment.lazy is not None and not image.decoded.binds_now and self.handlers is None:
            self.binding = environment.binding
        self._applied = apply_start(image, self.buffer) if self.handlers is None else 0
        self.tables = self._classified()
        if self.handlers is not None:
            self.tables = self.handlers.claim(self.tables)
        self.references = self._bound() if bound is None else bound
        if bound is None:
            settle(image, self.references, environment, self.result, self.binding)
        self._apply_all()
        if self.waiting and environment.lazy is not None:
            slots = defer_slots(image, self.waiting, self.binding, environment.lazy)
            if isinstance(slots, LazySlots):
                self.result.lazy = slots
            else:
                self.result.errors.append(slots)
        return self.result

    def bound_again(self, binding: BindMode) -> References:
        """The image's references, without those of jump slots that wait, bound in the scope as it is now."""
        self.binding = binding
        self.tables = self._classified()
        return self._bound()

    def _bound(self) -> References:
        same = self.handlers is None and self.binding is BindMode.NOW
        return bind_references(self.image, self.scope, self.environment.resolver, self._asked, same=same)

    def replay(self, references: References, buffer: U8, binding: BindMode) -> Relocated:
        """Apply every entry again except COPY, bound already, to another buffer; jump slots that wait stay as they
        are.
        """
        self.references, self.buffer, self.binding, self._copies = references, buffer, binding, False
        self.tables = self._classified()
        self._apply_all()
        return self.result

    def _apply_all(self) -> None:
        self._prepare()
        for table, groups in self.tables:
            for number, entries in sorted(groups, key=lambda group: self._phase(group[0])):
                self._apply_type(table, number, entries)

    def _apply_type(self, table: RelocationTable, number: int, entries: Selection) -> None:
        """Apply or refuse all entries of one type, and count them."""
        reloc_type = self.arch.relocations.get(number)
        count = count_of(table, entries)
        key = table.section, self.arch.relocation_name(number)
        self.result.entries[key] = self.result.entries.get(key, 0) + count
        if reloc_type is None or not self._applies(reloc_type):
            self._refuse(table, number, reloc_type, indices_of(table, entries))
        elif reloc_type.role is not Role.NONE:
            self._apply(table, reloc_type, entries)
            self.result.counts[self.arch.prefix + reloc_type.name] += count

    # ------------------------------------------------------------ what relocatable objects do differently

    def _applies(self, reloc_type: Reloc) -> bool:
        if reloc_type.role is Role.COPY:
            return self.image.decoded.is_executable
        return not reloc_type.static and reloc_type.role is not Role.REFUSED

    def _phase(self, number: int) -> int:
        """The sort key of types: lower phases are applied first."""
        reloc_type = self.arch.relocations.get(number)
        return int(reloc_type is not None and reloc_type.role is Role.COPY)

    def _prepare(self) -> None:
        """Called before the first type is applied."""
        self._relr()

    def _refuse(self, table: RelocationTable, number: int, reloc_type: Reloc | None, indices: I64) -> None:
        name = self.arch.relocation_name(number)
        if reloc_type is not None and reloc_type.role is Role.COPY:
            problem = "copy relocations are for executables, this is a shared object"
            self.report(table, indices, UnsupportedRelocation, name, problem)
        elif reloc_type is not None and not reloc_type.static:
            self.report(table, indices, UnsupportedRelocation, name, reloc_type.reason)
        elif self.arch.is_known(number):
            problem = "not a dynamic relocation: it is for relocatable objects only"
            self.report(table, indices, UnsupportedRelocation, name, problem)
        else:
            self.report(table, indices, UnknownRelocation, name, f"the {self.arch.psabi} has no such type")

    # ------------------------------------------------------------ classify and bind

    def _classified(self) -> Tables:
        """The image's tables with their entries by type, which are kept with the file."""
        return tables_of(self.image.decoded, self._classify, self.result.errors)

    def _classify(self, table: RelocationTable) -> Groups:
        types, alike = table.type, max(table.alike, 1)
        if len(types) and int(highest(types[alike - 1 :])) >= _TYPE_LIMIT:
            odd = indices_where(types >= _TYPE_LIMIT)
            name = f"type {int(types[odd[0]]):#x}"
            self.report(table, odd, UnknownRelocation, name, "no psABI defines this type")
            types = np.where(types >= _TYPE_LIMIT, 0, types)
        groups = by_type(types, alike)
        return groups if self.image.decoded.is_relocatable else start_first(groups)

    def _asked(self) -> Iterator[tuple[Use, U32]]:
        """The symbols that entries refer to, by use, without those of lazily bound jump slots."""
        for table, groups in self.tables:
            for number, entries in groups:
                reloc_type = self.arch.relocations.get(number)
                if reloc_type is None or not asks_for_symbol(reloc_type):
                    continue
                if reloc_type.role is Role.COPY and not self._applies(reloc_type):
                    continue
                if self._waits(reloc_type):
                    entries = bound_at_once(self.image, table, indices_of(table, entries), self.binding)
                yield use_of(reloc_type), table.symbol[entries]

    def _waits(self, reloc_type: Reloc) -> bool:
        return reloc_type.role is Role.JUMP_SLOT and self.binding is not BindMode.NOW

    # ------------------------------------------------------------ one type

    def _relr(self) -> None:
        """Apply RELR: add the load bias to words (gABI proposal "SHT_RELR")."""
        offsets = self.image.decoded.relr
        if not len(offsets):
            return
        size = self.arch.word_size
        inside = place.inside(self.image.decoded, offsets, size)
        if inside is not None:
            from relink.relocate.diagnostics import packed_errors

            self.result.errors += packed_errors(self.image, offsets[~inside])
            offsets = offsets[inside]
        if self.handlers is not None:
            offsets = self.handlers.claim_packed(offsets)
        where = self.image.runs.indices(offsets)
        value = read_words(self.buffer, where, size) + self.image.bias_word
        if self.handlers is not None:
            value = self.handlers.packed_values(offsets, value)
        write_words(self.buffer, where, size, value)
        self.result.counts["RELR"] += len(offsets)
        self.result.entries[".relr.dyn", "RELR"] = len(offsets)

    def _apply(self, table: RelocationTable, reloc_type: Reloc, entries: Selection) -> None:
        """Apply all entries of one type."""
        assert reloc_type.word is not None
        if reloc_type.role is Role.COPY:
            from relink.relocate.copy import copy_symbols

            if self._copies:
                copy_symbols(self, table, reloc_type, indices_of(table, entries).tolist())
            return
        size = reloc_type.word.size * (2 if reloc_type.role is Role.TLSDESC else 1)
        inside = place.entries_inside(self.image.decoded, entries, size, table)
        if inside is not None:
            indices = indices_of(table, entries)
            problem = "the place lies in no segment"
            self.report_type(table, indices[~inside], reloc_type, RelocationOutOfImage, problem)
            entries = indices[inside]
        if self._waits(reloc_type):
            indices = indices_of(table, entries)
            entries = bound_at_once(self.image, table, indices, self.binding)
            if len(later := without(indices, entries)):
                self.waiting.append((table, reloc_type, later))
        for part in self._parts(table, reloc_type, entries):
            self._finish(self._gather(self.batch(table, reloc_type, part)))

    def _parts(self, table: RelocationTable, reloc_type: Reloc, entries: Selection) -> Iterator[Selection]:
        """Pieces whose arrays stay in the cache of the CPU, where that changes no answer and no report.

        Addends in place are read before any place is written, and a handler sees all entries of a type together.
        """
        word = reloc_type.word
        whole = reloc_type.role is not Role.RELATIVE or table.addend is None or word is None or word.size != 8
        if whole or self.handlers is not None or not isinstance(entries, slice):
            yield entries
            return
        first = self._applied if table is self.tables[0][0] else 0
        yield from pieces(max(entries.start, first), entries.stop, _IN_CACHE)

    def _gather(self, batch: Batch) -> Batch:
        """Add the operands of the formula; entries without one of them are reported and dropped."""
        assert batch.reloc_type.formula is not None
        letters = batch.reloc_type.formula.letters
        if "A" in letters:
            batch.letters["A"] = self.addend(batch)
        if "P" in letters:
            batch.letters["P"] = batch.table.offset[batch.entries] + self.image.bias_word
        if letters & {"M", "T"}:
            self._add_tls_letters(batch)
        if "S" in letters:
            batch.letters["S"] = self.bound.address.take(batch.binding_index)
        if "Z" in letters:
            batch.letters["Z"] = self.bound.size.take(batch.binding_index)
        return batch

    def _add_tls_letters(self, batch: Batch) -> None:
        """M and T; entries whose symbol is not thread-local are reported and dropped."""
        assert batch.reloc_type.formula is not None
        if "T" in batch.reloc_type.formula.letters and batch.reloc_type.role is not Role.TLSDESC:
            refused, problem = make_static(self.bound, batch.binding_index, self.environment.tls)
            if refused.any():
                self._report_tls(batch, refused, problem)
                batch.keep(~refused)
        host = self.environment.resolver.host_tls
        only_module = batch.reloc_type.formula.letters == {"M"}
        batch.letters["M"], batch.letters["T"], usable = modules_of(
            self.bound, batch.binding_index, host, only_module=only_module
        )
        if not everywhere(usable):
            self._report_tls(batch, ~usable, "no thread-local definition")
            batch.keep(usable)

    # ------------------------------------------------------------ compute and store

    def _finish(self, batch: Batch) -> None:
        """Compute the values and store them, or defer entries that need a resolver."""
        reloc_type = batch.reloc_type
        assert reloc_type.formula is not None
        if reloc_type.role is Role.IRELATIVE:
            resolver = evaluate(reloc_type, self.image, **batch.letters)
            self.defer(reloc_type, batch.where, resolver & self.image.address_mask, batch.letters["A"])
            return
        if reloc_type.role is Role.TLSDESC:
            self._store_descriptors(batch)
            return
        if reloc_type.formula.letters & _TLS_LETTERS:
            # An undefined weak thread-local symbol has no module: ld.so does not write its words.
            batch.keep((batch.binding_index == 0) | (self.bound.provider[batch.binding_index] != UNRESOLVED))
        elif "S" in reloc_type.formula.letters:
            self.put_off_ifuncs(batch)
        self.store(batch, evaluate(reloc_type, self.image, **batch.letters))

    def put_off_ifuncs(self, batch: Batch) -> None:
        """Defer references to STT_GNU_IFUNC symbols until their resolver has been called."""
        types = self.bound.type  # of what few refer to: less than of each reference
        if _IFUNC in types.tobytes() and anywhere(indirect := types.take(batch.binding_index) == _IFUNC):
            addend = batch.letters.get("A", np.zeros(len(batch.where), np.uint64))
            self.defer(batch.reloc_type, batch.where[indirect], batch.letters["S"][indirect], addend[indirect])
            batch.keep(~indirect)

    def defer(self, reloc_type: Reloc, where: I64, resolver: U64, addend: U64) -> None:
        """Record that places (byte indices in the buffer) get the answers of resolver functions."""
        if not len(where):
            return
        addresses = self.image.runs.addresses(where) + self.image.bias_word & self.image.address_mask
        self.result.ifuncs.append(IfuncCalls(self.image, reloc_type, addresses, resolver, addend))

    def _store_descriptors(self, batch: Batch) -> None:
        value = evaluate(batch.reloc_type, self.image, **batch.letters)
        if self.handlers is not None:
            value = self.handlers.values(batch, value)
        functions, unanswered = self.descriptor_functions(batch.binding_index)
        if unanswered.any():
            self._report_tls(batch, unanswered, NO_MACHINE)
        size = batch.reloc_type.word.size if batch.reloc_type.word else 0
        write_descriptors(self.buffer, batch.where, size, value, functions, self.arch)

    def descriptor_functions(self, index: I64) -> tuple[U64, Bools]:
        """The functions of TLS descriptors for the symbols at these indices in `bound`, and the symbols
        without one.
        """
        environment = self.environment
        return descriptor_functions(self.bound, index, environment.tls, environment.descriptor_stubs)

    def store(self, batch: Batch, value: U64) -> None:
        """Write the values if all fit their fields; else report those that do not and write nothing."""
        word = batch.reloc_type.word
        assert word is not None
        value = self.wrapped(value)
        if self.handlers is not None:
            value = self.wrapped(self.handlers.values(batch, value))
        fits = word.fits(value)
        if not isinstance(fits, bool) and not everywhere(fits):
            bad = indices_where(~fits)
            problem = f"{int(value[bad[0]].astype(np.int64)):#x} does not fit {word.description}"
            self.report_type(batch.table, batch.indices[bad], batch.reloc_type, RelocationOverflow, problem)
            return
        if word.keeps_raw:
            value = word.write(read_words(self.buffer, batch.where, word.size), value)
        write_words(self.buffer, batch.where, word.size, value)

    def wrapped(self, value: U64) -> U64:
        """The value in the ISA's arithmetic: on a 32-bit ISA modulo 2^32 and sign-extended."""
        return value if self.arch.bits == 64 else address32.read(value & self.image.address_mask)

    # ------------------------------------------------------------ reports

    def _report_tls(self, batch: Batch, chosen: Bools, problem: str) -> None:
        from relink.relocate.diagnostics import tls_errors

        self.result.errors += tls_errors(self.image, batch.table, batch.indices[chosen], batch.reloc_type, problem)

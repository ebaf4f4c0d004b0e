"""THE relocation engine: classify, batch, check, write.

All entries of one type are applied at once on arrays: gather P, S and A, evaluate the psABI's formula,
check the range, scatter into the image's host buffer. Every entry is classified by its own type: nothing is
inferred from DT_RELACOUNT, from section order or from the presence of RELR.

Order matters in two places only. Places that need a guest function's answer (IRELATIVE, and any reference
to an STT_GNU_IFUNC symbol) are returned as `IfuncCalls`: their resolvers may read relocated data, so they
run once everything else is in place. COPY (see `relink.copies`) comes after all else of its image. And the
errors of all entries are collected, not raised one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relink.arch import Reloc, Role
from relink.elf.constants import Binding as Bind
from relink.elf.constants import SymbolType
from relink.errors import (
    LinkError,
    RelocationError,
    RelocationOutOfImage,
    RelocationOverflow,
    TlsError,
    UnknownRelocation,
    UnresolvedSymbol,
    UnsupportedRelocation,
)  # fmt: skip
from relink.fields import address32
from relink.lazy import Binding, LazyHost, LazySlots, wants_now
from relink.objects import CombinedObjects
from relink.symbols import UNRESOLVED, Bindings, Resolver, Use

if TYPE_CHECKING:
    from relink.copies import Copied
    from relink.elf import RelocationTable
    from relink.handlers import Handling, RelocationHandler
    from relink.image import Image
    from relink.observe import Event
    from relink.tls import LoadTls

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Entries reported one by one before the rest of the same kind are only counted.
_REPORTED = 20
#: A table with no more changes of type than this is sorted by type, as linkers leave it.
_FEW_RUNS = 64
#: log2 of the sizes of words.
_SHIFT = {2: 1, 4: 2, 8: 3}
#: Every psABI numbers its types below this.
_TYPE_LIMIT = 1 << 16
_TLS_LETTERS = frozenset({"M", "T", "DTV"})
_SYMBOL_LETTERS = frozenset("SMTZ")
NO_MACHINE = "a TLS descriptor for a module with dynamic thread-local storage needs a machine to answer it"
#: What the roles that want more than an address ask of a symbol.
_USES = {Role.JUMP_SLOT: Use.CALL, Role.COPY: Use.COPY}


@dataclass(frozen=True, slots=True)
class IfuncCalls:
    """Places whose value a resolver function of the guest decides. Arrays of one element per place."""

    image: Image
    row: Reloc
    place: U64  #: guest addresses
    resolver: U64  #: guest addresses of the resolver functions
    addend: U64


@dataclass(slots=True)
class Outcome:
    """What relocating one image came to."""

    errors: list[LinkError] = field(default_factory=list)
    ifuncs: list[IfuncCalls] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  #: entries applied, by full type name
    bindings: Bindings | None = None
    symbols: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  #: what `bindings` is about
    weak_unresolved: list[str] = field(default_factory=list)  #: bound to 0, as the gABI says
    unresolved: list[str] = field(default_factory=list)  #: strong, and left open on request
    copies: list[Copied] = field(default_factory=list)  #: variables an executable took over


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
    tell: Callable[[Event], None] | None = None  #: where events go; None: nobody listens
    #: Bytes of memory that is published already: what an executable copies from the host.
    read: Callable[[int, int], bytes] = lambda address, size: bytes(size)
    is_running: Callable[[Image], bool] = lambda image: False  #: whether an image was there before this load


def relocate(image: Image, scope: Sequence[Image], environment: Environment) -> Outcome:
    """Apply all relocations of `image` to its host buffer, binding symbols in `scope`."""
    if isinstance(image.decoded, CombinedObjects):
        from relink.relocate_objects import ObjectRelocator

        return ObjectRelocator(image, scope, environment).run()
    return Relocator(image, scope, environment).run()


def evaluate(row: Reloc, image: Image, **letters: U64 | np.uint64) -> U64:
    """The value of a row's formula, modulo 2^64. `letters` holds what the formula needs beside B and DTV."""
    assert row.formula is not None
    tls = image.architecture.tls
    names = {"B": image.bias_word, "DTV": np.uint64(tls.dtv_bias), "Page": _page, **letters}
    value: U64 = eval(row.formula.code, {"__builtins__": {}}, names)
    return value


def _page(address: U64) -> U64:
    return address & np.uint64(~0xFFF & ((1 << 64) - 1))


def read_words(buffer: NDArray[np.uint8], where: I64, size: int) -> U64:
    """Little-endian words of `size` bytes at the byte indices `where`, as uint64[n]."""
    if size == 1:
        return buffer[where].astype(np.uint64)
    if not _misaligned(where, size):
        words: U64 = buffer.view(f"<u{size}")[where >> _SHIFT[size]].astype(np.uint64)
        return words
    rows = buffer[where[:, None] + np.arange(size)]
    return np.ascontiguousarray(rows).view(f"<u{size}")[:, 0].astype(np.uint64)


def write_words(buffer: NDArray[np.uint8], where: I64, size: int, value: U64) -> None:
    """Store `value` (cut to `size` bytes) at the byte indices `where`; where two coincide the later wins."""
    if size == 1:
        buffer[where] = value.astype(np.uint8)
    elif not _misaligned(where, size):
        buffer.view(f"<u{size}")[where >> _SHIFT[size]] = value.astype(f"<u{size}", copy=False)
    else:
        rows = np.ascontiguousarray(value.astype(f"<u{size}")).view(np.uint8).reshape(-1, size)
        buffer[where[:, None] + np.arange(size)] = rows


def _misaligned(where: I64, size: int) -> bool:
    return bool(np.bitwise_or.reduce(where, initial=0) & (size - 1))


@dataclass(slots=True)
class Batch:
    """Entries of one type, gathered. Arrays have one element per entry; `keep` drops some of all of them."""

    table: RelocationTable
    row: Reloc
    entries: slice | I64  #: which of the table's
    where: I64  #: byte index of each place in the image's buffer
    slots: I64  #: symbol index -> element of the bindings
    buffer: NDArray[np.uint8]
    letters: dict[str, U64] = field(default_factory=dict)
    function: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  #: whether S is a function's
    _element: I64 | None = None

    @property
    def element(self) -> I64:
        """The element of the bindings each entry's symbol is."""
        if self._element is None:
            self._element = self.slots[self.table.symbol[self.entries]]
        return self._element

    @property
    def indices(self) -> I64:
        """The entries as indices into the table."""
        return np.arange(len(self.table.offset))[self.entries]

    def keep(self, chosen: Bools) -> None:
        self.entries = self.indices[chosen]
        self.where, self._element = self.where[chosen], None
        self.letters = {letter: values[chosen] for letter, values in self.letters.items()}


class Relocator:
    """One image's relocation: the state its steps share."""

    def __init__(self, image: Image, scope: Sequence[Image], environment: Environment) -> None:
        self.image = image
        self.scope = scope
        self.environment = environment
        self.arch = image.architecture
        self.buffer = image.region.buffer
        self.outcome = Outcome()
        segments = image.decoded.segments
        self.starts = np.array([s.vaddr for s in segments], np.uint64)
        self.ends = np.array([s.vaddr + s.memsz for s in segments], np.uint64)
        self.slot = np.zeros(0, np.int64)  # symbol index -> element of the bindings
        self.call_slot = self.copy_slot = self.slot  # the same for those uses (see `Use`)
        self.handling = self._handling() if environment.handlers else None
        # What a handler is to see must be computed now.
        later = environment.lazy is not None and not wants_now(image) and self.handling is None
        self.binding = environment.binding if later else Binding.NOW
        self.waiting: list[tuple[RelocationTable, Reloc, I64]] = []  # jump slots that are bound when called

    def _handling(self) -> Handling | None:
        from relink.handlers import Handling

        about_this = [handler for handler in self.environment.handlers if handler.wants(self.image)]
        return Handling(self, about_this) if about_this else None

    def run(self) -> Outcome:
        tables = [(table, self._by_type(table)) for table in self.image.decoded.relocations]
        if self.handling is not None:
            tables = self.handling.claim(tables)
        self._bind(tables)
        self._prepare()
        for table, groups in tables:
            for number, entries in sorted(groups, key=lambda group: self._phase(group[0])):
                row = self.arch.relocations.get(number)
                if row is None or not self._applies(row):
                    self._refuse(table, number, row, entries)
                elif row.role is not Role.NONE:
                    self._apply(table, row, entries)
                    self.outcome.counts[self.arch.prefix + row.name] += _length(entries, table)
        if self.waiting:
            self._leave_for_later()
        if self.environment.tell is not None:
            self._tell_applied(self.environment.tell, tables)
        return self.outcome

    def _tell_applied(
        self, tell: Callable[[Event], None], tables: list[tuple[RelocationTable, list[tuple[int, slice | I64]]]]
    ) -> None:
        from relink.observe import applied

        claimed = {} if self.handling is None else self.handling.claimed
        for event in applied(self.image, tables, self.outcome.counts["RELR"], claimed):
            tell(event)

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

    # ------------------------------------------------------------ classify

    def _by_type(self, table: RelocationTable) -> list[tuple[int, slice | I64]]:
        """The entries of each type: a slice where they are neighbours, as linkers sort them, else indices."""
        types = np.ascontiguousarray(table.type)
        if not len(types):
            return []
        if int(types.max()) >= _TYPE_LIMIT:
            odd = np.flatnonzero(types >= _TYPE_LIMIT)
            name = f"type {int(types[odd[0]]):#x}"
            self._report(table, odd, UnknownRelocation, name, "no psABI has such a type")
            types = np.where(types >= _TYPE_LIMIT, 0, types)
        edges = np.flatnonzero(types[1:] != types[:-1]) + 1
        if len(edges) < _FEW_RUNS:
            starts = [0, *edges.tolist()]
            numbers = types[starts].tolist()
            if len(set(numbers)) == len(numbers):
                ends = [*starts[1:], len(types)]
                return [(n, slice(a, b)) for n, a, b in zip(numbers, starts, ends, strict=True)]
        return [(n, np.flatnonzero(types == n)) for n in np.flatnonzero(np.bincount(types)).tolist()]

    def _refuse(self, table: RelocationTable, number: int, row: Reloc | None, entries: slice | I64) -> None:
        indices = np.arange(len(table.offset))[entries]
        name = self.arch.relocation_name(number)
        if row is not None and row.role is Role.COPY:
            problem = "copy relocations belong to executables, this is a shared object"
            self._report(table, indices, UnsupportedRelocation, name, problem)
        elif row is not None and not row.static:
            self._report(table, indices, UnsupportedRelocation, name, row.reason)
        elif self.arch.is_known(number):
            problem = "not a dynamic relocation: only a static linker may meet it"
            self._report(table, indices, UnsupportedRelocation, name, problem)
        else:
            self._report(table, indices, UnknownRelocation, name, f"the {self.arch.psabi} has no such type")

    # ------------------------------------------------------------ bind

    def _bind(self, tables: list[tuple[RelocationTable, list[tuple[int, slice | I64]]]]) -> None:
        """Bind every symbol some formula asks for, each once."""
        wanted, called, copied = self._wanted(tables)
        chosen, copies = np.flatnonzero(wanted | called), np.flatnonzero(copied)
        uses = np.where(wanted[chosen], Use.ADDRESS, Use.CALL).astype(np.uint8)
        again = np.zeros(0, np.int64)
        bound = self._bound(chosen, uses, again, copies)
        # A symbol that is both called and pointed at is two where an executable's PLT entry is its address.
        both = np.flatnonzero((wanted & called)[chosen])
        again = chosen[both[bound.canonical[both + 1]]]
        if len(again):
            bound = self._bound(chosen, uses, again, copies)
        # Element 0 is symbol 0: nothing, at 0. It saves a special case per formula.
        self.slot = np.zeros(len(wanted), np.int64)
        self.slot[chosen] = np.arange(1, len(chosen) + 1)
        self.call_slot, self.copy_slot = self.slot.copy() if len(again) else self.slot, np.zeros_like(self.slot)
        self.call_slot[again] = len(chosen) + np.arange(1, len(again) + 1)
        self.copy_slot[copies] = len(chosen) + len(again) + np.arange(1, len(copies) + 1)
        self.outcome.bindings = bound
        self.outcome.symbols = np.concatenate((chosen, again, copies))
        self._settle_unresolved(bound, self.outcome.symbols, len(chosen) + len(again))

    def _wanted(
        self, tables: list[tuple[RelocationTable, list[tuple[int, slice | I64]]]]
    ) -> tuple[Bools, Bools, Bools]:
        """Whose address, whose code and whose contents some entry asks for, by symbol."""
        masks = [np.zeros(max(len(self.image.decoded.symbols), 1), np.bool_) for _ in Use]
        for table, groups in tables:
            for number, entries in groups:
                row = self.arch.relocations.get(number)
                if row is None or row.formula is None or (row.role is Role.COPY and not self._applies(row)):
                    continue
                if self._waits(row):
                    entries = self._bound_at_once(table, entries)
                if row.formula.letters & _SYMBOL_LETTERS or row.slot is not None:
                    masks[_USES.get(row.role, Use.ADDRESS)][table.symbol[entries]] = True
        for mask in masks:
            mask[0] = False
        return masks[Use.ADDRESS], masks[Use.CALL], masks[Use.COPY]

    def _bound(self, chosen: I64, uses: NDArray[np.uint8], again: I64, copies: I64) -> Bindings:
        """Bind symbol 0 and `chosen` for their `uses`, then `again` for calls and `copies` for their contents."""
        symbols = np.concatenate(([0], chosen, again, copies))
        more = np.repeat(np.array([Use.CALL, Use.COPY], np.uint8), [len(again), len(copies)])
        uses = np.concatenate((np.zeros(1, np.uint8), uses, more))
        return self.environment.resolver.bind(self.image, symbols, self.scope, uses)

    def _settle_unresolved(self, bound: Bindings, chosen: I64, addressed: int) -> None:
        """Undefined weak symbols are 0 (gABI, "Symbol Table"); strong ones an error, unless allowed."""
        symbols = self.image.decoded.symbols
        open_ = np.flatnonzero(bound.provider[1:] == UNRESOLVED) + 1
        indices = chosen[open_ - 1]
        weak = (symbols.bind[indices] == Bind.WEAK).tolist()
        thread_local = (symbols.type[indices] == SymbolType.TLS).tolist()
        names = symbols.names.take(indices).texts()
        for element, index, name, is_weak, is_tls in zip(
            open_.tolist(), indices.tolist(), names, weak, thread_local, strict=True
        ):
            if is_weak:
                self.outcome.weak_unresolved.append(name)
                continue
            address = self.environment.unresolved(self.image.name, name)
            if address is None:
                version = self.image.required_version(index)
                self.outcome.errors.append(UnresolvedSymbol(self.image.name, name, version))
                continue
            self.outcome.unresolved.append(name)
            if not is_tls and element <= addressed:  # a trap stands for no thread-local address, nor for contents
                bound.define_host(element, address)

    # ------------------------------------------------------------ compute and store

    def _relr(self) -> None:
        """RELR: words that only need rebasing (gABI proposal "SHT_RELR")."""
        offsets = self.image.decoded.relr
        if not len(offsets):
            return
        size = self.arch.word_size
        inside = self._inside(offsets, size)
        if inside is not None:
            for offset in offsets[~inside][:_REPORTED].tolist():
                self.outcome.errors.append(
                    RelocationOutOfImage(
                        self.image.name, "the place lies in no segment", section=".relr.dyn", offset=offset,
                        type_name="RELR", formula="B + A",
                    )
                )  # fmt: skip
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
        assert row.formula is not None
        assert row.word is not None
        if row.role is Role.COPY:
            from relink.copies import copy_symbols

            copy_symbols(self, table, row, np.arange(len(table.offset))[entries].tolist())
            return
        offset = table.offset[entries]
        inside = self._inside(offset, row.word.size * (2 if row.role is Role.TLSDESC else 1))
        if inside is not None:
            indices = np.arange(len(table.offset))[entries]
            self._report_row(table, indices[~inside], row, RelocationOutOfImage, "the place lies in no segment")
            entries = indices[inside]
        if self._waits(row):
            at_once = self._bound_at_once(table, entries)
            self.waiting.append((table, row, np.setdiff1d(np.arange(len(table.offset))[entries], at_once)))
            entries = at_once
        self._finish(self._gather(table, row, entries))

    def _waits(self, row: Reloc) -> bool:
        return row.role is Role.JUMP_SLOT and self.binding is not Binding.NOW

    def _bound_at_once(self, table: RelocationTable, entries: slice | I64) -> I64:
        """Those of a type that waits which do not: functions whose arguments ld.so's resolver would not keep."""
        marked = np.uint8(self.arch.plt.bound_at_once if self.binding is Binding.FAITHFUL else 0)
        indices = np.arange(len(table.offset))[entries]
        chosen: I64 = indices[self.image.decoded.symbols.other[table.symbol[indices]] & marked != 0]
        return chosen

    def _leave_for_later(self) -> None:
        """Fill the jump slots that are bound at their first call with what leads there."""
        lazy, image, size = self.environment.lazy, self.image, self.arch.word_size
        assert lazy is not None
        offset = np.concatenate([table.offset[entries] for table, _, entries in self.waiting])
        where = (offset - image.low).astype(np.int64)
        explicit = [row.formula is not None and "A" in row.formula.letters for _, row, _ in self.waiting]
        slots = image.lazy = LazySlots(
            image,
            place=offset + image.bias_word & image.address_mask,
            symbol=np.concatenate([table.symbol[entries] for table, _, entries in self.waiting]).astype(np.int64),
            addend=np.concatenate([
                table.addend[entries].view(np.uint64)
                if wanted and table.addend is not None else np.zeros(len(entries), np.uint64)
                for wanted, (table, _, entries) in zip(explicit, self.waiting, strict=True)
            ]),
            entry=np.concatenate([
                entries if table.section.endswith(".plt") else np.full(len(entries), -1)
                for table, _, entries in self.waiting
            ]),
        )  # fmt: skip
        table_at = image.decoded.pltgot
        if self.binding is Binding.FAITHFUL and table_at is not None:
            words = lazy.resolver_words(slots)
            at = np.array([self.arch.plt.link_map_word, self.arch.plt.resolver_word])
            own = np.uint64(table_at) - image.low + np.uint64(size) * at.astype(np.uint64)
            write_words(self.buffer, own.astype(np.int64), size, np.array(words, np.uint64))
            value = read_words(self.buffer, where, size) + image.bias_word
        else:
            first, spacing = lazy.slot_traps(slots)
            value = np.arange(len(slots), dtype=np.uint64) * np.uint64(spacing) + np.uint64(first)
        write_words(self.buffer, where, size, value)

    def _gather(self, table: RelocationTable, row: Reloc, entries: slice | I64) -> Batch:
        """The letters the row's formula names, for these entries."""
        assert row.formula is not None
        offset = table.offset[entries]
        where = (offset - self.image.low).astype(np.int64)
        slots = self.call_slot if row.role is Role.JUMP_SLOT else self.slot
        batch = Batch(table, row, entries, where, slots, self.buffer)
        if "A" in row.formula.letters:
            batch.letters["A"] = self._addend(table, row, entries, where)
        if "P" in row.formula.letters:
            batch.letters["P"] = offset + self.image.bias_word
        if row.formula.letters & {"M", "T"}:
            self._add_tls_letters(batch)
        if "S" in row.formula.letters:
            batch.letters["S"] = self.bound.address[batch.element]
        if "Z" in row.formula.letters:
            batch.letters["Z"] = self.bound.size[batch.element]
        return batch

    @property
    def bound(self) -> Bindings:
        """What the image's references bound to."""
        assert self.outcome.bindings is not None
        return self.outcome.bindings

    def _finish(self, batch: Batch) -> None:
        """Compute, and store or put off."""
        row = batch.row
        assert row.formula is not None
        if row.role is Role.IRELATIVE:
            resolver = evaluate(row, self.image, **batch.letters)
            self._defer(row, batch.where, resolver & self.image.address_mask, batch.letters["A"])
            return
        if row.formula.letters & _TLS_LETTERS and row.role is not Role.TLSDESC:
            # ld.so leaves the words of an undefined weak thread-local symbol alone: it has no module.
            batch.keep((batch.element == 0) | (self.bound.provider[batch.element] != UNRESOLVED))
        elif "S" in row.formula.letters and "T" not in row.formula.letters:
            self._put_off_ifuncs(batch)
        value = evaluate(row, self.image, **batch.letters)
        if row.role is Role.TLSDESC:
            if self.handling is not None:
                value = self.handling.values(batch, value)
            functions, unanswered = self._descriptor_functions(batch.element)
            self._report_tls(batch, unanswered, NO_MACHINE)
            self._write_descriptors(row.word.size if row.word else 0, batch.where, value, functions)
        else:
            self._store(batch, value)

    def _put_off_ifuncs(self, batch: Batch) -> None:
        """References to STT_GNU_IFUNC symbols wait for what the resolver answers."""
        indirect = self.bound.type[batch.element] == SymbolType.GNU_IFUNC
        if indirect.any():
            addend = batch.letters.get("A", np.zeros(len(batch.where), np.uint64))
            self._defer(batch.row, batch.where[indirect], batch.letters["S"][indirect], addend[indirect])
            batch.keep(~indirect)

    def _write_descriptors(self, size: int, where: I64, value: U64, function: U64) -> None:
        """Fill TLS descriptors of two `size`-byte words: a function, and the argument it finds beside itself."""
        argument = self.arch.tls.descriptor_argument
        write_words(self.buffer, where + size * argument, size, value)
        write_words(self.buffer, where + size * (1 - argument), size, function)

    def _descriptor_functions(self, element: I64) -> tuple[U64, Bools]:
        """What descriptors of these symbols call, and those for which there is nothing to call."""
        static, weak = self.environment.descriptor_stubs()
        provider = np.where(element == 0, 0, self.bound.provider[element])
        functions = np.where(provider == UNRESOLVED, np.uint64(weak), np.uint64(static))
        unanswered = np.zeros(len(element), np.bool_)
        for number in self._dynamic_providers(provider):
            assert self.environment.tls is not None
            found = self.environment.tls.descriptor(self.bound.images[number])
            functions[provider == number] = found or 0
            unanswered |= (provider == number) & (found is None)
        return functions, unanswered

    def _dynamic_providers(self, provider: NDArray[np.int32] | I64) -> list[int]:
        """Which of these providers (indices into the images bound to) are modules without a static place."""
        images = self.bound.images
        candidates = (number for number in np.unique(provider).tolist() if number >= 0)
        return [n for n in candidates if (module := images[n].tls) is not None and not module.static]

    def _addend(self, table: RelocationTable, row: Reloc, entries: slice | I64, where: I64) -> U64:
        if table.addend is not None:
            return table.addend[entries].view(np.uint64)
        assert row.word is not None
        if row.role is Role.TLSDESC:
            where = where + row.word.size * self.arch.tls.descriptor_argument
        addend = row.word.read(read_words(self.buffer, where, row.word.size))
        if row.role is Role.TLSDESC and self.arch.tls.descriptor_holds_index:
            return np.where(table.symbol[entries] == 0, addend, np.uint64(0))
        return addend

    def _wrapped(self, value: U64) -> U64:
        """The value as the ISA's own arithmetic has it: modulo 2^32 on a 32-bit one, sign-extended."""
        return value if self.arch.bits == 64 else address32.read(value & self.image.address_mask)

    def _store(self, batch: Batch, value: U64) -> None:
        word = batch.row.word
        assert word is not None
        value = self._wrapped(value)
        if self.handling is not None:
            value = self._wrapped(self.handling.values(batch, value))
        fits = word.fits(value)
        if not isinstance(fits, bool) and not fits.all():
            bad = np.flatnonzero(~fits)
            example = int(value[bad[0]].astype(np.int64))
            problem = f"{example:#x} does not fit {word.description}"
            self._report_row(batch.table, batch.indices[bad], batch.row, RelocationOverflow, problem)
            return
        if word.keeps_raw:
            value = word.write(read_words(self.buffer, batch.where, word.size), value)
        write_words(self.buffer, batch.where, word.size, value)

    def _defer(self, row: Reloc, where: I64, resolver: U64, addend: U64) -> None:
        place = where.astype(np.uint64) + np.uint64(self.image.region.address)
        self.outcome.ifuncs.append(IfuncCalls(self.image, row, place, resolver, addend))

    def _tls_modules(self, element: I64) -> tuple[U64, U64, Bools]:
        """(M, T, usable) of each element's defining module. Element 0 means the image's own module."""
        bound = self.bound
        # HOST and UNRESOLVED are -2 and -1: they index the array's end.
        modules = [*(image.tls for image in bound.images), self.environment.resolver.host_tls, None]
        ids = np.array([m.id if m else 0 for m in modules], np.uint64)
        offsets = np.array([m.offset if m else 0 for m in modules], np.int64).view(np.uint64)
        provider = np.where(element == 0, 0, bound.provider[element])
        weak = (element != 0) & (provider == UNRESOLVED)
        thread_local = np.isin(bound.type[element], (SymbolType.TLS, SymbolType.NOTYPE)) | (element == 0)
        usable: Bools = weak | ((ids[provider] != 0) & thread_local)
        return ids[provider], offsets[provider], usable

    def _make_static(self, element: I64) -> tuple[Bools, str]:
        """Make modules static whose offset a place is to hold: where that cannot be, and why."""
        provider = np.where(element == 0, 0, self.bound.provider[element])
        refused, problem = np.zeros(len(element), np.bool_), ""
        for number in self._dynamic_providers(provider):
            assert self.environment.tls is not None
            why = self.environment.tls.make_static(self.bound.images[number])
            if why is not None:
                problem = why
                refused |= provider == number
        return refused, problem

    def _add_tls_letters(self, batch: Batch) -> None:
        """M and T; entries whose symbol is not thread-local are reported and dropped."""
        assert batch.row.formula is not None
        if "T" in batch.row.formula.letters and batch.row.role is not Role.TLSDESC:
            refused, problem = self._make_static(batch.element)
            if refused.any():
                self._report_tls(batch, refused, problem)
                batch.keep(~refused)
        batch.letters["M"], batch.letters["T"], usable = self._tls_modules(batch.element)
        if not usable.all():
            self._report_tls(batch, ~usable, "no thread-local definition")
            batch.keep(usable)

    def _report_tls(self, batch: Batch, chosen: Bools, problem: str) -> None:
        for index in batch.indices[chosen][:_REPORTED].tolist():
            symbol = self._symbol_name(batch.table, index)
            section, offset = batch.table.origin(index)
            self.outcome.errors.append(
                TlsError(
                    self.image.name,
                    f"{section}+{offset:#x}: {self.arch.prefix}{batch.row.name} against "
                    f"{symbol or 'its own module'}: {problem}",
                )
            )

    # ------------------------------------------------------------ checks and reports

    def _inside(self, offset: U64, size: int) -> Bools | None:
        """Which places lie whole in one segment; None when all do (the usual case, told by two compares)."""
        if not len(offset):
            return None
        low, high = int(offset.min()), int(offset.max())
        if any(
            start <= low and high + size <= end
            for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ):
            return None
        segment = np.searchsorted(self.starts, offset, side="right") - 1
        end = np.where(segment >= 0, self.ends[segment], 0)
        inside: Bools = np.asarray((offset < end) & (end - offset >= np.uint64(size)), np.bool_)
        return None if bool(np.all(inside)) else inside

    def _report_row(
        self, table: RelocationTable, indices: I64, row: Reloc, kind: type[RelocationError], problem: str
    ) -> None:
        formula = row.formula.text if row.formula else None
        self._report(table, indices, kind, self.arch.prefix + row.name, problem, formula)

    def _report(
        self, table: RelocationTable, indices: I64, kind: type[RelocationError], type_name: str, problem: str,
        formula: str | None = None,
    ) -> None:  # fmt: skip
        """One error per entry, the first few of them; the last says how many more there are."""
        more = len(indices) - _REPORTED
        for number, index in enumerate(indices[:_REPORTED].tolist(), 1):
            section, offset = table.origin(index)
            tail = f" (and {more} more entries of this type)" if number == _REPORTED and more > 0 else ""
            self.outcome.errors.append(
                kind(
                    self.image.name, problem + tail, section=section, offset=offset,
                    type_name=type_name, symbol=self._symbol_name(table, index), formula=formula,
                )
            )  # fmt: skip

    def _symbol_name(self, table: RelocationTable, index: int) -> str | None:
        symbol = int(table.symbol[index])
        if not symbol:
            return None
        return self.image.decoded.symbols.names.text(symbol) or f"symbol {symbol}"


def _length(entries: slice | I64, table: RelocationTable) -> int:
    return len(table.offset[entries])


def finish_ifuncs(calls: IfuncCalls, answers: U64) -> U64:
    """The words to store at `calls.place`, given what the resolvers answered (uint64[n])."""
    if calls.row.role is Role.IRELATIVE:
        return answers
    return evaluate(calls.row, calls.image, S=answers, A=calls.addend, P=calls.place)

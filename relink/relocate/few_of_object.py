"""Relocating a linked object with few entries: each by itself, without the cost of arrays.

What `relink.relocate.few_entries` does for shared objects. The types of relocatable objects have many formulas and
fields, which `relink.arch.single` makes functions of numbers. All values are computed before the first is stored;
where one is out of the ordinary (it does not fit, a thread-local symbol or an ifunc, a role with state beyond high
and low parts and sums), nothing is stored, and the engine does it all.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np

from relink.arch import Architecture, Reloc, Role
from relink.arch.fields import Word
from relink.arch.single import LETTERS, Single, of_field, of_formula, one, signed
from relink.arch.spec import Slot
from relink.arch.special import bytes_read, is_only_if_undefined
from relink.arrays import I64, U8, U64, Bools
from relink.elf.constants import SymbolType
from relink.elf.names import gnu_hash_of
from relink.elf.symbols import SymbolTable
from relink.memory.once import once_per_file
from relink.module import Module
from relink.objects.small import SmallEntry, SmallObject
from relink.records.tuples import NamedTuple
from relink.relocate.batch import FEW_RUNS, phase_of
from relink.relocate.bind import asks_for_symbol
from relink.relocate.references import References
from relink.relocate.result import Relocated
from relink.resolve.few_references import Few, Reference
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import LookupScope

_MASK = (1 << 64) - 1
_FUNC, _TLS, _IFUNC = int(SymbolType.FUNC), int(SymbolType.TLS), int(SymbolType.GNU_IFUNC)
_ROLES = frozenset({Role.NONE, Role.DATA, Role.BRANCH, Role.HIGH, Role.LOW, Role.SET, Role.ADD})


class _Type(NamedTuple):
    """A relocation type that entries one by one can have."""

    name: str  #: with the prefix
    row: Reloc
    value: Callable[..., int]
    field: Single
    asks: bool  #: whether its value depends on the binding of its symbol
    bias: int  #: of a branch: the addend with which it reaches the symbol
    special: bool  #: has a function for its value, which is called even if S is not 0


class _Step(NamedTuple):
    """One entry."""

    where: int  #: in the image's buffer
    type: _Type
    element: int  #: of the bindings
    addend: int | None
    slot: int  #: G
    stub: int  #: image offset of the symbol's stub, with the entry point of this type; -1 for none


def _nothing(*letters: int) -> int:
    return 0


_NO_FIELD = Single(0, lambda raw: 0, lambda value: True, lambda raw, value: raw)
_TYPES: dict[int, tuple[Architecture, dict[int, _Type | None]]] = {}


def _type_of(arch: Architecture, number: int) -> _Type | None:
    """A type; None for one that is left to the engine."""
    known = _TYPES.get(id(arch)) or _TYPES.setdefault(id(arch), (arch, {}))
    if number not in known[1]:
        row = arch.relocations.get(number)
        known[1][number] = None if row is None else _made(arch, row)
    return known[1][number]


def _made(arch: Architecture, row: Reloc) -> _Type | None:
    name = arch.prefix + row.name
    if row.role is Role.NONE:
        return _Type(name, row, _nothing, _NO_FIELD, False, 0, False)
    if row.role not in _ROLES or row.formula is None or row.word is None:
        return None
    value = of_formula(row.formula)
    if value is None or row.slot not in (None, Slot.ADDRESS):
        return None
    special = row.special is not None and not is_only_if_undefined(row.special)
    return _Type(
        name, row, value, of_field(row.word), asks_for_symbol(row), arch.bias_of_branch(row) & _MASK, special
    )


def _in_order(types: list[int], arch: Architecture) -> list[int]:
    """The different types in the order in which the engine applies them (see `by_type`)."""
    runs = [number for number, _ in groupby(types)]
    different = runs if len(set(runs)) == len(runs) <= FEW_RUNS else sorted(set(runs))
    return sorted(different, key=lambda number: phase_of(arch, number))


class ObjectEntries:
    """All entries of an object, in the order in which the engine applies them."""

    def __init__(self, objects: SmallObject, all_: list[SmallEntry], arch: Architecture) -> None:
        """Raises KeyError for entries that are left to the engine."""
        table, word = objects.symbols, arch.word_size
        self.counts: dict[str, int] = {}  # as in `Relocated`
        self.entries: dict[tuple[str, str], int] = {}
        order = _in_order([entry[1] for entry in all_], arch)
        found = {number: type_ for number in order if (type_ := _type_of(arch, number)) is not None}
        self.slots = {row: word * (arch.got_header + n) for n, row in enumerate(objects.slot_rows)}
        self.stubs = {row: n for n, row in enumerate(objects.callees)}
        asked = {*objects.slot_rows, *objects.callees}
        asked.update(symbol for _, number, symbol, _, _ in all_ if found[number].asks)
        asked.discard(0)
        symbols = sorted(asked)
        self.elements = {0: 0, **{symbol: element for element, symbol in enumerate(symbols, 1)}}
        self.few = Few.of([_reference(objects, symbol) for symbol in symbols])
        self.symbols = self.few.asked[1:]
        self.binding_of = self._numbered(table, symbols)
        self.steps: list[_Step] = []
        by_type: dict[int, list[_Step]] = {number: [] for number in order}
        size = 0 if objects.stub is None else len(objects.stub.code)
        for offset, number, symbol, addend, end in all_:
            type_ = found[number]
            if offset + type_.field.size > end:
                raise KeyError(number)
            stub = self.stubs.get(symbol, -1) if type_.row.role is Role.BRANCH else -1
            stub = -1 if stub < 0 else objects.island + stub * size + type_.row.entry
            slot = self.slots[symbol] if type_.row.slot is not None else 0
            element = self.elements[symbol] if type_.asks else 0
            by_type[number].append(_Step(offset, type_, element, addend, slot, stub))
        for number in order:
            self._count(number, found[number], by_type[number], arch)
        self._check_apart()

    @staticmethod
    def _numbered(table: SymbolTable, symbols: list[int]) -> tuple[I64, I64, I64]:
        by_address = np.zeros(len(table), np.int64)
        by_address[symbols] = np.arange(1, len(symbols) + 1)
        return by_address, by_address, np.zeros_like(by_address)

    def _count(self, number: int, type_: _Type, steps: list[_Step], arch: Architecture) -> None:
        self.entries[".rela", arch.relocation_name(number)] = len(steps)
        if type_.row.role is not Role.NONE:
            self.counts[type_.name] = self.counts.get(type_.name, 0) + len(steps)
            self.steps += steps

    def _check_apart(self) -> None:
        """Raise KeyError where the order of the entries matters beyond sums."""
        start, last, sums, read = 0, 0, False, 0
        for step in sorted(self.steps, key=lambda step: step.where):
            before, behind = bytes_read(step.type.row.special)
            whole, end = isinstance(step.type.row.word, Word), step.where + step.type.field.size
            if (before and step.where - before < last) or (whole and step.where < read):
                raise KeyError(step.where)
            read = max(read, end + behind) if behind else read
            adds = step.type.row.role in (Role.SET, Role.ADD)
            if step.where < last and not (adds and sums and (step.where, end) == (start, last)):
                raise KeyError(step.where)
            start, last, sums = step.where, end, adds


def _reference(objects: SmallObject, symbol: int) -> Reference:
    """A reference to a symbol; the hash only of one that is looked up by name."""
    name = objects.names_of_symbols[symbol - 1]
    own = bool(objects.symbols.row(symbol).section)
    return Reference(symbol, own, name, 0 if own else gnu_hash_of(name), None, False)


@once_per_file
def _known(decoded: object) -> dict[int, tuple[Architecture, ObjectEntries | None]]:
    """The entries of a file by the identity of the architecture, as far as they have been asked for."""
    return {}


def entries_of_object(image: Module) -> ObjectEntries | None:
    """The entries of an object that has few and simple ones. Made once for each file and architecture."""
    decoded, arch = image.decoded, image.architecture
    if not isinstance(decoded, SmallObject) or decoded.entries is None:
        return None
    known = _known(decoded)
    if id(arch) not in known:
        try:
            found = ObjectEntries(decoded, decoded.entries, arch)
        except KeyError:
            found = None
        known[id(arch)] = arch, found
    return known[id(arch)][1]


class _Odd(Exception):
    """An entry is left to the engine."""


class _Site:
    """The place of one entry, for `Reloc.special`."""

    def __init__(self, buffer: U8, where: int, letters: dict[str, U64], function: bool) -> None:
        self.buffer, self.letters = buffer, letters
        self.where: I64 = np.array([where])
        self.function: Bools = np.array([function])


class _Words:
    """The words to store, as far as they have been computed: at an index of the buffer its size and the word."""

    def __init__(
        self, image: Module, objects: SmallObject, entries: ObjectEntries, references: References
    ) -> None:
        self.image, self.objects, self.entries = image, objects, entries
        self.addresses: list[int] = references.bindings.address.tolist()
        self.types: list[int] = references.bindings.type.tolist()
        self.bias, self.narrow = int(image.bias_word), image.architecture.bits == 32
        self.got = objects.got + self.bias & _MASK
        self.buffer = image.region.buffer
        self.words: dict[int, tuple[int, int]] = {}
        self.high: dict[int, int] = {}  # the values of high parts, by their addresses

    def store(self) -> None:
        """Write all words to the buffer."""
        buffer = self.buffer.data
        for where, (size, word) in self.words.items():
            buffer[where : where + size] = word.to_bytes(size, "little")

    def fill(self) -> None:
        """The slots of the GOT and the targets of the stubs."""
        objects, entries, mask = self.objects, self.entries, self.image.architecture.address_mask
        word, addresses = self.image.architecture.word_size, [address & mask for address in self.addresses]
        for symbol, offset in entries.slots.items():
            self.words[objects.got + offset] = word, addresses[entries.elements[symbol]]
        if objects.stub is not None:
            at, size = objects.island + objects.stub.address_at, len(objects.stub.code)
            for symbol, number in entries.stubs.items():
                self.words[at + number * size] = word, addresses[entries.elements[symbol]]

    def compute(self) -> None:
        """Compute the words of all entries. Raises _Odd."""
        buffer = self.buffer.data
        for step in self.entries.steps:
            where, type_, element, addend, _, _ = step
            row, field = type_.row, type_.field
            known = self.words.get(where)
            raw = int.from_bytes(buffer[where : where + field.size], "little") if known is None else known[1]
            if addend is None:
                addend = field.read(raw)
            elif addend and row.slot is not None and row.formula is not None and "A" not in row.formula.letters:
                raise _Odd
            if row.role is Role.ADD:
                value = field.read(raw) + self._amount(step, self.addresses[element], addend) & _MASK
            else:
                value = self._fitting(step, addend)
            self.words[where] = field.size, field.write(raw, value)

    def _fitting(self, step: _Step, addend: int) -> int:
        """The value of an entry that is no sum. Raises _Odd where it does not fit."""
        where, type_, element, _, _, stub = step
        address, role, fits = self.addresses[element], type_.row.role, type_.field.fits
        if role is Role.LOW:
            if address not in self.high:
                raise _Odd
            value = self.high[address]
        else:
            value = self._value(step, address, addend, self.types[element] == _FUNC)
            if stub >= 0 and not fits(value) and addend & _MASK == type_.bias:
                value = self._value(step, stub + self.bias & _MASK, addend, function=True)
        if not fits(value):
            raise _Odd
        if role is Role.HIGH:
            self.high[where + self.bias & _MASK] = value
        return value

    def _amount(self, step: _Step, address: int, addend: int) -> int:
        """The result of an entry's formula, given S, in 64 bits on any ISA: what a sum adds."""
        return step.type.value(address, addend, step.where + self.bias & _MASK, self.got, step.slot, 0) & _MASK

    def _value(self, step: _Step, address: int, addend: int, function: bool = False) -> int:
        """The value of an entry, given S. Raises _Odd."""
        where, type_, _, _, slot, _ = step
        row, place, value = type_.row, where + self.bias & _MASK, self._amount(step, address, addend)
        if row.special is not None and not type_.special and not address:
            raise _Odd
        if row.special is not None and type_.special:
            numbers = zip(LETTERS, (address, addend, place, self.got, slot, 0), strict=True)
            site = _Site(self.buffer, where, {letter: one(number) for letter, number in numbers}, function)
            value = int(row.special(site, one(value))[0])
        return signed(value & self.image.architecture.address_mask, 32) if self.narrow else value


def bind_object(image: Module, scope: LookupScope, resolver: Resolver) -> References | None:
    """The references of such an object, bound; None where the engine has to bind them."""
    entries = entries_of_object(image)
    bindings = None if entries is None else resolver.bind_few(image, entries.few, scope)
    if entries is None or bindings is None:
        return None
    return References(bindings, entries.symbols, entries.binding_of)


def apply_to_object(image: Module, references: References, result: Relocated) -> bool:
    """Store all words, and count the entries; False, with nothing stored, where the engine has to do it."""
    objects, entries = image.decoded, entries_of_object(image)
    if not isinstance(objects, SmallObject) or entries is None:
        return False
    words = _Words(image, objects, entries, references)
    if result.errors or _TLS in words.types or _IFUNC in words.types:
        return False
    try:
        words.compute()
    except _Odd:
        return False
    words.fill()
    words.store()
    dict.update(result.counts, entries.counts)
    result.entries.update(entries.entries)
    return True

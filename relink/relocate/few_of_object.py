"""Relocating a linked object with few entries: each by itself, without the cost of arrays.

What `relink.relocate.few_entries` does for shared objects. The types of relocatable objects have many formulas and
fields, which `relink.arch.single` makes functions of numbers. All values are computed before the first is stored;
where one is out of the ordinary (it does not fit, a thread-local symbol or an ifunc, a role with state beyond high
and low parts and sums), nothing is stored, and the engine does it all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from relink.arch import Architecture, Role
from relink.arch.by_type import ByType
from relink.arch.fields import Word
from relink.arch.single import LETTERS, Single, of_field, of_formula, one, signed
from relink.arch.spec import Slot
from relink.arch.special import OneSite, bits_kept, bytes_read, for_one, is_only_if_undefined
from relink.arrays import I64, U8, U64, Bools
from relink.elf.constants import SymbolType
from relink.elf.names import gnu_hash_of
from relink.module import Module
from relink.objects.small import SmallObject
from relink.objects.small_symbols import SmallSymbolTable
from relink.records import cached_property
from relink.records.tuples import NamedTuple, maker
from relink.relocate.batch import FEW_RUNS, phase_of
from relink.relocate.bind import asks_for_symbol
from relink.relocate.references import Numbers
from relink.relocate.result import Relocated
from relink.resolve.bindings import Bindings
from relink.resolve.few_references import Few, Reference

_MASK, _SIGN = (1 << 64) - 1, 1 << 31
_FUNC = int(SymbolType.FUNC)
_LEFT = frozenset({int(SymbolType.TLS), int(SymbolType.GNU_IFUNC)})  #: to the engine
_SILENT = frozenset({Role.NONE, Role.ALIGN})  #: nothing is stored
_ROLES = frozenset({*_SILENT, Role.DATA, Role.BRANCH, Role.HIGH, Role.LOW, Role.SET, Role.ADD})
_ADD, _HIGH, _LOW, _BRANCH, _NO_ROLE = Role.ADD, Role.HIGH, Role.LOW, Role.BRANCH, Role.NONE
_SUMS = frozenset({Role.SET, Role.ADD})
_WHERE, _ROW = itemgetter(0), itemgetter(2)  #: of a step


class _Type(NamedTuple):
    """A relocation type that entries one by one can have."""

    name: str  #: with the prefix
    phase: int  #: types of a lower one are applied first
    role: Role
    silent: bool  #: whether nothing is stored
    value: Callable[..., int]
    field: Single
    whole: bool  #: whether the field is a whole word
    asks: bool  #: whether its value depends on the binding of its symbol
    has_slot: bool
    adds: bool  #: whether its formula has the addend
    entry: int  #: of a branch: see `Reloc.entry`
    bias: int  #: of a branch: the addend with which it reaches the symbol
    special: Callable[..., U64] | None
    for_one: Callable[[OneSite, int], int] | None  #: `special` in numbers
    only_if_undefined: bool  #: whether `special` changes nothing unless S is 0
    kept: int  #: `special` does not change signed numbers of so many bits
    reads: tuple[int, int] | None  #: bytes that `special` reads before and behind the place


#: One entry: (index in the image's buffer, type, symbol as a row of the image's table, addend, G, image offset of
#: the symbol's stub, with the entry point of this type, or -1 for none).
_Step: TypeAlias = tuple[int, _Type, int, int | None, int, int]


def _nothing(*letters: int) -> int:
    return 0


_REFERENCE = maker(Reference)
_NO_FIELD = Single(0, lambda raw: 0, lambda value: True, lambda raw, value: raw)


def _type_of(arch: Architecture, number: int) -> _Type:
    """Raises KeyError for a type that is left to the engine."""
    row = arch.relocations[number]
    value, field = _nothing if row.formula is None else of_formula(row.formula), _NO_FIELD
    if row.role not in _ROLES or value is None or row.slot not in (None, Slot.ADDRESS):
        raise KeyError(number)
    if row.word is not None:
        field = of_field(row.word)
    elif row.role is not Role.NONE:
        raise KeyError(number)
    return _Type(
        arch.prefix + row.name,
        phase_of(arch, number),
        row.role,
        row.role in _SILENT,
        value,
        field,
        isinstance(row.word, Word),
        asks_for_symbol(row),
        row.slot is not None,
        row.formula is not None and "A" in row.formula.letters,
        row.entry,
        arch.bias_of_branch(row) & _MASK,
        row.special,
        for_one(row.special),
        is_only_if_undefined(row.special),
        bits_kept(row.special),
        bytes_read(row.special),
    )


_TYPES = ByType(_type_of)


class ObjectEntries:
    """All entries of an object, in the order in which the engine applies them."""

    def __init__(self, objects: SmallObject, arch: Architecture) -> None:
        """Raises KeyError for entries that are left to the engine."""
        table, stub, callees, rows = objects.table, objects.stub, objects.callees, objects.slot_rows
        self.got, self.size = objects.got, len(table)
        self.address_at = 0 if stub is None else stub.address_at  #: of its target in a stub
        self.counts: dict[str, int] = {}  # as in `Relocated`
        self.entries: dict[tuple[str, str], int] = {}
        self.slots: dict[int, int] = {}
        self.stubs: dict[int, int] = {}
        if rows:
            self.slots = dict(zip(rows, count(objects.first_slot, objects.word), strict=False))
        if callees and stub is not None:
            self.stubs = dict(zip(callees, count(objects.island, len(stub.code)), strict=False))
        self.steps: list[_Step] = []
        asked = {*rows, *callees}
        types = _TYPES[arch]
        for number, many in self._read(objects, types, asked).items():
            type_ = types[number]
            self.entries[".rela", type_.name] = many
            if type_.role is not _NO_ROLE:
                self.counts[type_.name] = many
        asked.discard(0)
        self.few = Few.of(_references(table, sorted(asked)))
        self.symbols = self.few.asked[1:]

    def _read(self, objects: SmallObject, types: Mapping[int, _Type], asked: set[int]) -> dict[int, int]:
        """Set the steps, and add the symbols that are asked for. Returns the number of entries of each type, in
        the order in which the engine applies them.
        """
        counts: dict[int, int] = {}
        runs, apart, steps, slots, stubs = [-1], True, self.steps, self.slots, self.stubs
        for start, size, entries in objects.entries or ():
            last = start
            for at, number, symbol, addend in entries:
                if number != runs[-1]:
                    runs.append(number)
                    type_ = types[number]
                    silent, extent, reads, has_slot = type_.silent, type_.field.size, type_.reads, type_.has_slot
                    branch = type_.role is _BRANCH
                    if number not in counts:
                        counts[number] = 0
                counts[number] += 1
                if silent:
                    continue
                where, row = start + at, symbol + 1 if symbol else 0
                if at + extent > size:
                    raise KeyError(number)
                if where < last or reads:
                    apart = False
                last = where + extent
                stub = stubs[row] + type_.entry if branch and row in stubs else -1
                slot = slots[row] if has_slot else 0
                if not type_.asks:
                    row = 0
                steps.append((where, type_, row, addend, slot, stub))
        asked.update(map(_ROW, steps))
        if len(counts) == 1 and apart:
            return counts
        order = runs[1:] if len(counts) == len(runs) - 1 <= FEW_RUNS else sorted(counts)
        several = len({types[number].phase for number in order}) > 1
        if several:
            order.sort(key=lambda number: types[number].phase)
        if several or not apart:
            place = {types[number].name: at for at, number in enumerate(order)}
            steps.sort(key=lambda step: place[step[1].name])
        if not apart:
            self._check_apart()
        return {number: counts[number] for number in order}

    def _check_apart(self) -> None:
        """Raise KeyError where the order of the entries matters beyond sums."""
        start, last, sums, read = 0, 0, False, 0
        for where, type_, *_ in sorted(self.steps, key=_WHERE):
            before, behind = type_.reads or (0, 0)
            end = where + type_.field.size
            if (before and where - before < last) or (type_.whole and where < read):
                raise KeyError(where)
            read = max(read, end + behind) if behind else read
            adds = type_.role in _SUMS
            if where < last and not (adds and sums and (where, end) == (start, last)):
                raise KeyError(where)
            start, last, sums = where, end, adds

    def apply(self, image: Module, bindings: Bindings, result: Relocated) -> bool:
        """Store all words, and count the entries; False, with nothing stored, where the engine has to do it."""
        if self.steps or self.slots or self.stubs:
            words = _Words(image, self, bindings)
            if not _LEFT.isdisjoint(words.types.values()):
                return False
            try:
                words.compute()
            except _Odd:
                return False
            words.fill()
            words.store()
        dict.update(result.counts, self.counts)
        result.entries.update(self.entries)
        return True

    @cached_property
    def binding_of(self) -> Numbers:
        """See `References`."""
        by_address = np.zeros(self.size, np.int64)
        by_address[self.symbols] = np.arange(1, len(self.symbols) + 1)
        return by_address, by_address, np.zeros_like(by_address)


def _references(table: SmallSymbolTable, rows: Sequence[int]) -> list[Reference]:
    """References to symbols, by their names if they are undefined."""
    homes, names, got = table.columns.sections, table.columns.names, table.got[0]
    before = table.columns.first_global + 1
    found: list[Reference] = []
    for row in rows:
        if row < before or homes[row - 1] or row == got:
            found.append(_REFERENCE((row, True, b"", 0, None, False)))
        else:
            name = names[row - before]
            found.append(_REFERENCE((row, False, name, gnu_hash_of(name), None, False)))
    return found


def entries_of_object(image: Module) -> ObjectEntries | None:
    """The entries of an object that has few and simple ones. Made once for each object and architecture."""
    decoded, arch = image.decoded, image.architecture
    if not isinstance(decoded, SmallObject) or decoded.entries is None:
        return None
    known = decoded.relocating
    if (found := known.get(id(arch))) is None:
        try:
            made = ObjectEntries(decoded, arch)
        except KeyError:
            made = None
        known[id(arch)] = found = arch, made
    entries: ObjectEntries | None = found[1]
    return entries


class _Odd(Exception):
    """An entry is left to the engine."""


class _Letters(dict[str, U64]):
    """The operands of one entry as arrays, made of numbers when they are asked for."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __missing__(self, letter: str) -> U64:
        return one(self.numbers[LETTERS.index(letter)])


class _Site:
    """The place of one entry, for `Reloc.special`."""

    def __init__(self, buffer: U8, where: int, letters: dict[str, U64], function: bool) -> None:
        self.buffer, self.letters = buffer, letters
        self.where: I64 = np.array([where])
        self.function: Bools = np.array([function])


class _Words:
    """The words to store, as far as they have been computed: at an index of the buffer its size and the word."""

    def __init__(self, image: Module, entries: ObjectEntries, bindings: Bindings) -> None:
        self.image, self.entries, arch, rows = image, entries, image.architecture, entries.few.rows
        self.addresses: dict[int, int] = dict(zip(rows, bindings.address.tolist(), strict=True))
        self.types: dict[int, int] = dict(zip(rows, bindings.type.tolist(), strict=True))
        self.bias, self.narrow, self.mask = image.whole_bias, arch.bits == 32, arch.address_mask
        self.got = entries.got + self.bias & _MASK
        self.words: dict[int, tuple[int, int]] = {}
        self.high: dict[int, int] = {}  # the values of high parts, by their addresses

    def store(self) -> None:
        """Write all words to the buffer."""
        buffer = self.image.region.buffer.data
        for where, (size, word) in self.words.items():
            buffer[where : where + size] = word.to_bytes(size, "little")

    def fill(self) -> None:
        """The slots of the GOT and the targets of the stubs."""
        entries, size = self.entries, self.image.architecture.word_size
        for row, offset in entries.slots.items():
            self.words[entries.got + offset] = size, self.addresses[row] & self.mask
        for row, offset in entries.stubs.items():
            self.words[offset + entries.address_at] = size, self.addresses[row] & self.mask

    def compute(self) -> None:
        """Compute the words of all entries. Raises _Odd."""
        buffer, words, addresses, high = self.image.region.buffer.data, self.words, self.addresses, self.high
        bias, got, mask, narrow = self.bias, self.got, self.mask, self.narrow
        for step in self.entries.steps:
            where, type_, row, addend, slot, stub = step
            size, read, fits, write = type_.field
            role, address, raw = type_.role, addresses[row], 0
            if addend is None or not type_.whole or role is _ADD:
                raw = words[where][1] if where in words else int.from_bytes(buffer[where : where + size], "little")
            if addend is None:
                addend = read(raw)
            elif addend and type_.has_slot and not type_.adds:
                raise _Odd
            if role is _LOW:
                if address not in high:
                    raise _Odd
                value = high[address]  # that of the high part at its symbol
            else:  # the result of the formula, in 64 bits on any ISA
                value = type_.value(address, addend, where + bias & _MASK, got, slot, 0) & _MASK
                if role is _ADD:
                    words[where] = size, write(raw, read(raw) + value & _MASK)
                    continue
                if type_.special is not None:
                    value = self._special(step, address, addend, value)
                if narrow:
                    value = ((value & mask ^ _SIGN) - _SIGN) & _MASK
            if not fits(value):
                if stub < 0 or addend & _MASK != type_.bias:
                    raise _Odd
                value = self._of_stub(step, addend)
                if not fits(value):
                    raise _Odd
            if role is _HIGH:
                high[where + bias & _MASK] = value
            words[where] = size, write(raw, value)

    def _of_stub(self, step: _Step, addend: int) -> int:
        """The value of a branch that goes to the symbol's stub."""
        address = step[5] + self.bias & _MASK
        value: int = step[1].value(address, addend, step[0] + self.bias & _MASK, self.got, step[4], 0) & _MASK
        if step[1].special is not None:
            value = self._special(step, address, addend, value, function=True)
        return signed(value & self.mask, 32) if self.narrow else value

    def _special(self, step: _Step, address: int, addend: int, value: int, *, function: bool | None = None) -> int:
        """The value of an entry after `Reloc.special`, given S. Raises _Odd."""
        type_ = step[1]
        if type_.kept and signed(value, type_.kept) == value:
            return value
        if type_.only_if_undefined:
            if not address:
                raise _Odd
            return value
        if function is None:
            function = self.types[step[2]] == _FUNC
        return self._changed(step, address, addend, value, function=function)

    def _changed(self, step: _Step, address: int, addend: int, value: int, *, function: bool) -> int:
        """A value after `Reloc.special`."""
        (where, type_, _, _, slot, _), buffer = step, self.image.region.buffer
        place = where + self.bias & _MASK
        if type_.for_one is not None:
            instruction = int.from_bytes(buffer.data[where : where + 4], "little")
            return type_.for_one(OneSite(instruction, address, addend, place, function), value)
        assert type_.special is not None
        letters = _Letters(address, addend, place, self.got, slot, 0)
        return int(type_.special(_Site(buffer, where, letters, function), one(value))[0])

"""Linking one small object by numbers instead of arrays.

`relink.objects.combine` links any number of objects of any size, in several hundred array operations however small
they are: a compiler that loads thousands of fragments waits for these alone. A small and plain object
(`relink.elf.small_object`) is laid out here by the same rules, in a tenth of the time. The result is that of
`combine`, which remains for whatever is out of the ordinary: several objects, constructors with priorities,
thread-local storage, ifuncs, common symbols, symbols of the linker, link scripts, errors.
What a load seldom asks of the result (input sections, the objects, debug sections) `combine` answers when asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import count
from operator import itemgetter

import numpy as np

from relink.arch import Architecture, FloatAbi, Role
from relink.arch.by_type import ByType
from relink.arch.fields import Word
from relink.arch.spec import Slot
from relink.elf import ProgramHeader, Versions
from relink.elf.constants import SHN_ABS, SegmentType, SymbolType
from relink.elf.contents import frozen
from relink.elf.dynamic import Dynamic
from relink.elf.small_object import (
    MOST_BYTES,
    MOST_RELOCATIONS,
    Entry,
    Unusual,
    group_members,
    read_entries,
    read_header,
    read_sections,
    read_symbols,
)
from relink.memory.address_space import PAGE, Pages, Protection
from relink.objects.align import paddings
from relink.objects.combined import FIRST, CombinedObjects, DebugLinker
from relink.objects.input_sections import BSS, RWX, RX, R
from relink.objects.layout import SEGMENT_FLAGS
from relink.objects.linker_symbols import GOT, names_of_linker
from relink.objects.options import ObjectOptions
from relink.objects.relocation_tables import is_direct, narrowest
from relink.objects.small import Part, SmallObject
from relink.objects.small_sections import plan_of
from relink.objects.small_symbols import DATA, SmallSymbolTable
from relink.records.tuples import NamedTuple, maker

_CALLABLE = (int(SymbolType.NOTYPE), int(SymbolType.FUNC))
_GOT = GOT.encode()
_LOAD = SegmentType.LOAD
_ROUTINES = frozenset({b"_init", b"_fini"})  #: run like DT_INIT and DT_FINI
_MOST_BYTES = 1 << 16  #: of an image
_NO_DYNAMIC, _NO_ROWS = Dynamic.empty(), frozen(np.zeros(0, np.int64))
_SEGMENT, _PAGES = maker(ProgramHeader), maker(Pages)
_PROTECTIONS = tuple(map(Protection, range(8)))

#: What all of these have in common, also of what `Decoded` would read from the empty dynamic section.
_COMMON: dict[str, object] = {
    "path": None, "address": None, "dynamic": _NO_DYNAMIC, "layers": (), "dso_handle": None,
    "routines": (None, None), "object_versions": Versions(), "libraries_with_versions": (), "placed": None,
    "mapping": None,
    "min_vaddr": 0, "tls": None, "relro": (), "is_executable": False, "needed": (), "filtees": (), "soname": None,
    "rpath": None, "runpath": None, "is_symbolic": False, "binds_now": False, "preinit_array": None,
    "stack_executable": False, "dynamic_segment": None, "eh_frame": None, "interpreter": None, "flags_1": 0,
    "is_relocatable": True,
}  # fmt: skip


def link_small(
    name: str,
    content: bytes,
    arch: Architecture,
    options: ObjectOptions,
    combine: Callable[[], CombinedObjects],
    link_debug_sections: DebugLinker,
) -> SmallObject | None:
    """Lay out the object with the bytes `content` as an image; None where `combine` is to do it."""
    if len(content) > MOST_BYTES or options.undefined or options.wrapped.names or options.script is not None:
        return None
    try:
        return _Link(content, arch, options).image(name, combine, link_debug_sections)
    except Unusual:
        return None


class _Type(NamedTuple):
    """The properties of a relocation type on which the layout depends (see `relink.objects.got_and_stubs`)."""

    slot: bool  #: has a slot in the GOT
    branch: bool
    narrow: bool  #: may not hold the address of a function of another image
    direct: bool  #: see `InputTables.direct`
    bits: int  #: see `InputTables.low_bits`
    aligns: bool  #: see `relink.objects.align`


def _type_of(arch: Architecture, number: int) -> _Type:
    """Raises Unusual for a type whose entries change the layout otherwise, or that no psABI defines."""
    row = arch.relocations.get(number)
    if row is None or row.slot not in (None, Slot.ADDRESS):
        raise Unusual
    if row.formula is None or "S" not in row.formula.letters or row.slot is not None:
        return _Type(row.slot is not None, False, False, False, narrowest(row), row.role is Role.ALIGN)
    branch = row.role is Role.BRANCH
    whole = isinstance(row.word, Word) and row.word.size >= arch.word_size
    return _Type(False, branch, not branch and not whole, is_direct(row), narrowest(row), False)


_TYPES = ByType(_type_of)


class _Link:
    """The link of one object: the steps of `relink.objects.combine`."""

    def __init__(self, content: bytes, arch: Architecture, options: ObjectOptions) -> None:
        self.content, self.arch, self.word = content, arch, arch.word_size
        self.header = read_header(content, arch)
        self.sections = read_sections(content, self.header)
        self.plan = plan_of(self.sections, arch)
        self.sizes = sizes = [*self.sections.sizes]  #: after realignment
        #: Sections whose excess padding is removed: their parts, with offsets in the sections.
        self.realigned: dict[int, list[Part]] = {}
        if not any(map(sizes.__getitem__, self.plan.filled)):
            raise Unusual
        self.symbols = read_symbols(content, arch.bits, self.sections, self.plan.strings, self.header.shstrndx)
        #: The rows of the global symbols by their names.
        self.rows = dict(zip(self.symbols.names, count(self.symbols.first_global + 1), strict=False))
        self.attributes = self.sections.content(content, self.plan.attributes)
        self.stub = arch.stub
        if arch.baseline_stub is not None and arch.is_baseline(self.attributes):
            self.stub = arch.baseline_stub
        self.got_row = 0  #: of _GLOBAL_OFFSET_TABLE_, which is the linker's
        self._check_names(options)
        if self.plan.groups:
            self._check_groups()
        self.callees: set[int] = set()
        self.slots: set[int] = set()
        self.direct: set[int] = set()
        self.low_bits = 64
        self.entries = self._asked()
        self.offsets = [-1] * len(sizes)  #: of the sections that are loaded, in the image
        #: (flags, start, end of the part with bytes, end)
        self.segments: list[tuple[int, int, int, int]] = []
        self.got = self.island = self.end = 0
        self._place()

    # ------------------------------------------------------------ what is needed

    def _check_names(self, options: ObjectOptions) -> None:
        """Raise Unusual for names that other rules are about."""
        _, _, _, _, others, sections, names, first, strings = self.symbols
        rows = self.rows
        if len(rows) < len(names) or b"" in rows or not _ROUTINES.isdisjoint(rows):
            raise Unusual
        if of_linker := names_of_linker(rows, strings):
            if of_linker != {_GOT} or sections[rows[_GOT] - 1]:
                raise Unusual
            self.got_row = rows[_GOT]
        if any(others):
            for section, other in zip(sections[first:], others[first:], strict=True):
                if other & 3 and not section:  # it cannot be bound to other images
                    raise Unusual
        if options.overridden:
            for section, name in zip(sections[first:], names, strict=True):
                if section and name.decode("utf-8", "surrogateescape") in options.overridden:
                    raise Unusual

    def _check_groups(self) -> None:
        """Raise Unusual for groups that a link may discard, or that contradict each other."""
        infos, groups = self.sections.infos, self.plan.groups
        members = [each for number in groups for each in group_members(self.content, self.sections, number)]
        signatures = {infos[number] for number in groups}
        symbols = range(self.symbols.first_global, len(self.symbols.infos))
        apart = len({*members, *groups}) == len(members) + len(groups) and len(signatures) == len(groups)
        if not apart or not signatures.issubset(symbols):
            raise Unusual
        if not all(0 < member < len(infos) for member in members):
            raise Unusual

    def _asked(self) -> list[tuple[int, Sequence[Entry]]]:
        """The sections with relocations and their entries. Sets the symbols that need a stub or a slot of the GOT,
        and what else the entries ask for.
        """
        types, bits, sizes, found = _TYPES[self.arch], self.arch.bits, self.sizes, []
        homes, infos, loaded = self.symbols.sections, self.symbols.infos, self.plan.loaded
        every = bool(self.arch.code_address_bits)  # any branch may be to another instruction set
        left, symbols = MOST_RELOCATIONS, len(homes)
        for table, target in self.plan.tables:
            entries, aligned = read_entries(self.content, bits, self.sections, table), False
            left -= len(entries)
            if left < 0:
                raise Unusual
            for at, number, index, _ in entries:
                if at >= sizes[target] or index >= symbols:
                    raise Unusual
                slot, branch, narrow, direct, low_bits, aligns = types[number]
                if low_bits < self.low_bits:
                    self.low_bits = low_bits
                home = homes[index]
                if home and home not in loaded and home != SHN_ABS:
                    raise Unusual
                if not index:
                    if slot:
                        raise Unusual
                elif slot:
                    self.slots.add(index + 1)
                elif branch:
                    if every or not home or home == SHN_ABS:
                        self.callees.add(index + 1)
                elif not home:
                    if narrow and infos[index] & 15 in _CALLABLE:
                        self.callees.add(index + 1)
                    if direct:
                        self.direct.add(index + 1)
                aligned = aligned or aligns
            found.append((target, self._realigned(target, entries) if aligned else entries))
        if self.stub is None:
            self.callees.clear()
        return found

    def _realigned(self, target: int, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Remove the excess padding of a section (see `relink.objects.align`); return its entries at their new
        places.
        """
        size, types = self.sizes[target], _TYPES[self.arch]
        found = [(at, addend, index) for at, number, index, addend in entries if types[number].aligns]
        asked = [(at, addend, index) for at, addend, index in found if addend is not None]
        if len(asked) < len(found):
            raise Unusual
        start, parts, cuts, gone = 0, list[Part](), list[int](), [0]
        for at, padding, needed, _ in paddings(self.arch, sorted(asked, key=itemgetter(0)), size):
            if needed < 0:
                raise Unusual
            filled = at - gone[-1]
            parts.append((start - gone[-1], filled, start, b""))
            if needed:
                parts.append((filled, filled + needed, at, self.arch.fill(needed)))
            start = at + padding
            cuts.append(start)
            gone.append(gone[-1] + padding - needed)
        self.sizes[target] = end = size - gone[-1]
        self.realigned[target] = [*parts, (start - gone[-1], end, start, b"")]

        def moved(at: int) -> int:
            return at - gone[bisect_right(cuts, at)]

        values, sizes = [*self.symbols.values], [*self.symbols.sizes]
        for number, home in enumerate(self.symbols.sections):
            if home == target:
                if values[number] + sizes[number] >> 63:
                    raise Unusual
                start, end = moved(values[number]), moved(values[number] + sizes[number])
                values[number], sizes[number] = start, max(end - start, 0)
        self.symbols = self.symbols._replace(values=tuple(values), sizes=tuple(sizes))
        return [(moved(at), number, index, addend) for at, number, index, addend in entries]

    # ------------------------------------------------------------ layout

    def _place(self) -> None:
        """Assign offsets (see `Layout.place`)."""
        sizes, offsets, callees, position = self.sizes, self.offsets, len(self.callees), 0
        segments = self.segments
        far = self.arch.branch_reach // 2
        for kind, parts in self.plan.kinds:
            start = position if kind == BSS else position + PAGE - 1 & -PAGE
            position = start or FIRST
            for number, align in parts:
                offsets[number] = position = position + align - 1 & -align
                position += sizes[number]
            if kind == R:
                self.got = position + 15 & -16
                position = self.got + self.word * (self.arch.got_header + len(self.slots))
            elif kind == RX and callees and self.stub is not None:
                self.island = position + self.stub.align - 1 & -self.stub.align
                position = self.island + callees * len(self.stub.code)
            elif kind == RWX and parts and callees:
                raise Unusual
            flags = SEGMENT_FLAGS[kind]
            if position > start and kind != BSS:
                segments.append((flags, start, position, position))
            elif position > start and segments[-1][0] == flags:  # behind other data
                segments[-1] = (*segments[-1][:3], position)
            elif position > start:
                segments.append((flags, start, start, position))
            if position > _MOST_BYTES or position > far:
                raise Unusual
        self.end = position

    def _segments(self) -> tuple[tuple[ProgramHeader, ...], tuple[Pages, ...]]:
        """The PT_LOADs and their pages (see `Layout.program_headers`)."""
        headers = [
            _SEGMENT((_LOAD, flags, start, start, start, filled - start, end - start, PAGE))
            for flags, start, filled, end in self.segments
        ]
        pages = [
            _PAGES((start, end - start + PAGE - 1 & -PAGE, _PROTECTIONS[flags]))
            for flags, start, _, end in self.segments
        ]
        return tuple(headers), tuple(pages)

    def _array(self, numbers: Sequence[int]) -> tuple[int, int] | None:
        """(offset, words) of constructors or destructors, which are adjacent."""
        filled = [number for number in numbers if self.sizes[number]]
        if not filled:
            return None
        start, last = self.offsets[filled[0]], filled[-1]
        return start, (self.offsets[last] + self.sizes[last] - start) // self.word

    # ------------------------------------------------------------ the image

    def image(
        self, name: str, combine: Callable[[], CombinedObjects], link_debug_sections: DebugLinker
    ) -> SmallObject:
        """The result."""
        plan = self.plan
        callees, slots = sorted(self.callees), sorted(self.slots)
        segments, pages = self._segments()
        got_symbol = self.got_row, self.got
        table = SmallSymbolTable(name, self.arch.bits, self.symbols, self.rows, self.offsets, got_symbol)
        made = SmallObject.__new__(SmallObject)
        vars(made).update(  # it is immutable for others
            _COMMON,
            name=name,
            header=self.header,
            program_headers=segments,
            segments=segments,
            low_bits=self.low_bits,
            span=self.segments[-1][3],
            pages=pages,
            end=self.end,
            parts=self._parts(),
            relocating={},
            table=table,
            offers_data=not DATA.isdisjoint(self.symbols.infos) and table.offers_data,
            direct=np.array(sorted(self.direct), np.int64) if self.direct else _NO_ROWS,
            got=self.got,
            first_slot=self.word * self.arch.got_header,
            word=self.word,
            constructors=self._array(plan.constructors) if plan.constructors else None,
            destructors=self._array(plan.destructors) if plan.destructors else None,
            float_abi=self._float_abi(),
            link_debug_sections=link_debug_sections,
            entries=[(self.offsets[each], self.sizes[each], entries) for each, entries in self.entries],
            slot_rows=slots,
            callees=callees,
            island=self.island,
            stub=self.stub,
        )
        made.fill(self.content, combine)
        return made

    def _float_abi(self) -> FloatAbi | None:
        flags = self.header.flags
        found = self.arch.float_abi(flags, self.attributes)
        if found is None or flags or any(map(self.sections.sizes.__getitem__, self.plan.code)):
            return found
        return None  # see `ObjectFile.has_unset_flags`

    def _parts(self) -> list[Part]:
        """See `SmallObject`."""
        offsets, starts, sizes, realigned = self.sections.offsets, self.offsets, self.sizes, self.realigned
        found: list[Part] = [
            (starts[each], starts[each] + sizes[each], offsets[each], b"")
            for each in self.plan.stored
            if sizes[each] and each not in realigned
        ]
        for number, pieces in realigned.items():
            base, at = starts[number], offsets[number]
            found += [(base + start, base + end, at + place, padding) for start, end, place, padding in pieces]
        return found

"""Linking one small object by numbers instead of arrays.

`relink.objects.combine` links any number of objects of any size, in several hundred array operations however small
they are: a compiler that loads thousands of fragments waits for these alone. A small and plain object
(`relink.elf.small_object`) is laid out here by the same rules, in a tenth of the time. The result is that of
`combine`, which remains for whatever is out of the ordinary: several objects, COMDAT groups, constructors,
thread-local storage, ifuncs, common symbols, symbols of the linker, link scripts, code that is realigned, errors.
What a load seldom asks of the result (input sections, the objects, debug sections) `combine` answers when asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import chain

import numpy as np

from relink.arch import Architecture, FloatAbi, Role
from relink.arch.fields import Word
from relink.arch.spec import Slot
from relink.arrays import U8
from relink.elf import ProgramHeader, SymbolTable, Versions
from relink.elf.constants import SHN_ABS, SegmentType, SymbolType
from relink.elf.contents import frozen
from relink.elf.dynamic import Dynamic
from relink.elf.layout import SYMBOL_RECORDS
from relink.elf.small_object import MOST_BYTES, SmallFile, Unusual, read_small
from relink.elf.strings import StringTable
from relink.memory.address_space import PAGE, Pages, Protection, page_ceil
from relink.memory.made import placed_as
from relink.objects.combined import FIRST, CombinedObjects, DebugLinker, Offered
from relink.objects.input_sections import BSS, INDEX_TABLE, RW, RWX, RX, R
from relink.objects.layout import SEGMENT_FLAGS, aligned
from relink.objects.linker_symbols import GOT, is_of_linker
from relink.objects.options import ObjectOptions
from relink.objects.relocation_tables import is_direct, narrowest
from relink.objects.sections import output_name
from relink.objects.small import SmallEntry, SmallObject
from relink.records.tuples import NamedTuple

_WRITE, _ALLOC, _CODE, _NOBITS = 1, 2, 4, 8  # flags of sections, and a type
_CALLABLE = (int(SymbolType.NOTYPE), int(SymbolType.FUNC))
_OBJECT = int(SymbolType.OBJECT)
_HIDDEN, _PROTECTED = 2, 3
_GOT = GOT.encode()
_LOAD = SegmentType.LOAD
_ROUTINES = frozenset({b"_init", b"_fini"})  #: run like DT_INIT and DT_FINI
_MOST_BYTES = 1 << 16  #: of an image
_NO_DYNAMIC, _NO_ROWS = Dynamic.empty(), frozen(np.zeros(0, np.int64))
_PROTECTIONS = tuple(map(Protection, range(8)))


#: What all of these have in common, also of what `Decoded` would read from the empty dynamic section.
_COMMON: dict[str, object] = {
    "path": None, "address": None, "dynamic": _NO_DYNAMIC, "layers": (), "dso_handle": None, "constructors": None,
    "destructors": None, "routines": (None, None), "object_versions": Versions(), "placed": None, "mapping": None,
    "min_vaddr": 0, "tls": None, "relro": (), "is_executable": False, "needed": (), "filtees": (), "soname": None,
    "rpath": None, "runpath": None, "is_symbolic": False, "binds_now": False, "preinit_array": None,
    "stack_executable": False, "dynamic_segment": None, "eh_frame": None, "interpreter": None,
}  # fmt: skip


def link_small(
    name: str,
    data: U8,
    arch: Architecture,
    options: ObjectOptions,
    combine: Callable[[], CombinedObjects],
    link_debug_sections: DebugLinker,
) -> SmallObject | None:
    """Lay out the object with the bytes `data` as an image; None where `combine` is to do it."""
    if len(data) > MOST_BYTES or options.undefined or options.wrapped.names or options.script is not None:
        return None
    content = data.tobytes()
    try:
        return _Link(read_small(content, arch), arch, options).image(name, content, combine, link_debug_sections)
    except Unusual:
        return None


class _Type(NamedTuple):
    """What the layout depends on, of a relocation type (see `relink.objects.got_and_stubs`)."""

    slot: bool  #: has a slot in the GOT
    branch: bool
    narrow: bool  #: may not hold the address of a function of another image
    direct: bool  #: see `InputTables.direct`
    bits: int  #: see `InputTables.low_bits`


def _type_of(arch: Architecture, number: int) -> _Type:
    """Raises Unusual for a type whose entries change the layout otherwise, or that no psABI defines."""
    row = arch.relocations.get(number)
    if row is None or row.role is Role.ALIGN or row.slot not in (None, Slot.ADDRESS):
        raise Unusual
    if row.formula is None or "S" not in row.formula.letters or row.slot is not None:
        return _Type(row.slot is not None, False, False, False, narrowest(row))
    branch = row.role is Role.BRANCH
    whole = isinstance(row.word, Word) and row.word.size >= arch.word_size
    return _Type(False, branch, not branch and not whole, is_direct(row), narrowest(row))


_TYPES: dict[int, tuple[Architecture, dict[int, _Type]]] = {}


def _types(arch: Architecture) -> dict[int, _Type]:
    """The types of an architecture that have been asked for, by their numbers."""
    known = _TYPES.get(id(arch))
    if known is None:
        known = _TYPES.setdefault(id(arch), (arch, {}))
    return known[1]


@lru_cache(maxsize=1024)
def _output(name: bytes) -> str:
    return output_name(name.decode("utf-8", "surrogateescape"))


class _Link:
    """The link of one object: the steps of `relink.objects.combine`."""

    def __init__(self, file: SmallFile, arch: Architecture, options: ObjectOptions) -> None:
        self.file, self.arch = file, arch
        self.stub = arch.baseline_stub if arch.is_baseline(file.attributes) else arch.stub
        self.got_row = 0  #: of _GLOBAL_OFFSET_TABLE_, which is the linker's
        self._check_names(options)
        self.callees, self.slots, self.direct = set[int](), set[int](), set[int]()
        self.low_bits = 64
        self._ask()
        self.offsets: dict[int, int] = {}  #: of the sections that are loaded, in the image
        self.segments: list[tuple[int, int, int]] = []  #: (kind, start, end)
        self.got = self.island = self.end = 0
        self._place()

    # ------------------------------------------------------------ what is needed

    def _check_names(self, options: ObjectOptions) -> None:
        """Raise Unusual for names that other rules are about."""
        known = set[bytes]()
        overridden = options.overridden
        first = self.file.first_global
        for row, symbol in enumerate(self.file.symbols[first:], first + 1):
            name = symbol.name
            if not name:
                raise Unusual
            if name == _GOT and not symbol.section:
                self.got_row = row
            elif name in known or name in _ROUTINES or is_of_linker(name):
                raise Unusual
            known.add(name)
            if not symbol.section and symbol.other & 3:  # it cannot be bound to other images
                raise Unusual
            if overridden and symbol.section and name.decode("utf-8", "surrogateescape") in overridden:
                raise Unusual

    def _ask(self) -> None:
        """Set the symbols that need a stub or a slot of the GOT, and what else the entries ask for."""
        types, symbols, sections = _types(self.arch), self.file.symbols, self.file.sections
        explicit = {table.entries[0][3] is None for table in self.file.tables}
        every = bool(self.arch.code_address_bits)  # any branch may be to another instruction set
        if len(explicit) > 1:
            raise Unusual
        for table in self.file.tables:
            for _, number, index, _ in table.entries:
                type_ = types.get(number)
                if type_ is None:
                    type_ = types[number] = _type_of(self.arch, number)
                if type_.bits < self.low_bits:
                    self.low_bits = type_.bits
                symbol = symbols[index]
                section, row = symbol.section, index + 1 if index else 0
                if section > 0 and not sections[section].flags & _ALLOC:
                    raise Unusual
                if type_.slot:
                    if not row:
                        raise Unusual
                    self.slots.add(row)
                elif row and type_.branch:
                    if every or section <= 0:
                        self.callees.add(row)
                elif row and not section:
                    if type_.narrow and symbol.info & 15 in _CALLABLE:
                        self.callees.add(row)
                    if type_.direct:
                        self.direct.add(row)
        if self.stub is None:
            self.callees.clear()

    # ------------------------------------------------------------ layout

    def _arranged(self) -> list[list[tuple[int, list[int]]]]:
        """For each kind of section its output sections: (alignment, the numbers of its parts)."""
        outputs: dict[str, list[int]] = {}  # flags, whether it has bytes, alignment
        parts: dict[str, list[int]] = {}
        for number, section in enumerate(self.file.sections):
            if not section.flags & _ALLOC:
                continue
            name = _output(section.name)
            known = outputs.get(name)
            if known is None:
                known, parts[name] = outputs.setdefault(name, [0, 0, 1]), []
            known[0] |= section.flags
            known[1] |= section.type != _NOBITS
            known[2] = max(known[2], section.align)
            parts[name].append(number)
        kinds: list[list[tuple[int, list[int]]]] = [[] for _ in SEGMENT_FLAGS]
        for name, (flags, bits, align) in outputs.items():
            if flags & _CODE:
                kind = RWX if flags & _WRITE else RX
            else:
                kind = (RW if bits else BSS) if flags & _WRITE else R
            kinds[kind].append((align, parts[name]))
        if INDEX_TABLE in parts:
            self._sort_index(kinds, parts[INDEX_TABLE])
        return kinds

    def _sort_index(self, kinds: list[list[tuple[int, list[int]]]], tables: list[int]) -> None:
        """Put Arm's index tables behind other constants, in the order of what they are about."""
        code = chain.from_iterable(numbers for kind in kinds for _, numbers in kind)
        place = {number: at for at, number in enumerate(code)}
        tables.sort(key=lambda number: place[self.file.sections[number].about])
        kinds[R].sort(key=lambda output: output[1] is tables)

    def _place(self) -> None:
        """Assign offsets (see `Layout.place`)."""
        sections, kinds, offsets, position = self.file.sections, self._arranged(), self.offsets, 0
        word = self.arch.word_size
        for kind, outputs in enumerate(kinds):
            start = position if kind == BSS else position + PAGE - 1 & -PAGE
            position = start or FIRST
            for align, numbers in outputs:
                position = position + align - 1 & -align
                for number in numbers:
                    _, _, _, _, size, own, _ = sections[number]
                    position = position + own - 1 & -own
                    offsets[number] = position
                    position += size
            if kind == R:
                self.got = aligned(position, 16)
                position = self.got + word * (self.arch.got_header + len(self.slots))
            elif kind == RX and self.callees and self.stub is not None:
                self.island = aligned(position, self.stub.align)
                position = self.island + len(self.callees) * len(self.stub.code)
            elif kind == RWX and outputs and self.callees:
                raise Unusual
            if position > start:
                self.segments.append((kind, start, position))
            if position > min(_MOST_BYTES, self.arch.branch_reach // 2):
                raise Unusual
        self.end = position

    def _segments(self) -> tuple[list[ProgramHeader], list[Pages]]:
        """The PT_LOADs and their pages (see `Layout.program_headers`)."""
        runs: list[list[int]] = []  # flags, start, end of the file-backed part, end
        for kind, start, end in self.segments:
            flags = SEGMENT_FLAGS[kind]
            if not runs or runs[-1][0] != flags:
                runs.append([flags, start, start, end])
            runs[-1][2:] = runs[-1][2] if kind == BSS else end, end
        load = _LOAD
        headers = [ProgramHeader(load, f, at, at, at, filled - at, end - at, PAGE) for f, at, filled, end in runs]
        return headers, [Pages(at, page_ceil(end) - at, _PROTECTIONS[f]) for f, at, _, end in runs]

    # ------------------------------------------------------------ the image

    def image(
        self, name: str, content: bytes, combine: Callable[[], CombinedObjects], link_debug_sections: DebugLinker
    ) -> SmallObject:
        """The result."""
        callees, slots = sorted(self.callees), sorted(self.slots)
        table, offers_data = self._table(name)
        headers, pages = self._segments()
        segments = tuple(headers)
        data = frozen(np.frombuffer(self._content(content, len(callees)), np.uint8))
        first, word = self.arch.got_header * self.arch.word_size, self.arch.word_size
        made = SmallObject.__new__(SmallObject)
        vars(made).update(  # it is immutable for others
            _COMMON,
            name=name,
            data=data,
            header=self.file.header,
            program_headers=segments,
            segments=segments,
            low_bits=self.low_bits,
            span=max((end for _, _, end in self.segments), default=0),
            results=placed_as(data, tuple(pages)),
            table=table,
            offered=table.hash_table.symbols,  # type: ignore[attr-defined]
            offers_data=offers_data,
            direct=np.array(sorted(self.direct), np.int64) if self.direct else _NO_ROWS,
            got=self.got,
            slots={Slot.ADDRESS: (np.array(slots), first + word * np.arange(len(slots)))} if slots else {},
            float_abi=self._float_abi(),
            link_debug_sections=link_debug_sections,
            combine=combine,
            entries=self._entries(),
            names_of_symbols=[symbol.name for symbol in self.file.symbols],
            slot_rows=slots,
            callees=callees,
            island=self.island,
            stub=self.stub,
        )
        return made

    def _float_abi(self) -> FloatAbi | None:
        flags = self.file.header.flags
        found = self.arch.float_abi(flags, self.file.attributes)
        if found is None or flags or any(each.flags & _CODE and each.size for each in self.file.sections):
            return found
        return None  # see `ObjectFile.has_unset_flags`

    def _content(self, content: bytes, callees: int) -> bytearray:
        data = bytearray(page_ceil(max(self.end, 1)))
        sections = self.file.sections
        for number, start in self.offsets.items():
            section = sections[number]
            if section.type != _NOBITS:
                data[start : start + section.size] = content[section.offset : section.offset + section.size]
        if callees and self.stub is not None:
            code = self.stub.code * callees
            data[self.island : self.island + len(code)] = code
        return data

    def _table(self, name: str) -> tuple[SymbolTable, bool]:
        """The image's symbol table (see `Symbols.settle`), and whether it offers data to other images."""
        bits, offered, offers_data = self.arch.bits, list[int](), False
        record, in_order, dtype = SYMBOL_RECORDS[bits]
        rows, mask = bytearray(record.size + len(self.file.symbol_rows)), (1 << bits) - 1
        offsets = self.offsets
        for row, (_, name_at, value, size, info, other, section) in enumerate(self.file.symbols, 1):
            index = 0
            if section > 0:
                start = offsets.get(section)
                if start is not None:
                    value, index = value + start & mask, 1
            elif section:
                index = SHN_ABS
            elif row == self.got_row:
                value, index, other = self.got, 1, other | _HIDDEN
            if not index:
                if other & 3 == _PROTECTED:
                    other = other & ~3 | _HIDDEN
            elif info >> 4:
                offered.append(row)
                offers_data = offers_data or (info & 15 == _OBJECT and other & 3 in (0, _PROTECTED))
                if not other & 3:
                    other |= _PROTECTED
            record.pack_into(rows, record.size * row, *in_order((name_at, value, size, info, other, index)))
        records = frozen(np.frombuffer(rows, dtype))
        strings = StringTable(name, np.frombuffer(self.file.strings, np.uint8))
        symbols = self.file.symbols
        by_name = {symbols[row - 1].name: (row,) for row in offered}
        hashes = Offered(np.array(offered, np.int64))
        return SymbolTable(records, strings, hashes, None, by_name), offers_data

    def _entries(self) -> list[SmallEntry]:
        found = list[SmallEntry]()
        for table in self.file.tables:
            start = self.offsets[table.target]
            end = start + self.file.sections[table.target].size
            for at, type_, symbol, addend in table.entries:
                found.append((start + at, type_, symbol + 1 if symbol else 0, addend, end))
        return found

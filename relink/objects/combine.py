"""Combining relocatable objects: what a static linker does before it knows an address.

`combine` keeps one of each COMDAT group, decides which definition each name means, gives commons a place, puts
sections of equal permission together, sorts constructors by priority, and makes room for what the code asks of its
linker: GOT slots, and stubs for calls that may not reach. The phases are the methods of `Combiner`, in the order
`run` calls them; they share the concatenated symbol table, which is why they are one class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from relink.arch import Architecture, FloatAbi, Role
from relink.arch.fields import Word, address_bits
from relink.arch.spec import Slot
from relink.arrays import I64, U8, U32, U64
from relink.elf import ProgramHeader, SymbolTable
from relink.elf.constants import (
    SHN_ABS,
    Binding,
    SectionFlag,
    SectionType,
    SegmentType,
    SymbolType,
    Visibility,
)
from relink.elf.contents import Contents
from relink.elf.dynamic import Dynamic
from relink.elf.headers import MAX_ALIGN, MAX_SPAN
from relink.elf.layout import ELF32, ELF64
from relink.elf.objects import ABSOLUTE, COMMON, UNDEFINED, ObjectFile
from relink.elf.strings import StringTable
from relink.errors import (
    DuplicateSymbol,
    LinkError,
    LinkErrors,
    MalformedElf,
    RelocationError,
    UnsupportedElf,
)
from relink.memory.address_space import PAGE, page_ceil
from relink.objects.align import shrink
from relink.objects.combined import (
    BSS,
    CONSTRUCTORS,
    DESTRUCTORS,
    FIRST,
    INDEX_TABLE,
    RW,
    RX,
    TLS,
    CombinedObjects,
    CombinedTable,
    InputSection,
    Offered,
    R,
    StubTable,
    discarded_groups,
)
from relink.objects.linker_symbols import LINKER_SYMBOLS

#: Sections that describe code, its dropped copies too.
_TABLES = (".eh_frame", ".gcc_except_table", ".ARM.exidx", ".ARM.extab", "__patchable_function_entries")
_NARROWEST = 31  #: bits of the narrowest absolute address a code model has
_SEGMENT_FLAGS = {R: 4, RX: 5, TLS: 6, RW: 6, BSS: 6}
_LAST_PRIORITY = 65536
_PRIORITY_DIGITS = 9
_LAST_GROUP = 3  #: of writable sections: after constructors and destructors
_ROUNDS = 8  #: of layout: stubs push apart what they join
_WORD = (1 << 64) - 1
_NO_CONTENT = (SectionType.NULL, SectionType.GROUP)
_TLS_BASE = "_TLS_MODULE_BASE_"  #: the start of the image's block: local dynamic TLS by descriptors


def combine(
    name: str, files: Sequence[ObjectFile], arch: Architecture, exported: Sequence[str] = ()
) -> CombinedObjects:
    """Lay `files` out as one image. `exported` are names others may bind to whatever the objects say of them.

    Raises LinkErrors for duplicate symbols, ElfError for damaged input.
    """
    return Combiner(name, files, arch, frozenset(exported)).run()


class Combiner:
    """One run of `combine`: the objects' symbols as parallel arrays, their sections laid out in rounds.

    `symbol_base[i]` is the row of file i's first symbol (int64[files + 1]; row 0 is no symbol). Errors gather
    in `errors`, so that all of them are reported in one go.
    """

    def __init__(
        self, name: str, files: Sequence[ObjectFile], arch: Architecture, exported: frozenset[str]
    ) -> None:
        self.name, self.files, self.arch, self.exported = name, files, arch, exported
        self.layout = ELF64 if arch.bits == 64 else ELF32
        self.symbol_base = np.concatenate(([1], 1 + np.cumsum([len(f.symbols) for f in files]))).astype(np.int64)
        self.sections: dict[tuple[int, int], InputSection] = {}
        self.errors: list[LinkError] = []
        attributes = [self._attributes(file) for file in files]
        self.stub = arch.baseline_stub if any(map(arch.is_baseline, attributes)) else arch.stub
        self.float_abi = self._common_float_abi(attributes)

    def _attributes(self, file: ObjectFile) -> bytes:
        """An object's build attributes; empty where it, or its ISA, has none."""
        wanted = self.arch.attributes_section
        found = (i for i, section in enumerate(file.sections) if wanted and section.type == wanted)
        return next((file.section_bytes(index).tobytes() for index in found), b"")

    def _common_float_abi(self, attributes: Sequence[bytes]) -> FloatAbi | None:
        """How all the objects pass floating-point values; those that differ are errors."""
        first: tuple[FloatAbi, str] | None = None
        for file, attribute in zip(self.files, attributes, strict=True):
            abi = self.arch.float_abi(file.header.flags, attribute)
            if abi is not None and first is not None and abi is not first[0]:
                problem = f"makes {abi.value} calls, {first[1]} {first[0].value} ones"
                self.errors.append(LinkError(file.name, problem))
            if abi is not None and first is None:
                first = abi, file.name
        return first[0] if first else None

    def run(self) -> CombinedObjects:
        self._keep_sections()
        self._concatenate_symbols()
        self._resolve_names()
        self._gather_relocations()
        slots, got_size = self._assign_slots()
        stub_symbols = self._stub_symbols()
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else LinkErrors(self.name, self.errors)
        got, islands, end = self._place(got_size, len(stub_symbols))
        for _ in range(_ROUNDS):
            far = self._far_callees(stub_symbols)
            if not len(far):
                break
            stub_symbols = np.union1d(stub_symbols, far)
            got, islands, end = self._place(got_size, len(stub_symbols))
        self._settle_symbols(got, end)
        return self._image(got, slots, self._stub_table(stub_symbols, islands), end)

    # ------------------------------------------------------------ sections

    def _keep_sections(self) -> None:
        """Allocated sections, less those of COMDAT groups that were there already (gABI, "Section Groups")."""
        dropped = {(number, index) for number, group, _ in discarded_groups(self.files) for index in group.members}
        once: set[str] = set()  # what was there before groups: one of each name is kept
        for number, file in enumerate(self.files):
            for index, section in enumerate(file.sections):
                allocated = section.flags & SectionFlag.ALLOC and section.type not in _NO_CONTENT
                if allocated and (number, index) not in dropped and section.name not in once:
                    self.sections[number, index] = self._input(number, index)
                    if section.name.startswith(".gnu.linkonce."):
                        once.add(section.name)
        self._gather_named_sections()

    def _gather_named_sections(self) -> None:
        """Sections that C code can name (`__start_x`, `__stop_x`) lie together, all writable if one is."""
        named: dict[str, list[InputSection]] = {}
        for section in self.sections.values():
            if section.name.isidentifier() and section.kind in (R, RW, BSS):
                named.setdefault(section.name, []).append(section)
        for number, parts in enumerate(named.values(), 1):
            kinds = {section.kind for section in parts}
            for section in parts:
                section.order = (*section.order, number)
                if len(kinds) > 1:
                    section.kind, section.order = RW, (_LAST_GROUP, number)

    def _input(self, number: int, index: int) -> InputSection:
        file = self.files[number]
        section = file.sections[index]
        bits = section.type != SectionType.NOBITS
        kept = InputSection(
            file, index, section.name, section.flags, file.section_size(index), max(section.addralign, 1), bits
        )
        constructors = _constructor_order(section.name)
        if section.flags & SectionFlag.TLS:
            kept.kind, kept.order = TLS, (0 if bits else 1,)
        elif section.flags & SectionFlag.EXECINSTR:
            kept.kind = RX
        elif constructors and bits:  # also where an assembler made them read-only
            kept.kind, kept.order = RW, constructors
        elif not section.flags & SectionFlag.WRITE:
            kept.kind = R
            if section.name.startswith(INDEX_TABLE):  # in the order of the code it describes, to be searched
                kept.order = (1, number, section.link)
        else:
            kept.kind = RW if bits else BSS
            kept.order = (_LAST_GROUP,)
        return kept

    # ------------------------------------------------------------ symbols

    def _concatenate_symbols(self) -> None:
        """One table: row 0, then every object's rows. Values are section offsets still."""
        tables = [file.symbols for file in self.files]
        count = int(self.symbol_base[-1])
        self.value = np.zeros(count, np.uint64)
        self.size = np.zeros(count, np.uint64)
        self.info = np.zeros(count, np.uint8)
        self.other = np.zeros(count, np.uint8)
        self.section = np.zeros(count, np.int64)
        self.file = np.zeros(count, np.int64)
        for number, table in enumerate(tables):
            rows = slice(int(self.symbol_base[number]), int(self.symbol_base[number + 1]))
            self.value[rows], self.size[rows] = table.value, table.size
            self.info[rows], self.other[rows] = table.info, table.other
            self.section[rows] = table.section
            self.file[rows] = number
        self.kept = self._kept_sections()
        gone = (self.section > 0) & (self.kept < 0)
        self.section[gone] = UNDEFINED
        self.dropped = gone & (self.info >> 4 == Binding.LOCAL)

    def _kept_sections(self) -> I64:
        """For each symbol the place of its section among those that are kept; -1 for none."""
        first = np.concatenate(([0], np.cumsum([len(file.sections) for file in self.files])))
        place = np.full(int(first[-1]) + 1, -1, np.int64)
        for order, (number, index) in enumerate(self.sections):
            place[first[number] + index] = order
        return np.where(self.section > 0, place[first[self.file] + np.maximum(self.section, 0)], -1)

    def _resolve_names(self) -> None:
        """Which row each global name means: strong before common before weak before undefined (gABI, "Symbol
        Table"); `alias` leads from every row to the one that counts."""
        bind = self.info >> 4
        self.alias = np.arange(len(self.value))
        defined = self.section != UNDEFINED
        weak = bind == Binding.WEAK
        rank = np.where(
            defined, np.where(self.section == COMMON, 3, np.where(weak, 2, 4)), np.where(weak, 0, 1)
        ).tolist()
        self.chosen: dict[str, int] = {}
        members: dict[str, list[int]] = {}
        for number, file in enumerate(self.files):
            table = file.symbols
            rows = np.arange(table.first_global, len(table))
            base = int(self.symbol_base[number])
            for name, row in zip(table.names.take(rows).texts(), (rows + base).tolist(), strict=True):
                if not name:
                    continue
                members.setdefault(name, []).append(row)
                best = self.chosen.setdefault(name, row)
                if best == row:
                    continue
                if rank[row] == 4 and rank[best] == 4 and bind[row] != Binding.GNU_UNIQUE:
                    first = self.files[int(self.file[best])].name
                    self.errors.append(DuplicateSymbol(self.name, name, first, file.name))
                if rank[row] > rank[best] or (rank[row] == rank[best] == 3 and self.size[row] > self.size[best]):
                    self.chosen[name] = row
        for name, rows_ in members.items():
            best = self.chosen[name]
            self.alias[rows_] = best
            hidden = [int(self.other[row]) & 3 for row in rows_ if int(self.other[row]) & 3]
            if name in self.exported:  # a C library's own objects call its functions hidden
                self.other[best] &= ~np.uint8(3)
            elif hidden:
                self.other[best] = self.other[best] & ~np.uint8(3) | np.uint8(min(hidden))
        self._define_linker_symbols()

    def _define_linker_symbols(self) -> None:
        """Names a linker defines when somebody asks for them; settled once the layout is known."""
        self.linker_symbols = {
            name: row
            for name, row in self.chosen.items()
            if self.section[row] == UNDEFINED
            and (name in LINKER_SYMBOLS or name.startswith(("__start_", "__stop_")) or name == _TLS_BASE)
        }

    # ------------------------------------------------------------ relocations

    def _gather_relocations(self) -> None:
        """Every relocation of a kept section, in one table; offsets are section offsets still."""
        self.tables: list[tuple[InputSection, str, U64, U32, I64, I64 | None]] = []
        for number, file in enumerate(self.files):
            for relocations in file.relocations:
                target = self.sections.get((number, relocations.section))
                if target is None or not len(relocations):
                    continue
                symbols = self.alias[relocations.symbol.astype(np.int64) + int(self.symbol_base[number])]
                symbols = np.where(relocations.symbol == 0, 0, symbols)
                offset, kind, addend = relocations.offset, relocations.type, relocations.addend
                shrinkage = shrink(self.arch, file, relocations)
                if shrinkage is not None:
                    target.shrinkage = shrinkage
                    target.size = len(shrinkage.content)
                    offset = shrinkage.moved(offset)
                gone = self.dropped[symbols]
                if gone.any():
                    self._drop_entries(target, relocations.name, offset[gone])
                    offset, kind, symbols = offset[~gone], kind[~gone], symbols[~gone]
                    addend = None if addend is None else addend[~gone]
                self.tables.append((target, relocations.name, offset, kind, symbols, addend))

    def _drop_entries(self, target: InputSection, name: str, offsets: U64) -> None:
        """Entries against a section that was dropped with its COMDAT group: tables about code may keep such rows,
        which then describe nothing; code and data may not."""
        if target.name.startswith(_TABLES):
            return
        for offset in offsets[:20].tolist():
            self.errors.append(
                RelocationError(
                    self.name,
                    "refers to a section that was dropped with its group",
                    offset=offset,
                    section=f"{target.file.name}({name})",
                    type_name="relocation",
                )
            )

    def _rows_used(self) -> list[tuple[int, I64]]:
        """(type number, symbols it refers to) over all tables."""
        if not self.tables:
            return []
        types = np.concatenate([t[3] for t in self.tables]).astype(np.int64)
        symbols = np.concatenate([t[4] for t in self.tables])
        return [(int(n), symbols[types == n]) for n in np.unique(types)]

    def _assign_slots(self) -> tuple[dict[Slot, tuple[I64, I64]], int]:
        """A GOT slot for every symbol and kind some entry asks for; the GOT's size in bytes."""
        wanted: dict[Slot, list[I64]] = {}
        thread_local = (self.info & 15) == SymbolType.TLS
        for number, symbols in self._rows_used():
            row = self.arch.relocations.get(number)
            if row is None or row.slot is None:
                continue
            if row.tls_slot is not None:
                wanted.setdefault(row.tls_slot, []).append(symbols[thread_local[symbols]])
                symbols = symbols[~thread_local[symbols]]
            wanted.setdefault(row.slot, []).append(symbols)
        slots: dict[Slot, tuple[I64, I64]] = {}
        size = self.arch.got_header * self.arch.word_size
        for kind, parts in wanted.items():
            symbols = np.unique(np.concatenate(parts))
            step = kind.words * self.arch.word_size
            if kind is Slot.TLS_LD:  # one for the whole image, whatever symbol asks
                slots[kind] = symbols, np.full(len(symbols), size)
                size += step
            else:
                slots[kind] = symbols, size + step * np.arange(len(symbols))
                size += step * len(symbols)
        return slots, size

    def _stub_symbols(self) -> I64:
        """Symbols that may need a stub: callees outside the image or in another state, and ifuncs."""
        if self.stub is None:
            return np.zeros(0, np.int64)
        undefined = self.section == UNDEFINED
        indirect = (self.info & 15) == SymbolType.GNU_IFUNC
        needs = np.zeros(len(self.value), np.bool_)
        for number, symbols in self._rows_used():
            row = self.arch.relocations.get(number)
            if row is None or row.formula is None or row.slot is not None or "S" not in row.formula.letters:
                continue
            needs[symbols[indirect[symbols]]] = True
            if row.role is Role.BRANCH:
                outside = symbols if self.arch.code_address_bits else symbols[undefined[symbols]]
                needs[outside] = True
            elif not (isinstance(row.word, Word) and row.word.size >= self.arch.word_size):
                callable_ = undefined & np.isin(self.info & 15, (SymbolType.NOTYPE, SymbolType.FUNC))
                needs[symbols[callable_[symbols]]] = True
        needs[0] = False
        return np.flatnonzero(needs)

    def _far_callees(self, stubs: I64) -> I64:
        """Callees of the image's own that, as sections lie now, some branch does not reach, less those of `stubs`.

        A stub arrives at a symbol, so a far branch to symbol plus addend (an assembler's way to name a local
        label) gets a symbol of its own.
        """
        text = self.edges(lambda s: s.kind == RX)
        if self.stub is None or text is None or text[1] - text[0] < self.arch.branch_reach:
            return np.zeros(0, np.int64)
        found = [np.zeros(0, np.int64)]
        for number, (target, name, offset, kind, symbols, addend) in enumerate(self.tables):
            if addend is None or target.kind != RX:
                continue
            far = np.zeros(len(offset), np.bool_)
            for type_ in np.unique(kind).tolist():
                row = self.arch.relocations.get(type_)
                if row is not None and row.role is Role.BRANCH and row.word is not None:
                    mine = np.flatnonzero((kind == type_) & (self.section[symbols] > 0))
                    distance = self._image_offsets(symbols[mine]) + addend[mine].view(np.uint64)
                    distance -= offset[mine] + np.uint64(target.offset)
                    far[mine] = ~np.asarray(row.word.fits(distance), np.bool_)
            inside = np.flatnonzero(far & (addend != 0))
            if len(inside):
                symbols, addend = symbols.copy(), addend.copy()
                symbols[inside] = self._symbols_inside(symbols[inside], addend[inside])
                addend[inside] = 0
                self.tables[number] = (target, name, offset, kind, symbols, addend)
            found.append(symbols[far])
        return np.setdiff1d(np.concatenate(found), stubs)

    def _image_offsets(self, symbols: I64) -> U64:
        """Where symbols that sections define lie, as sections lie now."""
        rows, inverse = np.unique(symbols, return_inverse=True)
        offsets = np.zeros(len(rows), np.uint64)
        for number, row in enumerate(rows.tolist()):
            section = self.sections[int(self.file[row]), int(self.section[row])]
            value = int(self.value[row])
            if section.shrinkage is not None:
                value, _ = section.shrinkage.moved_symbol(value, 0)
            offsets[number] = (value + section.offset) & _WORD
        return offsets[inverse]

    def _symbols_inside(self, symbols: I64, addends: I64) -> I64:
        """Local symbols at symbol plus addend, one for each pair."""
        pairs, inverse = np.unique(np.stack((symbols, addends)), axis=1, return_inverse=True)
        bases, first = pairs[0], len(self.value)
        self.value = np.concatenate((self.value, self.value[bases] + pairs[1].view(np.uint64)))
        self.section = np.concatenate((self.section, self.section[bases]))
        self.file = np.concatenate((self.file, self.file[bases]))
        self.kept = np.concatenate((self.kept, self.kept[bases]))
        function = np.full(len(bases), Binding.LOCAL << 4 | SymbolType.FUNC, np.uint8)
        self.info = np.concatenate((self.info, function))
        self.size = np.concatenate((self.size, np.zeros(len(bases), np.uint64)))
        self.other = np.concatenate((self.other, np.zeros(len(bases), np.uint8)))
        self.alias = np.arange(first + len(bases))[np.concatenate((self.alias, np.arange(len(bases)) + first))]
        return first + inverse.reshape(-1)

    # ------------------------------------------------------------ layout

    def _place(self, got_size: int, stub_count: int) -> tuple[int, list[int], int]:
        """Give every section, the GOT, the stubs and the commons their offsets: (GOT, islands, end)."""
        ordered = sorted(self.sections.values(), key=lambda s: (s.kind, s.order))
        stub = self.stub
        island = stub_count * len(stub.code) if stub else 0
        self.segments: list[tuple[int, int, int]] = []  # (kind, start, end)
        islands: list[int] = []
        position, got = 0, 0
        for kind in range(5):
            start = position if kind == BSS else page_ceil(position)
            position = start or FIRST
            since_island = 0
            for section in (s for s in ordered if s.kind == kind):
                if kind == RX and island and since_island + section.size > self.arch.branch_reach // 2:
                    position = _aligned(position, stub.align if stub else 1)
                    islands.append(position)
                    position, since_island = position + island, 0
                position = section.offset = _aligned(position, section.align)
                position += section.size
                since_island += section.size
            if kind == R:
                got = position = _aligned(position, 16)
                position += got_size
            elif kind == RX and island:
                position = _aligned(position, stub.align if stub else 1)
                islands.append(position)
                position += island
            elif kind == BSS:
                position = self._place_commons(position)
            if position > start:
                self.segments.append((kind, start, position))
        if position > MAX_SPAN:
            problem = f"would take {position:#x} bytes, more than {MAX_SPAN:#x}, the most taken on"
            raise UnsupportedElf(self.name, problem)
        return got, islands, position

    def _place_commons(self, position: int) -> int:
        """Common symbols that won get bss; st_value is their alignment (gABI)."""
        self.common: dict[int, int] = {}
        alignments: dict[int, int] = {}  # of all of one name the strictest counts
        for row in np.flatnonzero(self.section == COMMON).tolist():
            winner = int(self.alias[row])
            align = int(self.value[row])
            if self.info[row] & 15 == SymbolType.TLS:
                file = self.files[int(self.file[row])].name
                raise UnsupportedElf(file, "has a thread-local common symbol, which no psABI describes")
            if align & (align - 1) or align > MAX_ALIGN:
                problem = f"a common symbol aligned to {align:#x}, no power of two up to {MAX_ALIGN:#x}"
                raise MalformedElf(self.files[int(self.file[row])].name, problem)
            if self.section[winner] == COMMON:
                alignments[winner] = max(alignments.get(winner, 1), align)
        self.common_alignments = list(alignments.values())
        for row, align in sorted(alignments.items()):
            position = _aligned(position, align)
            self.common[row] = position
            position += int(self.size[row])
        return position

    def _settle_symbols(self, got: int, end: int) -> None:
        """Section offsets become image offsets (for TLS, offsets in the block)."""
        tls = [s for s in self.sections.values() if s.kind == TLS]
        self.tls_start = min((s.offset for s in tls), default=0)
        self.shndx = np.zeros(len(self.value), np.uint16)
        self._shrink_symbols()
        placed = np.flatnonzero(self.section > 0)
        sections = list(self.sections.values())
        kept, thread_local = self.kept[placed], np.array([s.kind == TLS for s in sections], np.bool_)
        offsets = np.array([s.offset for s in sections], np.int64) - np.where(thread_local, self.tls_start, 0)
        self.value[placed] += offsets[kept].astype(np.uint64)
        self.shndx[placed] = 1
        in_tls = placed[thread_local[kept]]
        self.info[in_tls] = self.info[in_tls] & np.uint8(0xF0) | np.uint8(SymbolType.TLS)
        self.shndx[self.section == ABSOLUTE] = SHN_ABS
        for row, offset in self.common.items():
            self.value[row], self.shndx[row] = offset, 1
            self.info[row] = self.info[row] & np.uint8(0xF0) | np.uint8(SymbolType.OBJECT)
        for name, row in self.linker_symbols.items():
            self._settle_linker_symbol(name, row, got, end)
        # Rows that lost to another of their name are nothing any more; the winners bind to their own image.
        lost = self.alias != np.arange(len(self.alias))
        self.shndx[lost] = 0
        winners = (self.shndx != 0) & ((self.info >> 4) != Binding.LOCAL) & ((self.other & 3) == 0)
        self.other[winners] |= np.uint8(Visibility.PROTECTED)

    def _shrink_symbols(self) -> None:
        """Values and sizes in sections that have lost padding."""
        rows = np.flatnonzero(self.section > 0)
        rows = rows[np.argsort(self.kept[rows], kind="stable")]
        edges = np.searchsorted(self.kept[rows], np.arange(len(self.sections) + 1))
        for order, section in enumerate(self.sections.values()):
            mine = rows[edges[order] : edges[order + 1]]
            if section.shrinkage is not None and len(mine):
                moved = section.shrinkage.moved_symbols(self.value[mine], self.size[mine])
                self.value[mine], self.size[mine] = moved

    def _settle_linker_symbol(self, name: str, row: int, got: int, end: int) -> None:
        if name == _TLS_BASE:
            if any(s.kind == TLS for s in self.sections.values()):
                self.shndx[row], self.info[row] = 1, Binding.GLOBAL << 4 | SymbolType.TLS
                self.other[row] |= np.uint8(Visibility.HIDDEN)
            return
        place = LINKER_SYMBOLS[name](self, got, end) if name in LINKER_SYMBOLS else None
        if place is None and name.startswith(("__start_", "__stop_")):
            stop = name.startswith("__stop_")
            section = name.removeprefix("__stop_" if stop else "__start_")
            edges = self.edges(lambda s: s.name == section)
            place = edges[stop] if edges else None
        if place is not None:
            self.value[row], self.shndx[row] = place, 1
            self.other[row] |= np.uint8(Visibility.HIDDEN)

    def array(self, names: tuple[str, ...]) -> tuple[int, int] | None:
        """(image offset, words) of the constructor or destructor sections, which lie together."""
        edges = self.edges(lambda s: s.kind == RW and s.name.startswith(names) and s.order[0] < _LAST_GROUP)
        return None if edges is None else (edges[0], (edges[1] - edges[0]) // self.arch.word_size)

    def edges(self, chosen: Callable[[InputSection], bool]) -> tuple[int, int] | None:
        """(start, end) of the sections `chosen` tells."""
        parts = [s for s in self.sections.values() if s.size and chosen(s)]
        return (min(s.offset for s in parts), max(s.offset + s.size for s in parts)) if parts else None

    # ------------------------------------------------------------ the result

    def _stub_table(self, symbols: I64, islands: list[int]) -> StubTable:
        number = np.full(len(self.value), -1, np.int64)
        number[symbols] = np.arange(len(symbols))
        return StubTable(
            symbols,
            tuple(islands),
            len(self.stub.code) if self.stub else 0,
            self.stub.address_at if self.stub else 0,
            number,
        )

    def _image(self, got: int, slots: dict[Slot, tuple[I64, I64]], stubs: StubTable, end: int) -> CombinedObjects:
        data = self._content(stubs, page_ceil(max(end, 1)))
        headers = tuple(self._program_headers())
        segments = tuple(header for header in headers if header.type == SegmentType.LOAD)
        contents = Contents(self.name, segments, lambda s: data[s.offset : s.offset + s.filesz])
        header = self.files[0].header
        return CombinedObjects(
            self.name,
            None,
            data,
            None,
            header,
            headers,
            segments,
            contents,
            Dynamic.empty(),
            inputs=tuple(sorted(self.sections.values(), key=lambda s: s.offset)),
            files=tuple(self.files),
            alias=self.alias,
            table=self._symbol_table(),
            static=self._relocation_table(),
            got=got,
            slots=slots,
            stubs=stubs,
            low_bits=self._low_bits(),
            constructors=self.array(CONSTRUCTORS),
            destructors=self.array(DESTRUCTORS),
            float_abi=self.float_abi,
            dso_handle=FIRST if "__dso_handle" in self.linker_symbols else None,
        )

    def _content(self, stubs: StubTable, size: int) -> U8:
        """The image's bytes before relocation."""
        data = np.zeros(size, np.uint8)
        for section in self.sections.values():
            if section.bits and section.size:
                content = section.file.section_bytes(section.index)
                if section.shrinkage is not None:
                    content = section.shrinkage.content
                if section.reversed:
                    if len(content) % self.arch.word_size:
                        problem = f"{section.name}: {len(content):#x} bytes are no whole number of addresses"
                        raise MalformedElf(section.file.name, problem)
                    content = content.reshape(-1, self.arch.word_size)[::-1].reshape(-1)
                data[section.offset : section.offset + section.size] = content
        if self.stub is not None and len(stubs.symbols):
            code = np.frombuffer(self.stub.code, np.uint8)
            for island in stubs.islands:
                data[island : island + len(code) * len(stubs.symbols)] = np.tile(code, len(stubs.symbols))
        return data

    def _program_headers(self) -> Iterable[ProgramHeader]:
        """PT_LOADs by permission, RW and bss as one; PT_TLS."""
        align = max([PAGE, *(s.align for s in self.sections.values()), *self.common_alignments])
        runs: list[list[int]] = []  # flags, start, end of what has bytes, end
        for kind, start, end in self.segments:
            flags = _SEGMENT_FLAGS[kind]
            if not (runs and runs[-1][0] == flags):
                runs.append([flags, start, start, end])
            runs[-1][2:] = runs[-1][2] if kind == BSS else end, end
        for flags, start, filled, end in runs:
            yield ProgramHeader(SegmentType.LOAD, flags, start, start, start, filled - start, end - start, align)
        tls = [s for s in self.sections.values() if s.kind == TLS]
        if tls:
            end = max(s.offset + s.size for s in tls)
            filled = max((s.offset + s.size for s in tls if s.bits), default=self.tls_start)
            yield ProgramHeader(
                SegmentType.TLS,
                4,
                self.tls_start,
                self.tls_start,
                self.tls_start,
                filled - self.tls_start,
                end - self.tls_start,
                max(s.align for s in tls),
            )

    def _symbol_table(self) -> SymbolTable:
        blobs = [np.zeros(1, np.uint8), *(file.symbols.strings.data for file in self.files)]
        starts = np.cumsum([len(blob) for blob in blobs])
        records = np.zeros(len(self.value), self.layout.symbol)
        for number, file in enumerate(self.files):
            rows = slice(int(self.symbol_base[number]), int(self.symbol_base[number + 1]))
            records["name"][rows] = file.symbols.records["name"] + starts[number]
        records["value"], records["size"] = self.value, self.size
        records["info"], records["other"], records["shndx"] = self.info, self.other, self.shndx
        offered = np.flatnonzero((self.shndx != 0) & ((self.info >> 4) != Binding.LOCAL))
        return SymbolTable(records, StringTable(self.name, np.concatenate(blobs)), Offered(offered), None)

    def _relocation_table(self) -> CombinedTable:
        if not self.tables:
            nothing = np.zeros(0, np.uint64)
            return CombinedTable(".rela", nothing, nothing.astype(np.uint32), nothing.astype(np.uint32), None)
        offsets, origins = [], []
        for target, name, offset, *_ in self.tables:
            if target.reversed:
                word = np.uint64(self.arch.word_size)
                offset = np.uint64(target.size) - word - offset // word * word + offset % word
            offsets.append(offset + np.uint64(target.offset))
            origins.append((f"{target.file.name}({name})", target.offset))
        addends = [t[5] for t in self.tables]
        odd = next((t for t in self.tables if (t[5] is None) != (addends[0] is None)), None)
        if odd is not None:
            problem = "its entries have their addends elsewhere (SHT_REL, SHT_RELA) than the first object's"
            raise UnsupportedElf(f"{odd[0].file.name}({odd[1]})", problem)
        return CombinedTable(
            ".rela",
            np.concatenate(offsets),
            np.concatenate([t[3] for t in self.tables]),
            np.concatenate([t[4] for t in self.tables]).astype(np.uint32),
            None if addends[0] is None else np.concatenate([a for a in addends if a is not None]),
            np.cumsum([0, *(len(t[2]) for t in self.tables)])[:-1],
            tuple(origins),
            np.array([t[0].offset + t[0].size for t in self.tables], np.int64),
        )

    def _low_bits(self) -> int:
        """How low the image must lie for its narrowest absolute address: x86-64's small model, RISC-V's medlow."""
        bits = 64
        for number, _ in self._rows_used():
            row = self.arch.relocations.get(number)
            if row is None or row.formula is None or row.word is None:
                continue
            if row.formula.letters <= {"S", "A"} and "S" in row.formula.letters and row.role is Role.DATA:
                # Fields narrower still are meant for constants.
                bits = min(bits, address_bits(row.word) if address_bits(row.word) >= _NARROWEST else bits)
        return bits


def _constructor_order(name: str) -> tuple[int, ...]:
    """Sorts constructor sections: each kind together, rising priority (GNU ld's SORT_BY_INIT_PRIORITY); () for
    other sections."""
    if not name.startswith((*CONSTRUCTORS, *DESTRUCTORS)):
        return ()
    for kind, prefix in enumerate((*CONSTRUCTORS, *DESTRUCTORS), 1):
        if name == prefix or name.startswith(prefix + "."):
            suffix = name[len(prefix) + 1 :]
            priority = _LAST_PRIORITY
            if suffix.isascii() and suffix.isdigit() and len(suffix) <= _PRIORITY_DIGITS:
                priority = _LAST_PRIORITY - 1 - int(suffix) if prefix in (".ctors", ".dtors") else int(suffix)
            group = 1 if prefix in CONSTRUCTORS else 2
            return (group, 0 if kind == 1 else 1, priority)
    return ()


def _aligned(position: int, align: int) -> int:
    return (position + align - 1) & -align

"""The debug sections of linked objects, relocated and concatenated as in a linked file.

They are not part of the image, so a load does not relocate them. When prototypes or line numbers are requested, a
copy is relocated with the same engine:

- sections of one name are concatenated;
- the value of a symbol in code or data is its image offset (to which `Image.bias` is added), that of a symbol in a
  debug section its offset there;
- code discarded with its COMDAT group gets addresses in the upper half of the address space, so that they match no
  image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from relink.arch import Architecture, architecture_of
from relink.arrays import I64, U8, U32, U64
from relink.elf import ProgramHeader, SymbolTable
from relink.elf.constants import SHN_ABS, SectionFlag, SegmentType, SymbolBind, SymbolType
from relink.elf.debug_files import plain_name
from relink.elf.debug_sections import DebugSections
from relink.elf.objects import UNDEFINED, ObjectFile
from relink.errors import ElfError, MalformedElf
from relink.memory.address_space import Region, page_ceil
from relink.module import Module
from relink.objects.combined import CombinedObjects, CombinedTable, discarded_groups
from relink.objects.relocation_tables import addends_in_place
from relink.records import replace
from relink.relocate.state import Environment
from relink.relocate.static import ObjectRelocator
from relink.resolve.resolver import Resolver
from relink.resolve.scopes import LookupScope

_PREFIXES = (".debug_", ".zdebug_")
_MAX_ALIGN = 16  #: limit for the alignment of a debug section, in bytes
_MAX_EXPANSION = 64  #: limit for decompressed debug sections: bytes per byte of the object


def linked_debug_sections(combined: CombinedObjects) -> DebugSections:
    """The relocated debug sections of all objects of an image, by name (".debug_info").

    Entries that cannot be applied are skipped. An object with damaged debug sections counts as one without any,
    and is listed in `problems` of the result.
    """
    arch = architecture_of(combined.header.machine, combined.header.bits)
    return DebugSections() if arch is None else _DebugLinker(combined, arch).run()


class _DebugLinker:
    def __init__(self, combined: CombinedObjects, arch: Architecture) -> None:
        self.combined, self.arch = combined, arch
        self.base = 1 + np.cumsum([0, *(len(file.symbols) for file in combined.files)])
        # file -> section -> offset in the concatenated sections of that name
        self.offset: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self.place: dict[tuple[int, int], int] = {}  # (file, section) -> offset in the buffer
        self.problems: list[str] = []

    def run(self) -> DebugSections:
        parts = self._lay_out()
        end = max((stop for _, stop in parts.values()), default=0)
        if not end:
            return self._sections({})
        buffer = np.zeros(page_ceil(end), np.uint8)
        for (number, index), at in self.place.items():
            content = self.combined.files[number].section_bytes(index)
            buffer[at : at + len(content)] = content
        self._relocate(buffer)
        return self._sections({name: buffer[start:stop].tobytes() for name, (start, stop) in parts.items()})

    def _sections(self, found: Mapping[str, bytes]) -> DebugSections:
        header = self.combined.header
        paths = [file.path for file in self.combined.files if file.path is not None]
        return DebugSections(
            found, self.problems, source=self.combined.name, bits=header.bits, machine=header.machine, paths=paths
        )

    def _lay_out(self) -> Mapping[str, tuple[int, int]]:
        """The (start, end) of each name's sections in the buffer."""
        files, batch = self.combined.files, self.combined.batch
        assert batch is not None
        dropped = {(number, index) for number, group, _ in discarded_groups(batch) for index in group.members}
        named: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for number, file in enumerate(files):
            for index, size in self._sizes(file).items():
                if (number, index) not in dropped:
                    named[plain_name(file.sections[index].name)].append((number, index, size))
        position, parts = 0, {}
        for name, members in named.items():
            start = position = position + -position % 16
            for number, index, size in members:
                align = min(files[number].section_align(index), _MAX_ALIGN)
                position += -(position - start) % align
                self.offset[number][index], self.place[number, index] = position - start, position
                position += size
            parts[name] = start, position
        return parts

    def _sizes(self, file: ObjectFile) -> Mapping[int, int]:
        """The debug sections of an object and their bytes; empty when one of them is damaged."""
        try:
            found = {
                index: file.section_size(index)
                for index, section in enumerate(file.sections)
                if section.name.startswith(_PREFIXES) and not section.flags & SectionFlag.ALLOC
            }
            if sum(found.values()) > _MAX_EXPANSION * len(file.data):
                raise MalformedElf(file.name, "its debug sections are too large for the size of the file")
            for index in found:
                file.section_bytes(index)
                file.debug_relocations(index)
        except ElfError as error:
            self.problems.append(str(error))
            return {}
        return found

    # ------------------------------------------------------------ relocating

    def _relocate(self, buffer: U8) -> None:
        """Run the engine on an image that consists of the debug sections only."""
        table = self._relocations()
        if not len(table):
            return
        size = len(buffer)
        segment = ProgramHeader(SegmentType.LOAD, 6, 0, 0, 0, size, size, 1)
        symbols = self._symbols()
        nothing = np.zeros(0, np.int64)
        stubs = None
        if self.combined.stubs is not None:
            stubs = replace(
                self.combined.stubs, symbols=nothing, islands=(), number=np.full(len(symbols), -1, np.int64)
            )
        debug = replace(
            self.combined,
            data=buffer,
            program_headers=(segment,),
            segments=(segment,),
            input_sections=None,
            table=symbols,
            static=table,
            slots={},
            stubs=stubs,
            placed=None,
            constructors=None,
            destructors=None,
        )
        image = Module(debug, self.arch)
        image.place(Region(0, size, buffer, "debug sections"))
        environment = Environment(Resolver(), lambda: (0, 0), lambda image, symbol: 0)
        ObjectRelocator(image, debug, LookupScope([image]), environment).run()

    def _relocations(self) -> CombinedTable:
        columns: list[tuple[U64, U32, I64, I64 | None]] = []
        contents: list[tuple[U8, U64]] = []  # of the section, and the offsets in it
        origins, ends = [], []
        for number, file in enumerate(self.combined.files):
            placed = [index for place, index in self.place if place == number]
            for rows in (rows for index in placed for rows in file.debug_relocations(index)):
                at = self.place[number, rows.section]
                if not len(rows):
                    continue
                own = rows.symbol.astype(np.int64) + self.base[number]
                symbols = np.where(rows.symbol == 0, 0, self.combined.alias[own])
                columns.append((rows.offset + np.uint64(at), rows.type, symbols, rows.addend))
                contents.append((file.section_bytes(rows.section), rows.offset))
                origins.append((f"{file.name}({rows.name})", at))
                ends.append(at + len(contents[-1][0]))
        if not columns:
            nothing = np.zeros(0, np.uint64)
            return CombinedTable(".rela", nothing, nothing.astype(np.uint32), nothing.astype(np.uint32), None)
        addends: list[I64] = []
        if any(addend is not None for *_, addend in columns):
            addends = [
                addends_in_place(self.arch, *where, types) if addend is None else addend
                for where, (_, types, _, addend) in zip(contents, columns, strict=True)
            ]
        return CombinedTable(
            ".rela.debug",
            np.concatenate([c[0] for c in columns]),
            np.concatenate([c[1] for c in columns]),
            np.concatenate([c[2] for c in columns]).astype(np.uint32),
            np.concatenate(addends) if addends else None,
            np.cumsum([0, *(len(c[0]) for c in columns)])[:-1],
            origins.__getitem__,
            np.array(ends, np.int64),
        )

    def _symbols(self) -> SymbolTable:
        """The image's symbols, each bound to itself, and those of debug sections with their offsets there."""
        table = self.combined.symbols
        records = table.records.copy()
        dropped = np.uint64(1 << (self.arch.bits - 1))
        for number, file in enumerate(self.combined.files):
            rows = slice(int(self.base[number]), int(self.base[number + 1]))
            section, value = file.symbols.section, file.symbols.value
            inside = np.full(len(file.sections), -1, np.int64)
            for index, offset in self.offset[number].items():
                inside[index] = offset
            where = np.where(section > 0, inside[np.maximum(section, 0)], -1)
            mine = self.combined.alias[rows] == np.arange(rows.start, rows.stop)
            gone = (section > 0) & (table.section[rows] == UNDEFINED) & mine
            settled = np.where(gone, dropped + value, table.value[rows])
            records["value"][rows] = np.where(where >= 0, value + where.astype(np.uint64), settled)
            records["shndx"][rows] = np.where(section == UNDEFINED, table.section[rows], 1)
        records["shndx"][records["shndx"] == UNDEFINED] = SHN_ABS
        kind = records["info"] & 15
        kind[kind == SymbolType.GNU_IFUNC] = SymbolType.FUNC
        records["info"] = kind | np.uint8(SymbolBind.LOCAL << 4)
        return SymbolTable(records, table.strings, table.hash_table, table.versym, table.by_name)

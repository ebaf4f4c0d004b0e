"""Exports of images: the bytes they store in a device, and ELF files with sections, symbols and debug sections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from relink.arrays import Bools
from relink.elf.constants import (
    SHN_ABS,
    SectionFlag,
    SectionType,
    SegmentType,
    SymbolBind,
    SymbolType,
    Visibility,
)
from relink.export.chunks import Chunk, ExportError, joined
from relink.export.elf_file import ElfFile, OutSection, OutSymbol
from relink.export.formats import SUFFIXES, Firmware, to_bytes
from relink.module import Module
from relink.objects.combined import CombinedObjects, combined
from relink.objects.placed import PlacedSection
from relink.relocate.result import Relocated

_EF_RISCV = 243  # e_machine: flags such as RVC are those of any object
_ATTRIBUTES = 0x7000_0003  # SHT_ARM_ATTRIBUTES, SHT_RISCV_ATTRIBUTES, SHT_LOONGARCH_ATTRIBUTES
_WITHOUT = (SymbolType.SECTION, SymbolType.FILE)


class ImageFile:
    """One image to export. Its bytes are those in memory now: export before its code runs."""

    def __init__(self, image: Module, relocated: Relocated) -> None:
        self.image, self.objects = image, combined(image.decoded)
        self.placed = None if self.objects is None else self.objects.placed
        self.relocated = relocated

    # ------------------------------------------------------------ bytes

    def sections(self) -> list[PlacedSection]:
        """The output sections by address; of an image without a script one for each segment."""
        if self.placed is not None:
            return sorted(self.placed.sections, key=lambda section: section.address)
        found: list[PlacedSection] = []
        names: Counter[str] = Counter()
        for segment in self.image.decoded.segments:
            filled = (
                ".text" if segment.flags & 1 else ".data" if segment.flags & 2 else ".rodata"
            )  # GDB needs .text
            address = self.image.address_of(segment.vaddr)
            flags = SectionFlag.ALLOC | (segment.flags & 2 and SectionFlag.WRITE) | (segment.flags & 1) << 2
            for name, start, size in (
                (filled, address, segment.filesz),
                (".bss", address + segment.filesz, segment.memsz - segment.filesz),
            ):
                if size:
                    bits = start == address and segment.filesz > 0
                    align = max(segment.align, 1) if start % max(segment.align, 1) == 0 else 1
                    full = f"{name}.{names[name]}" if names[name] else name
                    names[name] += 1
                    found.append(PlacedSection(full, start, start, size, align, int(flags), bits, ""))
        return found

    def chunks(self, format: str) -> list[Chunk]:
        """The bytes to store, by address. Raises ExportError for bytes that only the device can compute."""
        if any(len(calls.place) for calls in self.relocated.ifuncs):
            raise ExportError(self.image.name, format, "has ifuncs: their addresses are known to the device only")
        sections, chunks = self.sections(), []
        for _, first, after in _segments(sections):
            start, parts = sections[first], [s for s in sections[first:after] if s.bits]
            data = bytearray()
            for part in parts:
                data += bytes([self._fill_of(part)]) * (part.address - start.address - len(data))
                data += self._bytes(part)
            chunks.append(Chunk(start.load_address, bytes(data)))
        return joined(self.image.name, format, chunks)

    def _bytes(self, section: PlacedSection) -> bytes:
        content = self.image.region.content(section.address, section.size)
        assert content is not None
        return content.tobytes()

    def _fill_of(self, section: PlacedSection) -> int:
        regions = self.placed.script.regions if self.placed is not None else ()
        return next((region.fill for region in regions if region.name == section.region), 0)

    @property
    def fill(self) -> int:
        """The byte for gaps: that of the first region."""
        return self.placed.script.regions[0].fill if self.placed is not None else 0

    @property
    def entry(self) -> int:
        """The address where execution begins; 0 for none."""
        if self.placed is None:
            return self.image.address_of(self.image.decoded.header.entry) if self.objects is None else 0
        return int(self.image.decoded.symbols.value[self.placed.entry]) if self.placed.entry else 0

    def to_bytes(self, format: str, fill: int | None, gap_limit: int, family: int | None) -> bytes:
        """The file's content. Raises ExportError."""
        if format == "elf":
            return self.elf().to_bytes()
        entry = self.entry if format != "bin" and self.entry else None
        firmware = Firmware(self.chunks(format), entry)
        fill = self.fill if fill is None else fill
        return to_bytes(self.image.name, firmware, format, fill=fill, gap_limit=gap_limit, family=family)

    # ------------------------------------------------------------ ELF

    def elf(self) -> ElfFile:
        """The image as an executable. Raises ExportError."""
        self.chunks("elf")
        file = ElfFile(self.image.decoded.header, self.entry, self._flags())
        placed = self.sections()
        file.sections = [self._section(section) for section in placed]
        file.segments = list(_segments(placed))
        file.sections += self._other_sections()
        file.symbols = list(self._symbols())
        tls = next((h for h in self.image.decoded.program_headers if h.type == SegmentType.TLS), None)
        if tls is not None and self.placed is not None:
            file.tls = tls.vaddr, tls.filesz, tls.memsz, tls.align
        return file

    def _flags(self) -> int:
        header = self.image.decoded.header
        if self.objects is None or header.machine != _EF_RISCV:
            return header.flags
        flags = 0
        for file in self.objects.files:
            flags |= file.header.flags
        return flags

    def _section(self, section: PlacedSection) -> OutSection:
        data = self._bytes(section) if section.bits else None
        kind = SectionType.PROGBITS if section.bits else SectionType.NOBITS
        return OutSection(
            section.name, kind, section.flags, section.address, section.size, section.align, data,
            load_address=section.load_address, fill=self._fill_of(section),
        )  # fmt: skip

    def _other_sections(self) -> Iterator[OutSection]:
        """Debug sections, relocated, and the first object's build attributes."""
        if self.objects is None:
            return
        file = self.objects.files[0]
        for index, section in enumerate(file.sections):
            if section.type == _ATTRIBUTES:
                data = file.section_bytes(index).tobytes()
                yield OutSection(section.name, section.type, 0, 0, len(data), 1, data)
        if self.image.whole_bias == 0:
            for name, content in self.objects.debug_sections.items():
                flags, entsize = (0x30, 1) if name in (".debug_str", ".debug_line_str") else (0, 0)
                yield OutSection(name, SectionType.PROGBITS, flags, 0, len(content), 1, content, entsize)

    def _symbols(self) -> Iterator[OutSymbol]:
        table = self.image.decoded.known_symbols
        if table is None:
            return
        wanted = np.flatnonzero((table.section != 0) & ~np.isin(table.type, _WITHOUT))
        if self.objects is not None:
            wanted = wanted[_is_definition(self.objects)[wanted]]
        rows = table.records[wanted]
        for name, row in zip(table.names.take(wanted).texts(), rows, strict=True):
            info, absolute, value = int(row["info"]), int(row["shndx"]) == SHN_ABS, int(row["value"])
            if not name or (info >> 4 == SymbolBind.LOCAL and name.startswith(".L")):
                continue
            fixed = absolute or info & 15 == SymbolType.TLS
            address = value & self.image.architecture.address_mask if fixed else self.image.address_of(value)
            other = int(row["other"]) & 3
            other = Visibility.DEFAULT if other == Visibility.PROTECTED else other  # protected by this linker
            yield OutSymbol(name, address, int(row["size"]), info, other, absolute)


def _is_definition(objects: CombinedObjects) -> Bools:
    """Which rows of the symbol table are not references to another row."""
    chosen: Bools = objects.alias == np.arange(len(objects.alias))
    return chosen


def _segments(sections: list[PlacedSection]) -> Iterator[tuple[int, int, int]]:
    """(p_flags, first section, section after the last) of each program header."""
    if not sections:
        return
    edges = [0, *(n for n, (a, b) in enumerate(pairwise(sections), 1) if not _joins(a, b)), len(sections)]
    for first, after in pairwise(edges):
        flags = sections[first].flags
        writable, code = bool(flags & SectionFlag.WRITE), bool(flags & SectionFlag.EXECINSTR)
        yield 4 | writable << 1 | code, first, after


def _joins(one: PlacedSection, other: PlacedSection) -> bool:
    mask = SectionFlag.WRITE | SectionFlag.EXECINSTR
    near = other.address - (one.address + one.size) < max(other.align, 1)
    moved = other.load_address - other.address == one.load_address - one.address
    return near and moved and (one.flags ^ other.flags) & mask == 0 and one.bits and other.bits


def format_named(name: str, path: str, format: str | None) -> str:
    """The format that a path's suffix means, unless given. Raises ExportError."""
    wanted = format if format is not None else path.rpartition(".")[2].lower()
    if wanted not in SUFFIXES:
        known = ", ".join(sorted(set(SUFFIXES.values())))
        raise ExportError(name, wanted or "?", f"is not an export format: give one of {known}")
    return SUFFIXES[wanted]

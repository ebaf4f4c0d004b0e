"""Layout: the offsets of sections, the GOT, stubs and commons in the image, and the resulting segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from relink.arch import Architecture
from relink.arch.spec import Stub
from relink.arrays import I64, U8, Bools, indices_where
from relink.elf import ProgramHeader
from relink.elf.constants import SegmentType, SymbolType
from relink.elf.headers import MAX_ALIGN, MAX_SPAN
from relink.elf.objects import COMMON
from relink.errors import MalformedElf, UnsupportedElf
from relink.memory.address_space import PAGE, page_ceil
from relink.objects.combined import CODE_FRAGMENTS, FIRST, LAST_GROUP, StubTable
from relink.objects.input_sections import BSS, CODE, RW, RWX, RX, TLS, InputSection, InputSections, R
from relink.objects.symbols import Symbols

SEGMENT_FLAGS = {R: 4, RX: 5, RWX: 7, TLS: 6, RW: 6, BSS: 6}


class Layout:
    """One image's layout; offsets are from the image's start, sizes in bytes. `place` may be called again."""

    def __init__(
        self,
        name: str,
        arch: Architecture,
        stub: Stub | None,
        symbols: Symbols,
    ) -> None:
        self.name, self.arch, self.stub, self.symbols = name, arch, stub, symbols
        self.sections = symbols.sections
        self.order: I64 = self.sections.sorted()  #: the numbers of the sections, as they are placed
        self._kinds = set(self.sections.kind.tolist())
        self.segments: list[tuple[int, int, int]] = []  #: (kind, start, end)
        self.got = 0
        self.islands: list[int] = []  #: offsets of the copies of the stub table; every caller has one in range
        self.end = 0
        self.commons: dict[int, int] = {}  #: row of a chosen common symbol -> offset
        self._common_alignments: list[int] = []

    # ------------------------------------------------------------ offsets

    def place(self, got_size: int, stub_count: int) -> None:
        """Assign offsets to all sections, the GOT, the stubs and the commons.

        Raises UnsupportedElf when the image is too big, MalformedElf when a common symbol's alignment is not a
        power of two.
        """
        self.segments, self.islands = [], []
        island = stub_count * len(self.stub.code) if self.stub else 0
        position = 0
        for kind in SEGMENT_FLAGS:
            start = position if kind == BSS else page_ceil(position)
            position = self._place_sections(kind, start or FIRST, island)
            if kind == R:
                self.got = aligned(position, 16)
                position = self.got + got_size
            elif (kind == RX and island) or (kind == RWX and island and position > start):
                position = self._place_island(position, island)
            elif kind == BSS:
                position = self._place_commons(position)
            if position > start:
                self.segments.append((kind, start, position))
        if position > MAX_SPAN:
            problem = f"would take {position:#x} bytes, the limit is {MAX_SPAN:#x}"
            raise UnsupportedElf(self.name, problem)
        self.end = position

    def _place_sections(self, kind: int, position: int, island: int) -> int:
        if kind not in self._kinds:
            return position
        sections, island_end = self.sections, position
        numbers = self.order[sections.kind[self.order] == kind]
        outputs = sections.order[numbers, :2]
        is_first = np.ones(len(numbers), np.bool_)  # of its output section
        is_first[1:] = (outputs[1:] != outputs[:-1]).any(axis=1)
        # An output section has the largest alignment of its parts.
        first_align = np.where(is_first, sections.output_align[numbers], 1)
        offsets: list[int] = []
        checked = kind in CODE and island > 0
        columns = (first_align, sections.align[numbers], sections.size[numbers])
        for output, align, size in zip(*(column.tolist() for column in columns), strict=True):
            position = (position + output - 1) & -output
            start = (position + align - 1) & -align
            if checked and start + size - island_end > self.arch.branch_reach // 2:
                island_end = self._place_island(position, island)
                start = aligned(island_end, align)
            offsets.append(start)
            position = start + size
        sections.offset[numbers] = offsets
        return position

    def _place_island(self, position: int, size: int) -> int:
        position = aligned(position, self.stub.align if self.stub else 1)
        self.islands.append(position)
        return position + size

    def _place_commons(self, position: int) -> int:
        """Assign bss to the chosen common symbols; st_value is their alignment (gABI)."""
        symbols = self.symbols
        self.commons = {}
        alignments: dict[int, int] = {}  # the largest alignment of all common symbols of a name counts
        for row in indices_where(symbols.section == COMMON).tolist():
            winner = int(symbols.alias[row])
            align = int(symbols.value[row])
            if symbols.info[row] & 15 == SymbolType.TLS:
                problem = "has a thread-local common symbol, which no psABI defines"
                raise UnsupportedElf(symbols.file_of(row), problem)
            if align & (align - 1) or align > MAX_ALIGN:
                problem = f"a common symbol has the alignment {align:#x}, not a power of two up to {MAX_ALIGN:#x}"
                raise MalformedElf(symbols.file_of(row), problem)
            if symbols.section[winner] == COMMON:
                alignments[winner] = max(alignments.get(winner, 1), align)
        self._common_alignments = list(alignments.values())
        for row, align in sorted(alignments.items()):
            position = aligned(position, align)
            self.commons[row] = position
            position += int(symbols.size[row])
        return position

    # ------------------------------------------------------------ what lies where

    def edges(self, chosen: Callable[[InputSections], Bools], *, empty: bool = False) -> tuple[int, int] | None:
        """(start, end) of the sections that `chosen` selects, or None; empty sections count only with `empty`."""
        which = chosen(self.sections)
        if not empty:
            which = which & (self.sections.size != 0)
        if not which.any():
            return None
        start = self.sections.offset[which]
        return int(start.min()), int((start + self.sections.size[which]).max())

    def array(self, names: tuple[str, ...]) -> tuple[int, int] | None:
        """(offset, words) of the constructor or destructor sections, which are adjacent."""

        def chosen(sections: InputSections) -> Bools:
            found: Bools = (sections.kind == RW) & (sections.order[:, 0] < LAST_GROUP)
            if found.any():
                found &= sections.named(lambda name: name.startswith(names))
            return found

        edges = self.edges(chosen)
        return None if edges is None else (edges[0], (edges[1] - edges[0]) // self.arch.word_size)

    @property
    def thread_local(self) -> Bools:
        """bool[n]: the sections of the TLS block."""
        found: Bools = self.sections.kind == TLS
        return found

    @property
    def tls_start(self) -> int:
        """The offset of the TLS block's initialisation image."""
        return int(self.sections.offset[self.thread_local].min(initial=1 << 62)) if self.thread_local.any() else 0

    # ------------------------------------------------------------ the image

    def program_headers(self) -> Iterator[ProgramHeader]:
        """PT_LOADs by permission, writable data and bss as one; PT_TLS."""
        align = max([PAGE, int(self.sections.align.max(initial=1)), *self._common_alignments])
        runs: list[list[int]] = []  # flags, start, end of the file-backed part, end
        for kind, start, end in self.segments:
            flags = SEGMENT_FLAGS[kind]
            if not (runs and runs[-1][0] == flags):
                runs.append([flags, start, start, end])
            runs[-1][2:] = runs[-1][2] if kind == BSS else end, end
        for flags, start, filled, end in runs:
            yield ProgramHeader(SegmentType.LOAD, flags, start, start, start, filled - start, end - start, align)
        yield from self.tls_header()

    def tls_header(self) -> Iterator[ProgramHeader]:
        """PT_TLS, if there is thread-local storage."""
        sections, tls = self.sections, self.thread_local
        if tls.any():
            start, ends = self.tls_start, sections.offset + sections.size
            filled = int(ends[tls & sections.bits].max(initial=start)) - start
            # at least a byte: a segment of no size is no module, but symbols of empty sections need one
            size = max(1, int(ends[tls].max()) - start)
            align = int(sections.align[tls].max())
            yield ProgramHeader(SegmentType.TLS, 4, start, start, start, filled, size, align)

    def content(self, stubs: StubTable) -> U8:
        """The image's bytes before relocation, in whole pages. Raises MalformedElf for .ctors with a partial
        word.
        """
        data = np.zeros(page_ceil(max(self.end, 1)), np.uint8)
        self._fill(data, self.sections.offset)
        self._join_fragments(data)
        self._write_stubs(data, stubs)
        return data

    def _fill(self, data: U8, starts: I64) -> None:
        """Copy the bytes of all sections to `starts` in `data`."""
        sections, batch = self.sections, self.sections.batch
        odd = sections.reversed | sections.named(lambda name: name.startswith(".zdebug_"))
        odd[list(sections.realigned)] = True
        plain = indices_where(sections.bits & (sections.size != 0) & ~odd)
        target = data.data
        ends = (starts[plain] + sections.size[plain]).tolist()
        parts = batch.section_bytes(sections.row[plain])
        for start, end, part in zip(starts[plain].tolist(), ends, parts, strict=True):
            target[start:end] = part
        for number in indices_where(sections.bits & (sections.size != 0) & odd).tolist():
            content = self._section_content(sections[number])
            start = int(starts[number])
            data[start : start + len(content)] = content

    def index(self, offset: int) -> int:
        """The index in the image's content of an image offset."""
        return offset

    def _write_stubs(self, data: U8, stubs: StubTable) -> None:
        if self.stub is None or not len(stubs.symbols):
            return
        code = np.frombuffer(self.stub.code, np.uint8)
        for start in map(self.index, stubs.islands):
            data[start : start + len(code) * len(stubs.symbols)] = np.tile(code, len(stubs.symbols))

    def _fragments(self) -> Iterator[tuple[InputSection, InputSection]]:
        """Neighbours among the parts of `.init` and of `.fini`."""
        fragments = self.sections.named(CODE_FRAGMENTS.__contains__)
        parts = [self.sections[number] for number in self.order[fragments[self.order]].tolist()]
        for name in CODE_FRAGMENTS:
            yield from pairwise([section for section in parts if section.name == name])

    def _join_fragments(self, data: U8) -> None:
        """Fill alignment gaps between the parts of `.init` and `.fini` with NOPs: execution continues from one
        part into the next.
        """
        for before, after in self._fragments():
            start, end = self.index(before.offset) + before.size, self.index(after.offset)
            if start < end:
                data[start:end] = np.frombuffer(self._filler(before, end - start), np.uint8)

    def _filler(self, before: InputSection, size: int) -> bytes:
        """`size` bytes of NOPs, in the instruction set of the code before them."""
        symbols = before.file.symbols
        rows = indices_where((symbols.section == before.index) & (symbols.mapping != 0))
        thumb = bool(len(rows)) and symbols.mapping[rows[np.argmax(symbols.value[rows])]] == ord("t")
        nop = self.arch.nops[-1]
        content = nop * (size // len(nop)) if thumb else self.arch.fill(size)
        return content.ljust(size, b"\0")

    def _section_content(self, section: InputSection) -> U8:
        content = section.file.section_bytes(section.index)
        if section.realigned is not None:
            content = section.realigned.content
        if not section.reversed:
            return content
        if len(content) % self.arch.word_size:
            problem = f"{section.name}: {len(content):#x} bytes are not a multiple of the address size"
            raise MalformedElf(section.file.name, problem)
        return content.reshape(-1, self.arch.word_size)[::-1].reshape(-1)


def aligned(position: int, align: int) -> int:
    """`position` rounded up to a multiple of `align`, a power of two or 0."""
    return (position + align - 1) & -align

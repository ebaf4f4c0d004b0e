"""Layout by a link script: sections at the addresses of a device's memory. The offsets of such an image are those
addresses; its content has the bytes of the output sections, one after the other.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from relink.arch import Architecture
from relink.arch.spec import Stub
from relink.arrays import U8
from relink.elf import ProgramHeader
from relink.elf.constants import SegmentType
from relink.errors import LinkError
from relink.memory.address_space import PAGE
from relink.objects.combined import CODE_FRAGMENTS, StubTable
from relink.objects.input_sections import BSS, RW, TLS, InputSection
from relink.objects.layout import Layout, aligned
from relink.objects.placed import PlacedSection
from relink.objects.placed_outputs import PlacedOutput, assign
from relink.objects.script import LinkScript, MemoryRegion
from relink.objects.script_errors import RegionOverflow, SectionOverlap
from relink.objects.symbols import Symbols
from relink.records import dataclass

_COPY_WORDS, _ZERO_WORDS = 3, 2  #: of a row of the tables


@dataclass(slots=True, eq=False)
class _Segment:
    """Adjacent output sections with the same permissions and the same distance between VMA and LMA."""

    flags: int
    start: int
    end: int
    load_address: int
    bits: bool
    align: int
    region: MemoryRegion
    at: int = 0  #: index of its bytes in the image's content


class PlacedLayout(Layout):
    """One image's layout by a script."""

    def __init__(
        self,
        name: str,
        arch: Architecture,
        stub: Stub | None,
        symbols: Symbols,
        script: LinkScript,
    ) -> None:
        super().__init__(name, arch, stub, symbols)
        self.script = script
        self.outputs = assign(name, script, self.sections)
        self.table_at: int | None = None  #: the address of the tables of copies and of zeroed memory
        self.wants_tables = False
        self._runs: list[_Segment] = []
        self._starts: list[int] = []  # of `_runs`

    # ------------------------------------------------------------ addresses

    def place(self, got_size: int, stub_count: int) -> None:
        """Assign addresses. Raises RegionOverflow, SectionOverlap, and what `Layout.place` raises."""
        self.islands, self.segments = [], []
        cursors = {region.name: region.origin for region in self.script.regions}
        island = stub_count * len(self.stub.code) if self.stub else 0
        for output in self.outputs:
            self._start(output, cursors, got_size)
            self._fill_output(output, got_size, island if output.has_stubs else 0)
            cursors[output.region.name] = max(cursors[output.region.name], output.end)
            self._store(output, cursors)
        self._check_regions(cursors)
        self._check_block()
        self.end = max((o.end for o in self.outputs if o.size), default=0)
        self.segments = [(o.kind, o.address, o.end) for o in self.outputs if o.size]
        self._make_segments()

    def _start(self, output: PlacedOutput, cursors: dict[str, int], got_size: int) -> None:
        """Set the address of an output section, aligned as its most demanding input section."""
        region, rule, position = output.region, output.rule, cursors[output.region.name]
        has_words = (output.has_got and got_size) or (output.has_tables and self.wants_tables)
        own = self.arch.word_size if has_words else 1
        output.align = max([rule.align, own, *(section.align for section in output.sections)])
        is_empty = not (output.sections or output.has_commons or has_words)
        output.address = position if is_empty and rule.align == 1 else aligned(position, output.align)
        if rule.at is None:
            return
        problem = ""
        if rule.at % output.align:
            problem = f"is not aligned to {output.align:#x}, as one of its input sections must be"
        elif not region.origin <= rule.at < region.end:
            problem = f"is not in its region {region}"
        elif rule.at < position:
            problem = f"lies in what is placed in region {region.name} before it, up to {position:#x}"
        if problem:
            raise SectionOverlap(self.name, output.name, rule.at, problem)
        output.address = rule.at

    def _fill_output(self, output: PlacedOutput, got_size: int, island: int) -> None:
        """Place what belongs to an output section; set its size."""
        position = island_end = output.address
        for section in output.sections:
            end = aligned(position, section.align) + section.size
            if island and end - island_end > self.arch.branch_reach // 2:
                position = island_end = self._place_island(position, island)
            section.offset = aligned(position, section.align)
            position = section.offset + section.size
        output.bits = output.rule.load and any(section.bits for section in output.sections)
        if island:
            position = self._place_island(position, island)
        word = self.arch.word_size
        if output.has_got and got_size:
            self.got = aligned(position, word)
            position = self.got + got_size
            output.bits = True
        if output.has_tables and self.wants_tables:
            self.table_at = aligned(position, word)
            position = self.table_at + word * sum(map(len, self._rows()))
            output.bits = True
        if output.has_commons:
            position = self._place_commons(position)
            output.align = max([output.align, *self._common_alignments])
        output.size = position - output.address
        if output.bits and output.kind > RW:
            output.kind = RW

    def _store(self, output: PlacedOutput, cursors: dict[str, int]) -> None:
        """Set the address where an output section's bytes are stored."""
        stored = output.rule.load_in
        output.load_address = output.address
        if stored is not None and stored is not output.region and output.bits:
            output.load_address = aligned(cursors[stored.name], output.align)
            cursors[stored.name] = output.load_address + output.size
        elif stored is not None and stored is not output.region and not output.size:
            output.load_address = cursors[stored.name]

    def _check_regions(self, cursors: dict[str, int]) -> None:
        for region in self.script.regions:
            needed = cursors[region.name] - region.origin
            if needed > region.length:
                there = [o for o in self.outputs if region in (o.region, o.rule.load_in if o.bits else None)]
                parts = [(s.name, s.file.name, s.size) for o in there for s in o.sections if s.size]
                parts.sort(key=lambda part: -part[2])
                raise RegionOverflow(self.name, region.name, region.length, needed, parts)

    def _check_block(self) -> None:
        """Raise LinkError when other sections lie in the TLS block, which is one range of memory."""
        if (edges := self.edges(lambda sections: sections.kind == TLS)) is None:
            return
        for output in self.outputs:
            if output.kind != TLS and output.size and edges[0] < output.end and output.address < edges[1]:
                problem = f"{output.name} lies between thread-local sections: place .tdata and .tbss together"
                raise LinkError(self.name, problem)

    def array(self, names: tuple[str, ...]) -> tuple[int, int] | None:
        """(address, words) of constructor or destructor sections. Raises LinkError if others lie between them."""
        sections = [self.sections[number] for number in self.order.tolist()]
        chosen = [s for s in sections if s.size and s.name.startswith(names)]
        if not chosen:
            return None
        start, end = min(s.offset for s in chosen), max(s.offset + s.size for s in chosen)
        others = (s for s in sections if s.size and not s.name.startswith(names))
        between = next((s for s in others if start <= s.offset < end), None)
        if between is not None:
            raise LinkError(self.name, f"{between.name} of {between.file.name} lies between sections {names[0]}")
        return start, (end - start) // self.arch.word_size

    # ------------------------------------------------------------ segments and bytes

    def _make_segments(self) -> None:
        """Join adjacent output sections; assign their places in the content."""
        self._runs = []
        for output in sorted((o for o in self.outputs if o.size), key=lambda o: o.address):
            flags, last = _segment_flags(output), self._runs[-1] if self._runs else None
            joins = last is not None and output.bits and last.bits and last.flags == flags
            if last is not None and joins and last.region is output.region and self._adjacent(last, output):
                last.end, last.align = output.end, max(last.align, output.align)
                continue
            shape = output.address, output.end, output.load_address, output.bits, output.align, output.region
            self._runs.append(_Segment(flags, *shape))
        position = 0
        for run in self._runs:
            if not run.bits:
                continue
            while any((start - position) % PAGE == 0 for start in (run.start, run.load_address)):
                position += 16  # so that no page of the content can be mapped
            run.at, position = position, position + run.end - run.start
        self._starts = [run.start for run in self._runs]
        self._content_size = position

    def _adjacent(self, run: _Segment, output: PlacedOutput) -> bool:
        between = output.address - run.end
        moved = output.load_address - output.address == run.load_address - run.start
        return moved and between < max(output.align, PAGE)

    def program_headers(self) -> Iterator[ProgramHeader]:
        """A PT_LOAD for each run of output sections, and one for where its bytes are stored; PT_TLS."""
        for run in self._runs:
            size = run.end - run.start
            filled, at = (size, run.at) if run.bits else (0, 0)
            yield ProgramHeader(
                SegmentType.LOAD, run.flags, at, run.start, run.load_address, filled, size, run.align
            )
            if run.bits and run.load_address != run.start:
                stored = run.load_address, run.load_address, size, size
                yield ProgramHeader(SegmentType.LOAD, 4, at, *stored, run.align)
        yield from self.tls_header()

    def index(self, offset: int) -> int:
        """The index in the content of an address in an output section with bytes."""
        run = self._runs[bisect_right(self._starts, offset) - 1]
        return offset - run.start + run.at

    def content(self, stubs: StubTable) -> U8:
        """The bytes of the output sections before relocation, gaps filled. Raises MalformedElf."""
        data = np.zeros(max(self._content_size, 1), np.uint8)
        for run in self._runs:
            if run.bits:
                data[run.at : run.at + run.end - run.start] = run.region.fill
        for output in self.outputs:
            if output.bits and output.size:
                start = self.index(output.address)
                fill = output.rule.fill
                data[start : start + output.size] = output.region.fill if fill is None else fill
                for section in output.sections:
                    at = self.index(section.offset)
                    data[at : at + section.size] = self._section_content(section) if section.bits else 0
        self._write_tables(data)
        self._join_fragments(data)
        self._write_stubs(data, stubs)
        return data

    def _fragments(self) -> Iterator[tuple[InputSection, InputSection]]:
        for output in self.outputs:
            for before, after in pairwise(output.sections):
                if before.name == after.name and before.name in CODE_FRAGMENTS:
                    yield before, after

    def rows(self) -> tuple[PlacedSection, ...]:
        """The output sections that have a size, as placed."""
        return tuple(
            PlacedSection(o.name, o.address, o.load_address, o.size, o.align, o.flags, o.bits, o.region.name)
            for o in self.outputs
            if o.size
        )

    # ------------------------------------------------------------ tables for start-up code

    def _rows(self) -> Iterator[tuple[int, ...]]:
        """The rows of the tables: (load address, address, size) of what start-up code copies, then (address, size)
        of what it zeroes.
        """
        for output in self.outputs:
            if _is_copied(output):
                yield output.load_address, output.address, output.size
        for output in self.outputs:
            if output.kind in (BSS, TLS) and output.rule.load and not (_is_copied(output) or _has_bits(output)):
                yield output.address, output.size

    def table_edges(self, *, copies: bool) -> tuple[int, int]:
        """(start, end) of the table of copies or of zeroed memory."""
        word, start = self.arch.word_size, self.table_at or 0
        middle = start + word * sum(len(row) for row in self._rows() if len(row) == _COPY_WORDS)
        last = middle + word * sum(len(row) for row in self._rows() if len(row) == _ZERO_WORDS)
        return (start, middle) if copies else (middle, last)

    def _write_tables(self, data: U8) -> None:
        if self.table_at is None or not self.wants_tables:
            return
        words = [word for row in self._rows() for word in row]
        packed = struct.pack(f"<{len(words)}{'Q' if self.arch.word_size == 8 else 'I'}", *words)
        at = self.index(self.table_at) if words else 0
        data[at : at + len(packed)] = np.frombuffer(packed, np.uint8)


def _has_bits(output: PlacedOutput) -> bool:
    return output.rule.load and (output.has_got or any(section.bits for section in output.sections))


def _is_copied(output: PlacedOutput) -> bool:
    """Whether start-up code has to copy it from where it is stored."""
    return output.rule.load_in not in (None, output.region) and _has_bits(output)


def _segment_flags(output: PlacedOutput) -> int:
    """PF_* of an output section."""
    flags = output.flags
    return 4 | (2 if flags & 1 else 0) | (1 if flags & 4 else 0)

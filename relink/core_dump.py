"""Core dumps: the memory of a process, for reading or for restoring into an address space.

    core = CoreDump.open("core.1234")
    core.restore(machine.memory, files=lambda path: Path(path).read_bytes())
    for image in core.images:
        machine.adopt(image.address, name=image.path, relocated=True)

A core file is an ELF file whose PT_LOAD segments are the process's mappings. The Linux note NT_FILE lists the
mapped files (fs/binfmt_elf.c, `fill_files_note`). The kernel leaves unchanged file-backed pages out of the dump.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from relink.arch import architecture_of
from relink.arrays import U8
from relink.elf import decode
from relink.elf.constants import PAGE, FileType, SegmentType
from relink.elf.contents import ProgramHeader
from relink.elf.findings import Findings
from relink.elf.headers import Header, read_header, read_program_headers
from relink.elf.machines import machine_of
from relink.elf.source import Source, open_source
from relink.errors import AddressSpaceError, ElfError, MalformedElf, Truncated, UnsupportedElf
from relink.memory.address_space import AddressSpace, Pages, Protection, page_ceil
from relink.records import dataclass

__all__ = ["CoreDump", "CoreImage", "MappedFile", "Stretch"]

_NT_FILE = 0x46494C45
_MAGIC = b"\x7fELF"


class MappedFile(NamedTuple):
    """An address range of the process that was mapped from a file."""

    path: str
    start: int
    end: int
    offset: int  #: file offset in bytes


class Stretch(NamedTuple):
    """A mapping of the process."""

    start: int
    end: int
    protection: Protection | None  #: None when only the file has it
    path: str | None  #: path of the mapped file, if any


class CoreImage(NamedTuple):
    """An ELF image of the process: the arguments for `Linker.adopt`."""

    path: str
    address: int  #: guest address of its ELF header


@dataclass(frozen=True, eq=False)
class CoreDump:
    """A decoded core file: its PT_LOAD segments and, with an NT_FILE note, the mapped `files`, by address."""

    name: str
    data: U8
    header: Header
    segments: tuple[ProgramHeader, ...]
    files: tuple[MappedFile, ...]

    @classmethod
    def open(cls, source: Source, *, name: str | None = None) -> CoreDump:
        """Read a core file. Raises ElfError; UnsupportedElf for any other kind of file."""
        name, _, data = open_source(source, name)
        findings = Findings(name)
        header = read_header(name, data[:64].tobytes(), findings, core=True)
        if header.type != FileType.CORE:
            raise UnsupportedElf(name, "is no core file")
        rows = read_program_headers(header, lambda offset, size: data[offset : offset + size].tobytes(), findings)
        for row in rows:
            if row.offset + row.filesz > len(data):
                raise Truncated(name, "a segment lies past the end of the core file", row.offset)
        loads = tuple(sorted((row for row in rows if row.type == SegmentType.LOAD), key=lambda row: row.vaddr))
        if any(a.vaddr + a.memsz > b.vaddr for a, b in pairwise(loads)):
            raise MalformedElf(name, "segments of the core file overlap")
        files: list[MappedFile] = []
        for row in rows:
            if row.type == SegmentType.NOTE:
                notes = data[row.offset : row.offset + row.filesz].tobytes()
                files += _mapped_files(name, notes, header.layout.word_size)
        return cls(name, data, header, loads, tuple(sorted(files, key=lambda file: file.start)))

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes of the process's memory. Raises AddressSpaceError when the dump does not have them."""
        pieces = []
        while size > 0:
            segment = self._segment_at(address)
            left = segment.vaddr + segment.filesz - address if segment is not None else 0
            if segment is None or left <= 0:
                raise AddressSpaceError(f"{self.name} does not contain it", address=address, size=size)
            start = segment.offset + address - segment.vaddr
            pieces.append(self.data[start : start + min(left, size)].tobytes())
            size, address = size - len(pieces[-1]), address + len(pieces[-1])
        return b"".join(pieces)

    @property
    def images(self) -> tuple[CoreImage, ...]:
        """The ELF images in NT_FILE: files that were mapped from offset 0 and begin with an ELF header."""
        found: dict[str, CoreImage] = {}
        for file in self.files:
            if file.offset == 0 and file.path not in found and self._is_elf(file.start):
                found[file.path] = CoreImage(file.path, file.start)
        return tuple(found.values())

    def _is_elf(self, address: int) -> bool:
        try:
            return self.read(address, 4) == _MAGIC
        except AddressSpaceError:
            return False

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """The process's mappings, by address: the dump's segments, and file mappings that the dump omits
        completely.
        """
        found: list[Stretch] = []
        left_out: list[Stretch] = []
        for s in self.segments:
            backing = self._file_at(s.vaddr)
            found.append(Stretch(s.vaddr, s.vaddr + s.memsz, Protection(s.flags & 7), backing and backing.path))
        found = [s for s in found if s.start < s.end]
        starts = [s.start for s in found]
        for file in self.files:
            before = bisect_left(starts, file.end) - 1  # the last one that may overlap the mapping
            if file.start < file.end and (before < 0 or found[before].end <= file.start):
                left_out.append(Stretch(file.start, file.end, None, file.path))
        return tuple(sorted([*found, *left_out], key=lambda s: s.start))

    def restore(
        self,
        memory: AddressSpace,
        *,
        files: Callable[[str], bytes | None] = lambda path: None,
        wanted: Callable[[Stretch], bool] = lambda stretch: True,
    ) -> tuple[Stretch, ...]:
        """Restore the process's memory at its addresses, with its permissions.

        `files` returns the content of a mapped file by its path, for pages that the dump omits; `wanted` selects
        mappings. Returns the mappings that were not restored, because neither the dump nor a file has all of their
        content; nothing is mapped there. Raises AddressSpaceError, with nothing mapped, when an address range is
        in use, and UnsupportedElf for a process of another architecture.
        """
        arch = architecture_of(self.header.machine, self.header.bits)
        if arch is not memory.architecture:
            raise UnsupportedElf(
                self.name,
                f"is of {machine_of(self.header.machine, self.header.bits)}, not {memory.architecture.name}",
            )
        missing, restored = [], []
        try:
            for stretch in filter(wanted, self.stretches):
                backing = self._file_at(stretch.start)
                whole = None if backing is None or self._is_dumped(stretch) else files(backing.path)
                content = self._content(stretch, backing, whole)
                if content is None:
                    missing.append(stretch)
                    continue
                protection = stretch.protection
                if protection is None:
                    protection = _protection_in(whole or b"", backing.offset if backing is not None else 0)
                name = stretch.path or f"[{self.name}]"
                size = page_ceil(stretch.end - stretch.start)
                restored.append(memory.reserve(size, at=stretch.start, name=name))
                region = restored[-1]
                region.buffer[: len(content)] = np.frombuffer(content, np.uint8)
                memory.publish(region, [Pages(0, region.size, protection)])
        except BaseException:
            for region in restored:
                memory.release(region)
            raise
        return tuple(missing)

    def _file_at(self, address: int) -> MappedFile | None:
        at = bisect_right(self.files, address, key=lambda file: file.start) - 1
        return self.files[at] if at >= 0 and address < self.files[at].end else None

    def _segment_at(self, address: int) -> ProgramHeader | None:
        at = bisect_right(self.segments, address, key=lambda s: s.vaddr) - 1
        segment = self.segments[at] if at >= 0 else None
        return segment if segment is not None and address < segment.vaddr + segment.memsz else None

    def _is_dumped(self, stretch: Stretch) -> bool:
        segment = self._segment_at(stretch.start)
        return segment is not None and segment.filesz >= segment.memsz

    def _content(self, stretch: Stretch, backing: MappedFile | None, whole: bytes | None) -> bytes | None:
        """The bytes of a mapping; None when neither the dump nor a file has them. Untouched anonymous pages
        are zero.
        """
        segment = self._segment_at(stretch.start)
        size = stretch.end - stretch.start
        content = b""
        if segment is not None:
            content = self.data[segment.offset : segment.offset + min(segment.filesz, size)].tobytes()
        if len(content) == size or backing is None:
            return content
        if whole is None:
            return None
        offset = backing.offset + stretch.start - backing.start
        return content + whole[offset + len(content) : offset + size]


def _protection_in(content: bytes, offset: int) -> Protection:
    """The permissions that an ELF file gives the page at a file offset; read-only for other files."""
    try:
        segments = decode(content).segments
    except ElfError:
        return Protection.R
    found = next((s for s in segments if s.offset & -PAGE <= offset < s.offset + s.filesz), None)
    return Protection.R if found is None else Protection(found.flags & 7)


def _mapped_files(name: str, notes: bytes, word: int) -> Iterator[MappedFile]:
    """The entries of every NT_FILE note. Raises MalformedElf."""
    for type_, content in _notes(name, notes):
        if type_ != _NT_FILE:
            continue
        code = "Q" if word == 8 else "I"
        try:
            count, unit = struct.unpack_from(f"<2{code}", content)
            if count * 3 * word > len(content):
                raise struct.error("more entries than bytes")
            numbers = struct.unpack_from(f"<{3 * count}{code}", content, 2 * word)
        except struct.error as error:
            raise MalformedElf(name, f"its NT_FILE note is damaged: {error}") from None
        names = content[(2 + 3 * count) * word :].split(b"\0")
        if len(names) < count:
            raise MalformedElf(name, f"its NT_FILE note has {count} mappings and {len(names)} names")
        for number in range(count):
            start, end, offset = numbers[3 * number : 3 * number + 3]
            yield MappedFile(names[number].decode("utf-8", "surrogateescape"), start, end, offset * (unit or PAGE))


def _notes(name: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each note (gABI, "Note Section"; entries are 4-byte aligned on Linux)."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, type_ = struct.unpack_from("<3I", data, at)
        begin = at + 12 + (name_size + 3 & -4)
        if begin + size > len(data):
            raise MalformedElf(name, f"a note of {size:#x} bytes extends past its segment")
        yield type_, data[begin : begin + size]
        at = begin + (size + 3 & -4)

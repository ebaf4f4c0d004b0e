"""Several relocatable objects at once: their tables as arrays over all objects.

A link of an archive has thousands of objects with a handful of sections and symbols each. Array operations on
each would cost more than the work itself, so here each array has the rows of all objects. The objects are checked
together; one that looks bad, or is in a rare form, is decoded separately (`ObjectFile`), which raises its error.
The first error in the order of the objects is raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from relink.arch import Architecture
from relink.arrays import I64, U64, AnyArray, Bools, indices_where, one_of
from relink.elf.constants import ELF_MAGIC, ELFCLASS64, SHN_XINDEX, FileType, SectionFlag, SectionType
from relink.elf.foreign import LTO_SECTION
from relink.elf.headers import MAX_SPAN
from relink.elf.layout import ELF32, ELF64, Layout
from relink.elf.objects import ObjectFile
from relink.elf.section_checks import OVERLAP, suspects, with_bytes
from relink.elf.strings import Piece, Pieces
from relink.errors import ElfError
from relink.records import cached_property

#: Up to this number of objects, each is decoded separately: array operations would cost more.
_FEW = 4
_PLAIN_SYSTEMS = (0, 3)  #: EI_OSABI
_NULL, _NOBITS, _REL = int(SectionType.NULL), int(SectionType.NOBITS), int(FileType.REL)
_CODE = int(SectionFlag.EXECINSTR)
#: Pieces of at most this number of bytes are copied: the collector of cycles would visit each `memoryview`.
_SHORT = 1 << 12


class ObjectBatch(Sequence[ObjectFile]):
    """Relocatable objects of one class, in link order. Arrays with a row for each section:

    - `sections`: the section headers as in the files (`Layout.section_record`);
    - `section_file`: the number of the object; `section_names`: the names;
    - `first_section`: the first row of each object, and the number of all rows.

    `headers` has a row for each object (`Layout.header_record`).
    """

    def __init__(self, files: Sequence[ObjectFile]) -> None:
        """Raises what `decode_object` raises, for the first bad object."""
        self.files = tuple(files)
        self.layout = _layout(self.files)
        self.contents = [file.data for file in self.files]
        self._odd: set[int] = set()  # objects that have been decoded separately
        self.headers = self._read_headers()
        self.few = few = len(self.files) <= _FEW  #: whether each object has been decoded separately
        refused = self._decode(range(len(self.files)) if few else indices_where(~self._plain_headers()).tolist())
        if refused is not None:
            if refused[0] and not few:  # an earlier object may have another fault
                ObjectBatch(self.files[: refused[0]])
            raise refused[1]
        self._read_sections()
        refused = None if few else self._decode(indices_where(self._suspects()).tolist())
        if refused is not None:
            raise refused[1]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, number: int) -> ObjectFile: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[ObjectFile, ...]: ...
    def __getitem__(self, number: int | slice) -> ObjectFile | tuple[ObjectFile, ...]:
        return self.files[number]

    def __iter__(self) -> Iterator[ObjectFile]:
        return iter(self.files)

    def gather(self, files: I64, offsets: I64, sizes: I64) -> list[Piece]:
        """The bytes [offset, offset + size) of each of `files`."""
        contents = self.contents
        columns = zip(files.tolist(), offsets.tolist(), (offsets + sizes).tolist(), strict=True)
        return [
            contents[file][start:end].tobytes() if end - start <= _SHORT else contents[file][start:end].data
            for file, start, end in columns
        ]

    def _decode(self, files: Iterable[int]) -> tuple[int, ElfError] | None:
        """Decode some objects separately; return the first that is refused, and its error."""
        for number in files:
            if number not in self._odd:
                try:
                    self.files[number].check()
                except ElfError as error:
                    return number, error
                self._odd.add(number)
        return None

    # ------------------------------------------------------------ reading

    def _read_headers(self) -> AnyArray:
        size = self.layout.header_record.itemsize
        nothing = bytes(size)
        parts = [part[:size].tobytes() if len(part) >= size else nothing for part in self.contents]
        return np.frombuffer(b"".join(parts), self.layout.header_record)

    @cached_property
    def _sizes(self) -> U64:
        return np.fromiter(map(len, self.contents), np.uint64, len(self.contents))

    def _plain_headers(self) -> Bools:
        """Which headers are valid, and have the number of the sections and of their string table in them."""
        header, sizes = self.headers, self._sizes
        entry = np.uint64(self.layout.section_header.size)
        start = header["shoff"].astype(np.uint64)
        count, names = header["shnum"], header["shstrndx"]
        plain: Bools = (
            (header["magic"] == ELF_MAGIC)
            & (header["class"] == self.layout.bits // 32)
            & (header["order"] == 1)
            & (header["ident_version"] == 1)
            & one_of(header["os_abi"], _PLAIN_SYSTEMS)
            & (header["type"] == _REL)
            & (start != 0)
            & (header["shentsize"] == entry)
            & (count != 0)
            & (names != 0)
            & (names != SHN_XINDEX)
            & (names < count)
            & (start <= sizes)
            & (count * entry <= sizes - np.minimum(start, sizes))
        )
        return plain

    def _read_sections(self) -> None:
        count, files = self.headers["shnum"].astype(np.int64), np.arange(len(self.files))
        parts: list[Piece] = [b""] * len(self.files)
        if not self.few:
            start, entry = self.headers["shoff"].astype(np.int64), self.layout.section_header.size
            odd = list(self._odd)
            count[odd], start[odd] = 0, 0
            parts = self.gather(files, start, count * entry)
        for number in self._odd:
            file = self.files[number]
            rows = (
                file.sections.rows
                if file.header.layout is self.layout
                else np.empty(0, self.layout.section_record)
            )
            count[number], parts[number] = len(rows), rows.view(np.uint8).data
        self.sections: AnyArray = np.frombuffer(b"".join(parts), self.layout.section_record)
        self.first_section: I64 = np.zeros(len(files) + 1, np.int64)
        count.cumsum(out=self.first_section[1:])
        self.section_file: I64 = files.repeat(count)
        self._read_names()

    def _read_names(self) -> None:
        parts: list[Piece] = [b""] * len(self.files) if self.few else self._name_tables()
        for number in self._odd:
            strings = self.files[number].sections.strings
            parts[number] = b"" if strings is None else strings.data.data
        # An object without names of sections has none but the first string of all pieces, which is empty.
        self.section_names, self._bad_names = Pieces(parts).names(self.section_file, self.sections["name"])

    def _name_tables(self) -> list[Piece]:
        """The string tables of the names of sections, empty for those that are not in the file."""
        tables = self.first_section[:-1] + self.headers["shstrndx"]
        tables[list(self._odd)] = 0
        rows = self.sections[tables] if len(self.sections) else np.zeros(len(tables), self.layout.section_record)
        start, size = rows["offset"].astype(np.uint64), rows["size"].astype(np.uint64)
        inside = (start <= self._sizes) & (size <= self._sizes - np.minimum(start, self._sizes))
        good = inside & (rows["type"] != _NOBITS) & (rows["type"] != _NULL)
        start, size = np.where(good, start, 0), np.where(good, size, 0)
        return self.gather(np.arange(len(self.files)), start.astype(np.int64), size.astype(np.int64))

    # ------------------------------------------------------------ checking

    def _suspects(self) -> Bools:
        """Which objects `check_sections` or another check of `decode_object` may refuse."""
        rows, file = self.sections, self.section_file
        found = self._bad_names.copy()
        odd = suspects(rows, self._sizes[file], np.diff(self.first_section)[file])
        found[file[odd]] = True
        size, type_ = np.where(odd, 0, rows["size"]).astype(np.float64), rows["type"]
        count = len(self.files)
        in_memory = np.bincount(file, size * (type_ == _NOBITS), count)
        in_file = np.bincount(file, size * ((type_ != _NOBITS) & (type_ != _NULL)), count)
        found |= (in_memory > MAX_SPAN) | (in_file > OVERLAP * self._sizes)
        filled = np.zeros(count, np.bool_)
        filled[file[with_bytes(rows)]] = True
        found |= ~filled
        found[file[self.sections_prefixed(LTO_SECTION)]] = True
        return found

    # ------------------------------------------------------------ asking

    def unlike(self, arch: Architecture) -> Iterator[ObjectFile]:
        """The objects that are for another architecture or ABI, or were decoded separately, in link order."""
        header = self.headers
        same = (header["machine"] == arch.machine) & (self.layout.bits == arch.bits)
        refused = [flags for flags in set(header["flags"].tolist()) if arch.flags_problem(flags)]
        same &= ~one_of(header["flags"], refused)
        same[list(self._odd)] = False
        yield from map(self.files.__getitem__, indices_where(~same).tolist())

    @cached_property
    def unset_flags(self) -> Bools:
        """See `ObjectFile.has_unset_flags`, of each object."""
        rows = self.sections
        code = (rows["flags"] & rows["flags"].dtype.type(_CODE) != 0) & (rows["size"] != 0)
        found: Bools = self.headers["flags"] == 0
        found[self.section_file[code]] = False
        return found

    @cached_property
    def section_groups(self) -> tuple[list[str], I64]:
        """(the different names of sections, the number of each section's name among them)."""
        first, group = self.section_names.groups
        return self.section_names.take(first).texts(), group

    @cached_property
    def _name_bytes(self) -> bytes:
        return self.section_names.blob.tobytes()

    def sections_prefixed(self, prefix: str) -> I64:
        """The rows of the sections whose names begin with `prefix`."""
        if prefix.encode() not in self._name_bytes:
            return np.zeros(0, np.int64)
        texts, group = self.section_groups
        return indices_where(np.array([text.startswith(prefix) for text in texts], np.bool_)[group])

    def section_bytes(self, rows: I64) -> list[Piece]:
        """The bytes of sections in the file; rows of SHT_NOBITS and compressed sections excluded."""
        picked = self.sections[rows]
        return self.gather(
            self.section_file[rows], picked["offset"].astype(np.int64), picked["size"].astype(np.int64)
        )


def _layout(files: Sequence[ObjectFile]) -> Layout:
    start = files[0].data[:5].tobytes() if files else b""
    return ELF64 if start[4:] == bytes([ELFCLASS64]) else ELF32

"""Decoding an ELF file into a `Decoded`: its checked content, with link-time addresses.

`decode` reads a file, `decode_memory` an image that is already loaded in an address space. Headers and segments
are read and checked at once; a table is read on first access, as a view of the image's bytes. A file that no
loader accepts raises `ElfError`, at once or on access to the bad table. Violations of the gABI that loaders
tolerate are listed in `Decoded.warnings` (see `relink.elf.findings`).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from relink.arrays import U8
from relink.elf.constants import PAGE, DynamicTag, FileType, SegmentType
from relink.elf.contents import Contents, ProgramHeader, frozen
from relink.elf.decoded import Decoded
from relink.elf.dynamic import Dynamic
from relink.elf.findings import Findings
from relink.elf.headers import Header, read_header, read_program_headers
from relink.elf.segments import check_not_debug_file, check_special, loadable_segments, special_segment
from relink.elf.source import Source, buffer, open_source
from relink.errors import MalformedElf, Truncated

_TLS = int(SegmentType.TLS)
#: A tag of the dynamic section, an attribute of `Decoded`, and what that is without such an entry. Each load asks
#: for all of these, and most files lack most of the tags.
_WITHOUT: tuple[tuple[int, str, object], ...] = (
    (DynamicTag.NEEDED, "needed", ()), (DynamicTag.SONAME, "soname", None), (DynamicTag.FLAGS_1, "flags_1", 0),
    (DynamicTag.INIT, "init", None), (DynamicTag.FINI, "fini", None),
    (DynamicTag.INIT_ARRAY, "init_array", None), (DynamicTag.FINI_ARRAY, "fini_array", None),
)  # fmt: skip
#: Entries of the dynamic section that are read at a time.
_ENTRIES = 256


def decode(source: Source, *, name: str | None = None, tolerant: bool = False) -> Decoded:
    """Read an ELF file.

    `source` is a path (the file is mapped, so that only the pages used are read), bytes or a buffer, or a binary
    file object (read from its position to its end). `name` is the file's name in errors; the default is the path,
    or the file object's name. Raises ElfError when the file cannot be read, NotElf, Truncated, UnsupportedElf and
    MalformedElf. With `tolerant`, an error that only prevents loading is not raised but kept in
    `Findings.problems`.
    """
    return decode_opened(*open_source(source, name), tolerant=tolerant)


def decode_opened(name: str, path: Path | None, data: U8, *, tolerant: bool = False) -> Decoded:
    """`decode` for a file that `open_source` has opened already."""
    if len(data) == 0:
        raise Truncated(name, "the file is empty", 0)
    findings = Findings(name, tolerant=tolerant)
    header = read_header(name, data[:64].tobytes(), findings)
    program_headers = read_program_headers(
        header, lambda offset, size: data[offset : offset + size].tobytes(), findings
    )
    check_not_debug_file(header, data, findings)
    layers: tuple[ProgramHeader, ...] = ()
    if header.type != FileType.REL:
        layers = loadable_segments(header, program_headers, len(data), findings)
    contents = Contents(
        name, layers, lambda segment: data[segment.offset : segment.offset + segment.filesz], findings
    )
    return _assemble(path, data, None, header, program_headers, layers, contents)


def decode_sections(source: Source, *, name: str | None = None) -> Decoded:
    """Read the ELF header and the sections of a file that need not be loadable, such as a separate debug file.

    Raises ElfError as `decode` does, and for damaged section headers.
    """
    from relink.elf.section_table import read_sections

    name, path, data = open_source(source, name)
    if len(data) == 0:
        raise Truncated(name, "the file is empty", 0)
    header = read_header(name, data[:64].tobytes())
    read_sections(name, header, data)
    contents = Contents(name, (), lambda segment: data[:0])
    return Decoded(name, path, data, None, header, (), (), contents, Dynamic.empty(), ())


def decode_memory(read: Callable[[int, int], bytes], address: int, *, name: str) -> Decoded:
    """Read an image that is already loaded in an address space, from its program headers and PT_DYNAMIC alone.

    `read(address, size)` returns guest bytes or raises AddressSpaceError, which is passed on. `address` is the
    address of the ELF header. Addresses in the dynamic section that the loader has rebased in place (glibc does)
    are converted back: a value outside the image's link-time range but inside its memory range counts as rebased.
    Words that relocations have written are returned as they are in memory.
    """
    findings = Findings(name)
    header = read_header(name, bytes(read(address, 64)), findings)
    program_headers = read_program_headers(
        header, lambda offset, size: bytes(read(address + offset, size)), findings
    )
    if header.type == FileType.REL:
        raise MalformedElf(name, "e_type is ET_REL: a relocatable object is never loaded as it is", address)
    layers = loadable_segments(header, program_headers, None, findings)
    first = next((segment for segment in layers if segment.offset == 0), None)
    if first is None:
        raise MalformedElf(name, "no segment maps the ELF header, so its address says nothing", address)
    bias = address - first.vaddr
    limit = header.layout.address_limit

    def fetch(segment: ProgramHeader) -> U8:
        return buffer(bytes(read((segment.vaddr + bias) % limit, segment.filesz)))

    low = min(segment.vaddr for segment in layers) & -PAGE
    high = max(segment.vaddr + segment.memsz for segment in layers)

    def unrebased(value: int) -> int:
        if low <= value < high or not low <= (value - bias) % limit < high:
            return value
        return (value - bias) % limit

    contents = Contents(name, layers, fetch, findings)
    nothing = frozen(np.empty(0, np.uint8))
    return _assemble(None, nothing, address, header, program_headers, layers, contents, unrebased)


def _assemble(
    path: Path | None,
    data: U8,
    address: int | None,
    header: Header,
    program_headers: tuple[ProgramHeader, ...],
    layers: tuple[ProgramHeader, ...],
    contents: Contents,
    normalise: Callable[[int], int] | None = None,
) -> Decoded:
    name, findings = contents.name, contents.findings
    segments = tuple(sorted(layers, key=attrgetter("vaddr")))
    layers = () if segments == layers else layers
    dynamic, types = None, {entry.type for entry in program_headers}
    known: dict[str, object] = {"results": {}, "_header_types": types}
    if header.type != FileType.REL:
        check_special(header, program_headers, types, segments, findings)
        found = special_segment(SegmentType.DYNAMIC, program_headers, findings)
        known["dynamic_segment"] = found
        if found is not None:
            try:
                dynamic = Dynamic.of(*_dynamic_entries(found, header, contents), normalise)
            except MalformedElf as error:
                findings.refuse(error)
        elif header.type == FileType.DYN and not header.entry:
            findings.warn("has no PT_DYNAMIC: it is loaded as it is in the file, without relocations and symbols")
    dynamic = dynamic or Dynamic.empty()
    decoded = Decoded(name, path, data, address, header, program_headers, segments, contents, dynamic, layers)
    if _TLS not in types:
        known["tls"] = None
    tags = {*dynamic.tags}
    known |= [(attribute, answer) for tag, attribute, answer in _WITHOUT if tag not in tags]
    vars(decoded).update(known)
    return decoded


def _dynamic_entries(found: ProgramHeader, header: Header, contents: Contents) -> tuple[list[int], list[int]]:
    """The tags and values of PT_DYNAMIC up to DT_NULL. p_filesz is ignored, as loaders do."""
    word, size = header.layout.word, found.filesz
    tail = contents.tail(found.vaddr, "PT_DYNAMIC")
    entries, ended = _up_to_null(word, tail[:size])
    if ended:
        return entries
    rest, ended = _up_to_null(word, tail) if len(tail) > size else (entries, False)
    if ended:
        contents.findings.warn(
            f"PT_DYNAMIC: no DT_NULL within p_filesz {size:#x}; loaders read on up to the next one"
        )
        return rest
    contents.findings.warn("PT_DYNAMIC has no DT_NULL to the end of its segment")
    return entries


def _up_to_null(word: np.dtype[Any], content: U8) -> tuple[tuple[list[int], list[int]], bool]:
    """The tags and values before the first DT_NULL, and whether there is one."""
    size = 2 * word.itemsize
    tags: list[int] = []
    values: list[int] = []
    for start in range(0, len(content) // size * size, _ENTRIES * size):
        end = min(start + _ENTRIES * size, len(content) // size * size)
        words = content[start:end].view(word).tolist()
        some = words[::2]
        if 0 in some:
            count = some.index(0)
            return (tags + some[:count], values + words[1 : 2 * count : 2]), True
        tags += some
        values += words[1::2]
    return (tags, values), False

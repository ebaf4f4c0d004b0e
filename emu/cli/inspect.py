"""`relink-emu inspect`: the contents of an ELF file, without loading it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from emu.cli.inspect_records import (
    Constructors,
    Entry,
    InspectReport,
    SectionEntry,
    Segment,
    SymbolEntry,
    Tls,
    VersionNeeded,
)
from emu.cli.output import Address
from emu.debug.demangle import demangled
from relink.arch import Architecture, architecture_of
from relink.elf import Decoded, SymbolTable, Versions, decode
from relink.elf.constants import (
    SHN_ABS,
    SHN_UNDEF,
    VER_FLG_WEAK,
    VERSYM_HIDDEN,
    VERSYM_INDEX,
    DynamicFlag,
    DynamicFlag1,
    DynamicTag,
    FileType,
    SectionType,
    SegmentType,
    SymbolBind,
    SymbolType,
    Visibility,
)
from relink.elf.headers import os_abi_name
from relink.elf.notes import alternative_debug_link, build_id, debug_link, notes
from relink.elf.objects import ABSOLUTE, UNDEFINED, ObjectFile, ObjectSymbols, decode_object
from relink.errors import ElfError
from relink.objects.kernel_module import modinfo

if TYPE_CHECKING:
    import enum

    from numpy.typing import NDArray

    from emu.cli.options import Target

_KINDS: dict[int, str] = {
    FileType.REL: "relocatable object",
    FileType.EXEC: "executable at a fixed address",
    FileType.DYN: "shared object",
    FileType.CORE: "core file",
}
_HASH_TABLES = (("gnu", DynamicTag.GNU_HASH), ("sysv", DynamicTag.HASH))
_STRING_TAGS = frozenset({DynamicTag.NEEDED, DynamicTag.SONAME, DynamicTag.RPATH, DynamicTag.RUNPATH})


_T = TypeVar("_T")


class _Reader:
    """Reads as much as possible: for a damaged part it adds a problem to the report and uses a default value."""

    def __init__(self, decoded: Decoded) -> None:
        self.problems = decoded.findings.problems

    def __call__(self, read: Callable[[], _T], default: _T) -> _T:
        try:
            return read()
        except ElfError as error:
            if error.problem not in (known.problem for known in self.problems):
                self.problems.append(error)
            return default


def report(target: Target, file: str) -> InspectReport:
    """Read as much of `file` as possible. Raises ElfError when it has no ELF header; UnsupportedElf when it is not
    for the given architecture.
    """
    decoded = _decode_for(target, file)
    header = decoded.header
    arch = architecture_of(header.machine, header.bits)
    read = _Reader(decoded)
    object_file = read(lambda: decode_object(decoded), None) if header.type == FileType.REL else None
    blob = object_file is not None and object_file.has_unset_flags
    exported, imported = read(lambda: _counts((object_file or decoded).symbols), (0, 0))
    versions = read(lambda: decoded.versions, Versions())
    return InspectReport(
        file=file,
        size=Path(file).stat().st_size,
        kind=_kind(decoded, read),
        arch=arch.name if arch else None,
        machine=header.machine,
        bits=header.bits,
        flags=Address(header.flags),
        flags_problem=arch.flags_problem(header.flags) if arch and not blob else None,
        entry=Address(header.entry),
        os_abi=header.os_abi,
        os_abi_name=os_abi_name(header),
        soname=read(lambda: decoded.soname, None),
        interpreter=read(lambda: decoded.interpreter, None),
        needed=read(lambda: decoded.needed, ()),
        rpath=read(lambda: decoded.rpath, None),
        runpath=read(lambda: decoded.runpath, None),
        segments=tuple(_segments(decoded)),
        sections=read(lambda: tuple(_sections(decoded)), ()),
        dynamic=read(lambda: tuple(_dynamic(decoded)), ()),
        exported=exported,
        imported=imported,
        symbols=read(lambda: _all_symbols(decoded, object_file), ()),
        versions_defined=tuple(version.name for version in versions.defined),
        versions_needed=tuple(_versions_needed(versions)),
        relocations=read(lambda: _relocations(decoded, arch), {}),
        hash_tables=tuple(name for name, tag in _HASH_TABLES if tag in decoded.dynamic),
        constructors=_constructors(decoded, read),
        tls=_tls(decoded),
        modinfo=read(lambda: modinfo(object_file), {}) if object_file is not None else {},
        build_id=read(lambda: build_id(decoded), None),
        notes=read(lambda: notes(decoded), ()),
        debug_link=read(lambda: debug_link(decoded), None),
        alternative_debug_link=read(lambda: alternative_debug_link(decoded), None),
        warnings=read(lambda: tuple(error.problem for error in decoded.warnings), ()),
        problems=tuple(error.problem for error in read.problems),
    )


def _decode_for(target: Target, file: str) -> Decoded:
    """Decode the file. Raises as `report` does."""
    named = target.architecture()
    decoded = decode(file, tolerant=True)
    if named is not None:
        from relink.search.open import check_architecture

        flags = decoded.header.type != FileType.REL or bool(decoded.header.flags)
        check_architecture(decoded.name, decoded.header, named, flags=flags)
    return decoded


def _kind(decoded: Decoded, read: _Reader) -> str:
    pie = decoded.header.type == FileType.DYN and read(lambda: decoded.is_executable, False)
    kind = decoded.header.type
    return "position-independent executable" if pie else _KINDS.get(kind, f"file of e_type {kind:#x}")


def _address(value: int | None) -> Address | None:
    return None if value is None else Address(value)


def _constructors(decoded: Decoded, read: _Reader) -> Constructors:
    length = partial(_length, decoded)
    return Constructors(
        _address(decoded.init),
        read(lambda: length("init_array"), 0),
        read(lambda: length("preinit_array"), 0),
        _address(decoded.fini),
        read(lambda: length("fini_array"), 0),
    )


def _length(decoded: Decoded, array: str) -> int:
    found: tuple[int, int] | None = getattr(decoded, array)
    return found[1] if found else 0


def _tls(decoded: Decoded) -> Tls | None:
    segment = decoded.tls
    return Tls(segment.memsz, segment.filesz, segment.align) if segment else None


def _versions_needed(versions: Versions) -> Iterator[VersionNeeded]:
    for need in versions.needed:
        yield VersionNeeded(need.library, need.name, bool(need.flags & VER_FLG_WEAK))


def _name(kind: type[enum.IntEnum], number: int) -> str:
    """The constant's name, or its number."""
    try:
        return kind(number).name
    except ValueError:
        return f"{number:#x}"


def _segments(decoded: Decoded) -> Iterator[Segment]:
    arch = architecture_of(decoded.header.machine, decoded.header.bits)
    own = {} if arch is None else arch.segment_names
    for entry in decoded.program_headers:
        letters = "".join(letter if entry.flags & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        kind = own.get(entry.type) or _name(SegmentType, entry.type)
        yield Segment(
            kind,
            letters,
            entry.offset,
            Address(entry.vaddr),
            entry.filesz,
            entry.memsz,
            entry.align,
        )


def _sections(decoded: Decoded) -> Iterator[SectionEntry]:
    if decoded.header.type == FileType.REL:
        for section in decoded.sections[1:]:
            yield SectionEntry(section.name, section.type, Address(section.flags), section.size)


def _dynamic(decoded: Decoded) -> Iterator[Entry]:
    arch = architecture_of(decoded.header.machine, decoded.header.bits)
    processor = {} if arch is None else arch.tag_names
    for number, value in decoded.dynamic:
        tag = processor.get(number) or _name(DynamicTag, number)
        text = None
        if number in _STRING_TAGS:
            text = decoded.strings.text(value, f"DT_{tag}")
        elif number in (DynamicTag.FLAGS, DynamicTag.FLAGS_1):
            flags = DynamicFlag if number == DynamicTag.FLAGS else DynamicFlag1
            text = " ".join(flag.name for flag in flags if flag & value and flag.name) or None
        yield Entry(tag, Address(value), text)


def _counts(table: SymbolTable | ObjectSymbols) -> tuple[int, int]:
    """The number of symbols that a file exports and imports."""
    shared = (table.bind != SymbolBind.LOCAL) & np.isin(
        table.visibility, (Visibility.DEFAULT, Visibility.PROTECTED)
    )
    defined = table.section != SHN_UNDEF
    imported = shared & ~defined
    imported[:1] = False  # row 0 is the undefined symbol itself
    return int(np.count_nonzero(shared & defined)), int(np.count_nonzero(imported))


def _all_symbols(decoded: Decoded, object_file: ObjectFile | None) -> tuple[SymbolEntry, ...]:
    """The dynamic symbols, or those of a relocatable object."""
    return tuple(_symbols(decoded) if object_file is None else _object_symbols(object_file))


def _symbols(decoded: Decoded) -> Iterator[SymbolEntry]:
    table = decoded.symbols
    columns = (
        table.names.texts(), table.value.tolist(), table.size.tolist(), table.type.tolist(), table.bind.tolist(),
        table.visibility.tolist(), table.section.tolist(), table.version.tolist(),
    )  # fmt: skip
    rows = zip(*columns, strict=True)
    next(rows, None)
    for name, value, size, kind, bind, visibility, section, raw_version in rows:
        version = None
        if table.has_versions and (raw_version & VERSYM_INDEX) > 1:
            default = section != SHN_UNDEF and not raw_version & VERSYM_HIDDEN
            version = ("@@" if default else "@") + (decoded.versions.name_of(raw_version) or "?")
        yield SymbolEntry(
            name,
            demangled(name),
            version,
            Address(value),
            size,
            _name(SymbolType, kind),
            _name(SymbolBind, bind),
            _name(Visibility, visibility),
            section != SHN_UNDEF,
            section == SHN_ABS,
        )


def _object_symbols(file: ObjectFile) -> Iterator[SymbolEntry]:
    """The symbols of a relocatable object; values are offsets in their sections."""
    table = file.symbols
    for row in range(1, len(table)):
        name, section = file.symbol_name(row), int(table.section[row])
        yield SymbolEntry(
            name,
            demangled(name),
            None,
            Address(int(table.value[row])),
            int(table.size[row]),
            _name(SymbolType, int(table.type[row])),
            _name(SymbolBind, int(table.bind[row])),
            _name(Visibility, int(table.visibility[row])),
            section != UNDEFINED,
            section == ABSOLUTE,
        )


def _relocations(decoded: Decoded, arch: Architecture | None) -> dict[str, dict[str, int]]:
    """Entries by table and type; .relr.dyn counts the words it rebases."""
    found: dict[str, Counter[str]] = {}
    for section, types in _relocation_types(decoded):
        tally = found.setdefault(section, Counter())
        for number, count in zip(*(a.tolist() for a in np.unique(types, return_counts=True)), strict=True):
            tally[arch.relocation_name(number) if arch else f"type {number}"] += count
    if len(decoded.relr):
        found[".relr.dyn"] = Counter(RELR=len(decoded.relr))
    return {section: dict(tally.most_common()) for section, tally in found.items()}


def _relocation_types(decoded: Decoded) -> Iterator[tuple[str, NDArray[np.uint32]]]:
    """(table, the type of each entry): dynamic tables, and the sections of a relocatable object."""
    for entries in decoded.relocations:
        yield entries.section, entries.type
    if decoded.header.type != FileType.REL:
        return
    layout = decoded.header.layout
    for section in decoded.sections:
        if section.type in (SectionType.REL, SectionType.RELA):
            dtype = layout.rela if section.type == SectionType.RELA else layout.rel
            data = decoded.section_bytes(section)
            rows = np.frombuffer(data[: len(data) - len(data) % dtype.itemsize].tobytes(), dtype)
            yield section.name, rows["type"] if layout.bits == 64 else rows["info"] & np.uint32(0xFF)

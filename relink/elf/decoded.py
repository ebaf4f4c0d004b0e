"""`Decoded`: the content of an ELF file, with link-time addresses. Made by `relink.elf.decode`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relink.arch import Architecture, FloatAbi
from relink.arrays import U8, U64
from relink.elf.constants import PAGE, VERSYM_INDEX, DynamicFlag, DynamicFlag1, DynamicTag, FileType, SegmentType
from relink.elf.contents import Contents, ProgramHeader
from relink.elf.dynamic import Dynamic
from relink.elf.findings import Findings
from relink.elf.headers import Header, Section, section_bytes
from relink.elf.relocations import RelocationTable, read_relocations, read_relr
from relink.elf.segments import special_segment
from relink.elf.source import FileMapping, file_mapping
from relink.elf.strings import StringTable
from relink.elf.symbols import SymbolTable, read_strings, read_symbols
from relink.elf.versions import Versions, libraries_with_versions, read_versions
from relink.errors import ElfError, MalformedElf
from relink.records import cached_property, dataclass
from relink.records.unpicklable import Unpicklable

if TYPE_CHECKING:
    from relink.elf.debug_sections import DebugSections

# Numbers: the operators of flags take microseconds.
_SYMBOLIC, _BIND_NOW = int(DynamicFlag.SYMBOLIC), int(DynamicFlag.BIND_NOW)
_NOW_1, _PIE = int(DynamicFlag1.NOW), int(DynamicFlag1.PIE)
_INTERP, _EXEC = int(SegmentType.INTERP), int(FileType.EXEC)
_FILTERS = frozenset({DynamicTag.FILTER, DynamicTag.AUXILIARY})


@dataclass(frozen=True, eq=False, repr=False)
class Decoded(Unpicklable):
    """A decoded ELF image. Addresses are link-time addresses, sizes are in bytes, arrays are read-only.

    - `name`: the image's name in errors;
    - `path`: the file it is mapped from, if any; the file must not shrink while the image is in use;
    - `data`: the file's bytes, empty for an image in memory;
    - `address`: for an image in memory the address of its ELF header, else None.
    """

    _instead = "its bytes may be a mapping of a file: read the file in the other process"

    name: str
    path: Path | None
    data: U8
    address: int | None
    header: Header
    program_headers: tuple[ProgramHeader, ...]
    #: The PT_LOADs in vaddr order, as loaders map them (see `relink.elf.segments`); none for a relocatable object.
    segments: tuple[ProgramHeader, ...]
    contents: Contents  #: the image's bytes by vaddr
    dynamic: Dynamic
    layers: tuple[ProgramHeader, ...] = ()  #: the PT_LOADs in file order; () when that is the order of `segments`
    # These fields differ from their defaults only for linked relocatable objects (`relink.objects.combined`):
    low_bits: int = 64  #: the image must lie below 2^low_bits: width of the narrowest absolute address in it
    #: vaddr of `__dso_handle`, the argument of `__cxa_finalize` when the image is unloaded
    dso_handle: int | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @cached_property
    def results(self) -> dict[str, Any]:
        """Cached results that depend on the file alone, by the function's name (`relink.memory.once`)."""
        return {}

    # ---------------------------------------------------------- extent and special segments

    @cached_property
    def mapping(self) -> FileMapping | None:
        """The mapping of a file behind `data`; None for bytes that other processes cannot change."""
        return file_mapping(self.data)

    @cached_property
    def min_vaddr(self) -> int:
        """The start of the lowest page of any segment, a multiple of 4096."""
        return self.segments[0].vaddr & -PAGE if self.segments else 0

    @cached_property
    def span(self) -> int:
        """Bytes from `min_vaddr` to the end of the last segment, not rounded to pages."""
        return max([s.vaddr + s.memsz for s in self.segments], default=self.min_vaddr) - self.min_vaddr

    @property
    def mapping_order(self) -> tuple[ProgramHeader, ...]:
        """The PT_LOADs in the order they are mapped: where two overlap, the later replaces the earlier."""
        return self.layers or self.segments

    @property
    def findings(self) -> Findings:
        """The warnings and problems found so far; tables not yet read may add more (see `warnings`)."""
        return self.contents.findings

    @cached_property
    def warnings(self) -> tuple[ElfError, ...]:
        """Violations of the gABI that loaders tolerate, those in the tables that a loader reads included.

        Raises ElfError when one of these tables is damaged.
        """
        _ = (self.symbols, self.relr, self.versions, self.needed, self.init_array, self.fini_array)
        return tuple(self.findings.warnings)

    @cached_property
    def dynamic_segment(self) -> ProgramHeader | None:
        """PT_DYNAMIC: the segment of the dynamic section."""
        return self._program_header(SegmentType.DYNAMIC)

    @cached_property
    def tls(self) -> ProgramHeader | None:
        """PT_TLS: the initialisation image and size of thread-local storage."""
        return self._program_header(SegmentType.TLS)

    @cached_property
    def relro(self) -> tuple[ProgramHeader, ...]:
        """PT_GNU_RELRO: the ranges made read-only after relocation. All of several count, as in bionic and
        FreeBSD.
        """
        wanted = int(SegmentType.GNU_RELRO)
        return tuple([header for header in self.program_headers if header.type == wanted])

    @cached_property
    def eh_frame(self) -> ProgramHeader | None:
        """PT_GNU_EH_FRAME: the segment of the unwind index (.eh_frame_hdr)."""
        return self._program_header(SegmentType.GNU_EH_FRAME)

    @cached_property
    def stack_executable(self) -> bool | None:
        """Whether PT_GNU_STACK asks for an executable stack; None without one."""
        found = self._program_header(SegmentType.GNU_STACK)
        return None if found is None else bool(found.flags & 1)

    @cached_property
    def interpreter(self) -> str | None:
        """PT_INTERP: the path of the dynamic linker that an executable names, None without one."""
        found = self._program_header(SegmentType.INTERP)
        if found is None:
            return None
        if self.address is None:  # Linux reads the path from the file: it need not be mapped
            content = self.data[found.offset : found.offset + found.filesz]
        else:
            content = self.bytes_at(found.vaddr, found.filesz)
        return StringTable(self.name, content).text(0, "PT_INTERP")

    @cached_property
    def is_executable(self) -> bool:
        """Whether the image is a program, at a fixed address or position-independent, and not a shared library.

        DF_1_PIE is not set in every PIE, and libraries that can be run have PT_INTERP too. DT_DEBUG, which holds
        the address of r_debug for debuggers, is only given to programs by linkers.
        """
        if self.header.type != FileType.DYN:
            return self.header.type == FileType.EXEC
        pie = bool(self.flags_1 & _PIE)
        debug = DynamicTag.DEBUG in self.dynamic and DynamicTag.SONAME not in self.dynamic
        return pie or (self.has_interpreter and debug)

    @cached_property
    def is_no_dependency(self) -> bool:
        """Whether ld.so refuses to load it as a dependency of another image (glibc, `_dl_map_object_from_fd`)."""
        return self.header.type == FileType.EXEC or bool(self.flags_1 & _PIE)

    @cached_property
    def needs_no_linker(self) -> bool:
        """Whether it names neither a dynamic linker nor libraries, so that a kernel starts it directly."""
        return not self.has_interpreter and not self.needed

    @property
    def is_fixed(self) -> bool:
        """Whether its addresses are the guest's: an ET_EXEC, or objects that a link script has placed."""
        return self.header.type == _EXEC

    @cached_property
    def is_relocatable(self) -> bool:
        """Whether it is a relocatable object, or a combination of several."""
        return self.header.type == FileType.REL

    @property
    def has_interpreter(self) -> bool:
        """Whether there is a PT_INTERP, even one whose path cannot be read."""
        return _INTERP in self._header_types

    @cached_property
    def _header_types(self) -> set[int]:
        return {header.type for header in self.program_headers}

    def _program_header(self, type_: SegmentType) -> ProgramHeader | None:
        if type_ not in self._header_types:
            return None
        return special_segment(type_, self.program_headers, self.findings)

    # ---------------------------------------------------------- the dynamic section, answered

    @cached_property
    def strings(self) -> StringTable:
        """DT_STRTAB."""
        return read_strings(self.contents, self.dynamic)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The names of DT_NEEDED, in order."""
        names = [self.strings.text(offset, "DT_NEEDED") for offset in self.dynamic.values(DynamicTag.NEEDED)]
        if "" in names:  # to glibc the program itself, which is loaded
            self.findings.warn("DT_NEEDED: an empty name is ignored")
        return tuple(name for name in names if name)

    @cached_property
    def filtees(self) -> tuple[tuple[str, bool], ...]:
        """(name, mandatory) of each DT_FILTER (mandatory) and DT_AUXILIARY (optional), in order."""
        if not self.dynamic.has_any(_FILTERS):
            return ()
        return tuple(
            (self.strings.text(offset, DynamicTag(tag).name), tag == DynamicTag.FILTER)
            for tag, offset in self.dynamic
            if tag in _FILTERS
        )

    @cached_property
    def soname(self) -> str | None:
        """DT_SONAME; None also where its string lies outside the string table, which loaders do not look at."""
        try:
            return self._string(DynamicTag.SONAME)
        except MalformedElf as error:
            self.findings.warn(error.problem)
            return None

    @cached_property
    def rpath(self) -> str | None:
        """DT_RPATH, unexpanded."""
        return self._string(DynamicTag.RPATH)

    @cached_property
    def runpath(self) -> str | None:
        """DT_RUNPATH, unexpanded."""
        return self._string(DynamicTag.RUNPATH)

    def _string(self, tag: DynamicTag) -> str | None:
        offset = self.dynamic.value(tag)
        return None if offset is None else self.strings.text(offset, f"DT_{tag.name}")

    @property
    def flags(self) -> int:
        """DT_FLAGS (`DynamicFlag`), 0 without."""
        return self.dynamic.value(DynamicTag.FLAGS, 0)

    @cached_property
    def flags_1(self) -> int:
        """DT_FLAGS_1 (`DynamicFlag1`), 0 without."""
        return self.dynamic.value(DynamicTag.FLAGS_1, 0)

    @cached_property
    def is_symbolic(self) -> bool:
        """Whether the image's references are resolved in the image itself first (DF_SYMBOLIC, DT_SYMBOLIC)."""
        return bool(self.flags & _SYMBOLIC) or DynamicTag.SYMBOLIC in self.dynamic

    @cached_property
    def binds_now(self) -> bool:
        """Whether all symbols must be bound at load time (DF_BIND_NOW, DF_1_NOW, DT_BIND_NOW)."""
        now = self.flags & _BIND_NOW or self.flags_1 & _NOW_1
        return bool(now) or DynamicTag.BIND_NOW in self.dynamic

    @cached_property
    def init(self) -> int | None:
        """DT_INIT: the vaddr of the initialisation function; None without one, or when it is 0."""
        return self.dynamic.value(DynamicTag.INIT) or None

    @cached_property
    def fini(self) -> int | None:
        """DT_FINI: the vaddr of the termination function; None without one, or when it is 0."""
        return self.dynamic.value(DynamicTag.FINI) or None

    @property
    def pltgot(self) -> int | None:
        """DT_PLTGOT: a vaddr whose meaning the psABI defines (the GOT, or its .got.plt part)."""
        return self.dynamic.value(DynamicTag.PLTGOT)

    @cached_property
    def init_array(self) -> tuple[int, int] | None:
        """DT_INIT_ARRAY as (vaddr, number of words); None without or when empty."""
        return self._function_array(DynamicTag.INIT_ARRAY, DynamicTag.INIT_ARRAYSZ)

    @cached_property
    def fini_array(self) -> tuple[int, int] | None:
        """DT_FINI_ARRAY as (vaddr, number of words); None without or when empty."""
        return self._function_array(DynamicTag.FINI_ARRAY, DynamicTag.FINI_ARRAYSZ)

    @cached_property
    def preinit_array(self) -> tuple[int, int] | None:
        """DT_PREINIT_ARRAY as (vaddr, number of words); None without or when empty."""
        return self._function_array(DynamicTag.PREINIT_ARRAY, DynamicTag.PREINIT_ARRAYSZ)

    def _function_array(self, tag: DynamicTag, size_tag: DynamicTag) -> tuple[int, int] | None:
        vaddr, size = self.dynamic.value(tag), self.dynamic.value(size_tag)
        if vaddr is None or not size:
            return None
        count, rest = divmod(size, self.header.layout.word_size)
        if rest:
            self.findings.warn(f"DT_{size_tag.name} {size:#x} is not a multiple of the word size")
        if not self.contents.holds(vaddr, size - rest):
            problem = f"DT_{tag.name} at {vaddr:#x} claims {size:#x} bytes, which do not lie in a segment"
            raise MalformedElf(self.name, problem)
        return (vaddr, count) if count else None

    # ---------------------------------------------------------- the tables

    @cached_property
    def relocations(self) -> tuple[RelocationTable, ...]:
        """The REL, RELA, APS2 and PLT relocation tables, every entry once. See `read_relocations`."""
        return read_relocations(self.contents, self.header.layout, self.dynamic)

    @cached_property
    def relr(self) -> U64:
        """DT_RELR, unpacked: the vaddr of every word to rebase, uint64[n]."""
        return read_relr(self.contents, self.header.layout, self.dynamic)

    @cached_property
    def versions(self) -> Versions:
        """DT_VERDEF and DT_VERNEED."""
        return read_versions(self.contents, self.dynamic, self.strings)

    @cached_property
    def libraries_with_versions(self) -> Sequence[str]:
        """The names of the libraries of which DT_VERNEED requires versions, without reading these versions."""
        return libraries_with_versions(self.contents, self.dynamic, self.strings)

    def version_of(self, symbol: int) -> str | None:
        """The version a symbol's DT_VERSYM entry names; None for an unversioned one."""
        table = self.symbols
        if not table.has_versions:
            return None
        number = int(table.version[symbol]) & VERSYM_INDEX
        return self.versions.name_of(number) if number > 1 else None

    def float_abi_on(self, arch: Architecture) -> FloatAbi | None:
        """The floating-point calling convention of the image's code; None when it does not matter to the image or
        the ISA has only one.
        """
        return arch.float_abi(self.header.flags, b"")

    @cached_property
    def symbols(self) -> SymbolTable:
        """DT_SYMTAB (see `relink.elf.symbols.read_symbols`)."""
        referred = max((table.last_symbol + 1 for table in self.relocations), default=0)
        return read_symbols(self.contents, self.header.layout, self.dynamic, self.strings, referred)

    @property
    def known_symbols(self) -> SymbolTable | None:
        """`symbols`, if they have already been read, else None."""
        known: SymbolTable | None = self.__dict__.get("symbols")
        return known

    # ---------------------------------------------------------- bytes

    def bytes_at(self, vaddr: int, size: int) -> U8:
        """`size` file-backed bytes at `vaddr`, a view; MalformedElf unless one segment backs them all."""
        return self.contents.at(vaddr, size, "what is asked for")

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The section headers.

        Raises ElfError for a bad table in a relocatable object. In other files section headers are optional, so a
        missing or damaged table reads as empty.
        """
        from relink.elf.section_table import read_sections

        try:
            return tuple(read_sections(self.name, self.header, self.data)) if len(self.data) else ()
        except ElfError:
            if self.header.type == FileType.REL:
                raise
            return ()

    def section(self, name: str) -> Section | None:
        """The first section named `name`, None without one."""
        return next((section for section in self.sections if section.name == name), None)

    @property
    def debug_sections(self) -> DebugSections | None:
        """Debug sections to read instead of the file's own; None when the file's own can be read."""
        return None

    def section_bytes(self, section: Section) -> U8:
        """A section's bytes in the file, a view; empty for SHT_NOBITS. Raises Truncated."""
        return section_bytes(self.name, self.data, section.type, section.offset, section.size)

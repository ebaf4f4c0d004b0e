"""ELF executables as firmware: what their program headers store where, symbols, and Arm's build attributes.

The headers are read and checked by `relink.elf`, symbols and build attributes by pyelftools.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from emu.boards.errors import FirmwareError
from emu.boards.firmware import Firmware, Symbol
from relink.arch import architecture_of
from relink.elf.constants import FileType, SegmentType
from relink.elf.findings import Findings
from relink.elf.headers import Header, read_header, read_program_headers
from relink.errors import ElfError
from relink.export.chunks import Chunk, ExportError, joined

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

    from relink.elf.contents import ProgramHeader

_ARM, _RISCV = 40, 243  # e_machine
#: What pyelftools raises for damaged tables, beside its own errors.
_OF_DAMAGED_TABLES = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


def read_elf(name: str, data: bytes) -> Firmware:
    """The firmware in an ELF executable. Raises FirmwareError: for a file that is damaged or cut short, is no
    executable, or is for an architecture that is not known.
    """
    findings = Findings(name)
    try:
        header = read_header(name, data[:64], findings)
        rows = read_program_headers(header, lambda offset, size: data[offset : offset + size], findings)
    except ElfError as error:
        raise FirmwareError(str(error)) from error
    if header.type != FileType.EXEC:
        kind = f"ET_{FileType(header.type).name}"
        raise FirmwareError(f"{name} is {kind}: only executables have addresses of their own; load() the others")
    arch = architecture_of(header.machine, header.bits)
    if arch is None:
        unknown = f"an architecture that no board has (e_machine {header.machine}, {header.bits} bits)"
        raise FirmwareError(f"{name} is for {unknown}")
    loaded = [row for row in rows if row.type == SegmentType.LOAD]
    pieces, extents = _pieces(name, data, loaded), tuple((row.vaddr, row.memsz) for row in loaded)
    return Firmware(
        name, pieces, extents, arch.name, header.entry, _float_abi(header), *_tables(name, data, header)
    )


def _pieces(name: str, data: bytes, loaded: list[ProgramHeader]) -> tuple[Chunk, ...]:
    """The bytes of segments at their physical addresses. Raises FirmwareError for bytes that the file does not
    have, and for segments with different bytes for one address.
    """
    found = []
    for row in loaded:
        what = f"{name}: the segment at {row.paddr:#x}"
        if row.filesz > row.memsz:
            raise FirmwareError(f"{what} has {row.filesz:#x} bytes in the file and takes {row.memsz:#x} in memory")
        if row.filesz and row.offset + row.filesz > len(data):
            end = row.offset + row.filesz
            raise FirmwareError(f"{what} ends at {end:#x} in the file, which is cut short at {len(data):#x}")
        found.append(Chunk(row.paddr, data[row.offset : row.offset + row.filesz]))
    try:
        return tuple(joined(name, "elf", found))
    except ExportError as error:
        raise FirmwareError(str(error)) from error


def _float_abi(header: Header) -> str | None:
    """Arm: EF_ARM_ABI_FLOAT_SOFT and _HARD ("ELF for the Arm Architecture", 5.2); RISC-V: EF_RISCV_FLOAT_ABI."""
    if header.machine == _ARM:
        return {0x200: "soft-float", 0x400: "hard-float"}.get(header.flags & 0x600)
    if header.machine == _RISCV:
        return {0: "soft-float", 2: "single-float", 4: "hard-float"}.get(header.flags & 6)
    return None


# ---------------------------------------------------------------- tables of sections


def _tables(name: str, data: bytes, header: Header) -> tuple[dict[str, Symbol], dict[str, Any]]:
    """The symbols, and Arm's build attributes. Raises FirmwareError."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(BytesIO(data))
        return _symbols(file, header), _attributes(file) if header.machine == _ARM else {}
    except (ELFError, *_OF_DAMAGED_TABLES) as error:
        problem = f"the tables of sections, symbols or build attributes are damaged: {error}"
        raise FirmwareError(f"{name}: {problem}") from error


def _symbols(file: ELFFile, header: Header) -> dict[str, Symbol]:
    from elftools.elf.sections import SymbolTableSection

    found: dict[str, Symbol] = {}
    table = file.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return found
    for symbol in table.iter_symbols():
        kind, section = symbol.entry.st_info.type, symbol.entry.st_shndx
        if (
            not symbol.name
            or section == "SHN_UNDEF"
            or kind in ("STT_SECTION", "STT_FILE")
            or symbol.name[0] == "$"
        ):
            continue
        is_global = symbol.entry.st_info.bind != "STB_LOCAL"
        if is_global or symbol.name not in found:
            is_function, value = kind == "STT_FUNC", symbol.entry.st_value
            is_thumb = is_function and header.machine == _ARM and bool(value & 1)
            found[symbol.name] = Symbol(symbol.name, value, symbol.entry.st_size, is_function, is_thumb)
    return found


def _attributes(file: ELFFile) -> dict[str, Any]:
    """The build attributes of the whole file (Arm, "Addenda to, and Errata in, the ABI", section 3.3)."""
    from elftools.elf.sections import ARMAttributesSection

    found: dict[str, Any] = {}
    section = file.get_section_by_name(".ARM.attributes")
    for part in section.iter_subsections() if isinstance(section, ARMAttributesSection) else ():
        for scope in part.iter_subsubsections():
            for attribute in scope.iter_attributes():
                found.setdefault(attribute.tag, attribute.value)
    return found

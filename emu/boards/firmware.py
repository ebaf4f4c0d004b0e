"""Firmware files: what lies where, and the names in it.

ELF executables are taken by their segments, at their physical addresses (where a loader stores them: initial
values of variables lie in flash, and start-up code copies them). Intel HEX, S-records and UF2 are known by their
first bytes (`relink.export`), anything else is raw bytes for one address.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emu.boards.errors import FirmwareError
from relink.elf.intervals import Intervals
from relink.export.chunks import ExportError
from relink.export.formats import read_firmware_bytes
from relink.export.magic import format_of
from relink.records import cached_property, dataclass, field

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

#: e_machine of ELF files by architecture (gABI, "ELF Header").
_MACHINES = {
    "EM_ARM": "arm",
    "EM_RISCV": "riscv",
    "EM_386": "i386",
    "EM_AARCH64": "aarch64",
    "EM_LOONGARCH": "loongarch64",
}


@dataclass(frozen=True)
class Symbol:
    """A function or variable of a firmware. Functions in Thumb code have bit 0 of their address set."""

    name: str
    address: int
    size: int
    is_function: bool

    @property
    def start(self) -> int:
        """The address of its first byte."""
        return self.address & ~1 if self.is_function else self.address


@dataclass(frozen=True)
class Firmware:
    """What a board loads: `pieces` are (address, bytes); the rest is what the file tells of them."""

    name: str
    pieces: tuple[tuple[int, bytes], ...]
    #: (address, size) of all memory that its segments take when it runs
    extents: tuple[tuple[int, int], ...] = ()
    arch: str | None = None  #: the beginning of an architecture's name, if the file tells
    entry: int | None = None
    float_abi: str | None = None  #: the floating-point calling convention, where the file tells
    symbols: Mapping[str, Symbol] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)  #: Arm's build attributes, by tag

    def symbol(self, name: str) -> Symbol:
        """Raises FirmwareError for a name it does not have."""
        found = self.symbols.get(name)
        if found is None:
            raise FirmwareError(f"{self.name} has no symbol {name!r}")
        return found

    def symbol_at(self, address: int) -> Symbol | None:
        """The symbol that contains an address; None without one."""
        places, symbols = self._by_address
        number = places.at(address)
        return None if number is None else symbols[number]

    @cached_property
    def _by_address(self) -> tuple[Intervals, list[Symbol]]:
        symbols = list(self.symbols.values())
        return Intervals([symbol.start for symbol in symbols], [symbol.size for symbol in symbols]), symbols


def read_firmware(source: str | PathLike[str] | bytes, *, at: int | None = None) -> Firmware:
    """Read a firmware. `at` is the address of raw bytes. Raises FirmwareError."""
    if isinstance(source, bytes):
        data, name = source, "<bytes>"
    else:
        name = fspath(source)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise FirmwareError(f"{name}: {error.strerror}") from error
    if data[:4] == b"\x7fELF":
        return _elf(name, data)
    if (known := format_of(data[:64])) is not None:
        try:
            found = read_firmware_bytes(name, data, known)
        except ExportError as error:
            raise FirmwareError(str(error)) from error
        return Firmware(name, tuple(found.chunks), entry=found.entry)
    if at is None:
        raise FirmwareError(f"{name} is neither ELF nor a hex file: raw bytes need an address (at=)")
    return Firmware(name, ((at, data),))


def _elf(name: str, data: bytes) -> Firmware:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(BytesIO(data))
        kind = file.header.e_type
        if kind != "ET_EXEC":
            raise FirmwareError(
                f"{name} is {kind}: only executables have addresses of their own; load() the others"
            )
        pieces = [
            (segment.header.p_paddr, segment.data())
            for segment in file.iter_segments("PT_LOAD")
            if segment.header.p_filesz
        ]
        arch = _MACHINES.get(file.header.e_machine)
        return Firmware(
            name,
            tuple(pieces),
            tuple((s.header.p_vaddr, s.header.p_memsz) for s in file.iter_segments("PT_LOAD")),
            arch if arch != "riscv" else f"riscv{file.elfclass}",
            file.header.e_entry,
            _float_abi(file.header.e_flags, arch),
            _symbols(file),
            _attributes(file) if arch == "arm" else {},
        )
    except (ELFError, ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise FirmwareError(f"{name}: {error}") from error


def _float_abi(flags: int, arch: str | None) -> str | None:
    """Arm: EF_ARM_ABI_FLOAT_SOFT and _HARD ("ELF for the Arm Architecture", 5.2); RISC-V: EF_RISCV_FLOAT_ABI."""
    if arch == "arm":
        return {0x200: "soft-float", 0x400: "hard-float"}.get(flags & 0x600)
    if arch == "riscv":
        return {0: "soft-float", 2: "single-float", 4: "hard-float"}.get(flags & 6)
    return None


def _symbols(file: ELFFile) -> dict[str, Symbol]:
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
            found[symbol.name] = Symbol(
                symbol.name, symbol.entry.st_value, symbol.entry.st_size, kind == "STT_FUNC"
            )
    return found


def _attributes(file: ELFFile) -> dict[str, Any]:
    """The build attributes of the whole file (Arm, "Addenda to, and Errata in, the ABI", section 3.3)."""
    found: dict[str, Any] = {}
    section: Any = file.get_section_by_name(".ARM.attributes")
    for part in section.iter_subsections() if section is not None else ():
        for scope in part.iter_subsubsections():
            for attribute in scope.iter_attributes():
                found.setdefault(attribute.tag, attribute.value)
    return found

"""Files of device memory as images: an ELF executable around the bytes of a HEX, S-record, UF2 or raw file."""

from __future__ import annotations

import os

from relink.arch import Architecture, architecture
from relink.elf.constants import FileType, SectionFlag, SectionType
from relink.elf.headers import Header
from relink.elf.source import Source, open_source
from relink.export.chunks import ExportError
from relink.export.elf_file import ElfFile, OutSection
from relink.export.formats import SUFFIXES, Firmware, read_firmware_bytes
from relink.export.magic import format_of

_ALL = int(SectionFlag.ALLOC | SectionFlag.WRITE | SectionFlag.EXECINSTR)
_RWX = 7
_LARGEST = 1 << 28  #: limit for a raw file, in bytes


def read_firmware(
    source: Source,
    arch: str | Architecture,
    *,
    at: int | None = None,
    entry: int | None = None,
    format: str | None = None,
    name: str | None = None,
) -> bytes:
    """A HEX, S-record, UF2 or raw file as an ELF executable, which `Linker.load` and `Linker.adopt` take.

    Raw bytes are at the address `at`; `entry` is where execution begins (None: what the file says). The format is
    that of the content, unless given: "bin" for raw bytes. Raises ExportError, ElfError for a file that cannot be
    read.
    """
    opened, _, data = open_source(source, name)
    content = data.tobytes()
    suffix = os.fspath(source).rpartition(".")[2] if isinstance(source, (str, os.PathLike)) else ""
    wanted = format or format_of(content[:64]) or SUFFIXES.get(str(suffix).lower(), "bin")
    if wanted not in SUFFIXES.values() or wanted == "elf":
        raise ExportError(opened, wanted, "is not a format of device memory: give one of hex, srec, uf2 or bin")
    if len(content) > _LARGEST:
        raise ExportError(opened, wanted, f"{len(content):#x} bytes, the limit is {_LARGEST:#x}")
    firmware = read_firmware_bytes(opened, content, wanted, at)
    page = arch if isinstance(arch, Architecture) else architecture(arch)
    return firmware_elf(opened, firmware, page, wanted, entry)


def firmware_elf(
    name: str, firmware: Firmware, arch: Architecture, format: str, entry: int | None = None
) -> bytes:
    """An ELF executable of bytes. Raises ExportError for none, and for addresses beyond the architecture's."""
    chunks = firmware.chunks
    if not chunks:
        raise ExportError(name, format, "has no bytes")
    if chunks[-1].end > arch.address_mask + 1 or chunks[0].address < 0:
        problem = (
            f"has bytes from {chunks[0].address:#x} to {chunks[-1].end:#x}, beyond the addresses of {arch.name}"
        )
        raise ExportError(name, format, problem)
    start = firmware.entry or 0 if entry is None else entry
    header = Header(arch.bits, arch.machine, FileType.EXEC, 0, start, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    file = ElfFile(header, start, arch.plain_flags)
    for number, chunk in enumerate(chunks):
        file.sections.append(
            OutSection(
                f".data{number}", SectionType.PROGBITS, _ALL, chunk.address, len(chunk.data), 1, chunk.data,
                load_address=chunk.address,
            )
        )  # fmt: skip
        file.segments.append((_RWX, number, number + 1))
    return file.to_bytes()

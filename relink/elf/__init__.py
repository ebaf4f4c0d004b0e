"""The ELF reader: `decode` turns a file into an immutable `Decoded` that holds link-time addresses only.

    from relink.elf import decode

    image = decode("libz.so.1")
    image.soname, image.needed, [table.section for table in image.relocations]
    image.symbols.find("crc32")

Start with `decode.py`. Each table has a file of its own: `dynamic`, `symbols` with `names` and `hashes`,
`relocations` with `packed`, `versions`. Relocatable objects and archives, which are linked from their section
headers instead of the dynamic section, are read by `objects.decode_object` and `archive.Archive`.
"""

from __future__ import annotations

from relink.elf.contents import ProgramHeader
from relink.elf.decode import decode, decode_memory
from relink.elf.decoded import Decoded
from relink.elf.dynamic import Dynamic
from relink.elf.headers import MAX_ALIGN, MAX_SPAN, Header, Section
from relink.elf.names import Names
from relink.elf.relocations import RelocationTable
from relink.elf.source import Source
from relink.elf.symbols import SymbolTable
from relink.elf.versions import VersionDef, VersionNeed, Versions

__all__ = [
    "MAX_ALIGN",
    "MAX_SPAN",
    "Decoded",
    "Dynamic",
    "Header",
    "Names",
    "ProgramHeader",
    "RelocationTable",
    "Section",
    "Source",
    "SymbolTable",
    "VersionDef",
    "VersionNeed",
    "Versions",
    "decode",
    "decode_memory",
]

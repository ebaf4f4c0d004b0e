"""Objects no compiler writes, each with the error that reading it must end with."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace

from relink.elf import MAX_ALIGN, MAX_SPAN
from relink.errors import ElfError, MalformedElf, NotElf, Truncated, UnsupportedElf
from tests.elf.build_object import Sec, Sym, group, rela, simple_object, write_object

SHT_NOBITS, SHT_SHNDX, SHT_CREL, SHF_COMPRESSED = 8, 18, 0x40000014, 0x800
_ZIPPED = zlib.compress(bytes(100))


def _debug(type_: int, size: int, stream: bytes) -> bytes:
    """An object with one compressed section: ch_type, ch_size and what follows."""
    data = struct.pack("<IIQQ", type_, 0, size, 1) + stream
    return write_object([Sec(".debug_x", flags=SHF_COMPRESSED, data=data)])


def _crel(data: bytes) -> bytes:
    return simple_object(extra=[Sec(".crel", SHT_CREL, data, link=2, info=1)])


def _relocated(*rows: tuple[int, int, int, int], **changes: int) -> bytes:
    section = rela(*(rows or [(0, 1, 0, 0)]))
    changes["info"] = changes.pop("target", section.info)
    return simple_object(extra=[replace(section, **changes)])  # type: ignore[arg-type]


def _grouped(*members: int, signature: int = 0, **changes: int) -> bytes:
    return simple_object(extra=[group(signature, 1, *members, **changes)])


def _extended(symbol: Sym, *indices: int) -> bytes:
    table = Sec(".x", SHT_SHNDX, struct.pack(f"<{len(indices)}I", *indices), link=2, entsize=4)
    return simple_object([symbol], [table])


def _symtab(rows: bytes, names: bytes = b"\0") -> bytes:
    count = len(rows) // 24
    table = Sec(".symtab", 2, rows, link=2, info=count, entsize=24)
    return write_object([table, Sec(".strtab", 3, names)])


_GLOBAL = 1
_OVERLAPPING = [Sec("s", size=900, offset=0)] * 100 + [Sec("t", data=bytes(900))]


def _names_overlap() -> bytes:
    """A thousand sections, each named by most of one long string."""
    content = bytearray(write_object([Sec("n" * 20_000)] + [Sec("")] * 1000))
    table = len(content) - 64 * 1003
    for section in range(1, 1002):
        content[table + 64 * section : table + 64 * section + 4] = section.to_bytes(4, "little")
    return bytes(content)


Case = tuple[bytes, type[ElfError], str]

_HEADERS: Mapping[str, Case] = {
    "not-elf": (b"\x7fELG" + bytes(60), NotElf, "not an ELF file"),
    "empty": (b"", Truncated, "empty"),
    "past-the-end": (write_object([Sec(".text", size=1 << 20)]), Truncated, r"section 1 \(.text\) has file bytes"),
    "nobits": (write_object([Sec(".bss", SHT_NOBITS, size=MAX_SPAN + 1)]), UnsupportedElf, "SHT_NOBITS"),
    "alignment": (write_object([Sec(".text", align=12)]), MalformedElf, r"1 \(.text\): sh_addralign 0xc is no"),
    "huge-alignment": (write_object([Sec(".text", align=MAX_ALIGN * 2)]), UnsupportedElf, "exceeds the limit"),
    "overlap": (write_object(_OVERLAPPING), MalformedElf, "the sections overlap"),
    "names-overlap": (_names_overlap(), MalformedElf, "a section name: the strings overlap so much"),
    "link-order": (write_object([Sec(".x", flags=0x82, link=99)]), MalformedElf, "SHF_LINK_ORDER with sh_link 99"),
    "info-link": (write_object([Sec(".x", flags=0x40, info=99)]), MalformedElf, "SHF_INFO_LINK with sh_info 99"),
}
_SYMBOLS: Mapping[str, Case] = {
    "two-tables": (
        simple_object(extra=[Sec(".symtab", 2, entsize=24)]),
        MalformedElf,
        "sections 2 and 4 are both",
    ),
    "entsize": (simple_object(entsize=16), MalformedElf, r"section 2 \(.symtab\): sh_entsize is 16"),
    "rows": (_symtab(bytes(25)), MalformedElf, "not a multiple of the entry size 24"),
    "strings-out-of-range": (simple_object(link=77), MalformedElf, "sh_link is 77 for"),
    "strings-are-none": (simple_object(link=1), MalformedElf, "which is not of type SHT_STRTAB"),
    "strings-end": (_symtab(bytes(24) + b"\1" + bytes(23), b"\0abc"), MalformedElf, "has no terminator"),
    "strings-outside": (_symtab(bytes(24) + b"\xff" + bytes(23)), MalformedElf, "0xff lies outside"),
    "locals": (simple_object(info=9), MalformedElf, "9 local symbols, the table has 1 symbols"),
    "global-first": (simple_object([Sym("g", bind=_GLOBAL)], first_global=2), MalformedElf, "1 is not local"),
    "local-last": (simple_object([Sym("l")], first_global=1), MalformedElf, "symbol 1 is local"),
    "section": (simple_object([Sym("g", section=50)]), MalformedElf, "symbol 1 is defined in section 50"),
    "reserved": (simple_object([Sym("g", section=0xFF10)]), UnsupportedElf, "reserved st_shndx 0xff10"),
    "no-xindex": (simple_object([Sym("g", section=0xFFFF)]), MalformedElf, "no SHT_SYMTAB_SHNDX"),
    "xindex-short": (_extended(Sym("g"), 0), MalformedElf, "indices for 1 symbols"),
    "xindex-range": (_extended(Sym("g", section=0xFFFF), 0, 1 << 31), MalformedElf, "in section 2147483648"),
}
_BSS = [Sec(".bss", SHT_NOBITS, size=64), rela((0, 1, 0, 0), target=4)]
_RELOCATIONS: Mapping[str, Case] = {
    "symbol": (_relocated((0, 1, 1, 0)), MalformedElf, ".rela.text: relocation 0 names symbol 1,"),
    "offset": (_relocated((0, 1, 0, 0), (16, 1, 0, 0)), MalformedElf, "1 is at offset 0x10 of section 1"),
    "none-offset": (_relocated((17, 0, 0, 0)), MalformedElf, "at offset 0x11"),
    "far": (_relocated(((1 << 64) - 1, 1, 0, 0)), MalformedElf, "at offset 0xffffffffffffffff"),
    "target": (_relocated(target=99), MalformedElf, "sh_info is 99, not a section to relocate"),
    "no-target": (_relocated(target=0), MalformedElf, "sh_info is 0, "),
    "itself": (_relocated(target=4), MalformedElf, "sh_info is 4, "),
    "link": (_relocated(link=3), MalformedElf, "sh_link is 3, which is not the symbol table"),
    "unlinked": (_relocated(link=0), MalformedElf, "sh_link is 0"),
    "entsize": (_relocated(entsize=16), MalformedElf, ".rela.text: sh_entsize is 16"),
    "rows": (_relocated(size=23), MalformedElf, "not a multiple of the entry size 24"),
    "bss": (simple_object(extra=_BSS), MalformedElf, "of section 4, which has 0x0 bytes"),
    "crel-count": (_crel(b"\x40\x00"), MalformedElf, "claims 8 relocations"),
    "crel-cut": (_crel(b"\x10\x80"), MalformedElf, "ends within a number"),
    "crel-entries": (_crel(b"\x10\x00"), MalformedElf, "ends after 1 of 2"),
    "crel-number": (_crel(b"\x08" + b"\xff" * 20), MalformedElf, "more than ten bytes"),
    "crel-empty": (_crel(b""), MalformedElf, "ends within a number"),
}
_TWICE = [group(0, 1, 1), group(0, 1, 1)]
_GROUPS: Mapping[str, Case] = {
    "entsize": (_grouped(1, entsize=8), MalformedElf, "sh_entsize is 8"),
    "empty": (_grouped(size=0), MalformedElf, "without its flag word"),
    "member": (_grouped(77), MalformedElf, r"section 4 \(.group\): lists section 77"),
    "null-member": (_grouped(0), MalformedElf, "lists section 0"),
    "of-itself": (_grouped(4), MalformedElf, "itself a group"),
    "listed-twice": (_grouped(1, 1), MalformedElf, "section 1 is already a member of group 4"),
    "in-two": (simple_object(extra=_TWICE), MalformedElf, "section 1 is already a member of group 4"),
    "signature": (_grouped(1, signature=5), MalformedElf, "its signature is symbol 5"),
    "link": (_grouped(1, link=3), MalformedElf, "which is not of type SHT_SYMTAB"),
}
_COMPRESSED: Mapping[str, Case] = {
    "alloc": (write_object([Sec(".x", flags=SHF_COMPRESSED | 2)]), MalformedElf, "SHF_COMPRESSED with SHF_ALLOC"),
    "header": (write_object([Sec(".x", flags=SHF_COMPRESSED, data=bytes(8))]), Truncated, "header is cut short"),
    "zstd": (_debug(2, 9, b"junk"), MalformedElf, "cannot be decompressed"),
    "type": (_debug(7, 9, b""), UnsupportedElf, "ch_type 7"),
    "garbage": (_debug(1, 9, b"junk"), MalformedElf, "cannot be decompressed"),
    "less": (_debug(1, 101, _ZIPPED), MalformedElf, "ch_size is 0x65, decompressed it has 0x64"),
    "more": (_debug(1, 99, _ZIPPED), MalformedElf, "has more bytes"),
    "bomb": (_debug(1, 1 << 40, _ZIPPED), UnsupportedElf, "the limit for the file's decompressed sections"),
}
_TABLES = {
    "headers": _HEADERS,
    "symbols": _SYMBOLS,
    "relocations": _RELOCATIONS,
    "groups": _GROUPS,
    "compressed": _COMPRESSED,
}
#: What is wrong, by name: the bytes, the error's type, and a pattern its message matches.
BROKEN: Mapping[str, Case] = {
    f"{table}-{name}": case for table, cases in _TABLES.items() for name, case in cases.items()
}

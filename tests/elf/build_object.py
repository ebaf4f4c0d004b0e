"""Relocatable objects, section by section: sound ones to check what is read, broken ones to check refusals."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from relink.elf.constants import SHN_XINDEX, SectionType
from relink.elf.layout import ELF64, Layout
from tests.elf.build import header


@dataclass(frozen=True)
class Sec:
    """One section to write. `size` and `offset` say otherwise than `data` when given."""

    name: str
    type: int = SectionType.PROGBITS
    data: bytes = b""
    flags: int = 0
    link: int = 0
    info: int = 0
    align: int = 1
    entsize: int = 0
    size: int | None = None
    offset: int | None = None


@dataclass(frozen=True)
class Sym:
    """One symbol to write; `section` is a raw st_shndx."""

    name: str = ""
    value: int = 0
    size: int = 0
    bind: int = 0
    type: int = 0
    other: int = 0
    section: int = 0


def strings(texts: Sequence[str]) -> tuple[bytes, list[int]]:
    """A string table of `texts`, and where each is."""
    table, places = b"\0", []
    for text in texts:
        places.append(len(table) if text else 0)
        table += text.encode() + b"\0" if text else b""
    return table, places


def symbol_rows(symbols: Sequence[Sym], layout: Layout = ELF64) -> tuple[bytes, bytes]:
    """The rows of a symbol table, and the string table with their names."""
    table, places = strings([symbol.name for symbol in symbols])
    rows = b""
    for symbol, name in zip(symbols, places, strict=True):
        info = symbol.bind << 4 | symbol.type
        if layout.bits == 64:
            rows += struct.pack("<IBBHQQ", name, info, symbol.other, symbol.section, symbol.value, symbol.size)
        else:
            rows += struct.pack("<IIIBBH", name, symbol.value, symbol.size, info, symbol.other, symbol.section)
    return rows, table


def write_object(
    sections: Sequence[Sec],
    layout: Layout = ELF64,
    machine: int = 62,
    *,
    extended: bool = False,
    **changes: int,
) -> bytes:
    """An ET_REL file: section 0, `sections` (numbered from 1), then `.shstrtab`.

    `extended` puts the numbers of sections and of `.shstrtab` into section 0, as a file of more than 65,279
    sections must; `changes` are fields of the ELF header.
    """
    named = [*sections, Sec(".shstrtab", SectionType.STRTAB)]
    table, places = strings([section.name for section in named])
    named[-1] = replace(named[-1], data=table)
    start = at = 16 + layout.header.size
    rows, body = [], b""
    for section, name in zip(named, places, strict=True):
        padding = -at % 8
        body += bytes(padding) + section.data
        offset = at + padding if section.offset is None else section.offset
        size = len(section.data) if section.size is None else section.size
        rows.append(
            (
                name,
                section.type,
                section.flags,
                0,
                offset,
                size,
                section.link,
                section.info,
                section.align,
                section.entsize,
            )
        )
        at += padding + len(section.data)
    count = len(named) + 1
    first = (0, 0, 0, 0, 0, count, len(named), 0, 0, 0) if extended else (0,) * 10
    where = {
        "shnum": 0 if extended else count,
        "shstrndx": SHN_XINDEX if extended else len(named),
        "shoff": start + len(body),
        **changes,
    }
    head = header(layout, type_=1, machine=machine, **where)
    return head + body + b"".join(layout.section_header.pack(*row) for row in (first, *rows))


def simple_object(
    symbols: Sequence[Sym] = (),
    extra: Sequence[Sec] = (),
    layout: Layout = ELF64,
    machine: int = 62,
    *,
    first_global: int | None = None,
    **symtab: int,
) -> bytes:
    """.text (1, of 16 bytes), .symtab (2), .strtab (3), then `extra` (from 4)."""
    listed = [Sym(), *symbols]
    rows, names = symbol_rows(listed, layout)
    if first_global is None:
        first_global = sum(symbol.bind == 0 for symbol in listed)
    fields = {"link": 3, "info": first_global, "entsize": layout.symbol.itemsize, **symtab}
    return write_object(
        [
            Sec(".text", data=bytes(16), flags=6, align=4),
            Sec(".symtab", SectionType.SYMTAB, rows, **fields),
            Sec(".strtab", SectionType.STRTAB, names),
            *extra,
        ],
        layout,
        machine,
    )


def rela(*rows: tuple[int, int, int, int], target: int = 1, name: str = ".rela.text", **changes: int) -> Sec:
    """.rela.text of an ELF64: rows of offset, type, symbol, addend. `changes` are fields of `Sec`."""
    data = b"".join(struct.pack("<QIIq", *row) for row in rows)
    return replace(Sec(name, SectionType.RELA, data, link=2, info=target, entsize=24), **changes)  # type: ignore[arg-type]


def group(signature: int, flags: int, *members: int, **changes: int) -> Sec:
    """A section group whose signature is that symbol."""
    data = struct.pack(f"<{1 + len(members)}I", flags, *members)
    return replace(Sec(".group", SectionType.GROUP, data, link=2, info=signature, entsize=4), **changes)  # type: ignore[arg-type]

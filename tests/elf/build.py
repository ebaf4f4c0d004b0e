"""Small ELF files, byte by byte: what no linker would write, so that reading it can be tested.

`image()` is a shared object of one segment (vaddr = file offset) whose dynamic section names the tables
given.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relink.elf.constants import DynamicTag as Tag
from relink.elf.constants import SegmentType
from relink.elf.layout import ELF32, ELF64, Layout

PT_LOAD, PT_DYNAMIC = SegmentType.LOAD, SegmentType.DYNAMIC


@dataclass(frozen=True)
class Segment:
    """One program header to write."""

    type: int = PT_LOAD
    offset: int = 0
    vaddr: int = 0
    filesz: int = 0
    memsz: int = 0
    flags: int = 7
    align: int = 4096

    def pack(self, layout: Layout) -> bytes:
        fields = {**self.__dict__, "paddr": self.vaddr}
        return layout.program_header.pack(*(fields[name] for name in layout.program_header_fields))


@dataclass(frozen=True)
class Table:
    """Bytes to place in the image; `tag` gets their address, `size_tag` their size."""

    tag: int
    data: bytes
    size_tag: int | None = None


def header(layout: Layout = ELF64, *, type_: int = 3, machine: int = 62, phnum: int = 0, **changes: int) -> bytes:
    """An ELF header; `changes` replace phoff, phentsize, shoff, shentsize, shnum, shstrndx or version."""
    size = 16 + layout.header.size
    fields = {
        "type": type_, "machine": machine, "version": 1, "entry": 0, "phoff": size, "shoff": 0, "flags": 0,
        "ehsize": size, "phentsize": layout.program_header.size, "phnum": phnum,
        "shentsize": layout.section_header.size, "shnum": 0, "shstrndx": 0, **changes,
    }  # fmt: skip
    ident = b"\x7fELF" + bytes([1 if layout is ELF32 else 2, 1, 1, 0]) + bytes(8)
    return ident + layout.header.pack(*fields.values())


def with_segments(
    segments: Sequence[Segment], layout: Layout = ELF64, size: int = 0x3000, **changes: int
) -> bytes:
    """A file of `size` bytes that is nothing but its program headers."""
    head = header(layout, phnum=len(segments), **changes) + b"".join(s.pack(layout) for s in segments)
    return head.ljust(size, b"\0")


def image(
    tables: Sequence[Table] = (),
    values: Mapping[int, int] | None = None,
    layout: Layout = ELF64,
    segments: Sequence[Segment] = (),
) -> bytes:
    """A shared object with `tables` and a dynamic section of their tags, then `values` (which win)."""
    count = 2 + len(segments)
    at = 16 + layout.header.size + count * layout.program_header.size
    body = b""
    dynamic: list[tuple[int, int]] = []
    for table in tables:
        body += bytes(-(at + len(body)) % 8)
        dynamic.append((table.tag, at + len(body)))
        if table.size_tag is not None:
            dynamic.append((table.size_tag, len(table.data)))
        body += table.data
    body += bytes(-(at + len(body)) % 8)
    dynamic += (values or {}).items()
    word = "<QQ" if layout is ELF64 else "<II"
    packed = b"".join(struct.pack(word, *entry) for entry in [*dynamic, (0, 0)])
    dynamic_at = at + len(body)
    total = dynamic_at + len(packed)
    headers = [
        Segment(PT_LOAD, 0, 0, total, total),
        Segment(PT_DYNAMIC, dynamic_at, dynamic_at, len(packed), len(packed), align=8),
        *segments,
    ]
    return header(layout, phnum=count) + b"".join(s.pack(layout) for s in headers) + body + packed


def symbol(layout: Layout, name: int, *, value: int = 0x100, section: int = 1, info: int = 0x12) -> bytes:
    """One symbol table row; `name` is a string table offset."""
    if layout is ELF64:
        return struct.pack("<IBBHQQ", name, info, 0, section, value, 8)
    return struct.pack("<IIIBBH", name, value, 8, info, 0, section)


def words(*values: int) -> bytes:
    """32-bit words."""
    return struct.pack(f"<{len(values)}I", *values)


def sysv_hash_of(name: bytes) -> int:
    """The gABI's hash, as its C text has it."""
    h = 0
    for byte in name:
        h = (h << 4) + byte & 0xFFFFFFFF
        g = h & 0xF0000000
        if g:
            h ^= g >> 24
        h &= ~g
    return h


def gnu_hash_of(name: bytes) -> int:
    """Bernstein's hash with 33, from 5381."""
    h = 5381
    for byte in name:
        h = h * 33 + byte & 0xFFFFFFFF
    return h


@dataclass
class Symbols:
    """A dynamic symbol table with all its companions."""

    names: Sequence[bytes]
    layout: Layout = ELF64
    section: int = 1
    hashes: Sequence[str] = ("gnu", "sysv")
    buckets: int = 3
    extra: Sequence[Table] = ()
    values: Mapping[int, int] = field(default_factory=dict)
    value: int = 0x100  #: of every symbol

    def tables(self) -> list[Table]:
        strings, rows = b"\0", [symbol(self.layout, 0, section=0, info=0)]
        # A GNU table wants its symbols by bucket.
        order = sorted(self.names, key=lambda name: gnu_hash_of(name) % self.buckets)
        for name in order:
            rows.append(symbol(self.layout, len(strings), value=self.value, section=self.section))
            strings += name + b"\0"
        found = [Table(Tag.STRTAB, strings, Tag.STRSZ), Table(Tag.SYMTAB, b"".join(rows))]
        if "gnu" in self.hashes:
            found.append(Table(Tag.GNU_HASH, self.gnu(order)))
        if "sysv" in self.hashes:
            found.append(Table(Tag.HASH, self.sysv(order)))
        return [*found, *self.extra]

    def gnu(self, order: Sequence[bytes]) -> bytes:
        hashes = [gnu_hash_of(name) for name in order]
        heads = [0] * self.buckets
        chain = []
        for index, value in enumerate(hashes):
            bucket = value % self.buckets
            heads[bucket] = heads[bucket] or index + 1
            last = index + 1 == len(hashes) or hashes[index + 1] % self.buckets != bucket
            chain.append(value & ~1 | last)
        bloom = b"\xff" * self.layout.word_size
        return words(self.buckets, 1, 1, 6) + bloom + words(*heads, *chain)

    def sysv(self, order: Sequence[bytes]) -> bytes:
        heads = [0] * self.buckets
        chain = [0] * (len(order) + 1)
        for index, name in enumerate(order, 1):
            bucket = sysv_hash_of(name) % self.buckets
            chain[index], heads[bucket] = heads[bucket], index
        return words(self.buckets, len(chain), *heads, *chain)

    def image(self) -> bytes:
        return image(self.tables(), self.values, self.layout)


def sleb128(*values: int) -> bytes:
    """Signed LEB128, one after another (DWARF 5, 7.6)."""
    out = bytearray()
    for value in values:
        while True:
            byte, value = value & 0x7F, value >> 7
            done = value in (0, -1) and bool(byte & 0x40) == (value == -1)
            out.append(byte if done else byte | 0x80)
            if done:
                break
    return bytes(out)

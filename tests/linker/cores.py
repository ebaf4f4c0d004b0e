"""Core files, written as the kernel writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from emu import Library, Machine
from relink import ARCHITECTURES, Protection
from relink.elf.layout import ELF32, ELF64
from relink.memory.address_space import PAGE
from tests.elf.build import Segment, header

PT_NOTE, ET_CORE = 4, 4


@dataclass
class Mapping:
    """A mapping of a process: what is at `start`, of which file, and whether the dump has it."""

    start: int
    content: bytes
    flags: int
    path: str | None = None
    offset: int = 0
    dumped: bool = True


def write_core(arch: str, mappings: Sequence[Mapping], *, extra: bytes = b"") -> bytes:
    """A core file as the kernel writes them."""
    page = ARCHITECTURES[arch]
    layout = ELF64 if page.bits == 64 else ELF32
    files = [m for m in mappings if m.path is not None]
    code = "<{}" + ("Q" if page.bits == 64 else "I")
    numbers = [len(files), PAGE]
    for m in files:
        numbers += [m.start, m.start + len(m.content), m.offset // PAGE]
    content = struct.pack(code.format(len(numbers)), *numbers)
    content += b"".join(str(m.path).encode() + b"\0" for m in files)
    note = struct.pack("<3I", 5, len(content), 0x46494C45) + b"CORE\0\0\0\0" + content + extra
    count = len(mappings) + 1
    at = 16 + layout.header.size + count * layout.program_header.size
    rows = [Segment(PT_NOTE, at, 0, len(note), 0, 0, 4)]
    body = note + bytes(-(at + len(note)) % PAGE)
    for m in mappings:
        size = len(m.content) if m.dumped else 0
        rows.append(Segment(1, at + len(body), m.start, size, len(m.content), m.flags))
        body += m.content if m.dumped else b""
    head = header(layout, type_=ET_CORE, machine=page.machine, phnum=count)
    return head + b"".join(row.pack(layout) for row in rows) + body


def mappings_of(machine: Machine, library: Library, *, dumped: bool) -> list[Mapping]:
    """The library's pages; those of its text left out of the dump unless told."""
    image = library.image
    found = []
    for run in image.region.pages:
        start = image.base + run.offset
        content = machine.memory.read(start, run.size)
        executable = bool(run.protection & Protection.X)
        vaddr = run.offset + int(image.low)
        segment = next(s for s in image.decoded.segments if s.vaddr & -PAGE <= vaddr < s.vaddr + s.memsz)
        offset = (segment.offset & -PAGE) + vaddr - (segment.vaddr & -PAGE)
        found.append(
            Mapping(
                start,
                content,
                int(run.protection),
                str(image.decoded.path),
                offset,
                dumped or not executable or run.offset == 0,
            )
        )
    return found

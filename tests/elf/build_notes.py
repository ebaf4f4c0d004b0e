"""A shared object with notes and links to its debug information, byte by byte."""

from __future__ import annotations

import struct
import zlib

from relink.elf.constants import SegmentType
from relink.elf.layout import ELF64
from tests.elf.build import Segment, header

BUILD_ID = bytes(range(20))
NAMES = b"\0.gnu_debuglink\0.gnu_debugaltlink\0.shstrtab\0"


def note(owner: bytes, type_: int, description: bytes) -> bytes:
    """One note, padded to 4 bytes."""
    name = owner + b"\0"
    padded = name + bytes(-len(name) % 4)
    return (
        struct.pack("<3I", len(name), len(description), type_)
        + padded
        + description
        + bytes(-len(description) % 4)
    )


NOTES = (
    note(b"GNU", 3, BUILD_ID)
    + note(b"GNU", 1, struct.pack("<4I", 0, 5, 10, 0))
    + note(b"GNU", 5, struct.pack("<4I", 0xC0000002, 4, 3, 0))
    + note(b"FDO", 0xCAFE1A7E, b'{"type":"deb"}\0')
    + note(b"stapsdt", 3, bytes(8))
)
LINK = b"odd.debug\0\0\0" + struct.pack("<I", zlib.crc32(b"debug"))
ALTERNATIVE = b"/usr/lib/debug/.dwz/common.debug\0" + BUILD_ID


def linked_to_debug(notes: bytes = NOTES, link: bytes = LINK, *, machine: int = 62) -> bytes:
    """A file of one page, and a second PT_LOAD whose p_align is odd."""
    notes_at = 0x200
    parts = {".gnu_debuglink": link, ".gnu_debugaltlink": ALTERNATIVE, ".shstrtab": NAMES}
    body, rows = notes.ljust(0x400, b"\0"), [bytes(64)]
    for name, content in parts.items():
        kind = 3 if name == ".shstrtab" else 1
        at = notes_at + len(body)
        rows.append(
            struct.pack("<IIQQQQIIQQ", NAMES.index(name.encode()), kind, 0, 0, at, len(content), 0, 0, 1, 0)
        )
        body += content
    body += bytes(-len(body) % 8)
    shoff = notes_at + len(body)
    segments = [
        Segment(offset=0, vaddr=0, filesz=0x600, memsz=0x600, align=3),
        Segment(SegmentType.NOTE, notes_at, notes_at, len(notes), len(notes), align=4),
    ]
    head = header(phnum=2, shoff=shoff, shnum=4, shstrndx=3, machine=machine) + b"".join(
        segment.pack(ELF64) for segment in segments
    )
    return (head.ljust(notes_at, b"\0") + body + b"".join(rows)).ljust(0x1000, b"\0")

"""Program headers in guest memory: the image's own, or a table made for an image without them in memory.

Unwinders and debuggers read them through `dl_iterate_phdr` and `dlinfo`. For linked relocatable objects, which
have none, they are made for the segments and the unwind index, which is also made (.eh_frame_hdr; LSB Core,
section 10.6.2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from emu.debug.unwind import CallFrameTable, function_entries
from emu.isa.registry import ISAS
from emu.isa.spec import FrameTables
from relink.elf.constants import SegmentType
from relink.elf.contents import ProgramHeader
from relink.image import Image

PT_ARM_EXIDX = 0x7000_0001  #: ELF for the Arm Architecture, section 5.2
_SEGMENTS = {FrameTables.DWARF: int(SegmentType.GNU_EH_FRAME), FrameTables.EXIDX: PT_ARM_EXIDX}
EXIDX_ENTRY = 8  #: bytes of one entry of that index
_PF_R = 4
#: version 1; .eh_frame pc-relative in 4 bytes, the count in 4, the table relative to the header in 4 and 4
_INDEX_HEADER = struct.pack("<4B", 1, 0x1B, 0x03, 0x3B)


class HeaderTable(NamedTuple):
    """An array of ElfN_Phdr in guest memory."""

    address: int
    rows: int


class UnwindTable(NamedTuple):
    """The contents of PT_GNU_EH_FRAME or PT_ARM_EXIDX, in guest memory."""

    address: int
    size: int  #: bytes


def own_headers(image: Image) -> HeaderTable | None:
    """The image's own headers, if a segment contains them."""
    decoded, header = image.decoded, image.decoded.header
    size = header.phentsize * header.phnum
    if decoded.is_relocatable or not size:
        return None
    for segment in decoded.segments:
        if segment.offset <= header.phoff and header.phoff + size <= segment.offset + segment.filesz:
            vaddr = segment.vaddr + header.phoff - segment.offset
            return HeaderTable(image.address_of(vaddr), header.phnum)
    return None


def encoded(image: Image, headers: list[ProgramHeader]) -> bytes:
    """The headers in the file format of the image's class."""
    layout = image.decoded.header.layout
    fields = layout.program_header_fields
    return b"".join(layout.program_header.pack(*(getattr(row, name) for name in fields)) for row in headers)


def made_headers(image: Image, unwind: UnwindTable | None) -> list[ProgramHeader]:
    """Make headers for an image whose own are not in memory; for linked objects, with one for `unwind`."""
    decoded = image.decoded
    if not decoded.is_relocatable:
        return list(decoded.program_headers)
    headers = list(decoded.segments)
    if decoded.tls is not None:
        headers.append(decoded.tls)
    if unwind is not None:
        vaddr = (unwind.address - image.bias) & image.architecture.address_mask
        kind = unwind_segment(image)
        headers.append(ProgramHeader(kind, _PF_R, 0, vaddr, vaddr, unwind.size, unwind.size, 4))
    return headers


def unwind_segment(image: Image) -> int:
    """The type of the segment with the unwind index."""
    return _SEGMENTS[ISAS[image.architecture.name].unwinding.tables]


def own_unwind_table(image: Image) -> UnwindTable | None:
    """The image's unwind index, from its headers, or on Arm from the objects it was linked from."""
    objects = image.objects
    if objects is None:
        wanted = unwind_segment(image)
        found = next((row for row in image.decoded.program_headers if row.type == wanted), None)
        return None if found is None else UnwindTable(image.address_of(found.vaddr), found.memsz)
    from relink.objects.input_sections import INDEX_TABLE

    index = [section for section in objects.inputs if section.name.startswith(INDEX_TABLE) and section.size]
    if unwind_segment(image) != PT_ARM_EXIDX or not index:
        return None
    first = min(section.offset for section in index)
    last = max(section.offset + section.size for section in index)
    return UnwindTable(image.base + first, last - first)


def made_unwind_table(image: Image, allocate: Callable[[int], int]) -> tuple[UnwindTable, bytes] | None:
    """Make an .eh_frame_hdr for linked objects, in memory from `allocate`.

    None when there is nothing to index, or the memory is out of range of the code.
    """
    objects = image.objects
    if objects is None or unwind_segment(image) == PT_ARM_EXIDX:
        return None
    word = image.architecture.word_size
    rows: list[tuple[int, int]] = []
    frames: list[int] = []
    for section in objects.inputs:
        if section.name == ".eh_frame" and section.size:
            # It is relocated for the guest; being read-only, it is still as linked.
            data = image.region.buffer[section.offset : section.offset + section.size].tobytes()
            table = CallFrameTable(data, image.base + section.offset)
            frames.append(table.address)
            rows += [(start, table.address + entry) for start, entry in function_entries(table, word)]
    if not rows:
        return None
    size = len(_INDEX_HEADER) + 8 + 8 * len(rows)
    at = allocate(size)
    numbers = [frames[0] - at - len(_INDEX_HEADER), len(rows)]
    numbers += [number - at for row in sorted(rows) for number in row]
    if not all(-(1 << 31) <= number < 1 << 31 for number in numbers):
        return None
    return UnwindTable(at, size), _INDEX_HEADER + struct.pack(f"<iI{2 * len(rows)}i", *numbers)

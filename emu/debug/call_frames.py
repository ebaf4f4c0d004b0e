"""Finding the call-frame information of an image, for backtraces."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from emu.debug.symbolizer import input_at
from emu.debug.unwind import CallFrameTable, table_by_index
from relink.elf.dwarf_info import debug_section
from relink.errors import RelinkError
from relink.image import Image

if TYPE_CHECKING:
    from relink.elf.objects import ObjectFile

#: The tables of images, which a backtrace asks for at each frame: those of the objects that an image was linked
#: from, and under None that of the image. They are read-only in the guest, so they stay as they were loaded.
_TABLES: WeakKeyDictionary[Image, dict[ObjectFile | None, CallFrameTable | None]] = WeakKeyDictionary()


def call_frames(image: Image, address: int) -> CallFrameTable | None:
    """The table that covers a guest address in `image`: .eh_frame, else .debug_frame. None where there is none, or
    where it is damaged, which only makes a backtrace shorter.
    """
    tables = _TABLES.get(image)
    if tables is None:
        tables = _TABLES[image] = _object_eh_frames(image)
    here = input_at(image, address) if tables else None
    if here is not None and here.file in tables:
        return tables[here.file]
    if None not in tables:
        try:
            tables[None] = _eh_frame(image) or _debug_frame(image)
        except RelinkError:
            tables[None] = None
    return tables[None]


def _eh_frame(image: Image) -> CallFrameTable | None:
    """.eh_frame, found through PT_GNU_EH_FRAME (LSB Core, section 10.6.2): it needs no section headers."""
    decoded = image.decoded
    if decoded.eh_frame is None:
        return None
    segments = [(segment.vaddr, segment.filesz) for segment in decoded.segments]
    word = image.architecture.word_size
    read = lambda vaddr, size: decoded.bytes_at(vaddr, size).data  # noqa: E731
    table = table_by_index(decoded.eh_frame.vaddr, segments, word, read)
    if table is not None:
        table.load_bias = image.bias
    return table


def _object_eh_frames(image: Image) -> dict[ObjectFile | None, CallFrameTable | None]:
    """.eh_frame of each linked object that has one."""
    found: dict[ObjectFile | None, CallFrameTable | None] = {}
    for section in image.objects.inputs if image.objects is not None else ():
        if section.name == ".eh_frame" and section.size and section.file not in found:
            # It is relocated for the guest; being read-only, it is still as linked.
            data = image.region.buffer[section.offset : section.offset + section.size].tobytes()
            found[section.file] = CallFrameTable(data, image.base + section.offset)
    return found


def _debug_frame(image: Image) -> CallFrameTable | None:
    data = debug_section(image.decoded, ".debug_frame")
    return CallFrameTable(data, eh_frame=False, load_bias=image.bias) if data else None

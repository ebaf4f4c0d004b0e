"""Finding the call-frame information of an image, for backtraces."""

from __future__ import annotations

from emu.debug.symbolizer import input_at
from emu.debug.unwind import CallFrameTable
from relink.elf.dwarf_info import debug_section
from relink.errors import RelinkError
from relink.image import Image

_EH_FRAME_HDR_VERSION = 1
_PCREL_SDATA4 = 0x1B  #: DW_EH_PE_pcrel | DW_EH_PE_sdata4, the only encoding that linkers write


def call_frames(image: Image, address: int) -> CallFrameTable | None:
    """The table that covers a guest address in `image`: .eh_frame, else .debug_frame."""
    try:
        return _eh_frame(image) or _object_eh_frame(image, address) or _debug_frame(image)
    except RelinkError:  # damaged tables only make a backtrace shorter
        return None


def _eh_frame(image: Image) -> CallFrameTable | None:
    """.eh_frame, found through PT_GNU_EH_FRAME (LSB Core, section 10.6.2): it needs no section headers."""
    header = image.decoded.eh_frame
    if header is None or header.filesz < 8:
        return None
    content = image.decoded.bytes_at(header.vaddr, 8).tobytes()
    if content[0] != _EH_FRAME_HDR_VERSION or content[1] != _PCREL_SDATA4:
        return None
    vaddr = header.vaddr + 4 + int.from_bytes(content[4:8], "little", signed=True)
    for segment in image.decoded.segments:
        if segment.vaddr <= vaddr < segment.vaddr + segment.filesz:
            # Its length is not given; the parser stops at the zero word that ends it.
            data = image.decoded.bytes_at(vaddr, segment.vaddr + segment.filesz - vaddr)
            return CallFrameTable(data.tobytes(), image.address_of(vaddr))
    return None


def _object_eh_frame(image: Image, address: int) -> CallFrameTable | None:
    """.eh_frame of linked objects: that of the object that contains the address."""
    here = input_at(image, address)
    objects = image.objects
    if here is None or objects is None:
        return None
    for section in objects.inputs:
        if section.file is here.file and section.name == ".eh_frame" and section.size:
            # It is relocated for the guest; being read-only, it is still as linked.
            data = image.region.buffer[section.offset : section.offset + section.size].tobytes()
            return CallFrameTable(data, image.base + section.offset)
    return None


def _debug_frame(image: Image) -> CallFrameTable | None:
    data = debug_section(image.decoded, ".debug_frame")
    return CallFrameTable(data, eh_frame=False, load_bias=image.bias) if data else None

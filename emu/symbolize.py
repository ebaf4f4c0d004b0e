"""Telling what lies at a guest address: a symbol, an image, a trap, a mapping; and how to unwind from it."""

from __future__ import annotations

from emu.errors import Frame
from emu.space import GuestMemory
from emu.traps import TrapTable
from emu.unwind import CallFrameTable
from relink.errors import RelinkError
from relink.image import Image
from relink.link import Linker

_EH_FRAME_HDR_VERSION = 1
_PCREL_SDATA4 = 0x1B  #: DW_EH_PE_pcrel | DW_EH_PE_sdata4, the one encoding linkers write


class Symbolizer:
    """Looks addresses up in everything a machine has loaded."""

    def __init__(self, linker: Linker, memory: GuestMemory, traps: TrapTable) -> None:
        self._linker = linker
        self._memory = memory
        self._traps = traps

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return next((image for image in self._linker.images if image.contains(address)), None)

    def frame(self, address: int) -> Frame:
        """What lies at a guest address, as far as known."""
        if address in self._traps:
            trap = self._traps.get(address)
            return Frame(address, None, f"[{trap.name if trap else 'unused trap'}]", 0)
        image = self.image_at(address)
        if image is not None:
            found = image.symbol_at(address)
            if found is None:
                return Frame(address, image.short_name, None, address - image.base)
            return Frame(address, image.short_name, found[0], found[1])
        region = self._memory.region_at(address)
        if region is not None and region.name:
            return Frame(address, region.name, None, address - region.address)
        return Frame(address)

    def call_frames(self, address: int) -> CallFrameTable | None:
        """The call-frame information that covers a guest address: .eh_frame, or else .debug_frame."""
        image = self.image_at(address)
        if image is None:
            return None
        try:
            return _eh_frame(image) or _debug_frame(image)
        except RelinkError:  # a backtrace is best effort: damaged tables only make it shorter
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
            # Its length is nowhere said; it ends with a zero word, which the parser stops at.
            data = image.decoded.bytes_at(vaddr, segment.vaddr + segment.filesz - vaddr)
            return CallFrameTable(data.tobytes(), image.address_of(vaddr))
    return None


def _debug_frame(image: Image) -> CallFrameTable | None:
    section = image.decoded.section(".debug_frame")
    if section is None:
        return None
    data = image.decoded.section_bytes(section).tobytes()
    return CallFrameTable(data, eh_frame=False, load_bias=image.bias)

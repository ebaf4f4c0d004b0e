"""Describing a guest address: a symbol, an image, a trap or a mapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.errors import Frame
from emu.memory.guest_memory import GuestMemory
from emu.run.traps import TrapTable
from relink.image import Image
from relink.linker import Linker
from relink.memory.address_space import PAGE
from relink.records import Assigned, replace

if TYPE_CHECKING:
    from relink.objects.input_sections import InputSection


class Symbolizer(Assigned):
    """Looks up addresses among a machine's images, traps and mappings."""

    def __init__(self, linker: Linker, memory: GuestMemory, traps: TrapTable) -> None:
        self._linker = linker
        self._memory = memory
        self._traps = traps
        #: Images of the host's guest code, which are in none of the guest's lists.
        self.host_images: Callable[[], Sequence[Image]] = tuple
        #: What else has names for addresses, such as a firmware.
        self.others: list[Callable[[int], Frame | None]] = []

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self._linker.image_at(address)

    def symbolize(self, address: int, *, source: bool = True, returned_to: bool = False) -> Frame:
        """`frame` with its source line from DWARF (see `with_source`), unless `source` is False."""
        frame = self.frame(address)
        return self.with_source(frame, returned_to=returned_to) if source else frame

    def with_source(self, frame: Frame, *, returned_to: bool = False) -> Frame:
        """The frame with its source line, if DWARF has it, and the name of a static function, if `.symtab` has it.

        With `returned_to` the address is a return address, and the line is that of the call before it.
        """
        image = self.image_at(frame.address)
        if image is None:
            return frame
        vaddr = (frame.address - returned_to - image.bias) & image.architecture.address_mask
        if frame.symbol is None:
            from relink.resolve.local_symbols import function_at

            named = function_at(image.decoded, vaddr, image.architecture.code_address_mask)
            if named is not None:
                frame = replace(frame, symbol=named[0], offset=named[1] + returned_to)
        from relink.elf.dwarf_lines import source_line  # imported late: its parsers are slow to import

        found = source_line(image.decoded, vaddr)
        return frame if found is None else replace(frame, file=found.file, line=found.line)

    def frame(self, address: int) -> Frame:
        """The symbol, image, trap or mapping at a guest address, without its source line (see `with_source`)."""
        if address in self._traps:
            trap = self._traps.get(address)
            freed = self._traps.freed(address)
            unused = "unused trap" if freed is None else f"{freed}, which is no longer valid"
            return Frame(address, None, f"[{trap.name if trap else unused}]", 0)
        # Each undefined symbol has a page.
        for start in (address, address & -PAGE):
            if (stand_in := self._traps.get(start)) is not None:
                return Frame(address, None, f"[{stand_in.name}]", address - start)
        image = self.image_at(address)
        hosts = () if image is not None else self.host_images()
        hosted = next((each for each in hosts if each.contains(address)), None)
        if hosted is not None and (found := hosted.symbol_at(address)) is not None:
            return Frame(address, hosted.short_name, _usual_name(hosted, address - found[1], found[0]), found[1])
        image = image or hosted
        if image is not None:
            found = image.symbol_at(address)
            if found is None:
                return Frame(address, image.short_name, None, address - image.base)
            return Frame(address, _object_name(image, address) or image.short_name, found[0], found[1])
        for name in self.others:
            if (frame := name(address)) is not None:
                return frame
        region = self._memory.region_at(address)
        if region is not None and region.name:
            return Frame(address, region.name, None, address - region.address)
        return Frame(address)


def _usual_name(image: Image, start: int, name: str) -> str:
    """The usual name of a function with several, such as `memcmp`, which is also `bcmp` and `__memcmpeq`."""
    aliases = [alias for alias, address in image.exports.items() if address & ~1 == start & ~1]
    order = lambda alias: (alias.startswith("_"), not alias.startswith(("mem", "str")), len(alias))  # noqa: E731
    return min(aliases, key=order, default=name)


def input_at(image: Image, address: int) -> InputSection | None:
    """The section of a linked object at a guest address, or None."""
    objects = image.objects
    return None if objects is None else objects.input_at(address - image.base)


def _object_name(image: Image, address: int) -> str | None:
    """The object that contains an address ("libz.a(crc32.o)"), without its folder; for images of several
    objects.
    """
    objects = image.objects
    if objects is None or len(objects.files) < 2:
        return None
    section = input_at(image, address)
    if section is None:
        return None
    archive, bracket, member = section.file.name.partition("(")
    return archive.rpartition("/")[2] + bracket + member

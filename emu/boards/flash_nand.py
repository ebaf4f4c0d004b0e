"""NAND flash: pages with a spare area, programmed whole and in order; blocks, some of them bad.

    nand = NandFlash(blocks=64, pages_per_block=64, page_size=2048, spare_size=64, bad=(3,))
    nand.erase_block(0)
    nand.program_page(0, data, spare)
    data, spare = nand.read_page(0)

Pages and blocks are numbered. In `contents` (and in addresses) a page is followed by its spare area. A factory
marks a bad block with a byte other than 0xFF at the start of the spare area of its first two pages.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emu.boards.flash_device import Flash
from emu.boards.flash_types import (
    FlashError,
    FlashGeometryError,
    FlashStatus,
    SectorMap,
    check_numbers,
    check_whole,
    data_of,
)

_MARKED_PAGES = 2  #: pages of a bad block that have its mark
_MOST_BLOCKS = 1 << 20


class NandFlash(Flash):
    """NAND flash of `blocks` of `pages_per_block` pages of `page_size` bytes and a spare area of `spare_size`.

    `max_programs` is the number of programs of one page between two erases (NOP); the pages of a block are
    programmed from first to last. `bad` are the blocks that were bad from the start. Raises FlashGeometryError.
    """

    def __init__(
        self,
        *,
        blocks: int,
        pages_per_block: int = 64,
        page_size: int = 2048,
        spare_size: int = 64,
        name: str = "nand",
        bad: Iterable[int] = (),
        max_programs: int = 4,
        endurance: int | None = None,
        read_only: Iterable[int] = (),
        read_disturb: int | None = None,
        strict: bool = True,
    ) -> None:
        check_whole(
            name, blocks=blocks, pages_per_block=pages_per_block, page_size=page_size, spare_size=spare_size
        )
        if min(blocks, pages_per_block, page_size) < 1 or spare_size < 0 or blocks > _MOST_BLOCKS:
            raise FlashGeometryError(name, f"{blocks} blocks of {pages_per_block} pages of {page_size} bytes")
        self.data_size, self.spare_size, self.pages_per_block = page_size, spare_size, pages_per_block
        raw = page_size + spare_size
        super().__init__(
            SectorMap.of((blocks, pages_per_block * raw), device=name),
            name=name,
            write_size=raw,
            max_programs=max_programs,
            page_size=raw,
            endurance=endurance,
            read_only=read_only,
            read_disturb=read_disturb,
            strict=strict,
        )
        for block in bad:
            self.mark_bad(block)

    @property
    def page_count(self) -> int:
        """The number of pages."""
        return self.size // self.write_size

    def read_page(self, page: int) -> tuple[bytes, bytes]:
        """The data and the spare area of a page. Raises FlashError."""
        raw = self.read(self._page(page, "read"), self.write_size)
        return raw[: self.data_size], raw[self.data_size :]

    def program_page(self, page: int, data: bytes, spare: bytes = b"", column: int = 0) -> FlashStatus:
        """Program a page from byte `column` on, and its spare area; the rest keeps its bits. Raises FlashError."""
        data, spare = data_of(self.name, data), data_of(self.name, spare)
        check_numbers(self.name, column=column)
        address = self._page(page, "program")
        if not (column >= 0 and column + len(data) <= self.data_size and len(spare) <= self.spare_size):
            raise FlashError(self.name, "program", address, len(data) + len(spare), FlashStatus.CROSSES_PAGE)
        raw = bytearray(b"\xff" * self.write_size)
        raw[column : column + len(data)] = data
        raw[self.data_size : self.data_size + len(spare)] = spare
        return self.program(address, raw)

    def erase_block(self, block: int) -> FlashStatus:
        """Erase a block. Raises FlashError."""
        return self.erase_sector(block)

    def mark_bad(self, block: int) -> None:
        """Make a block a bad one, with the factory's mark. Raises FlashGeometryError."""
        check_numbers(self.name, block=block)
        if not 0 <= block < len(self.sectors):
            raise FlashGeometryError(self.name, f"there is no block {block} to mark as bad")
        self.bad.add(block)
        for page in range(min(_MARKED_PAGES, self.pages_per_block)):
            if self.spare_size:
                start = self.sectors.starts[block] + page * self.write_size + self.data_size
                self.preset(self.base + start, b"\0")

    def is_marked_bad(self, block: int) -> bool:
        """Whether a block has the factory's mark, as firmware finds out. Raises FlashError."""
        first = block * self.pages_per_block
        pages = range(first, first + min(_MARKED_PAGES, self.pages_per_block))
        return any(self.read_page(page)[1][:1] not in (b"\xff", b"") for page in pages)

    def _page(self, page: int, operation: str) -> int:
        check_numbers(self.name, page=page)
        if not 0 <= page < self.page_count:
            raise FlashError(self.name, operation, page * self.write_size, self.write_size, FlashStatus.OUTSIDE)
        return self.base + page * self.write_size

    def _program_problem(self, offset: int, data: bytes) -> tuple[FlashStatus, int | None]:
        """As for all flash, and the pages of a block are programmed in order. A byte 0xFF keeps what is there:
        programs of a part of a page give it for the rest.
        """
        status, culprit = super()._program_problem(offset, data)
        if (status and status is not FlashStatus.NOT_ERASED) or not data:
            return status, culprit
        page = offset // self.write_size
        last = (page // self.pages_per_block + 1) * self.pages_per_block
        later = np.flatnonzero(self._programs[page + 1 : last])
        if len(later):
            return FlashStatus.PAGE_ORDER, offset
        new = np.frombuffer(data, np.uint8)
        old = self.pages[offset : offset + len(data)]
        wrong = np.flatnonzero((old & new != new) & (new != 0xFF))
        return (FlashStatus.NOT_ERASED, offset + int(wrong[0])) if len(wrong) else (FlashStatus.OK, None)

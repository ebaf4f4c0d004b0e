"""Checks before Unicorn is asked, which need no engine: memory to be mapped, use of a closed CPU."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from emu.cpu.pages import EXECUTABLE, PAGE_SIZE, Piece, make_piece
from emu.cpu.protocol import Pages, Protection
from emu.cpu.unicorn.isas import UnicornIsa
from relink.errors import AddressSpaceError
from relink.memory.host_pages import address_of
from relink.records.tuples import NamedTuple, maker

if TYPE_CHECKING:
    from relink.arrays import U8

_BYTE = np.dtype(np.uint8)
_start_of = attrgetter("start")


class Together(NamedTuple):
    """Memory that may be mapped at once: the pieces, by address, and the host addresses of their memory."""

    pieces: list[Piece]
    hosts: dict[int, int]


_together = maker(Together)


def host_address(
    isa: UnicornIsa, traps: tuple[int, int], address: int, size: int, protection: Protection, buffer: U8
) -> int:
    """The host address of memory to be mapped. `traps` is the trap range. Raises AddressSpaceError for a buffer
    that does not fit or is not aligned, for the trap range and for addresses that the engine does not support.
    """
    if buffer.nbytes != size or buffer.dtype != _BYTE or not buffer.flags.c_contiguous:
        raise AddressSpaceError("the buffer does not fit the mapping", address=address, size=size)
    host = address_of(buffer)
    if host % PAGE_SIZE:
        raise AddressSpaceError("the buffer is not page-aligned", address=address, size=size)
    if address + size - 1 >> isa.address_bits:
        isa.check_reach(address, size)
    # Read-only pages there stop the engine like unmapped ones.
    if address < traps[1] and traps[0] < address + size and protection != Protection.R:
        raise AddressSpaceError("mapping overlaps the trap range", address=address, size=size)
    return host


def mapped_together(
    isa: UnicornIsa, traps: tuple[int, int], regions: Sequence[tuple[int, U8, Sequence[Pages]]]
) -> Together | None:
    """The runs of pages of several regions, each with its address and buffer; None where anything may be wrong
    with one, which `host_address` tells.
    """
    pieces: list[Piece] = []
    hosts: dict[int, int] = {}
    above, in_order = 0, True
    for address, buffer, runs in regions:
        memory, host = buffer.data, address_of(buffer)
        if host % PAGE_SIZE or memory.itemsize != 1 or not memory.c_contiguous:
            return None
        for offset, size, protection in runs:
            if offset + size > memory.nbytes:
                return None
            start = address + offset
            in_order, above = in_order and start >= above, start
            part = memory[offset : offset + size]
            pieces += [make_piece((start, start + size, part, protection, EXECUTABLE[protection]))]
            hosts[start] = host + offset
    if not in_order:
        pieces.sort(key=_start_of)
    low, high = (pieces[0].start, pieces[-1].end) if pieces else (0, 0)
    if not pieces or high - 1 >> isa.address_bits or (low < traps[1] and traps[0] < high):
        return None
    return _together((pieces, hosts))

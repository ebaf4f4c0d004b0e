"""The addresses in range of code that is not position-independent: near itself, or in low memory."""

from __future__ import annotations

from relink.memory.address_space import PAGE
from relink.module import Module

#: Range in bytes in either direction on 64-bit ISAs (minus a page for addends and rounding).
_REACH = (1 << 31) - PAGE


def reach_of(image: Module) -> tuple[int, int]:
    """(first address, end) of the addresses in range of all of the image's code."""
    region, bits = image.region, image.architecture.bits
    high = 1 << min(bits, image.decoded.low_bits)
    if bits == 32:
        return PAGE, high
    return max(region.end - _REACH, PAGE), min(region.address + _REACH, high)

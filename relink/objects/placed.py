"""The output sections that a link script has placed, for exports and maps."""

from __future__ import annotations

from relink.objects.script import LinkScript
from relink.records import dataclass


@dataclass(frozen=True, slots=True)
class PlacedSection:
    """An output section. Addresses and sizes in bytes; `flags` are SHF_*; `bits`: it has bytes to load."""

    name: str
    address: int  #: where it is executed or accessed (VMA)
    load_address: int  #: where its bytes are stored (LMA)
    size: int
    align: int
    flags: int
    bits: bool
    region: str


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """The output sections in the order of the script, and the row of the entry's symbol (0: none)."""

    script: LinkScript
    sections: tuple[PlacedSection, ...]
    entry: int

"""The linker: knows ELF and memory, never a CPU.

    from relink import HostMemory, Linker

    linker = Linker(HostMemory("aarch64"))
    image = linker.load("plugin.so")
    linker.memory.read(image.symbol("table").address, 8)

Start reading in `link.py`; an ISA is one page in `arch/`.
"""

from __future__ import annotations

from relink.arch import ARCHITECTURES, Architecture, architecture
from relink.elf import decode
from relink.errors import RelinkError
from relink.image import Image, Symbol
from relink.linker import Linker, LoadOptions, Policy
from relink.memory.address_space import AddressSpace, HostMemory, Protection, Region
from relink.search.search_path import SearchPath

__all__ = [
    "ARCHITECTURES", "AddressSpace", "Architecture", "HostMemory", "Image", "Linker", "LoadOptions", "Policy",
    "Protection", "Region", "RelinkError", "SearchPath", "Symbol", "architecture", "decode",
]  # fmt: skip

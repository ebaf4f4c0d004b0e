"""Objects without machine code: what `-flto` leaves for a compiler to finish at link time.

GCC writes an ELF object whose sections `.gnu.lto_*` hold its intermediate code and whose others are empty, unless
`-ffat-lto-objects` asks for both. Linked as it is, it would define nothing.
"""

from __future__ import annotations

from relink.elf.constants import SectionFlag
from relink.elf.objects import ObjectFile
from relink.errors import UnsupportedElf

_GCC = ".gnu.lto_"


def refuse_intermediate_code(file: ObjectFile) -> None:
    """Raises UnsupportedElf for an object that has intermediate code and nothing to load."""
    if not any(section.name.startswith(_GCC) for section in file.sections):
        return
    if any(section.flags & SectionFlag.ALLOC and section.size for section in file.sections):
        return
    raise UnsupportedElf(
        file.name,
        "holds GCC's intermediate code (-flto) and no machine code; compile it with -ffat-lto-objects or -fno-lto",
    )

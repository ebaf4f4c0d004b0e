"""Names of machines that ELF files are for, for messages (e_machine: gABI, "Machine Information", and the registry
kept for it).
"""

from __future__ import annotations

from typing import Final

from relink.arch import Architecture, architecture_of
from relink.errors import UnsupportedElf

#: By e_machine and class; a class of 0 stands for both.
_NAMES: Final = {
    (2, 0): "SPARC", (4, 0): "m68k", (8, 0): "MIPS", (15, 0): "PA-RISC", (18, 0): "SPARC", (20, 0): "PowerPC",
    (21, 0): "PowerPC64", (22, 0): "S/390", (22, 64): "s390x", (41, 0): "Alpha", (42, 0): "SuperH",
    (43, 0): "SPARC V9", (50, 0): "IA-64", (62, 32): "x86-64 with 32-bit pointers (x32)", (80, 0): "MMIX",
    (83, 0): "AVR", (88, 0): "M32R", (92, 0): "OpenRISC", (93, 0): "ARC", (94, 0): "Xtensa", (105, 0): "MSP430",
    (106, 0): "Blackfin", (113, 0): "Nios II", (164, 0): "Hexagon", (185, 0): "AVR32", (189, 0): "MicroBlaze",
    (183, 32): "AArch64 with 32-bit pointers (ILP32)", (190, 0): "CUDA", (195, 0): "ARC", (224, 0): "AMD GPUs",
    (247, 0): "BPF", (252, 0): "C-SKY", (253, 0): "ARC", (258, 32): "LoongArch32", (0x9026, 0): "Alpha",
}  # fmt: skip
_BIG_ENDIAN: Final = {40: "Arm", 183: "AArch64"}  #: of machines that are supported in the other byte order


def machine_text(machine: int, bits: int, *, big_endian: bool = False) -> str:
    """The name of an unsupported machine, with its number when it has no name here."""
    name = _NAMES.get((machine, bits)) or _NAMES.get((machine, 0))
    if name is None and big_endian:
        name = _BIG_ENDIAN.get(machine)
    return name or f"machine {machine} in a {bits}-bit file"


def machine_of(machine: int, bits: int) -> str:
    """The name of the architecture, or of an unsupported machine."""
    found = architecture_of(machine, bits)
    return found.name if found else machine_text(machine, bits)


def supported(name: str, machine: int, bits: int) -> Architecture:
    """The architecture that the file `name` is for. Raises UnsupportedElf."""
    found = architecture_of(machine, bits)
    if found is None:
        raise UnsupportedElf(name, f"is for {machine_text(machine, bits)}, which is not supported")
    return found

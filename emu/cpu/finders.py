"""Finding instructions that Unicorn executes wrongly without an error, in each new block before it runs.

    x86      `emu.cpu.find_x86`: VEX, EVEX, XOP, x87's functions, string comparisons, floating-point flags
    AArch64  `emu.cpu.find_aarch64`: signed minimum and maximum in memory
    Arm      `emu.cpu.find_arm`: conversions of fixed-point numbers
    RISC-V   `emu.cpu.find_riscv`: reserved 16-bit codes, rdtime

Unicorn itself refuses other unsupported instructions. Finders only read bytes and registers; `emu.cpu.unicorn`
stops the guest before an instruction that is found.
"""

from __future__ import annotations

from collections.abc import Mapping

from emu.cpu.find_aarch64 import aarch64
from emu.cpu.find_arm import arm
from emu.cpu.find_riscv import riscv
from emu.cpu.find_x86 import X86
from emu.cpu.misrun import Finder
from emu.cpu.unicorn_isas import ISAS

#: By engine and mode of `UnicornIsa`.
_FINDERS: Mapping[tuple[str, str], Finder] = {
    ("X86", "64"): X86(64),
    ("X86", "32"): X86(32),
    ("ARM64", "ARM"): aarch64,
    ("ARM", "ARM"): arm,
    ("RISCV", "RISCV64"): riscv(64),
    ("RISCV", "RISCV32"): riscv(32),
}
#: By ISA; ISAs that Unicorn executes correctly have none.
FINDERS: Mapping[str, Finder] = {
    arch: _FINDERS[row.engine, row.mode] for arch, row in ISAS.items() if (row.engine, row.mode) in _FINDERS
}
#: The same for code that runs after MXCSR has taken denormals as zero.
DENORMAL_FINDERS: Mapping[str, Finder] = {"x86_64": X86(64, denormals=True), "i386": X86(32, denormals=True)}

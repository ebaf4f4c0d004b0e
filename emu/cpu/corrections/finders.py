"""Finding instructions that Unicorn executes wrongly without an error, in each new block before it runs.

    x86      `find_x86`: VEX, EVEX, XOP, string comparisons, floating-point flags; x87 and SSE in `find_x87`,
             `find_x87_stack` and `find_sse`
    AArch64  `find_aarch64`: signed minimum and maximum in memory, privileged instructions
    Arm      `find_arm`: conversions of fixed-point numbers
    RISC-V   `find_riscv`: reserved 16-bit codes, rdtime; `find_riscv_float`

Unicorn itself refuses other unsupported instructions. Finders only read bytes and registers; `emu.cpu.unicorn.cpu`
stops the guest before an instruction that is found. A finder is imported when code is first inspected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from emu.cpu.misrun import up_to_branch
from emu.cpu.unicorn.isas import ISAS

if TYPE_CHECKING:
    from emu.cpu.misrun import Finder, Misrun


class _Late:
    """A finder that is imported and made when it is first used."""

    def __init__(self, make: Callable[[], Finder]) -> None:
        self._make = make
        self._made: Finder | None = None

    def __call__(self, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        return self._finder()(code, address, to_branch=to_branch)

    def up_to_branch(self, code: bytes, address: int) -> tuple[list[Misrun], list[int]]:
        """See `emu.cpu.misrun.up_to_branch`."""
        return up_to_branch(self._finder(), code, address)

    def _finder(self) -> Finder:
        if self._made is None:
            self._made = self._make()
        return self._made


def _x86(bits: int, *, denormals: bool = False) -> Finder:
    def make() -> Finder:
        from emu.cpu.corrections.find_x86 import X86

        return X86(bits, denormals=denormals)

    return _Late(make)


def _riscv(bits: int) -> Finder:
    def make() -> Finder:
        from emu.cpu.corrections.find_riscv import riscv

        return riscv(bits)

    return _Late(make)


def _aarch64() -> Finder:
    from emu.cpu.corrections.find_aarch64 import user_code

    return user_code


def _arm() -> Finder:
    from emu.cpu.corrections.find_arm import arm

    return arm


#: By engine and mode of `UnicornIsa`.
_FINDERS: Mapping[tuple[str, str], Finder] = {
    ("X86", "64"): _x86(64),
    ("X86", "32"): _x86(32),
    ("ARM64", "ARM"): _Late(_aarch64),
    ("ARM", "ARM"): _Late(_arm),
    ("RISCV", "RISCV64"): _riscv(64),
    ("RISCV", "RISCV32"): _riscv(32),
}
#: By ISA; ISAs that Unicorn executes correctly have none.
FINDERS: Mapping[str, Finder] = {
    arch: _FINDERS[row.engine, row.mode] for arch, row in ISAS.items() if (row.engine, row.mode) in _FINDERS
}
#: The same for code that runs after MXCSR has taken denormals as zero.
DENORMAL_FINDERS: Mapping[str, Finder] = {"x86_64": _x86(64, denormals=True), "i386": _x86(32, denormals=True)}

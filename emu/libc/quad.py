"""binary128 helpers, where `long double` is one and travels in two integer registers: RISC-V 64, LoongArch64.

Such a value is declared as the unsigned __int128 that carries its bits; both psABIs pass the two alike.
AArch64 passes it in a vector register and RISC-V 32 by reference, so these helpers are not offered there.
"""

from __future__ import annotations

from emu.libc.softfloat import Side, export_modes, identity

QUAD_IN_INTEGERS = ("riscv64", "loongarch64")
_SIDE = Side(QUAD_IN_INTEGERS, as_bits=True, family="quad")
export_modes(_SIDE, ("tf",))

# The narrower float of a conversion is in a floating-point register.
_MIXED = Side(QUAD_IN_INTEGERS, as_bits=False, family="quad")
for _mode in ("sf", "df"):
    _MIXED.export(f"__extend{_mode}tf2", ["tf", _mode], identity)
    _MIXED.export(f"__trunctf{_mode}2", [_mode, "tf"], identity)

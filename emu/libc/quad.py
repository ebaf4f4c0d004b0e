"""binary128 helpers, for ISAs whose `long double` is one.

- RISC-V 64 and LoongArch64 pass it in two integer registers: it is declared as an unsigned __int128 with its bits,
  which both psABIs pass in the same way.
- RISC-V 32 passes and returns it by reference (ilp32d: an aggregate larger than two registers).
- AArch64 passes it in a vector register, so these helpers do not exist there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.libc.softfloat import Exact, Side, export_modes, identity
from emu.libc.table import register

if TYPE_CHECKING:
    from emu.isa.spec import Isa
    from emu.libc.library import Libc

_SIZE = 16


class _ByReference(Side):
    """Helpers that take the address of a binary128, and store the result at the address in the first argument."""

    def export(self, name: str, modes: Sequence[str], operation: Callable[..., Exact | int]) -> None:
        result, *parameters = modes
        if {"ti", "uti"} & set(modes):
            return  # no 128-bit integers on a 32-bit ISA

        def call(libc: Libc, *args: int | float) -> int | float | None:
            given = args[1:] if result == "tf" else args
            fetched = [_fetched(libc, mode, value) for mode, value in zip(parameters, given, strict=True)]
            values = [self._decode(mode, value) for mode, value in zip(parameters, fetched, strict=True)]
            answer = self._encode(result, operation(*values))
            if result != "tf":
                return answer
            libc.memory.write(int(args[0]), int(answer).to_bytes(_SIZE, "little"))
            return None

        declared = ["const void *" if mode == "tf" else self.ctype(mode) for mode in parameters]
        if result == "tf":
            declared.insert(0, "void *")
        returned = "void" if result == "tf" else self.ctype(result)
        register(name, f"{returned} {name}({', '.join(declared)})", call, self.on, family=self.family)


def _fetched(libc: Libc, mode: str, value: int | float) -> int | float:
    return int.from_bytes(libc.memory.read(int(value), _SIZE), "little") if mode == "tf" else value


def _in_integers(isa: Isa) -> bool:
    return isa.quad_in_integers


def _by_reference(isa: Isa) -> bool:
    return not isa.long_double_by_value


_IN_INTEGERS = Side(_in_integers, as_bits=True, family="quad")
# The narrower float of a conversion is in a floating-point register.
_MIXED = Side(_in_integers, as_bits=False, family="quad")
_REFERENCES = _ByReference(_by_reference, as_bits=False, family="quad")

for _side in (_IN_INTEGERS, _REFERENCES):
    export_modes(_side, ("tf",))
for _side in (_MIXED, _REFERENCES):
    for _mode in ("sf", "df"):
        _side.export(f"__extend{_mode}tf2", ["tf", _mode], identity)
        _side.export(f"__trunctf{_mode}2", [_mode, "tf"], identity)

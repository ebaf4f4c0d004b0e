"""libgcc's and compiler-rt's integer helpers, for 32 (SI), 64 (DI) and, on 64-bit ISAs, 128 bits (TI).

GCC internals manual, "Routines for integer arithmetic". One row per helper: its name around the width, its
prototype with S and U for the signed and unsigned type of that width, and the operation. Results are truncated to
the result type when they are returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from emu.errors import GuestAbort
from emu.libc.numbers import truncated_division
from emu.libc.table import Condition, register, wide

if TYPE_CHECKING:
    from emu.libc.library import Libc

#: Takes the Libc, the width in bits, then the arguments.
_Operation: TypeAlias = "Callable[..., int]"


def wrapped(value: int, bits: int, *, signed: bool) -> int:
    """`value` modulo 2**bits, in the range of the type."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _divide(part: int) -> _Operation:
    return lambda libc, bits, a, b: truncated_division(a, b, f"a {bits}-bit division")[part]


def _divmod(libc: Libc, bits: int, a: int, b: int, remainder: int) -> int:
    quotient, rest = truncated_division(a, b, f"a {bits}-bit division")
    if remainder:
        libc.memory.write(remainder, (rest & ((1 << bits) - 1)).to_bytes(bits // 8, "little"))
    return quotient


def _trapping(operation: Callable[..., int]) -> _Operation:
    def call(libc: Libc, bits: int, *args: int) -> int:
        result = operation(*args)
        if wrapped(result, bits, signed=True) != result:
            raise GuestAbort(f"signed overflow of {bits} bits (-ftrapv)")
        return result

    return call


def _reporting(operation: Callable[[int, int], int]) -> _Operation:
    def call(libc: Libc, bits: int, a: int, b: int, overflowed: int) -> int:
        result = operation(a, b)
        libc.memory.write_uint(overflowed, 4, int(wrapped(result, bits, signed=True) != result))
        return result

    return call


def _trailing_zeros(value: int, bits: int) -> int:
    return (value & -value).bit_length() - 1 if value else bits


#: name with {} for si, di, ti -> (prototype, operation)
_HELPERS: dict[str, tuple[str, _Operation]] = {
    "__div{}3": ("S(S, S)", _divide(0)),
    "__mod{}3": ("S(S, S)", _divide(1)),
    "__udiv{}3": ("U(U, U)", _divide(0)),
    "__umod{}3": ("U(U, U)", _divide(1)),
    "__divmod{}4": ("S(S, S, S *)", _divmod),
    "__udivmod{}4": ("U(U, U, U *)", _divmod),
    "__mul{}3": ("S(S, S)", lambda libc, bits, a, b: a * b),
    "__neg{}2": ("S(S)", lambda libc, bits, a: -a),
    "__ashl{}3": ("S(S, int)", lambda libc, bits, a, n: a << (n & (bits - 1))),
    "__ashr{}3": ("S(S, int)", lambda libc, bits, a, n: a >> (n & (bits - 1))),
    "__lshr{}3": ("U(U, int)", lambda libc, bits, a, n: a >> (n & (bits - 1))),
    "__cmp{}2": ("int(S, S)", lambda libc, bits, a, b: (a > b) - (a < b) + 1),
    "__ucmp{}2": ("int(U, U)", lambda libc, bits, a, b: (a > b) - (a < b) + 1),
    "__clz{}2": ("int(U)", lambda libc, bits, a: bits - a.bit_length()),
    "__ctz{}2": ("int(U)", lambda libc, bits, a: _trailing_zeros(a, bits)),
    "__ffs{}2": ("int(U)", lambda libc, bits, a: (a & -a).bit_length()),
    "__popcount{}2": ("int(U)", lambda libc, bits, a: a.bit_count()),
    "__parity{}2": ("int(U)", lambda libc, bits, a: a.bit_count() & 1),
    "__clrsb{}2": ("int(S)", lambda libc, bits, a: bits - 1 - (a ^ a >> (bits - 1)).bit_length()),
    "__bswap{}2": (
        "U(U)", lambda libc, bits, a: int.from_bytes(a.to_bytes(bits // 8, "little"), "big")
    ),
    "__addv{}3": ("S(S, S)", _trapping(lambda a, b: a + b)),
    "__subv{}3": ("S(S, S)", _trapping(lambda a, b: a - b)),
    "__mulv{}3": ("S(S, S)", _trapping(lambda a, b: a * b)),
    "__negv{}2": ("S(S)", _trapping(lambda a: -a)),
    "__absv{}2": ("S(S)", _trapping(abs)),
    "__mulo{}4": ("S(S, S, int *)", _reporting(lambda a, b: a * b)),
}  # fmt: skip

_TYPES: dict[str, tuple[str, str, int, Condition | None]] = {
    "si": ("int", "unsigned", 32, None),
    "di": ("int64_t", "uint64_t", 64, None),
    "ti": ("__int128", "unsigned __int128", 128, wide),
}


def _export() -> None:
    for name, (prototype, operation) in _HELPERS.items():
        for width, (signed, unsigned, bits, on) in _TYPES.items():
            full = name.format(width)
            declared = prototype.replace("S", signed).replace("U", unsigned)
            result_bits = 32 if prototype.startswith("int") else bits

            def call(
                libc: Libc,
                *args: int,
                run: _Operation = operation,
                bits: int = bits,
                result_bits: int = result_bits,
                signed: bool = prototype[0] != "U",
            ) -> int:
                return wrapped(run(libc, bits, *args), result_bits, signed=signed)

            register(full, declared.replace("(", f" {full}(", 1), call, on)


_export()

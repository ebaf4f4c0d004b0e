"""x87 instructions that take numbers apart, or store them as other formats, where Unicorn gets limits wrong.

Source: Intel SDM volume 2, FISTTP, FBSTP, FXTRACT.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from emu.cpu.corrections.x87 import Result, X87Registers, infinity, pop, push, split
from emu.cpu.corrections.x87_stack import INDEFINITE

INVALID, ZERO_DIVISION, INEXACT, ROUNDED_UP = 1, 4, 0x20, 0x200  #: bits of the status word
_BIAS: Final = 0x3FFF << 64


def decimal(registers: X87Registers) -> int:
    """Pop a number as 18 decimal digits and a sign, in 80 bits."""
    number, out = split(registers.read_register("st0")), Result(registers.read_register("fpcw"))
    status = registers.read_register("fpsw") & ~ROUNDED_UP
    if number.kind == "finite":
        size = abs(number.value)
        digits, rest = divmod(size.numerator, size.denominator)
        half = 2 * rest - size.denominator
        up = (half > 0 or (half == 0 and digits & 1)) if out.mode == 0 else out.mode == 1 + (not number.negative)
        up = bool(rest and up)
        digits += up
        if digits < 10**18:
            pop(registers, status | (INEXACT if rest else 0) | (ROUNDED_UP if up else 0))
            return int(str(digits), 16) | number.negative << 79
    pop(registers, status | INVALID)
    return INDEFINITE


def extract(registers: X87Registers) -> None:
    """Replace a number by its exponent, and push its significand."""
    bits = registers.read_register("st0")
    number, out = split(bits), Result(registers.read_register("fpcw"))
    nan = out.nan(number)
    if nan is not None:
        exponent = significand = nan
    elif number.kind == "infinite":
        exponent, significand = infinity(False), bits
    elif number.zero:
        out.status |= ZERO_DIVISION
        exponent, significand = infinity(True), bits
    else:
        fraction = bits & (1 << 64) - 1
        shift = 64 - fraction.bit_length()
        exponent = out.rounded(Fraction(max(bits >> 64 & 0x7FFF, 1) - (_BIAS >> 64) - shift), exact=True)
        significand = (bits & 1 << 79) | _BIAS | fraction << shift
    registers.write_register("fpsw", registers.read_register("fpsw") & ~ROUNDED_UP | out.status)
    registers.write_register("st0", exponent)
    push(registers, significand)

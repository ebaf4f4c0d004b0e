"""x87 instructions Unicorn computes in 53 bits, or wrongly: here in 64, by exact and decimal arithmetic.

Results are rounded correctly by the control word's rounding mode; hardware promises less than one unit in the last
place, and gives the same but for rare ties. As hardware's, the argument of fsin, fcos, fsincos and fptan is
reduced by a pi of 66 bits. Source: Intel SDM volume 1, 8.3.6 to 8.3.10, and volume 2 for each instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Protocol

from emu.cpu.corrections.x87_stack import INDEFINITE
from relink.records import dataclass


class X87Registers(Protocol):
    """Access to `st0` to `st7` (80-bit patterns), `fpsw`, `fpcw` and `fptag`."""

    def read_register(self, name: str) -> int: ...
    def write_register(self, name: str, value: int) -> None: ...


_IE, _DE, _ZE, _OE, _UE, _PE = 1, 2, 4, 8, 16, 32
_C0, _C1, _C2, _C3 = 1 << 8, 1 << 9, 1 << 10, 1 << 14
_TOP = 11  #: the lowest bit of TOP, the number of the stack's top
_BIAS, _LOWEST, _HIGHEST, _BITS = 16383, -16382, 16383, 64
_PI = Fraction(0xC90F_DAA2_2168_C234_C, 1 << 66)
_DIGITS = Context(prec=80, Emax=999_999, Emin=-999_999)
_TINY = Decimal(10) ** -30
_LARGEST_POWER = 1 << 16  #: more than exponents differ
_RANGE = 1 << 63  #: larger arguments of trigonometric functions are not changed


@dataclass(frozen=True)
class Number:
    """A value apart: infinite or NaN by `kind`, else `value`, with the sign of zero in `negative`."""

    kind: str  #: "finite", "infinite", "quiet", "signalling" or "unsupported"
    negative: bool
    value: Fraction
    bits: int

    @property
    def denormal(self) -> bool:
        return bool(not self.bits >> 64 & 0x7FFF and self.value)

    @property
    def zero(self) -> bool:
        return self.kind == "finite" and not self.value


def split(bits: int) -> Number:
    negative, exponent, mantissa = bool(bits >> 79 & 1), bits >> 64 & 0x7FFF, bits & (1 << 64) - 1
    kind, value = "finite", Fraction(0)
    if exponent == 0x7FFF:
        kind = "infinite" if mantissa == 1 << 63 else "quiet" if mantissa >> 62 == 3 else "signalling"
        kind = kind if mantissa >> 63 else "unsupported"
    elif exponent and not mantissa >> 63:
        kind = "unsupported"
    else:
        value = Fraction(mantissa) * Fraction(2) ** (max(exponent, 1) - _BIAS - 63)
    return Number(kind, negative, -value if negative else value, bits)


class Result:
    """Rounds results by the control word and collects status bits."""

    def __init__(self, control: int) -> None:
        self.mode = control >> 10 & 3  # nearest, down, up, to zero
        self.status = 0

    def invalid(self) -> int:
        self.status = self.status & ~_DE | _IE
        return INDEFINITE

    def nan(self, *operands: Number) -> int | None:
        """The NaN result for the operands; None when none is NaN."""
        if any(each.kind == "unsupported" for each in operands):
            return self.invalid()
        nans = [each for each in operands if each.kind in ("quiet", "signalling")]
        if any(each.kind == "signalling" for each in nans):
            self.status |= _IE
        if not nans:
            self.status |= _DE if any(each.denormal for each in operands) else 0
            return None
        return max(nans, key=lambda each: each.bits & (1 << 63) - 1).bits | 1 << 62

    def rounded(self, value: Fraction, *, negative: bool = False, exact: bool = False) -> int:
        """The nearest pattern of a value; `negative` is the sign of a zero."""
        if not value:
            return int(negative) << 79
        sign, size = value < 0, abs(value)
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= size < Fraction(2) ** exponent
        exponent = max(exponent, _LOWEST)
        scaled = size * Fraction(2) ** (63 - exponent)
        mantissa, rest = divmod(scaled.numerator, scaled.denominator)
        if rest or not exact:
            self.status |= _PE
            half = 2 * rest - scaled.denominator
            up = (half > 0 or (half == 0 and mantissa & 1)) if self.mode == 0 else self.mode == 1 + (not sign)
            self.status |= _C1 if up and rest else 0
            mantissa += bool(up and rest)
        if mantissa >> _BITS:
            mantissa, exponent = mantissa >> 1, exponent + 1
        if exponent > _HIGHEST:
            self.status |= _OE | _PE
            self.status &= ~_C1
            if self.mode in (0, 1 + (not sign)):
                self.status |= _C1
                return infinity(sign)
            return int(sign) << 79 | _HIGHEST + _BIAS << 64 | (1 << 64) - 1
        if not mantissa >> 63:
            self.status |= _UE if self.status & _PE else 0
            return int(sign) << 79 | mantissa
        return int(sign) << 79 | exponent + _BIAS << 64 | mantissa


# ---------------------------------------------------------------- functions of real numbers


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _real(function: Callable[..., Decimal], *arguments: Fraction) -> Fraction:
    with localcontext(_DIGITS):
        return Fraction(function(*map(_decimal, arguments)))


def _expm1(x: Decimal) -> Decimal:
    """2^x - 1."""
    y = x * Decimal(2).ln()
    return y + y * y / 2 + y * y * y / 6 if abs(y) < _TINY else y.exp() - 1


def _log2(x: Decimal) -> Decimal:
    near = x - 1
    return _log1p(near) if abs(near) < _TINY else x.ln() / Decimal(2).ln()


def _log1p(x: Decimal) -> Decimal:
    """log2(1 + x)."""
    natural = x - x * x / 2 + x * x * x / 3 if abs(x) < _TINY else (1 + x).ln()
    return Decimal(natural / Decimal(2).ln())


def _arctangent(x: Decimal) -> Decimal:
    """The arctangent of 0 <= x <= 1."""
    halvings = 0
    while x > Decimal("0.05"):
        x /= 1 + (1 + x * x).sqrt()
        halvings += 1
    total, term, square, divisor = x, x, x * x, 1
    while term and abs(term) > abs(total) * Decimal("1e-78"):
        term, divisor = -term * square, divisor + 2
        total += term / divisor
    return Decimal(total * 2**halvings)


def _sine_and_cosine(x: Decimal) -> tuple[Decimal, Decimal]:
    """Sine and cosine of a small x, by their series."""
    sine, cosine, term, number = Decimal(0), Decimal(0), Decimal(1), 0
    while term and abs(term) > Decimal("1e-90") * (abs(x) if number & 1 else 1):
        if number & 1:
            sine += term if number % 4 == 1 else -term
        else:
            cosine += term if number % 4 == 0 else -term
        number += 1
        term = term * x / number
    return sine or x, cosine


def _circular(x: Fraction) -> tuple[Fraction, Fraction]:
    """(sine, cosine)."""
    quarter = _PI / 2
    turns = round(x / quarter)
    with localcontext(_DIGITS):
        sine, cosine = map(Fraction, _sine_and_cosine(_decimal(x - turns * quarter)))
    return ((sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine))[turns % 4]


# ---------------------------------------------------------------- instructions: (new st0.., pops) of one each


def _f2xm1(out: Result, x: Number, y: Number) -> int:
    if (nan := out.nan(x)) is not None:
        return nan
    if x.kind == "infinite":
        return x.bits if not x.negative else out.rounded(Fraction(-1), exact=True)
    if x.zero or abs(x.value) > 1:
        return x.bits
    if abs(x.value) == 1:
        return out.rounded(Fraction(-1, 2) if x.negative else Fraction(1), exact=True)
    return out.rounded(_real(_expm1, x.value))


def _fyl2x(out: Result, x: Number, y: Number) -> int:
    if (nan := out.nan(x, y)) is not None:
        return nan
    if (x.negative and not x.zero) or (y.zero and (x.zero or x.kind == "infinite")):
        return out.invalid()
    if x.zero or x.kind == "infinite":
        out.status |= _ZE if x.zero and y.kind == "finite" else 0
        return infinity(y.negative != x.zero)
    if y.kind == "infinite":
        return out.invalid() if x.value == 1 else infinity(y.negative != (x.value < 1))
    if y.zero or x.value == 1:
        return out.rounded(Fraction(0), negative=y.negative != (x.value < 1))
    power = x.value.numerator.bit_length() - x.value.denominator.bit_length()
    if x.value == Fraction(2) ** power:
        return out.rounded(y.value * power, exact=True)
    return out.rounded(y.value * _real(_log2, x.value))


def _fyl2xp1(out: Result, x: Number, y: Number) -> int:
    if (nan := out.nan(x, y)) is not None:
        return nan
    if x.kind == "infinite" or y.kind == "infinite":
        if x.zero or y.zero or (x.kind == "infinite" and x.negative):
            return out.invalid()
        return infinity(x.negative != y.negative)
    if x.zero or y.zero:
        return out.rounded(Fraction(0), negative=x.negative != y.negative)
    if x.value <= -1:  # outside the instruction's range: hardware leaves it unchanged
        out.status |= _PE
        return x.bits
    return out.rounded(y.value * _real(_log1p, x.value))


def _fpatan(out: Result, x: Number, y: Number) -> int:
    """The angle of the point (st0, st1)."""
    if (nan := out.nan(x, y)) is not None:
        return nan
    exact_pi = _real(lambda: 4 * (4 * _arctangent(Decimal(1) / 5) - _arctangent(Decimal(1) / 239)))
    sign = -1 if y.negative else 1
    if x.kind == "infinite" or y.kind == "infinite":
        eighths = {(True, True): 3 if x.negative else 1, (False, True): 2}
        part = eighths.get((x.kind == "infinite", y.kind == "infinite"), 4 if x.negative else 0)
        return out.rounded(sign * exact_pi * part / 4, negative=y.negative)
    if y.zero:
        return out.rounded(sign * exact_pi, negative=y.negative) if x.negative else y.bits
    if x.zero:
        return out.rounded(sign * exact_pi / 2)
    across, along = abs(x.value), abs(y.value)
    angle = _real(_arctangent, min(across, along) / max(across, along))
    angle = exact_pi / 2 - angle if along > across else angle
    return out.rounded(sign * (exact_pi - angle if x.negative else angle))


def infinity(negative: bool) -> int:
    return int(negative) << 79 | 0x7FFF << 64 | 1 << 63


def _remainder(out: Result, x: Number, y: Number, *, nearest: bool) -> int:
    """One step of fprem or fprem1: C2 is set when another step is needed; C0, C3 and C1 are the quotient's low
    bits.
    """
    if (nan := out.nan(x, y)) is not None:
        return nan
    if x.kind == "infinite" or y.zero:
        return out.invalid()
    if y.kind == "infinite" or x.zero:
        return x.bits
    distance = (x.bits >> 64 & 0x7FFF) - (y.bits >> 64 & 0x7FFF)
    quotient = abs(x.value) / abs(y.value)
    if distance >= _BITS:
        out.status |= _C2
        step = Fraction(2) ** (distance - 63)
        taken = (quotient / step).__floor__() * step
        number = 0
    else:
        number = round(quotient) if nearest else quotient.__floor__()
        taken = Fraction(number)
    size = abs(x.value) - taken * abs(y.value)
    out.status |= (_C0 if number & 4 else 0) | (_C3 if number & 2 else 0) | (_C1 if number & 1 else 0)
    return out.rounded(-size if x.negative else size, negative=x.negative, exact=True)


def _scale(out: Result, x: Number, y: Number) -> int:
    """st0 times 2 to the power of st1, truncated."""
    if (nan := out.nan(x, y)) is not None:
        return nan
    if y.kind == "infinite":
        lost = x.kind == "infinite" if y.negative else x.zero
        return out.invalid() if lost else int(x.negative) << 79 if y.negative else infinity(x.negative)
    if x.kind == "infinite" or x.zero:
        return x.bits
    power = max(min(int(y.value), _LARGEST_POWER), -_LARGEST_POWER)
    return out.rounded(x.value * Fraction(2) ** power, exact=True)


_BINARY: Mapping[int, Callable[[Result, Number, Number], int]] = {0xF1: _fyl2x, 0xF3: _fpatan, 0xF9: _fyl2xp1}
_FPTAN, _FSINCOS, _FSIN, _FCOS, _F2XM1, _FPREM1, _FPREM = 0xF2, 0xFB, 0xFE, 0xFF, 0xF0, 0xF5, 0xF8
_FSCALE = 0xFD
#: Bytes after D9 of the instructions computed here.
OPCODES = frozenset({*_BINARY, _FPTAN, _FSINCOS, _FSIN, _FCOS, _F2XM1, _FPREM1, _FPREM, _FSCALE})


def execute(registers: X87Registers, opcode: int) -> None:
    """Run the instruction D9 `opcode`, with operands in its registers (`emu.cpu.corrections.x87_stack`)."""
    out = Result(registers.read_register("fpcw"))
    x, y = (split(registers.read_register(name)) for name in ("st0", "st1"))
    status = registers.read_register("fpsw") & ~_C1
    if opcode in (_FPTAN, _FSINCOS, _FSIN, _FCOS):
        _trigonometric(registers, out, x, opcode, status & ~_C2)
        return
    if opcode in _BINARY:
        result = _BINARY[opcode](out, x, y)
        pop(registers, status | out.status)
        registers.write_register("st0", result)
        return
    if opcode == _F2XM1:
        result = _f2xm1(out, x, y)
    elif opcode == _FSCALE:
        result = _scale(out, x, y)
    else:
        status &= ~(_C0 | _C2 | _C3)
        result = _remainder(out, x, y, nearest=opcode == _FPREM1)
    registers.write_register("fpsw", status | out.status)
    registers.write_register("st0", result)


def _trigonometric(registers: X87Registers, out: Result, x: Number, opcode: int, status: int) -> None:
    one = 0x3FFF << 64 | 1 << 63
    if x.kind == "finite" and abs(x.value) >= _RANGE:
        registers.write_register("fpsw", status | _C2)
        return
    special = out.nan(x)
    if special is None and x.kind == "infinite":
        special = out.invalid()
    if special is not None:
        results = [special, special]
    elif x.zero:
        results = [x.bits, one]
    else:
        sine, cosine = _circular(x.value)
        if opcode == _FPTAN:
            results = [out.rounded(sine / cosine), one]
        elif opcode == _FSINCOS:
            results = [out.rounded(value) for value in (sine, cosine)]
        else:
            results = [out.rounded(sine if opcode == _FSIN else cosine)] * 2
    if opcode == _FPTAN and special is None:
        results[1] = one
    registers.write_register("fpsw", status | out.status)
    registers.write_register("st0", results[1] if opcode == _FCOS else results[0])
    if opcode in (_FPTAN, _FSINCOS):
        push(registers, results[1])


def pop(registers: X87Registers, status: int) -> None:
    top = status >> _TOP & 7
    registers.write_register("fptag", registers.read_register("fptag") | 3 << 2 * top)
    registers.write_register("fpsw", status & ~(7 << _TOP) | (top + 1 & 7) << _TOP)


def push(registers: X87Registers, value: int) -> None:
    status = registers.read_register("fpsw")
    top = (status >> _TOP & 7) - 1 & 7
    registers.write_register("fpsw", status & ~(7 << _TOP) | top << _TOP)
    registers.write_register("fptag", registers.read_register("fptag") & ~(3 << 2 * top))
    registers.write_register("st0", value)

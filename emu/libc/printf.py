"""The printf engine: formats arguments by a format string.

It follows ISO C23 7.23.6.1, and glibc for implementation-defined parts: "(nil)", "(null)", exponents and rounding;
an unknown conversion is printed unchanged.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

from emu.calls.values import WideFloat
from emu.libc.guest import Arguments
from emu.libc.ieee import Rounding, exact, format_bits
from emu.libc.real_text import decimal, exact_decimal, hexadecimal
from relink.records import dataclass

_SPEC = re.compile(
    rb"%(?:(?P<argument>\d+)\$)?(?P<flags>[-+ #0'I]*)"
    rb"(?P<width>\d+|\*(?:\d+\$)?)?(?:\.(?P<precision>-?\d+|\*(?:\d+\$)?)?)?"
    rb"(?P<length>hh|h|ll|l|q|j|z|Z|t|L)?(?P<conversion>.)?",
    re.DOTALL,
)
_DOT = re.compile(rb"%[^.a-zA-Z%]*\.")
#: The C type of each length modifier, and its bits (0: those of a word).
_LENGTHS = {
    b"hh": ("int", 8), b"h": ("int", 16), b"": ("int", 32), b"l": ("long", 0), b"ll": ("long long", 64),
    b"q": ("long long", 64), b"L": ("long long", 64), b"j": ("long long", 64), b"z": ("long", 0),
    b"Z": ("long", 0), b"t": ("long", 0),
}  # fmt: skip
_BASES = {"d": 10, "i": 10, "u": 10, "o": 8, "x": 16, "X": 16, "b": 2, "B": 2}
_PREFIXES = {"x": "0x", "X": "0X", "b": "0b", "B": "0B", "p": "0x"}
_FLOATS = frozenset("aAeEfFgG")
#: glibc returns -1 (EOVERFLOW) beyond INT_MAX; this engine does so earlier, to limit memory.
LARGEST_FIELD = 1 << 25
_MOST_PARTS = 1 << 16  # maximum number of conversions of a format
_MOST_ARGUMENTS = 4096  # NL_ARGMAX
_REMEMBERED = 1 << 12  # maximum size of a format that is cached after parsing


class FormatOverflow(Exception):
    """A width, precision or result too large: printf returns -1 with EOVERFLOW."""


class FormatFailed(Exception):
    """A conversion for which printf returns -1, after it has written the text before it."""

    before = b""


class FormatInvalid(FormatFailed):
    """The format ends inside a conversion: EINVAL."""


class FormatIllegal(FormatFailed):
    """An invalid wide character: EILSEQ."""


class FormatContext(Protocol):
    """The context of conversions besides their argument."""

    @property
    def word(self) -> int: ...
    @property
    def wide(self) -> bool:
        """Whether widths and precisions count characters (wprintf) instead of bytes; the text is UTF-8 anyway."""

    @property
    def codec(self) -> str:
        """The encoding of characters in bytes, by Python's name."""

    def bounded_string(self, address: int, limit: int) -> bytes: ...
    def wide_string(self, address: int, limit: int) -> bytes | None: ...
    def store(self, address: int, size: int, value: int) -> None: ...
    def error_message(self, *, name: bool) -> bytes:
        """That of errno, or with `name` the constant's name."""

    def rounding(self) -> Rounding: ...


@dataclass(frozen=True, slots=True)
class Spec:
    """One conversion. Widths and precisions are a number, None, or "*" with the argument's position (0: next)."""

    text: bytes
    flags: str
    width: int | None
    width_argument: int | None
    precision: int | None
    precision_argument: int | None
    length: bytes
    conversion: str
    argument: int  #: 1-based position, 0 for the next

    def take_type(self) -> str | None:
        """The C type of the argument it consumes, None if it consumes none."""
        conversion = self.conversion
        if not conversion:
            return None
        if conversion in _FLOATS:
            return "long double" if self.length in (b"L", b"ll", b"q") else "double"
        if conversion in _BASES:
            return _LENGTHS[self.length][0]
        if conversion in "cC":
            return "int"
        return "void *" if conversion in "sSpn" else None


#: A conversion inside which the format ends.
_INCOMPLETE = Spec(b"", "", None, None, None, None, b"", "", 0)


def parse(template: bytes) -> tuple[bytes | Spec, ...]:
    """The literals and conversions of a format. Raises FormatOverflow."""
    return _remembered(template) if len(template) <= _REMEMBERED else _parse(template)


@lru_cache(maxsize=1024)
def _remembered(template: bytes) -> tuple[bytes | Spec, ...]:
    return _parse(template)


def _parse(template: bytes) -> tuple[bytes | Spec, ...]:
    parts: list[bytes | Spec] = []
    position = 0
    while True:
        start = template.find(b"%", position)
        if start < 0:
            parts.append(template[position:])
            return tuple(parts)
        parts.append(template[position:start])
        match = _SPEC.match(template, start)
        assert match is not None
        if match["conversion"] is None:
            return (*parts, _INCOMPLETE)
        parts.append(_spec(match))
        if len(parts) > 2 * _MOST_PARTS:
            raise FormatOverflow
        position = match.end()


def _spec(match: re.Match[bytes]) -> Spec:
    width, width_argument = _number(match["width"])
    precision, precision_argument = _number(match["precision"])
    if match["precision"] is None and _DOT.match(match[0]):
        precision = 0
    if precision is not None and precision < 0:
        precision = None
    return Spec(
        match[0],
        match["flags"].decode(),
        width,
        width_argument,
        precision,
        precision_argument,
        match["length"] or b"",
        match["conversion"].decode("latin-1"),
        _position(match["argument"]),
    )


def _number(text: bytes | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    if text.startswith(b"*"):
        return None, _position(text[1:-1])
    if len(text) > 12:
        raise FormatOverflow
    return int(text), None


def _position(text: bytes | None) -> int:
    """The position of the argument, from 1; 0 for the next. Raises FormatOverflow beyond NL_ARGMAX."""
    if not text:
        return 0
    if len(text) > 9 or int(text) > _MOST_ARGUMENTS:
        raise FormatOverflow
    return int(text)


class _Ordered:
    """Arguments by position: all are read once, in order, as C requires for the n$ forms."""

    def __init__(self, specs: list[Spec], arguments: Arguments) -> None:
        types: dict[int, str] = {}
        for spec in specs:
            for stars in (spec.width_argument, spec.precision_argument):
                if stars:
                    types[stars] = "int"
            ctype = spec.take_type()
            if spec.argument and ctype:
                types[spec.argument] = ctype
        self.values = {n: arguments.take(types.get(n, "int")) for n in range(1, max(types, default=0) + 1)}


def format_bytes(template: bytes, arguments: Arguments, context: FormatContext) -> bytes:
    """The formatted bytes. Raises FormatOverflow, FormatInvalid or FormatIllegal when printf returns -1."""
    parts = parse(template)
    specs = [part for part in parts if isinstance(part, Spec)]
    positional = any(s.argument or s.width_argument or s.precision_argument for s in specs)
    ordered = _Ordered(specs, arguments) if positional else None
    out = bytearray()
    try:
        _append(out, parts, arguments, ordered, context)
    except FormatFailed as failed:
        failed.before = bytes(out)
        raise
    return bytes(out)


def _append(
    out: bytearray,
    parts: tuple[bytes | Spec, ...],
    arguments: Arguments,
    ordered: _Ordered | None,
    context: FormatContext,
) -> None:

    def take(position: int, ctype: str) -> int | float:
        return ordered.values[position] if ordered and position else arguments.take(ctype)

    for part in parts:
        if isinstance(part, bytes):
            out += part
            continue
        if part is _INCOMPLETE:
            raise FormatInvalid
        flags, width, precision = part.flags, part.width, part.precision
        if part.width_argument is not None:
            width = int(take(part.width_argument, "int"))
            if width < 0:
                flags, width = flags + "-", -width
        if part.precision_argument is not None:
            taken = int(take(part.precision_argument, "int"))
            precision = taken if taken >= 0 else None
        if max(width or 0, precision or 0) > LARGEST_FIELD:
            raise FormatOverflow
        ctype = part.take_type()
        value = take(part.argument, ctype) if ctype else 0
        if part.conversion == "n":
            length = len(out.decode(errors="replace")) if context.wide else len(out)
            context.store(int(value), (_LENGTHS[part.length][1] or context.word * 8) // 8, length)
            continue
        out += _convert(part, flags, width or 0, precision, value, context)
        if len(out) > LARGEST_FIELD:
            raise FormatOverflow


def _convert(
    spec: Spec, flags: str, width: int, precision: int | None, value: int | float, context: FormatContext
) -> bytes:
    conversion = spec.conversion
    if conversion == "%":
        return b"%"
    if conversion in _FLOATS:
        return _float(conversion, flags, width, precision, value, context)
    if conversion in _BASES:
        bits = _LENGTHS[spec.length][1] or context.word * 8
        return _integer(conversion, flags, width, precision, int(value), bits)
    if conversion == "p":
        if not value:
            return _pad(b"(nil)", flags, width)
        return _integer("p", flags + "#", width, precision, int(value), 64)
    if conversion == "m":
        return _pad(_cut(context.error_message(name="#" in flags), precision), flags, width)
    if conversion in "cC":
        if conversion == "C" or spec.length == b"l":
            return _pad_text(_wide_character(int(value), context), flags, width, context)
        return _pad(_character(int(value) & 255, context), flags, width)
    if conversion in "sS":
        return _pad_text(_string(spec, precision, int(value), context), flags, width, context)
    return spec.text


def _cut(text: bytes, precision: int | None) -> bytes:
    return text if precision is None else text[:precision]


def _character(byte: int, context: FormatContext) -> bytes:
    """The output of %c; in wide output the byte must be a character."""
    if context.wide and byte > 0x7F:
        raise FormatIllegal
    return bytes([byte])


def _wide_character(unit: int, context: FormatContext) -> bytes:
    try:
        return chr(unit & 0xFFFF_FFFF).encode("utf-8" if context.wide else context.codec)
    except (ValueError, OverflowError, UnicodeEncodeError):
        raise FormatIllegal from None


def _string(spec: Spec, precision: int | None, address: int, context: FormatContext) -> bytes:
    if not address:
        return b"(null)" if precision is None or precision >= 6 else b""
    if spec.conversion == "S" or spec.length == b"l":
        text = context.wide_string(address, LARGEST_FIELD + 1 if precision is None else precision)
        if text is None:
            raise FormatIllegal
        if context.wide:
            return text.decode()[:precision].encode()
        # Precision counts bytes; a character that does not fit completely is omitted.
        return text if precision is None else text[:precision].decode(errors="ignore").encode()
    limit = LARGEST_FIELD + 1 if precision is None else precision
    text = context.bounded_string(address, 4 * limit if context.wide else limit)
    if len(text) > LARGEST_FIELD:
        raise FormatOverflow
    return _characters(text, precision, context.codec) if context.wide else text


def _characters(text: bytes, count: int | None, codec: str) -> bytes:
    """The first `count` characters, in UTF-8. Raises FormatIllegal when the bytes are none in the encoding."""
    whole = text.decode(codec, errors="surrogateescape")[:count]
    if any("\udc80" <= c <= "\udcff" for c in whole):
        raise FormatIllegal
    return whole.encode()


def _pad_text(text: bytes, flags: str, width: int, context: FormatContext) -> bytes:
    if context.wide:
        width += len(text) - len(text.decode())  # bytes that are not characters of their own
    return _pad(text, flags, width)


def _pad(text: bytes, flags: str, width: int) -> bytes:
    return text.ljust(width) if "-" in flags else text.rjust(width)


def _integer(conversion: str, flags: str, width: int, precision: int | None, value: int, bits: int) -> bytes:
    value &= (1 << bits) - 1
    sign = ""
    if conversion in "di" and value >> (bits - 1):
        value = (1 << bits) - value
        sign = "-"
    if conversion in "dip" and not sign:
        sign = "+" if "+" in flags else " " if " " in flags else ""
    digits = _digits(value, "x" if conversion == "p" else conversion)
    if precision is not None:
        digits = "" if precision == 0 and value == 0 else digits.rjust(precision, "0")
    if "#" in flags:
        if conversion == "o" and not digits.startswith("0"):
            digits = "0" + digits
        elif value:
            sign += _PREFIXES.get(conversion, "")
    return _number_field(sign, digits, flags, width, zero_fill=precision is None)


def _digits(value: int, conversion: str) -> str:
    base = _BASES[conversion]
    if base == 10:
        return str(value)
    text = format(value, {8: "o", 16: "x", 2: "b"}[base])
    return text.upper() if conversion == "X" else text


def _number_field(sign: str, digits: str, flags: str, width: int, *, zero_fill: bool) -> bytes:
    if zero_fill and "0" in flags and "-" not in flags:
        digits = digits.rjust(width - len(sign), "0")
    return _pad((sign + digits).encode(), flags, width)


def _float(
    conversion: str, flags: str, width: int, precision: int | None, value: float, context: FormatContext
) -> bytes:
    sign = "-" if math.copysign(1, value) < 0 else "+" if "+" in flags else " " if " " in flags else ""
    number = exact(value)
    if isinstance(number, float) and number:  # infinities and NaNs
        text = "nan" if math.isnan(number) else "inf"
        return _number_field(sign, text.upper() if conversion.isupper() else text, flags, width, zero_fill=False)
    alternate = "#" in flags
    if conversion in "aA":
        bits, form = format_bits(value)
        text = hexadecimal(bits & ~form.sign_bit, form, precision, _direction(sign, context), point=alternate)
        sign, text = sign + "0x", text[2:]
        if conversion == "A":
            sign, text = sign.upper(), text.upper()
    else:
        digits = 6 if precision is None else precision
        text = _decimal(conversion, digits, value, abs(Fraction(number)), _direction(sign, context), alternate)
    return _number_field(sign, text, flags, width, zero_fill=True)


def _direction(sign: str, context: FormatContext) -> Rounding:
    return context.rounding().reversed(sign == "-")


def _decimal(
    conversion: str, precision: int, value: float, number: Fraction, rounding: Rounding, alternate: bool
) -> str:
    if isinstance(value, WideFloat) or rounding is not Rounding.NEAREST:
        return exact_decimal(number, conversion, precision, rounding, alternate=alternate)
    return decimal(abs(value), conversion, precision, alternate=alternate)

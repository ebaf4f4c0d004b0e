"""The scanf engine: a format and a stream of bytes assign through guest pointers (ISO C23 7.23.6.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from emu.errors import GuestAbort
from emu.libc.parse import SPACE, parse_integer, parse_real
from relink.records import dataclass

_SPEC = re.compile(
    rb"%(?:(?P<argument>\d+)\$)?(?P<star>\*)?'?(?P<width>\d+)?(?P<allocate>m)?"
    rb"(?P<length>hh|h|ll|l|q|j|z|t|L)?(?P<conversion>\[\^?\]?[^\]]*\]|.)?",
    re.DOTALL,
)
_BASES = {"d": 10, "i": 0, "u": 10, "o": 8, "x": 16, "X": 16, "p": 16, "b": 2}
_SIZES = {b"hh": 1, b"h": 2, b"": 4, b"l": 0, b"ll": 8, b"q": 8, b"L": 8, b"j": 8, b"z": 0, b"t": 0}
_EOF = -1
_LONGEST = 1 << 24  #: maximum size of a field in bytes; it is kept in host memory
_MOST_ARGUMENTS = 4096  #: NL_ARGMAX


class Source(Protocol):
    """Bytes to scan: `peek` returns the next (-1 at the end), `next` consumes it."""

    def peek(self) -> int: ...
    def next(self) -> int: ...


class Target(Protocol):
    """Receives the values of conversions."""

    @property
    def word(self) -> int: ...
    def next_pointer(self, position: int) -> int: ...
    def store(self, address: int, size: int, value: int) -> None: ...
    def store_real(self, address: int, length: bytes, text: bytes) -> None: ...
    def store_bytes(self, address: int, data: bytes) -> None: ...
    def wide(self, data: bytes) -> bytes | None:
        """The wchar_t values of the input's characters; None for invalid ones."""

    def narrow(self, data: bytes) -> bytes | None:
        """The input's characters as bytes in the locale's encoding; None for those that it lacks."""

    def allocate(self, data: bytes) -> int: ...
    def out_of_range(self) -> None:
        """An integer did not fit: errno is ERANGE, as after strtol."""


@dataclass(frozen=True, slots=True)
class _Spec:
    argument: int
    suppressed: bool
    width: int | None
    allocate: bool
    length: bytes
    conversion: bytes


class _Counted:
    """Counts consumed bytes (with `characters`, UTF-8 characters) and stops after a field's width."""

    def __init__(self, source: Source, *, characters: bool) -> None:
        self._source = source
        self.characters = characters
        self.taken = 0
        self.field = 1 << 62

    def _goes_on(self, byte: int) -> bool:
        """Whether a byte continues the previous character."""
        return self.characters and byte & 0xC0 == 0x80

    def peek(self) -> int:
        if self.field > 0:
            return self._source.peek()
        byte = self._source.peek() if self.characters else _EOF
        return byte if self._goes_on(byte) and byte != _EOF else _EOF

    def next(self) -> int:
        byte = self._source.next()
        counted = not self._goes_on(byte)
        self.taken += byte != _EOF and counted
        self.field -= counted
        return byte

    def take_while(self, wanted: Callable[[int], bool]) -> bytes:
        out = bytearray()
        while (byte := self.peek()) != _EOF and wanted(byte):
            out.append(self.next())
            if len(out) > _LONGEST:
                raise GuestAbort(f"scanf: a field of more than {_LONGEST} bytes")
        return bytes(out)

    def skip_space(self) -> None:
        """Consume white space."""
        while (byte := self.peek()) != _EOF and byte in SPACE:
            self.next()

    def take(self, letters: bytes) -> bytes:
        """Consume the next byte if it is one of `letters`, else return nothing."""
        byte = self.peek()
        return bytes([self.next()]) if byte != _EOF and byte in letters else b""


def scan(template: bytes, source: Source, target: Target, *, wide: bool = False) -> int:
    """The number of assignments, or -1 (EOF) if the input ended before the first, as glibc counts.

    With `wide`, widths count characters, as in wscanf, and the format is UTF-8.
    """
    reader = _Counted(source, characters=wide)
    assigned = 0
    position = 0
    while position < len(template):
        byte = template[position]
        reader.field = 1 << 62
        if byte in SPACE:
            reader.skip_space()
            position += 1
            continue
        match = _SPEC.match(template, position)
        if match is None or match["conversion"] == b"%":
            if match is not None:
                reader.skip_space()
            if reader.peek() != byte:
                return -1 if reader.peek() == _EOF and not assigned else assigned
            reader.next()
            position = match.end() if match else position + 1
            continue
        if match["conversion"] is None:
            return assigned
        spec = _Spec(
            _count(match["argument"]),
            bool(match["star"]),
            _count(match["width"]) or None,
            bool(match["allocate"]),
            match["length"] or b"",
            match["conversion"],
        )
        if spec.argument > _MOST_ARGUMENTS:
            return assigned
        position = match.end()
        outcome = _convert(spec, reader, target)
        if outcome is None:
            return assigned
        if outcome == _EOF:
            return assigned or -1
        if spec.conversion != b"n":
            assigned += not spec.suppressed
    return assigned


def _count(digits: bytes | None) -> int:
    """Parse a width or position, limited to a maximum."""
    return 0 if not digits else int(digits) if len(digits) < 10 else 1 << 31


def _convert(spec: _Spec, reader: _Counted, target: Target) -> int | None:
    """1 done, -1 the input had ended, None a mismatch."""
    conversion = chr(spec.conversion[0])
    if conversion == "n":
        if not spec.suppressed:
            target.store(target.next_pointer(spec.argument), _SIZES[spec.length] or target.word, reader.taken)
        return 1
    if conversion not in "c[C":
        reader.skip_space()
    if reader.peek() == _EOF:
        return _EOF
    if spec.width:
        reader.field = spec.width
    if conversion in _BASES:
        return _integer(spec, conversion, reader, target)
    if conversion in "aAeEfFgG":
        text = _real_text(reader)
        if parse_real(text).consumed != len(text) or not text:
            return None
        if not spec.suppressed:
            target.store_real(target.next_pointer(spec.argument), spec.length, text)
        return 1
    return _characters(spec, conversion, reader, target)


def _characters(spec: _Spec, conversion: str, reader: _Counted, target: Target) -> int | None:
    terminator = b"\0"
    as_wide = spec.length in (b"l", b"ll") or conversion in "SC"
    if conversion in "cC":
        counts_bytes, reader.characters = reader.characters, reader.characters or as_wide
        reader.field = spec.width or 1
        data = reader.take_while(lambda byte: True)  # as many as there are, as in glibc
        terminator = b""
        reader.characters = counts_bytes
        if not data:
            return _EOF
    elif conversion in "sS":
        data = reader.take_while(lambda byte: byte not in SPACE)
    elif conversion == "[":
        members, inverted = _scan_set(spec.conversion)
        data = reader.take_while(lambda byte: (byte in members) != inverted)
        if not data:
            return None
    else:
        return None
    converted = (target.wide if as_wide else target.narrow)(data + terminator)
    if converted is None:
        return None
    if not spec.suppressed:
        pointer = target.next_pointer(spec.argument)
        if spec.allocate:
            target.store(pointer, target.word, target.allocate(converted))
        else:
            target.store_bytes(pointer, converted)
    return 1


def _scan_set(text: bytes) -> tuple[frozenset[int], bool]:
    body = text[1:-1]
    inverted = body.startswith(b"^")
    body = body[inverted:]
    members: set[int] = set()
    index = 0
    while index < len(body):
        if index + 2 < len(body) and body[index + 1] == ord("-") and body[index] <= body[index + 2]:
            members.update(range(body[index], body[index + 2] + 1))
            index += 3
        else:
            members.add(body[index])
            index += 1
    return frozenset(members), inverted


def _integer(spec: _Spec, conversion: str, reader: _Counted, target: Target) -> int | None:
    base = _BASES[conversion]
    if conversion == "p" and reader.peek() == ord("("):
        if reader.take_while(lambda byte: byte in b"(nil)") != b"(nil)":
            return None
        text, value = b"0", 0
    else:
        text = _integer_text(reader, base)
        number = parse_integer(text, base)
        value = number.value
        if not number.consumed:
            return None
    size = target.word if conversion == "p" else _SIZES[spec.length] or target.word
    fitting = _clamped(value, conversion, 8 * max(size, target.word))
    if fitting != value:
        target.out_of_range()
    if not spec.suppressed:
        target.store(target.next_pointer(spec.argument), size, fitting)
    return 1


def _clamped(value: int, conversion: str, bits: int) -> int:
    # glibc uses strtol (or strtoll) and truncates the result to the target's size.
    if conversion in "di":
        return min(max(value, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)
    return value if abs(value) < 1 << bits else (1 << bits) - 1


def _integer_text(reader: _Counted, base: int) -> bytes:
    """Read the longest prefix of an integer from the stream."""
    text = b""
    if reader.peek() in b"+-":
        text += bytes([reader.next()])
    digits = b"0123456789abcdef"
    if reader.peek() == ord("0") and base in (0, 16):
        text += bytes([reader.next()])
        if reader.peek() in (ord("x"), ord("X")):
            text += bytes([reader.next()])
            base = 16
        elif base == 0:
            base = 8
    allowed = digits[: base or 10]
    return text + reader.take_while(lambda byte: byte in allowed or byte in allowed.upper())


def _real_text(reader: _Counted) -> bytes:
    """Read a floating-point number from the stream. As in glibc an exponent without digits is read and is none."""
    text = reader.take(b"+-")
    for word in (b"infinity", b"nan"):
        if (first := reader.take(bytes([word[0]]) + bytes([word[0]]).upper())) != b"":
            return text + first + _word_text(reader, word)
    digits, exponent = b"0123456789", b"eE"
    if (zero := reader.take(b"0")) != b"":
        text += zero
        if (letter := reader.take(b"xX")) != b"":
            text, zero, digits, exponent = text + letter, b"", b"0123456789abcdefABCDEF", b"pP"
    whole = reader.take_while(digits.__contains__)
    point = reader.take(b".")
    fraction = reader.take_while(digits.__contains__) if point else b""
    text += whole + point + fraction
    if (zero or whole or fraction) and (letter := reader.take(exponent)) != b"":
        sign, exponent_digits = reader.take(b"+-"), reader.take_while(b"0123456789".__contains__)
        text += letter + sign + exponent_digits if exponent_digits else b""
    return text


def _word_text(reader: _Counted, word: bytes) -> bytes:
    """Read the rest of "infinity" or "nan", as far as it matches."""
    text = b""
    for letter in word[1:]:
        if (taken := reader.take(bytes([letter]) + bytes([letter]).upper())) == b"":
            return text
        text += taken
    if word == b"nan" and (opened := reader.take(b"(")) != b"":
        text += (
            opened + reader.take_while(lambda byte: chr(byte).isalnum() or byte == ord("_")) + reader.take(b")")
        )
    return text

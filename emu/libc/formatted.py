"""The printf and scanf families: the engines of `printf` and `scanf` with guest arguments and memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc import filesystem as fs
from emu.libc.encoding import codec, encoded
from emu.libc.errno import Errno, error_name, message
from emu.libc.fenv import rounding
from emu.libc.guest import Arguments
from emu.libc.ieee import DOUBLE, QUAD, SINGLE, Rounding, float_of, long_double
from emu.libc.memory import overflow_abort
from emu.libc.obstack import append
from emu.libc.open_streams import (
    END_SEEN,
    Stream,
    clear_marks,
    find_stream,
    read_stream,
    standard_stream,
    write_stream,
)
from emu.libc.parse import parse_real
from emu.libc.printf import LARGEST_FIELD, FormatFailed, FormatInvalid, FormatOverflow, format_bytes
from emu.libc.scanf import scan
from emu.libc.stdio import EOF
from emu.libc.table import long_double_by_value, register
from emu.libc.wide import encode_wide, read_wide

if TYPE_CHECKING:
    from emu.libc.library import Libc

# ---------------------------------------------------------------- printf


class LibcContext:
    """The guest data that conversions need."""

    wide = False

    def __init__(self, libc: Libc) -> None:
        self._libc = libc
        self.word = libc.word
        self.bounded_string = libc.bounded_string

    def wide_string(self, address: int, limit: int) -> bytes | None:
        units = read_wide(self._libc, address, limit)
        return encode_wide(units) if self.wide else encoded(self._libc, units)

    def store(self, address: int, size: int, value: int) -> None:
        self._libc.memory.write_uint(address, size, value & ((1 << 8 * size) - 1))

    def error_message(self, *, name: bool) -> bytes:
        error = self._libc.errno
        return error_name(error) or b"%d" % error if name else message(error)

    @property
    def codec(self) -> str:
        return codec(self._libc)

    def rounding(self) -> Rounding:
        return rounding(self._libc)


class Unfinished(bytes):
    """The text before a conversion that failed: printf writes it, and returns -1."""


def formatted(libc: Libc, template: int, arguments: Arguments) -> bytes | None:
    """The text, or None with errno set."""
    return formatted_text(libc, libc.bounded_string(template, LARGEST_FIELD + 1), arguments, LibcContext(libc))


def formatted_text(libc: Libc, template: bytes, arguments: Arguments, context: LibcContext) -> bytes | None:
    """`formatted` for a format that has been read from the guest; None with errno set."""
    try:
        if len(template) > LARGEST_FIELD:
            raise FormatOverflow
        return format_bytes(template, arguments, context)
    except FormatOverflow:
        libc.errno = Errno.EOVERFLOW
    except FormatFailed as failed:
        libc.errno = Errno.EINVAL if isinstance(failed, FormatInvalid) else Errno.EILSEQ
        return Unfinished(failed.before)
    return None


def _to_standard_output(libc: Libc, text: bytes) -> int:
    return write_stream(libc, standard_stream(libc, 1), text)


def _to_descriptor(libc: Libc, number: int, text: bytes) -> int:
    try:
        return fs.file_system(libc).get(number).write(text)
    except fs.FileError as error:
        return libc.fail(error.errno)


def _to_string(libc: Libc, dest: int, text: bytes) -> int:
    libc.put_string(dest, text)
    return len(text)


def _to_bounded_string(libc: Libc, dest: int, size: int, text: bytes) -> int:
    if size:
        libc.put_string(dest, text[: size - 1])
    return len(text)


def _to_new_string(libc: Libc, result: int, text: bytes) -> int:
    if isinstance(text, Unfinished):
        return -1
    address = libc.new_string(text)
    libc.set_pointer(result, address)
    return len(text) if address else -1


#: name -> (leading parameters, where the text goes)
_PRINTF: dict[str, tuple[tuple[str, ...], Callable[..., int]]] = {
    "printf": ((), _to_standard_output),
    "fprintf": (("void *stream",), write_stream),
    "dprintf": (("int number",), _to_descriptor),
    "sprintf": (("char *dest",), _to_string),
    "snprintf": (("char *dest", "size_t size"), _to_bounded_string),
    "asprintf": (("char **result",), _to_new_string),
    "obstack_printf": (("void *stack",), append),
}


def _printf(leading: int, sink: Callable[..., int]) -> Callable[..., int]:
    def call(libc: Libc, *args: int | Arguments) -> int:
        template, arguments = args[leading:]
        assert isinstance(template, int)
        assert not isinstance(arguments, int)
        text = formatted(libc, template, arguments)
        return -1 if text is None else written(text, sink(libc, *args[:leading], text))

    return call


def written(text: bytes, result: int) -> int:
    """What a function of the family returns when `result` is what writing the text has returned."""
    return -1 if isinstance(text, Unfinished) else result


def _fortified_printf(name: str, leading: int, sink: Callable[..., int]) -> Callable[..., int]:
    bounded = name in ("sprintf", "snprintf")  # these have the object's size as a parameter after the flag

    def call(libc: Libc, *args: int | Arguments) -> int:
        template, arguments = args[leading + 1 + bounded :]
        assert isinstance(template, int)
        assert not isinstance(arguments, int)
        text = formatted(libc, template, arguments)
        if text is None:
            return -1
        if bounded:
            room, needed = args[leading + 1], args[1] if name == "snprintf" else len(text) + 1
            assert isinstance(room, int)
            assert isinstance(needed, int)
            if needed > room:
                raise overflow_abort(needed, room, name)
        return written(text, sink(libc, *args[:leading], text))

    return call


def _export_printf_family() -> None:
    for name, (leading, sink) in _PRINTF.items():
        plain = _printf(len(leading), sink)
        fortified = _fortified_printf(name, len(leading), sink)
        object_size = ("size_t room",) if name in ("sprintf", "snprintf") else ()
        for prefix, last in (("", "..."), ("v", "va_list arguments")):
            tail = ("const char *format", last)
            stem, underscore, function = name.rpartition("_")
            spelled = f"{stem}{underscore}{prefix}{function}"
            register(spelled, f"int {spelled}({', '.join((*leading, *tail))})", plain)
            checked = f"__{spelled}_chk"
            parameters = (*leading, "int flag", *object_size, *tail)
            register(checked, f"int {checked}({', '.join(parameters)})", fortified)


_export_printf_family()

# ---------------------------------------------------------------- scanf


_LOOK = 1 << 14  #: bytes scanned between two checks of the budget


class StringSource:
    """Scans a guest string, reading only as far as the conversions need."""

    def __init__(self, libc: Libc, address: int) -> None:
        self._pieces = libc.memory.until(address, 0, 1 << 64)
        self._check_budget = libc.check_budget
        self._data = b""
        self._position = self._taken = 0

    def peek(self) -> int:
        while self._position == len(self._data):
            piece = next(self._pieces, None)
            if piece is None:
                return EOF
            self._data, self._position = piece, 0
        return self._data[self._position]

    def next(self) -> int:
        byte = self.peek()
        if byte != EOF:
            self._position += 1
            self._taken += 1
            if not self._taken % _LOOK:
                self._check_budget()
        return byte


class StreamSource:
    """Scans a stream, one byte ahead at most."""

    def __init__(self, libc: Libc, stream: Stream) -> None:
        self._libc = libc
        self._stream = stream
        self._ahead: int | None = None
        self._taken = 0

    def peek(self) -> int:
        if self._ahead is None:
            data = read_stream(self._libc, self._stream, 1)
            self._ahead = data[0] if data else EOF
        return self._ahead

    def next(self) -> int:
        byte = self.peek()
        if byte != EOF:
            self._ahead = None
            self._taken += 1
            if not self._taken % _LOOK:
                self._libc.check_budget()
        return byte

    def finish(self) -> None:
        """Return a byte that was read ahead to the stream."""
        if self._ahead is not None and self._ahead != EOF:
            self._stream.pushed_back.insert(0, self._ahead)
            clear_marks(self._libc, self._stream, END_SEEN)


class PointerTarget:
    """Assigns through the pointers of an argument list.

    The input is in the locale's encoding, or in `encoding` (Python's name) where that is given.
    """

    def __init__(self, libc: Libc, arguments: Arguments, encoding: str | None = None) -> None:
        self._libc, self._encoding = libc, encoding
        self._arguments = arguments
        self._taken: list[int] = []
        self.word = libc.word

    def next_pointer(self, position: int) -> int:
        if not position:
            return int(self._arguments.take("void *"))
        while len(self._taken) < position:
            self._taken.append(int(self._arguments.take("void *")))
        return self._taken[position - 1]

    def store(self, address: int, size: int, value: int) -> None:
        self._libc.memory.write_uint(address, size, value & ((1 << 8 * size) - 1))

    def store_real(self, address: int, length: bytes, text: bytes) -> None:
        form = {b"l": DOUBLE, b"L": long_double(self._libc.isa.data)[0]}.get(length, SINGLE)
        value = parse_real(text).value
        bits = form.round(value, rounding(self._libc))
        if isinstance(value, float) and math.copysign(1, value) < 0:  # rounding gives no NaN a sign
            bits |= form.sign_bit
        self._libc.memory.write(address, bits.to_bytes(form.size, "little"))

    def store_bytes(self, address: int, data: bytes) -> None:
        self._libc.memory.write(address, data)

    def out_of_range(self) -> None:
        self._libc.errno = Errno.ERANGE

    def wide(self, data: bytes) -> bytes | None:
        try:
            return data.decode(self._encoding or codec(self._libc)).encode("utf-32-le")
        except UnicodeDecodeError:
            self._libc.errno = Errno.EILSEQ
            return None

    def narrow(self, data: bytes) -> bytes | None:
        try:
            return data if self._encoding is None else data.decode(self._encoding).encode(codec(self._libc))
        except UnicodeError:
            self._libc.errno = Errno.EILSEQ
            return None

    def allocate(self, data: bytes) -> int:
        address = self._libc.heap.malloc(len(data))
        if address:
            self._libc.memory.write(address, data)
        return address


def _sscanf(libc: Libc, text: int, template: int, arguments: Arguments) -> int:
    return scan(_scan_format(libc, template), StringSource(libc, text), PointerTarget(libc, arguments))


_LONGEST_FORMAT = 1 << 16


def _scan_format(libc: Libc, template: int) -> bytes:
    text = libc.bounded_string(template, _LONGEST_FORMAT + 1)
    if len(text) > _LONGEST_FORMAT:
        raise GuestAbort(f"scanf with a format of more than {_LONGEST_FORMAT} bytes")
    return text


def _fscanf(libc: Libc, stream: int, template: int, arguments: Arguments) -> int:
    source = StreamSource(libc, find_stream(libc, stream))
    try:
        return scan(_scan_format(libc, template), source, PointerTarget(libc, arguments))
    finally:
        source.finish()


def _scanf(libc: Libc, template: int, arguments: Arguments) -> int:
    return _fscanf(libc, standard_stream(libc, 0), template, arguments)


def _export_scanf_family() -> None:
    for stem, lead, call in (
        ("sscanf", "const char *text, ", _sscanf),
        ("fscanf", "void *stream, ", _fscanf),
        ("scanf", "", _scanf),
    ):
        for prefix, last in (("", "..."), ("v", "va_list arguments")):
            for name in (f"{prefix}{stem}", f"__isoc99_{prefix}{stem}", f"__isoc23_{prefix}{stem}"):
                register(name, f"int {name}({lead}const char *format, {last})", call)


_export_scanf_family()


# ---------------------------------------------------------------- strfromd


_NUMBER_FORMAT = re.compile(rb"%(?:\.\d*)?[aAeEfFgG]")


class _Single:
    """The one argument of a conversion."""

    def __init__(self, value: float) -> None:
        self._value = value

    def take(self, ctype: str) -> float:
        return self._value


def _strfrom(libc: Libc, dest: int, size: int, template: int, value: float) -> int:
    """ISO C23 7.24.1.3: snprintf of one number, with a precision at most. Raises GuestAbort for other formats."""
    text = libc.bounded_string(template, _LONGEST_NUMBER_FORMAT)
    if not _NUMBER_FORMAT.fullmatch(text):
        raise GuestAbort(f"strfromd, strfromf or strfroml with the format {text!r}: it must be one of a number")
    shown = formatted_text(libc, text, _Single(value), LibcContext(libc))
    return -1 if shown is None else _to_bounded_string(libc, dest, size, shown)


_LONGEST_NUMBER_FORMAT = 32
for _name, _type, _on in (
    ("strfromd", "double", None),
    ("strfromf", "float", None),
    ("strfroml", "long double", long_double_by_value),
):
    register(_name, f"int {_name}(char *dest, size_t size, const char *format, {_type} value)", _strfrom, _on)
register(
    "strfroml",
    "int strfroml(char *dest, size_t size, const char *format, const void *value)",
    lambda libc, dest, size, template, value: _strfrom(
        libc, dest, size, template, float_of(libc.memory.read_uint(value, QUAD.size), QUAD)
    ),
    lambda isa: not isa.long_double_by_value,
)

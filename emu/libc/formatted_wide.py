"""The wprintf and wscanf families, and lines of wide characters: the engines of `printf` and `scanf` on UTF-8.

Wide streams are written and read in the locale's encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.formatted import LibcContext, PointerTarget, StreamSource, formatted_text, written
from emu.libc.guest import Arguments
from emu.libc.memory import overflow_abort
from emu.libc.open_streams import find_stream, standard_stream, write_characters
from emu.libc.scanf import scan
from emu.libc.stdio import EOF
from emu.libc.table import export, register
from emu.libc.wide import encode_wide, read_wide, write_wide

if TYPE_CHECKING:
    from emu.libc.library import Libc


class WideContext(LibcContext):
    """The guest data for conversions; widths and precisions count characters."""

    wide = True


def _formatted(libc: Libc, template: int, arguments: Arguments) -> bytes | None:
    """The text in UTF-8, or None with errno set."""
    text = encode_wide(read_wide(libc, template))
    if text is None:
        libc.errno = Errno.EILSEQ
        return None
    return formatted_text(libc, text, arguments, WideContext(libc))


def _print(libc: Libc, stream: int, text: bytes) -> int:
    characters = text.decode()
    return -1 if write_characters(libc, stream, characters) < 0 else len(characters)


def _print_standard(libc: Libc, text: bytes) -> int:
    return _print(libc, standard_stream(libc, 1), text)


def _store(libc: Libc, dest: int, size: int, text: bytes) -> int:
    """Unlike snprintf, returns -1 when the text does not fit (ISO C23 7.29.2.3; glibc, E2BIG since 2.37)."""
    units = [ord(character) for character in text.decode()]
    if not size:
        return -1
    write_wide(libc, dest, [*units[: size - 1], 0])
    return len(units) if len(units) < size else libc.fail(Errno.EOVERFLOW)


#: name -> (leading parameters, where the text goes)
_PRINTF: dict[str, tuple[tuple[str, ...], Callable[..., int]]] = {
    "wprintf": ((), _print_standard),
    "fwprintf": (("void *stream",), _print),
    "swprintf": (("wchar_t *dest", "size_t size"), _store),
}


def _printer(leading: int, sink: Callable[..., int], *, checked: bool, bounded: bool) -> Callable[..., int]:
    def call(libc: Libc, *args: int | Arguments) -> int:
        *before, template, arguments = args
        assert isinstance(template, int)
        assert not isinstance(arguments, int)
        if checked and bounded:
            size, room = before[1], before[3]
            assert isinstance(size, int)
            assert isinstance(room, int)
            if size > room:
                raise overflow_abort(size, room, "swprintf")
        text = _formatted(libc, template, arguments)
        return -1 if text is None else written(text, sink(libc, *before[:leading], text))

    return call


def _export_printf_family() -> None:
    for name, (leading, sink) in _PRINTF.items():
        bounded = name == "swprintf"
        for prefix, last in (("", "..."), ("v", "va_list arguments")):
            tail = ("const wchar_t *format", last)
            for checked in (False, True):
                full = f"__{prefix}{name}_chk" if checked else prefix + name
                extra = ("int flag", *(("size_t room",) if bounded else ())) if checked else ()
                call = _printer(len(leading), sink, checked=checked, bounded=bounded)
                register(full, f"int {full}({', '.join((*leading, *extra, *tail))})", call)


_export_printf_family()

# ---------------------------------------------------------------- scanf


class _Text:
    """Scans bytes in host memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def peek(self) -> int:
        return self._data[self._position] if self._position < len(self._data) else EOF

    def next(self) -> int:
        byte = self.peek()
        self._position += byte != EOF
        return byte


def _scan(libc: Libc, source: _Text | StreamSource, template: int, target: PointerTarget) -> int:
    return scan(encode_wide(read_wide(libc, template)) or b"", source, target, wide=True)


def _swscanf(libc: Libc, text: int, template: int, arguments: Arguments) -> int:
    source = _Text(encode_wide(read_wide(libc, text)) or b"")
    return _scan(libc, source, template, PointerTarget(libc, arguments, encoding="utf-8"))


def _fwscanf(libc: Libc, stream: int, template: int, arguments: Arguments) -> int:
    source = StreamSource(libc, find_stream(libc, stream))
    try:
        return _scan(libc, source, template, PointerTarget(libc, arguments))
    finally:
        source.finish()


def _wscanf(libc: Libc, template: int, arguments: Arguments) -> int:
    return _fwscanf(libc, standard_stream(libc, 0), template, arguments)


for _stem, _lead, _call in (
    ("swscanf", "const wchar_t *text, ", _swscanf),
    ("fwscanf", "void *stream, ", _fwscanf),
    ("wscanf", "", _wscanf),
):
    for _prefix, _last in (("", "..."), ("v", "va_list arguments")):
        for _name in (f"{_prefix}{_stem}", f"__isoc99_{_prefix}{_stem}", f"__isoc23_{_prefix}{_stem}"):
            register(_name, f"int {_name}({_lead}const wchar_t *format, {_last})", _call)

# ---------------------------------------------------------------- lines


@export("int fputws(const wchar_t *text, void *stream)", alias=("fputws_unlocked",))
def fputws(libc: Libc, text: int, stream: int) -> int:
    data = encode_wide(read_wide(libc, text))
    if data is None:
        return libc.fail(Errno.EILSEQ)
    return -1 if _print(libc, stream, data) < 0 else 1


@export("int fwide(void *stream, int mode)")
def fwide(libc: Libc, stream: int, mode: int) -> int:
    """Streams accept both kinds of output, so the requested orientation is returned."""
    find_stream(libc, stream)
    return (mode > 0) - (mode < 0)


@export("wchar_t *fgetws(wchar_t *text, int n, void *stream)", alias=("fgetws_unlocked",))
def fgetws(libc: Libc, text: int, n: int, stream: int) -> int:
    from emu.libc.locale import WEOF, getwc

    units: list[int] = []
    while len(units) < n - 1 and (unit := getwc(libc, stream)) != WEOF:
        units.append(unit)
        if unit == 10:
            break
    if n <= 0 or (not units and n > 1):
        return 0
    write_wide(libc, text, [*units, 0])
    return text

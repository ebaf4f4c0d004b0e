"""err, warn and related functions: messages on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.environment import called_as
from emu.libc.errno import error_name, message
from emu.libc.filesystem import PATH_MAX
from emu.libc.formatted import formatted
from emu.libc.guest import Arguments
from emu.libc.open_streams import standard_stream, write_stream
from emu.libc.process import exit_
from emu.libc.signal_numbers import name_of
from emu.libc.strings import SIGNAL_TEXTS
from emu.libc.table import export
from emu.libc.texts import constant_text

if TYPE_CHECKING:
    from emu.libc.library import Libc

_SIGPOLL = 29  #: SIGIO by its other name


@export("const char *strerrorname_np(int number)")
def strerrorname_np(libc: Libc, number: int) -> int:
    name = error_name(number)
    return constant_text(libc, name) if name else 0


@export("const char *strerrordesc_np(int number)")
def strerrordesc_np(libc: Libc, number: int) -> int:
    return constant_text(libc, message(number)) if error_name(number) else 0


@export("const char *sigabbrev_np(int number)")
def sigabbrev_np(libc: Libc, number: int) -> int:
    if not 0 < number <= len(SIGNAL_TEXTS):
        return 0
    return constant_text(libc, b"POLL" if number == _SIGPOLL else name_of(number).removeprefix("SIG").encode())


@export("const char *sigdescr_np(int number)")
def sigdescr_np(libc: Libc, number: int) -> int:
    return constant_text(libc, SIGNAL_TEXTS[number - 1].encode()) if 0 < number <= len(SIGNAL_TEXTS) else 0


def _report(libc: Libc, template: int, arguments: Arguments, *, error: bool) -> None:
    text = formatted(libc, template, arguments) or b"" if template else b""
    suffix = b": " + message(libc.errno) if error else b""
    called = called_as(libc).rpartition(b"/")[2]
    write_stream(libc, standard_stream(libc, 2), called + b": " + text + suffix + b"\n")


@export("void warn(const char *format, ...)")
def warn(libc: Libc, template: int, arguments: Arguments) -> None:
    _report(libc, template, arguments, error=True)


@export("void warnx(const char *format, ...)")
def warnx(libc: Libc, template: int, arguments: Arguments) -> None:
    _report(libc, template, arguments, error=False)


@export("void err(int status, const char *format, ...)")
def err(libc: Libc, status: int, template: int, arguments: Arguments) -> None:
    _report(libc, template, arguments, error=True)
    exit_(libc, status)


@export("void errx(int status, const char *format, ...)")
def errx(libc: Libc, status: int, template: int, arguments: Arguments) -> None:
    _report(libc, template, arguments, error=False)
    exit_(libc, status)


@export("void error_at_line(int status, int number, const char *file, unsigned line, const char *format, ...)")
def error_at_line(
    libc: Libc, status: int, number: int, file: int, line: int, template: int, arguments: Arguments
) -> None:
    text = formatted(libc, template, arguments) or b""
    place = libc.bounded_string(file, PATH_MAX) + b":%d: " % line if file else b" "
    suffix = b": " + message(number) if number else b""
    write_stream(libc, standard_stream(libc, 2), called_as(libc) + b":" + place + text + suffix + b"\n")
    if status:
        exit_(libc, status)


@export("void error(int status, int number, const char *format, ...)")
def error(libc: Libc, status: int, number: int, template: int, arguments: Arguments) -> None:
    """glibc's: flushes, prints the message, and exits unless `status` is 0."""
    text = formatted(libc, template, arguments) or b""
    suffix = b": " + message(number) if number else b""
    write_stream(libc, standard_stream(libc, 2), called_as(libc) + b": " + text + suffix + b"\n")
    if status:
        exit_(libc, status)

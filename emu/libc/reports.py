"""err, warn and related functions: messages on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.libc.environment import called_as
from emu.libc.errno import error_name, message
from emu.libc.filesystem import PATH_MAX
from emu.libc.formatted import formatted
from emu.libc.guest import Arguments
from emu.libc.open_streams import standard_stream, write_stream
from emu.libc.process import exit_
from emu.libc.signal_numbers import name_of
from emu.libc.strings import SIGNAL_TEXTS, strsignal
from emu.libc.table import export, export_data, register
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
    reason = [message(libc.errno)] if error else []  # before formatting, which may set errno
    parts = [*([formatted(libc, template, arguments) or b""] if template else []), *reason]
    called = called_as(libc).rpartition(b"/")[2]
    write_stream(libc, standard_stream(libc, 2), called + b": " + b": ".join(parts) + b"\n")


def _export_warnings() -> None:
    """warn, warnx, err, errx, and the same with a va_list: with x without errno's text, err ends the process."""
    for name, ends in (("warn", False), ("err", True)):
        for suffix, error in (("", True), ("x", False)):
            for prefix, last in (("", "..."), ("v", "va_list arguments")):

                def call(libc: Libc, *args: Any, ends: bool = ends, error: bool = error) -> None:
                    *status, template, arguments = args
                    _report(libc, template, arguments, error=error)
                    if ends:
                        exit_(libc, *status)

                full = f"{prefix}{name}{suffix}"
                register(full, f"void {full}({'int status, ' * ends}const char *format, {last})", call)


_export_warnings()


@export("void psignal(int number, const char *text)")
def psignal(libc: Libc, number: int, text: int) -> None:
    prefix = libc.string(text) if text else b""
    shown = (prefix + b": " if prefix else b"") + libc.string(strsignal(libc, number)) + b"\n"
    write_stream(libc, standard_stream(libc, 2), shown)


# ---------------------------------------------------------------- <error.h>


class _Errors:
    """The last file and line of error_at_line, for error_one_per_line."""

    def __init__(self, libc: Libc) -> None:
        self.place: tuple[bytes, int] | None = None


@export_data("error_message_count")
def error_message_count(libc: Libc) -> bytes:
    return bytes(4)


@export_data("error_one_per_line")
def error_one_per_line(libc: Libc) -> bytes:
    return bytes(4)


@export_data("error_print_progname")
def error_print_progname(libc: Libc) -> bytes:
    """A function to print the program's name with, instead; NULL."""
    return bytes(libc.word)


def _report_error(libc: Libc, status: int, number: int, place: bytes, template: int, arguments: Arguments) -> None:
    """Flush, count, print the message, and exit unless `status` is 0."""
    text = formatted(libc, template, arguments) or b""
    suffix = b": " + message(number) if number else b""
    printer = libc.pointer(libc.data_symbol("error_print_progname") or 0)
    if printer:
        libc.call(printer, "void(void)")
    name = b"" if printer else called_as(libc) + (b":" if place else b": ")
    write_stream(libc, standard_stream(libc, 2), name + place + text + suffix + b"\n")
    count = libc.data_symbol("error_message_count") or 0
    libc.memory.write_uint(count, 4, libc.memory.read_uint(count, 4) + 1 & 0xFFFF_FFFF)
    if status:
        exit_(libc, status)


@export("void error_at_line(int status, int number, const char *file, unsigned line, const char *format, ...)")
def error_at_line(
    libc: Libc, status: int, number: int, file: int, line: int, template: int, arguments: Arguments
) -> None:
    """With error_one_per_line a second message about the same line is left out (glibc, error_at_line)."""
    name = libc.bounded_string(file, PATH_MAX) if file else b""
    state, one_per_line = libc.state(_Errors), libc.data_symbol("error_one_per_line") or 0
    if libc.memory.read_uint(one_per_line, 4):
        if state.place == (name, line):
            return
        state.place = (name, line)
    _report_error(libc, status, number, name + b":%d: " % line if file else b"", template, arguments)


@export("void error(int status, int number, const char *format, ...)")
def error(libc: Libc, status: int, number: int, template: int, arguments: Arguments) -> None:
    _report_error(libc, status, number, b"", template, arguments)

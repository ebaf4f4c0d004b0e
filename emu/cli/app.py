"""Running a command line: every failure becomes a message and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from emu.cli import commands as _commands  # noqa: F401 (they register themselves)
from emu.cli import log
from emu.cli.command import COMMANDS, EXIT_FAILED, Exit, Usage
from emu.cli.interrupts import was_interrupted
from emu.cli.own_streams import discard_output, prepare_streams

#: A full disk or quota, a file size limit, a removed device, a descriptor that is closed or not writable.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE = 2, 130, 141


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status: 0 success, 1 an error of the file, link or guest, 2 wrong
    usage.
    """
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if arguments[:1] == ["run"]:
        options = ()  # the options are mostly those of the program
    prepare_streams()
    log.listen()
    debug = "--debug" in options or os.environ.get("RELINK_EMU_DEBUG", "") not in ("", "0")
    try:
        status = _done(arguments, options, debug=debug)
        sys.stdout.flush()
        sys.stderr.flush()
        return status
    except BrokenPipeError:
        discard_output()  # the reader has gone
        return EXIT_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        if debug or error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        with suppress(OSError):  # standard error may be the stream that is not writable
            print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        discard_output()
        return EXIT_FAILED


def _done(arguments: Sequence[str], options: Sequence[str], *, debug: bool) -> int:
    """Run one command line, report errors, and return the exit status. Raises OSError when the output cannot be
    written.
    """
    try:
        return _invoke(arguments)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:
        if was_interrupted():  # code on the way may have made this error of the KeyboardInterrupt
            raise KeyboardInterrupt from error
        if isinstance(error.__cause__, BrokenPipeError):  # raised for a guest, which SIGPIPE would end
            raise error.__cause__ from None
        unwritable = isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE
        if debug or unwritable:
            raise
        if isinstance(error, FileNotFoundError) and error.filename is None and _works_nowhere():
            error.filename = "the working directory"
        return _report(error, as_json="--json" in options, demangle="--no-demangle" not in options)


def _works_nowhere() -> bool:
    """Whether the working directory has been removed: os.getcwd() fails then, and names no file."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _invoke(arguments: Sequence[str]) -> int:
    """Run a plain command line directly; leave all others to Typer."""
    known = COMMANDS.get(arguments[0]) if arguments else None
    if known is not None:
        from emu.cli.quick import read

        call = read(known, arguments[1:])
        try:
            if call is not None:
                call()
                return 0
        except Exit as done:
            return done.status
        except Usage as error:
            from emu.cli.typer_app import refuse

            refuse(arguments, error)
    from emu.cli.typer_app import invoke

    return invoke(arguments)


def _report(error: Exception, *, as_json: bool, demangle: bool) -> int:
    """Report an error, on standard error or (as JSON) on standard output; return the exit status."""
    from emu.cli.errors import SCHEMA, described, is_of_a_file, messages
    from emu.cli.output import console, write_json
    from relink.errors import RelinkError

    usage = False
    if "emu.cli.typer_app" in sys.modules:
        from emu.cli.typer_app import UsageError

        usage = isinstance(error, UsageError)
    status = EXIT_USAGE if usage else EXIT_FAILED
    if usage and not as_json:
        error.show(file=sys.stderr)  # type: ignore[attr-defined]
        return status
    if as_json:
        facts = described(error)
        if usage:
            facts = {"type": "Usage", "message": error.format_message()}  # type: ignore[attr-defined]
        write_json({"schema": SCHEMA, "status": status, "error": facts})
        return status
    err = console(stderr=True)
    for message in messages(error, demangle=demangle):
        err.print("error: ", style="bold red", end="")
        err.print(message, soft_wrap=True)
    if not (isinstance(error, RelinkError) or is_of_a_file(error)):
        err.print(f"This is a bug in relink-emu ({type(error).__name__}); --debug shows the traceback.")
    return status

"""The command `relink-emu`.

    app             runs a command line, reports failures and returns the exit status
    commands        the commands with their options; each has a file of its name, whose `report` makes its report
                    and whose `show` prints it (`test` is in `differential`, `debug` in `call`)
    command         `Option`, `Argument`, `Command`
    numpy_import    imports numpy without what no command uses
    quick, typer_app                        read plain command lines; help, and all other command lines
    options, observing, fuzzing, placing    options shared by several commands; those of `fuzz` and of `link`
    output, plain, text                     print reports (frozen dataclasses) as JSON or tables
    interrupts                              Ctrl-C, SIGTERM, SIGHUP
    errors; log, messages                   messages for exceptions; log messages, their handler
    inspect_archive                         `inspect` for archives
    inspect_records, inspect_view           the report of `inspect` for ELF files; printing it

To keep start-up short, a module is imported when a command that needs it runs.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence

from emu.cli.interrupts import end_by_interrupt, handle_interrupts, was_interrupted


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (default: `sys.argv`) in this process and exit with its status: 0, 1 or 2."""
    # A closed pipe ends the process at once and without a message (status 141 in a shell).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Imports create many objects and no garbage: fewer collections save a tenth of the time of a small load.
    gc.set_threshold(200_000, 20, 100)
    try:
        handle_interrupts()
        from emu.cli.app import run

        status = run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        if not was_interrupted():
            raise
    finally:
        if was_interrupted():
            end_by_interrupt()
        if arguments is None:
            # The process ends: the interpreter's last collections would look at all objects once more, for a fifth
            # of the time of a small load.
            gc.freeze()
    raise SystemExit(status)

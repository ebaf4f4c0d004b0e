"""The command `relink-emu`: load, call, map, inspect, report, tree, arches.

    app        the commands and their options, and `run`, where every failure becomes a message and a status
    options    options several commands share, and what they mean
    output     facts (frozen dataclasses) to JSON or to tables
    errors     exceptions to messages
    load, call, map, inspect, report, tree, arches    one command each: `report` gathers facts, `show` prints them
    inspect_archive, inspect_view                     `inspect` of archives; how it shows ELF files

Start-up time counts here: a module is imported when the command that needs it runs, not before.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (`sys.argv` without `arguments`) as this process, and exit with its status: 0, 1, 2."""
    # Ctrl-C and a reader that goes away end the process at once and quietly (a shell calls that 130 and 141).
    # Python's own handling would wait until the emulator comes back.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Nothing here multiplies matrices; numpy's BLAS would start a thread per core, and let them spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Importing makes many objects and no garbage: fewer collections are a tenth of the time of a small load.
    gc.set_threshold(200_000, 20, 100)
    from emu.cli.app import run

    raise SystemExit(run(sys.argv[1:] if arguments is None else list(arguments)))

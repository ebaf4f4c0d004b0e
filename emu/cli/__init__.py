"""The command `relink-emu`: load, call, inspect, tree, arches.

    app        the commands and their options, and `run`, where every failure becomes a message and a status
    options    options several commands share, and what they mean
    output     facts (frozen dataclasses) to JSON or to tables
    errors     exceptions to messages
    load, call, inspect, tree, arches    one command each: `report` gathers facts, `show` prints them

Start-up time counts here: a module is imported when the command that needs it runs, not before.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (`sys.argv` without `arguments`) and exit with its status: 0, 1, 2, or 130."""
    # Nothing here multiplies matrices; numpy's BLAS would start a thread per core, and let them spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Importing makes many objects and no garbage: fewer collections are a tenth of the time of a small load.
    gc.set_threshold(50_000, 20, 100)
    from emu.cli.app import run

    raise SystemExit(run(sys.argv[1:] if arguments is None else list(arguments)))

"""In-process load of a real library, against the dynamic linker of the host doing the same.

    python benchmarks/load.py [LIBRARY…]

Each library (default: the host's libcrypto.so.3 and, if present, libLLVM) is loaded with everything it needs
already stood in for, so that one image's own work is timed: mapping, binding, relocation, publication. The
peer is `dlopen(RTLD_NOW)` in a fresh process whose dependencies are loaded beforehand. Prints both medians and
their ratio.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from emu import Machine
from relink.elf import decode
from relink.linker import Policy

_DEFAULTS = ("libcrypto.so.3", "libLLVM-14.so.1", "libLLVM-15.so.1")
_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")
_PEER = """
import ctypes, os, sys, time
for name in sys.argv[2:]:
    try: ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    except OSError: pass
start = time.perf_counter()
ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)
print(time.perf_counter() - start)
"""


def ours(library: Path, needed: Sequence[str]) -> tuple[float, int]:
    """Seconds for one load, and the relocations applied."""
    with Machine("x86_64", hosted_libc=False) as machine:
        machine.linker.policy = Policy(host_provided=frozenset(needed))
        start = time.perf_counter()
        # Constructors would call into libraries that are only provided.
        loaded = machine.load(library, allow_unresolved=True, run_initialisers=False)
        seconds = time.perf_counter() - start
        return seconds, loaded.image.relocation_counts.total()


def peer(library: Path, needed: Sequence[str]) -> float:
    """Seconds for one dlopen in a fresh process."""
    command = [sys.executable, "-c", _PEER, str(library), *needed]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    libraries = arguments.libraries or [
        path for name in _DEFAULTS for folder in _FOLDERS if (path := Path(folder, name)).exists()
    ]
    table = Table("library", "relocations", "relink-emu ms", "dlopen ms", "ratio", title="in-process load")
    for library in libraries:
        needed = decode(library).needed
        runs = []
        for _ in range(arguments.rounds):
            gc.collect()
            runs.append(ours(library, needed))
        mine = statistics.median(seconds for seconds, _ in runs)
        theirs = statistics.median(peer(library, needed) for _ in range(arguments.rounds))
        table.add_row(
            library.name, f"{runs[0][1]:,}", f"{mine * 1e3:.2f}", f"{theirs * 1e3:.2f}", f"{mine / theirs:.1f}×"
        )
    Console().print(table)


if __name__ == "__main__":
    main()

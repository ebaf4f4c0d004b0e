"""What this project does in a process of its own, as peers do: the figures of the first load and of later ones.

    python -m benchmarks.child FILE [--count N] [--arch NAME] [...]

The machine is made before the clock starts, as a peer's process is. Prints JSON: `first` and `warm` (the least of
the later ones) in milliseconds of processor time, `rss` in MB after the first.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import time
from pathlib import Path
from typing import Any

from emu import Machine
from relink import HostMemory, Linker, LoadOptions
from relink.linker import Policy
from relink.search.decoded_cache import CACHE

_ELSEWHERE = 0x2000_0000
_LONG = 1000.0  #: milliseconds from which on a load is repeated once


def machine(arguments: argparse.Namespace) -> Machine:
    """A machine as the arguments say."""
    made = Machine(
        arguments.arch, hosted_libc=not (arguments.real or arguments.provided), library_path=arguments.folder
    )
    if arguments.provided:
        made.linker.policy = Policy(host_provided=frozenset(arguments.provided))
    return made


def load(arguments: argparse.Namespace) -> tuple[float, int]:
    """Milliseconds of one load, and its relocations."""
    options: dict[str, Any] = {"run_initialisers": not arguments.no_initialisers}
    if arguments.provided:
        options["allow_unresolved"] = True
    if arguments.undefined:
        options["undefined"] = arguments.undefined
    with machine(arguments) as made:
        gc.collect()
        started = time.process_time()
        library = made.load(arguments.file, **options)
        spent = (time.process_time() - started) * 1e3
        return spent, library.image.relocation_counts.total()


def link(arguments: argparse.Namespace) -> tuple[float, int]:
    """Milliseconds of one link of a whole archive into the memory of this process, and its relocations."""
    linker = Linker(HostMemory(arguments.arch), tls_size=1 << 20)
    options = LoadOptions(unresolved=lambda image, symbol: _ELSEWHERE)
    gc.collect()
    started = time.process_time()
    image = linker.load(arguments.file, options=options)
    spent = (time.process_time() - started) * 1e3
    relocations = image.relocation_counts.total()
    linker.close()
    return spent, relocations


def run(arguments: argparse.Namespace) -> tuple[float, int]:
    """Milliseconds of one run of a program, from a machine that is not there yet to its exit."""
    gc.collect()
    started = time.process_time()
    with Machine(arguments.arch, stdin=b"") as made:
        made.run(arguments.file)
        return (time.process_time() - started) * 1e3, 0


def _resident() -> float:
    """The most this process ever had in memory, in MB. getrusage's figure starts with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file")
    parser.add_argument("--arch", default="x86_64")
    parser.add_argument("--count", type=int, default=1, help="loads, each in a machine of its own")
    parser.add_argument("--real", action="store_true", help="no hosted C library: the file's own, from folders")
    parser.add_argument("--folder", action="append", default=[], help="where needed libraries are")
    parser.add_argument("--provided", action="append", default=[], help="a library that counts as loaded")
    parser.add_argument("--undefined", action="append", default=[], help="a symbol whose member is linked")
    parser.add_argument(
        "--link", action="store_true", help="an archive, without a machine; externals at one address"
    )
    parser.add_argument("--run", action="store_true", help="a program, to its exit")
    parser.add_argument("--no-cache", action="store_true", help="keep nothing from one load to the next")
    parser.add_argument("--no-initialisers", action="store_true")
    arguments = parser.parse_args()
    CACHE.enabled = not arguments.no_cache
    once = link if arguments.link else run if arguments.run else load
    first, relocations = once(arguments)
    figures = {"first": first, "relocations": relocations}
    figures["rss"] = _resident()
    count = arguments.count if first < _LONG else min(arguments.count, 2)
    later = [once(arguments)[0] for _ in range(count - 1)]
    print(json.dumps({**figures, "warm": min(later, default=first)}))


if __name__ == "__main__":
    main()

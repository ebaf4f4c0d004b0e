"""A whole static library linked in process, against lld linking the same members, in the same run.

    python -m benchmarks.objects [--arch NAME]… [--library libcrypto.a] [--rounds N]

Ours: every member of the archive laid out, bound and relocated in a `HostMemory`, externals at one address, from
the bytes on. lld: `--whole-archive -r`, and `-shared` where it takes the code (`-z notext`, undefined symbols
allowed), each a process that reads the archive and writes its output to /dev/shm or the temporary folder. Prints
medians, objects a second, and the ratio to each of lld's.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from relink import HostMemory, Linker, LoadOptions
from relink.elf.archive import Archive
from toolchains.archives import SHELVES, archives
from toolchains.linkers import lld

_TRAP = 0x2000_0000
_OUTPUT = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())


def ours(arch: str, library: Path) -> tuple[float, int]:
    """Seconds for one link, and the relocations applied."""
    linker = Linker(HostMemory(arch), tls_size=1 << 20)
    options = LoadOptions(unresolved=lambda image, symbol: _TRAP)
    start = time.perf_counter()
    image = linker.load(library, options=options)
    seconds = time.perf_counter() - start
    count = image.relocation_counts.total()
    linker.close()
    return seconds, count


def peer(arch: str, library: Path, *flags: str) -> float | None:
    """Seconds for one run of lld; None where it does not take the code."""
    with tempfile.TemporaryDirectory(dir=_OUTPUT) as folder:
        command = [*lld(arch), *flags, "--whole-archive", str(library), "-o", str(Path(folder, "out"))]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    return seconds if done.returncode == 0 else None


def median(run: Callable[[], float | None], rounds: int) -> float | None:
    found = []
    for _ in range(rounds):
        gc.collect()
        found.append(run())
    usable = [seconds for seconds in found if seconds is not None]
    return statistics.median(usable) if len(usable) == len(found) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", action="append", choices=list(SHELVES))
    parser.add_argument("--library", default="libcrypto.a")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    flavours = arguments.arch or [name for name, shelf in SHELVES.items() if arguments.library in shelf.files]
    table = Table(
        "architecture",
        "objects",
        "relocations",
        "relink-emu ms",
        "objects/s",
        "lld -r ms",
        "ratio",
        "lld -shared ms",
        "ratio",
        title=f"{arguments.library}, whole",
    )
    for flavour in flavours:
        arch, (library, *_) = SHELVES[flavour].arch, archives(flavour, arguments.library)
        objects, (_, relocations) = len(Archive.open(library).objects), ours(arch, library)
        mine = median(lambda: ours(arch, library)[0], arguments.rounds)  # noqa: B023
        assert mine is not None
        cells = [flavour, f"{objects:,}", f"{relocations:,}", f"{mine * 1e3:.0f}", f"{objects / mine:,.0f}"]
        for flags in (("-r",), ("-shared", "-z", "notext", "--unresolved-symbols=ignore-all")):
            theirs = median(lambda: peer(arch, library, *flags), arguments.rounds)  # noqa: B023
            cells += ["refused", ""] if theirs is None else [f"{theirs * 1e3:.0f}", f"{mine / theirs:.1f}×"]
        table.add_row(*cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

"""Snapshots: how long a return takes by the number of changed pages, and what many snapshots take.

python -m benchmarks.snapshots [--count 10000]

Beside the figures of both engines is the floor: what the kernel takes to drop as many pages of a private mapping
with a bare madvise, in the same run. The library machine has the hosted C library and two libraries; the small one
has a library of one page.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

from emu import Machine

ARCHES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "loongarch64": "loongarch64-linux-gnu"}
PAGES = (0, 1, 10, 100, 1000)
SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int counter;
static unsigned char pages[1024 * 4096];
int count(int by) { return counter += by; }
int touch(int n) { for (int i = 0; i < n; i++) pages[i * 4096]++; return n; }
int work(int n) { char *block = malloc(n); snprintf(block, n, "%d", n); n = strlen(block); free(block); return n; }
"""


def library(arch: str) -> Path:
    """A shared object of SOURCE, by the compiler of the ziglang wheel."""
    folder = Path(tempfile.mkdtemp())
    (folder / "source.c").write_text(SOURCE)
    made = folder / "library.so"
    command = ["-target", ARCHES[arch], "-O1", "-shared", "-fPIC", "-o", str(made), str(folder / "source.c")]
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *command], check=True)
    return made


def best(prepare: Callable[[], object], measured: Callable[[], object], rounds: int) -> float:
    """The least microseconds of some runs."""
    times = []
    for _ in range(rounds):
        prepare()
        started = time.perf_counter()
        measured()
        times.append(time.perf_counter() - started)
    return 1e6 * min(times)


def floor(pages: int, rounds: int) -> float:
    """The least microseconds in which madvise alone drops as many pages."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    file, size = os.memfd_create("floor"), 16 << 20
    os.ftruncate(file, size)
    start = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, file, 0)
    os.close(file)

    def touch() -> None:
        for page in range(pages):
            ctypes.memset(start + 4096 * page, 1, 1)

    return best(touch, lambda: libc.madvise(start, size, 4), rounds)


def returns(arch: str, path: Path, rounds: int) -> Iterator[tuple[int, float, float]]:
    """Changed pages, and the microseconds of a restore and of the floor."""
    with Machine(arch) as machine:
        touch = machine.load(path).function("touch", "int(int)")
        touch(1)
        snapshot = machine.snapshot()
        for pages in PAGES:
            taken = best(lambda pages=pages: touch(pages), lambda: machine.restore(snapshot), rounds)  # type: ignore[misc]
            yield pages, taken, floor(pages, rounds)


def times_of(arch: str, path: Path, rounds: int) -> None:
    with Machine(arch) as machine:
        loaded = machine.load(path)
        touch, work = loaded.function("touch", "int(int)"), loaded.function("work", "int(int)")
        touch(1)
        work(100)
        call = best(lambda: None, lambda: touch(1), rounds)
        snapshot = machine.snapshot()
        after = best(lambda: None, lambda: touch(1), rounds)
        print(f"{arch}: a call takes {call:.1f} µs without a snapshot, {after:.1f} µs with one")
        print(f"{'changed pages':>16} {'restore':>10} {'floor':>10}   µs")
        for pages, taken, least in returns(arch, path, rounds):
            print(f"{pages:>16} {taken:>10.1f} {least:>10.1f}")
        taken = best(lambda: work(100), lambda: machine.restore(snapshot), rounds)
        print(f"{'malloc, printf':>16} {taken:>10.1f}")
        taken = best(lambda: touch(10), lambda: machine.snapshot(), rounds)
        print(f"{'snapshot of 10':>16} {taken:>10.1f}")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def memory_of(arch: str, path: Path, count: int) -> None:
    with Machine(arch) as machine:
        increase = machine.load(path).function("count", "int(int)")
        snapshots = [machine.snapshot()]
        gc.collect()
        before, started = _resident(), time.perf_counter()
        for _ in range(count):
            increase(1)
            snapshots.append(machine.snapshot())
        seconds, used = time.perf_counter() - started, _resident() - before
        machine.restore(snapshots[count // 3])
        assert increase(0) == count // 3
        each = used / count / 1000
        print(f"{arch}: {count} snapshots take {used / 1e6:.0f} MB ({each:.1f} kB each), {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=10_000, help="snapshots to keep")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    libraries = {arch: library(arch) for arch in ARCHES}
    for arch, path in libraries.items():
        times_of(arch, path, arguments.rounds)
    for arch, path in libraries.items():  # each in a process whose memory nothing else has used
        with get_context("spawn").Pool(1) as pool:
            pool.apply(memory_of, (arch, path, arguments.count))


if __name__ == "__main__":
    main()

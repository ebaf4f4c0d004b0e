"""Every row of the table of speeds: this project and a peer doing the same work, in one run.

    python benchmarks/table.py                    all rows
    python benchmarks/table.py startup chain      some of them
    python benchmarks/table.py --json out.json    the numbers, for comparisons
    python benchmarks/table.py startup --against FOLDER    another checkout too, alternating with this one

Times are processor time in milliseconds, of each the least of some rounds: other work of the machine only adds to
them. Ratios hold between machines, times do not. A series also prints the exponent of the cost, fitted to it: 1.0
is linear. `lazy.py`, `guest_calls.py` and `objects.py` have the rows of calls and of static links.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emu import Machine
from relink import decode
from relink.linker import Policy

ROOT = Path(__file__).resolve().parent.parent
_LIBRARIES = ("libLLVM-14.so.1", "libcrypto.so.3")
_FOLDERS = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"))
_DLOPEN = """
import ctypes, os, sys, time
for name in sys.argv[2:]:
    try: ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    except OSError: pass
start = time.process_time()
ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)
print((time.process_time() - start) * 1e3)
"""


@dataclass
class Row:
    """One measurement, in milliseconds."""

    work: str
    ours: float
    peer_name: str = ""
    peer: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.peer else self.ours / self.peer


class Bench:
    """The rows, by name; each method gives its rows."""

    def __init__(self, rounds: int, against: Path | None, large: bool) -> None:
        self.rounds = rounds
        self.against = against
        self.large = large
        self.folder = Path(tempfile.mkdtemp(prefix="relink-bench-"))

    # ------------------------------------------------------------ processes

    def startup(self) -> list[Row]:
        """`relink-emu load small.so`, the whole process; the peer is an interpreter that does nothing."""
        small = self._shared("small", "int add(int a, int b) { return a + b; }")
        code = "from emu.cli import main; main()"
        commands = {"pass": ([sys.executable, "-c", "pass"], ROOT)}
        for tree in (ROOT, *([self.against] if self.against else [])):
            commands[str(tree)] = ([sys.executable, "-c", code, "load", str(small)], tree)
        best = dict.fromkeys(commands, math.inf)
        for _ in range(self.rounds + 1):  # the first writes the compiled modules
            for name, (command, tree) in commands.items():
                best[name] = min(best[name], _process(command, tree))
        names = {str(ROOT): "load small.so, whole process", str(self.against): f"the same by {self.against}"}
        return [Row(names[n], t, "python -c pass", best["pass"]) for n, t in best.items() if n != "pass"]

    # ------------------------------------------------------------ libraries

    def library(self) -> list[Row]:
        """Real libraries, their dependencies provided, constructors on neither side."""
        rows = []
        for name in _LIBRARIES:
            path = next((folder / name for folder in _FOLDERS if (folder / name).exists()), None)
            if path is None:
                continue
            needed = decode(path).needed
            runs = [self._load(path, provided=needed, run_initialisers=False) for _ in range(self.rounds)]
            peer = min(_dlopen(path, needed) for _ in range(self.rounds))
            rows.append(Row(f"{name}, warm", min(runs[1:]), "dlopen", peer))
            rows.append(Row(f"{name}, first in the process", runs[0], "dlopen", peer, f"RSS {_rss()} MB"))
        return rows

    def chain(self) -> list[Row]:
        """Libraries each of which needs the next, and a function and a variable of it."""
        sizes = (10, 30, 100, 300) if self.large else (10, 30, 100)
        previous: list[Path] = []
        for number in range(1, sizes[-1] + 1):
            more = f"extern int f{number - 1}(int), v{number - 1};" if previous else ""
            body = f"f{number - 1}(x) + v{number - 1}" if previous else "x"
            source = (
                f"{more} int v{number} = 5; int *p{number} = &v{number}; int f{number}(int x) {{ return {body}; }}"
            )
            previous.append(self._shared(f"c{number}", source, previous[-1:]))
        rows = []
        for size in sizes:
            ours = min(self._load(previous[size - 1]) for _ in range(max(2, self.rounds // 2)))
            rows.append(Row(f"chain of {size} libraries", ours, "dlopen", self._peer(previous[size - 1])))
        return _with_exponent(rows, sizes)

    def exports(self) -> list[Row]:
        """A library with many exports, none of which is used."""
        sizes = (20_000, 60_000, 200_000)
        rows = []
        for size in sizes:
            text = "".join(f".globl s{n}\ns{n}: .byte 0\n" for n in range(size))
            path = self._assembled(f"exports{size}", f".data\n{text}", "-shared")
            ours = min(self._load(path) for _ in range(self.rounds))
            rows.append(Row(f"{size:,} exports, nothing asked", ours, "dlopen", self._peer(path)))
        return _with_exponent(rows, sizes)

    def relocations(self) -> list[Row]:
        """Words that need rebasing."""
        sizes = (10_000, 100_000, 1_000_000)
        rows = []
        for size in sizes:
            text = f".data\nbase: .rept {size}\n.quad base\n.endr\n"
            path = self._assembled(f"words{size}", text, "-shared")
            ours = min(self._load(path) for _ in range(self.rounds))
            rows.append(Row(f"{size:,} relative relocations", ours, "dlopen", self._peer(path)))
        return _with_exponent(rows, sizes)

    # ------------------------------------------------------------ objects

    def sections(self) -> list[Row]:
        """An object with many sections; the peer links it with -r."""
        sizes = (10_000, 30_000, 100_000)
        rows = []
        for size in sizes:
            text = "".join(f'.section .text.f{n},"ax",@progbits\n.globl f{n}\nf{n}: ret\n' for n in range(size))
            path = self._assembled(f"sections{size}", text, "-c")
            ours = min(self._load(path) for _ in range(2))
            rows.append(Row(f"{size:,} sections in an object", ours, "lld -r", self._lld(path)))
        return _with_exponent(rows, sizes)

    def members(self) -> list[Row]:
        """Archives: one member of many, and all of them."""
        sizes = (1_000, 3_000, 10_000)
        one = self._assembled("member", ".globl fn_0000000\nfn_0000000: ret\n", "-c").read_bytes()
        rows = []
        for size in sizes:
            path = self.folder / f"members{size}.a"
            path.write_bytes(_archive([one.replace(b"fn_0000000", b"fn_%07d" % n) for n in range(size)]))
            ours = min(self._load(path) for _ in range(2))
            rows.append(Row(f"archive of {size:,} members, all", ours))
        asked = min(self._load(path, undefined=["fn_0000500"]) for _ in range(2))
        return [*_with_exponent(rows, sizes), Row(f"one of {sizes[-1]:,} members", asked)]

    # ------------------------------------------------------------ small things

    def small(self) -> list[Row]:
        """What a machine, a small library and a small object cost in a process that is running."""
        library = self._shared("tiny", "int add(int a, int b) { return a + b; }")
        fragment = self._assembled("fragment", ".globl one\none: ret\n", "-c").read_bytes()
        content = library.read_bytes()
        rows = [Row("Machine() + load of a small library", self._best(lambda: self._machine(library), 20))]
        with Machine("x86_64") as machine:
            for what, data in ((".so from bytes, load + close", content), ("tiny .o, load + close", fragment)):

                def once(data: bytes = data) -> None:
                    machine.load(data).close()

                rows.append(Row(what, self._best(once, 50)))
        return rows

    def _machine(self, library: Path) -> None:
        with Machine("x86_64") as machine:
            machine.load(library)

    def _best(self, work: Callable[[], None], count: int) -> float:
        best = math.inf
        for _ in range(self.rounds):
            started = time.process_time()
            for _ in range(count):
                work()
            best = min(best, (time.process_time() - started) * 1e3 / count)
        return best

    # ------------------------------------------------------------ how

    def _load(self, path: Path, provided: Sequence[str] = (), **options: object) -> float:
        with Machine("x86_64", hosted_libc=not provided) as machine:
            if provided:
                machine.linker.policy = Policy(host_provided=frozenset(provided))
                options["allow_unresolved"] = True
            started = time.process_time()
            machine.load(path, **options)  # type: ignore[arg-type]
            return (time.process_time() - started) * 1e3

    def _peer(self, path: Path) -> float:
        return min(_dlopen(path) for _ in range(self.rounds))

    def _shared(self, name: str, source: str, libraries: Sequence[Path] = ()) -> Path:
        made = self.folder / f"{name}.so"
        code = made.with_suffix(".c")
        code.write_text(source)
        flags = ["-shared", "-fPIC", "-O1", "-nostdlib", f"-Wl,-soname,{made.name}", "-Wl,-rpath,$ORIGIN"]
        subprocess.run(["cc", *flags, "-o", made, code, *libraries], check=True)
        return made

    def _assembled(self, name: str, text: str, mode: str) -> Path:
        made = self.folder / f"{name}{'.o' if mode == '-c' else '.so'}"
        code = made.with_suffix(".s")
        code.write_text(text)
        subprocess.run(["cc", mode, "-nostdlib", "-o", made, code], check=True)
        return made

    def _lld(self, path: Path) -> float | None:
        with suppress(subprocess.CalledProcessError):
            command = [sys.executable, "-m", "ziglang", "ld.lld", "-r", "-o", os.devnull, str(path)]
            return min(_process(command, ROOT) for _ in range(2))
        return None


def _process(command: Sequence[str], tree: Path) -> float:
    """Processor time of a process, in milliseconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=environment, cwd="/", stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def _dlopen(path: Path, needed: Sequence[str] = ()) -> float:
    command = [sys.executable, "-c", _DLOPEN, str(path), *needed]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _archive(members: Sequence[bytes]) -> bytes:
    """An archive with an index of the symbols fn_0000000, fn_0000001 …, one of each member."""

    def header(name: str, size: int) -> bytes:
        return f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode()

    names = b"".join(b"fn_%07d\0" % number for number in range(len(members)))
    size = 4 + 4 * len(members) + len(names)
    names += bytes(size & 1)
    place, places, body = 8 + 60 + size + (size & 1), [], []
    for number, member in enumerate(members):
        places.append(place)
        body += [header(f"m{number:07}.o/", len(member)), member, b"\n" * (len(member) & 1)]
        place += 60 + len(member) + (len(member) & 1)
    index = struct.pack(f">{1 + len(members)}I", len(members), *places) + names
    return b"!<arch>\n" + header("/", len(index)) + index + b"".join(body)


def _with_exponent(rows: list[Row], sizes: Sequence[int]) -> list[Row]:
    """Note the exponent of the cost, fitted to a series by least squares of the logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(row.ours) for row in rows]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
    rows[-1].note = f"exponent {slope:.2f}"
    return rows


ROWS = ("startup", "small", "library", "chain", "relocations", "exports", "sections", "members")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--against", type=Path, help="another checkout, for start-up")
    parser.add_argument("--large", action="store_true", help="a chain of 300 libraries too")
    arguments = parser.parse_args()
    bench = Bench(arguments.rounds, arguments.against, arguments.large)
    rows: list[Row] = []
    try:
        for name in arguments.rows or ROWS:
            for row in getattr(bench, name)():
                peer = f"{row.peer:10.2f} {row.peer_name:<14} {row.ratio:7.1f}x" if row.peer else " " * 34
                print(f"{row.work:<44} {row.ours:10.2f} ms {peer}  {row.note}", flush=True)
                rows.append(row)
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
    if arguments.json is not None:
        arguments.json.write_text(
            json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=2) + "\n"
        )


if __name__ == "__main__":
    main()

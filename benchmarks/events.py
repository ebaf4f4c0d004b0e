"""What events cost: a run with coverage, a trace, breakpoints, watchpoints, beside the same run without.

    python -m benchmarks.events [TARGET...]

The guest computes SHA-256, CRC-32 and Fibonacci numbers (tests/machine/sources/loops.c), for long enough that
translation counts little ("hot"), and once from cold ("cold", which translates everything). Ratios are of CPU
time, the best of several runs in turns; 1.00 is free.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from emu import Machine
from tests.fixtures import arch_of
from tests.machine.loops import Loops, build_loops, load_loops

_TARGETS = ("x86_64", "aarch64", "riscv64", "loongarch64")
_REPEATS = 5

Observing = Callable[[Machine], AbstractContextManager[object]]


def _breakpoint_elsewhere(machine: Machine) -> AbstractContextManager[object]:
    return machine.breakpoint("around_host")


def _watch_elsewhere(machine: Machine) -> AbstractContextManager[object]:
    return machine.watch(machine.parts.memory.map_anonymous(4096), 8, on="access")


KINDS: dict[str, Observing] = {
    "off": lambda machine: nullcontext(),
    "coverage": lambda machine: machine.coverage(),
    "coverage with branches": lambda machine: machine.coverage(branches=True),
    "breakpoint elsewhere": _breakpoint_elsewhere,
    "watchpoint elsewhere": _watch_elsewhere,
    "trace of others": lambda machine: machine.trace(functions="follow"),
    "counting": lambda machine: machine.counting(),
}


def _seconds(run: Callable[[], object], repeats: int = _REPEATS) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def hot(target: str, path: Path) -> dict[str, float]:
    """Seconds of a long run for each kind, with all code translated before the clock starts."""
    slow, best = target == "loongarch64", dict.fromkeys(KINDS, float("inf"))
    size, rounds = (1 << 13, 2000) if slow else (1 << 19, 1_000_000)
    with Machine(arch_of(target)) as machine:
        loops = Loops(machine, load_loops(machine, path), size=size, rounds=rounds)
        for _ in range(_REPEATS):
            for name, observe in KINDS.items():
                if slow and name == "coverage with branches":
                    continue  # in single steps
                with observe(machine):
                    loops.computed()
                    best[name] = min(best[name], _seconds(loops.computed, 1))
    return {name: seconds for name, seconds in best.items() if seconds < float("inf")}


def cold(target: str, path: Path) -> dict[str, float]:
    """Seconds of a first run with little work, in which everything is translated."""
    best = dict.fromkeys(KINDS, float("inf"))
    for _ in range(4 * _REPEATS):
        for name, observe in KINDS.items():
            with Machine(arch_of(target)) as machine:
                loops = Loops(machine, load_loops(machine, path), size=256, rounds=10)
                with observe(machine):
                    best[name] = min(best[name], _seconds(loops.computed, 1))
    return best


def hits(target: str, path: Path) -> dict[str, float]:
    """Microseconds for each hit, each call and each access."""
    with Machine(arch_of(target)) as machine:
        library = load_loops(machine, path)
        count = library.function("count", "unsigned(unsigned)")
        plain = _seconds(lambda: [count(0) for _ in range(200)])
        with machine.breakpoint("count", action=lambda hit: None):
            count(0)
            broken = _seconds(lambda: [count(0) for _ in range(200)])
        with machine.watch("counter", 4, on="access") as point:
            watched = _seconds(lambda: count(50), 1)
        deep = library.function("call_deeply", "unsigned(unsigned)")
        with machine.trace(library) as trace:
            deep(8)
            traced = _seconds(lambda: deep(8), 1)
        return {
            "breakpoint hit": (broken - plain) / 200 * 1e6,
            "watched access": watched / point.hits * 1e6,
            "traced call": traced / (len(trace.calls) / 2) * 1e6,
        }


def main(targets: list[str]) -> None:
    folder = Path(tempfile.mkdtemp())
    for target in targets or _TARGETS:
        path = build_loops(target, folder)
        print(target, flush=True)
        for title, figures in (("hot", hot(target, path)), ("cold", cold(target, path))):
            off = figures["off"]
            print(f"  {title:5} {off * 1e3:9.1f} ms off;", end=" ")
            print(
                ", ".join(f"{name} {value / off:.2f}" for name, value in figures.items() if name != "off"),
                flush=True,
            )
        print("  " + ", ".join(f"{name} {value:.0f} µs" for name, value in hits(target, path).items()))


if __name__ == "__main__":
    main(sys.argv[1:])

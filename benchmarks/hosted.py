"""What a call of a hosted C function costs the guest: as guest code, and as a Python function.

    python benchmarks/hosted.py

Microseconds a call, in a loop of the guest, per ISA: memcpy of 16 bytes, memcmp of 64, strlen of 40. The compiled
functions (`emu.libc.compiled`) are what a guest gets; the ones in Python behind them are what it got before.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emu import Machine
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

_SOURCE = """
typedef __SIZE_TYPE__ size;
static char one[64] __attribute__((aligned(16))), two[64] __attribute__((aligned(16)));
void loop_memcpy(int n, void *(*f)(void *, const void *, size)) { while (n--) f(one, two, 16); }
void loop_memcmp(int n, int (*f)(const void *, const void *, size)) { while (n--) f(one, one, 64); }
void loop_strlen(int n, size (*f)(const char *))
{
    for (int i = 0; i < 40; i++) two[i] = 'x';
    while (n--) f(two);
}
"""
_NAMES = ("memcpy", "memcmp", "strlen")


def microseconds(loop: Any, count: int, address: int) -> float:
    """The best of five runs of the loop, of this process's own time."""
    rounds = []
    for _ in range(5):
        started = time.process_time()
        loop(count, address)
        rounds.append((time.process_time() - started) / count)
    return min(rounds) * 1e6


def main() -> None:
    print(f"{'µs':12} " + "   ".join(f"{name:>8} {'Python':>8} {'ratio':>6}" for name in _NAMES))
    for target in TARGETS:
        with Machine(arch_of(target)) as machine:
            library = machine.load(compiled(target, _SOURCE, "-g", "-w"))
            source: Any = machine.linker.resolver.after[-1]
            cells = []
            for name in _NAMES:
                loop = library[f"loop_{name}"]
                guest = microseconds(loop, 20000, source.compiled.lookup(name))
                python = microseconds(loop, 2000, source.in_python(name))
                cells.append(f"{guest:8.2f} {python:8.2f} {python / guest:6.1f}")
        print(f"{target:12} {'   '.join(cells)}")


if __name__ == "__main__":
    main()

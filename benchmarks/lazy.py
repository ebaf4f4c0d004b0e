"""Binding at the first call: a library of 400 functions calls another of 400, each through the PLT.

`measured` and `native` (glibc on the host's own x86-64, through ctypes) return the medians of the first call of
each function, through a slot that is not bound, and of a later one; microseconds.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from emu import Machine
from tests.objects.build import compiled, linked

COUNT = 400


def libraries(target: str) -> tuple[Path, Path]:
    """The library that calls and the one that is called."""
    callees = "\n".join(f"int callee_{n}(int v) {{ return v + {n}; }}" for n in range(COUNT))
    callers = "\n".join(
        f"int callee_{n}(int); int caller_{n}(int v) {{ return callee_{n}(v) + 1; }}" for n in range(COUNT)
    )
    flags = ("-fPIC", "-Wno-missing-prototypes")
    callee = linked(target, [compiled(target, callees, *flags)], "-soname", "libcallee.so")
    caller = linked(target, [compiled(target, callers, *flags), callee], "-z", "lazy", "--allow-shlib-undefined")
    return caller, callee


def median(functions: Sequence[Callable[[int], object]]) -> float:
    """Microseconds one call of each takes."""
    times = []
    for number, function in enumerate(functions):
        started = time.perf_counter_ns()
        result = function(1)
        times.append(time.perf_counter_ns() - started)
        assert result == number + 2
    return statistics.median(times) / 1000


def measured(target: str, arch: str, binding: str) -> tuple[float, float]:
    """(first, later) call."""
    caller, callee = libraries(target)
    with Machine(arch, library_path=[callee.parent], libraries={"libcallee.so": callee}) as machine:
        lib = machine.load(caller, binding=binding)
        functions = [lib.function(f"caller_{n}", "int(int)") for n in range(COUNT)]
        warm = machine.load(compiled(target, "int warm(int v) { return v + 1; }\n"))
        warm.function("warm", "int(int)")(1)
        return median(functions), median(functions)


def native() -> tuple[float, float] | None:
    """The same under the host's ld.so, where it is an x86-64 one."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return None
    caller, callee = libraries("x86_64")
    ctypes.CDLL(str(callee), ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(caller), os.RTLD_LAZY)
    functions = [getattr(lib, f"caller_{n}") for n in range(COUNT)]
    return median(functions), median(functions)

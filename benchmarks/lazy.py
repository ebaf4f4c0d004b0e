"""Binding at the first call: a library of 400 functions calls another of 400, each through the PLT.

The first call of a function also has the engine translate code that it has never run, whenever its slot is bound.
So what binding takes is the difference of two first calls: one that binds (`binding="lazy"`), and one through a
slot bound before (`binding="now"`). `native` is glibc on the host's own x86-64, through ctypes; it has nothing to
translate. `bare` is the translation: the same code, its slots bound before, by Unicorn's binding alone.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.bare_unicorn import BareLibraries
from emu import Library, Machine
from tests.objects.build import compiled, linked

COUNT = 400


def libraries(target: str) -> tuple[Path, Path]:
    """The library that calls and the one that is called."""
    callees = "int warm(int v) { return v + 1; }\n"
    callees += "\n".join(f"int callee_{n}(int v) {{ return v + {n}; }}" for n in range(COUNT))
    callers = "\n".join(
        f"int callee_{n}(int); int caller_{n}(int v) {{ return callee_{n}(v) + 1; }}" for n in range(COUNT)
    )
    flags = ("-fPIC", "-Wno-missing-prototypes")
    callee = linked(target, [compiled(target, callees, *flags)], "-soname", "libcallee.so")
    caller = linked(target, [compiled(target, callers, *flags), callee], "-z", "lazy", "--allow-shlib-undefined")
    return caller, callee


class Calls(NamedTuple):
    """Microseconds of the calls of all functions: the median of elapsed time, the mean of processor time."""

    median: float
    mean: float


def timed(functions: Sequence[Callable[[int], object]]) -> Calls:
    """Call each function once."""
    times, began = [], time.process_time_ns()
    for number, function in enumerate(functions):
        started = time.perf_counter_ns()
        result = function(1)
        times.append(time.perf_counter_ns() - started)
        assert result == number + 2
    spent = time.process_time_ns() - began
    return Calls(statistics.median(times) / 1000, spent / 1000 / len(times))


def measured(target: str, arch: str, binding: str) -> tuple[Calls, Calls]:
    """(first, later) call."""
    with _loaded(target, arch, binding) as (_, caller, callee):
        functions = [caller.function(f"caller_{n}", "int(int)") for n in range(COUNT)]
        callee.function("warm", "int(int)")(1)
        return timed(functions), timed(functions)


def bare(target: str, arch: str) -> tuple[Calls, Calls]:
    """(first, later) call by bare Unicorn, with all slots bound before."""
    with _loaded(target, arch, "now") as (machine, caller, callee):
        libraries = BareLibraries(target, machine, caller, callee)
        functions = [libraries.function(caller, f"caller_{n}") for n in range(COUNT)]
        libraries.function(callee, "warm")(1)
        return timed(functions), timed(functions)


@contextmanager
def _loaded(target: str, arch: str, binding: str) -> Iterator[tuple[Machine, Library, Library]]:
    """A machine with both libraries."""
    caller, callee = libraries(target)
    with Machine(arch) as machine:
        loaded = machine.load(callee)
        yield machine, machine.load(caller, binding=binding), loaded


def native() -> tuple[Calls, Calls] | None:
    """(first, later) call under the host's ld.so; None unless that is an x86-64 one."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return None
    caller, callee = libraries("x86_64")
    ctypes.CDLL(str(callee), ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(caller), os.RTLD_LAZY)
    functions = [getattr(lib, f"caller_{n}") for n in range(COUNT)]
    return timed(functions), timed(functions)

"""Compiled code that is the same in every process, and for every machine of a process.

Compiled code writes the guest's registers to memory before it accesses any. icicle emits these writes in the order
of a hash table (`active_vars`, a `std::collections::HashMap`), whose keys are random numbers of the thread; the
compiler then computes values in other places, and keeps others in registers. So each engine had other code for a
loop: of 400 keys, nine in ten make SHA-256 take 17 to 60 % longer than the best.

Here the numbers are always the same (`hooks/native/random.c`), some with which all loops of the benchmarks are
quick. They are drawn when icicle is imported, and once in each further thread. Each hash table that is made adds
one to the first of them, some 6,000 tables an engine, so it is set again before an engine is created. The order
also depends on how large a table has grown, so it is made large at once (`emu.cpu.icicle.joined.prepared`).
A thread in which something else has imported icicle before keeps the random numbers that it has drawn.
"""

from __future__ import annotations

import ctypes
import functools
from importlib.util import find_spec
from pathlib import Path

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.linkage import Linkage, writable

_MOST_TABLES = 1 << 40  #: that a thread has made: more than it can


def fix_order() -> None:
    """Fix the order of the hash tables of icicle, which has not been imported, where its library allows that."""
    fixed, found = host_function("random.fixed"), find_spec("icicle")
    if fixed is None or found is None or found.origin is None:
        return
    for library in Path(found.origin).parent.glob("icicle*.so"):
        try:
            for place in Linkage(ctypes.CDLL(str(library))).of_name("getrandom"):
                writable(place).value = fixed
        except (OSError, LookupError):
            continue


def begin_again(library: str) -> None:
    """Let the tables that this thread makes from now on in icicle's library, the file at this path, have the order
    of those that it made first.
    """
    try:
        first, _ = _drawn()
        words = Linkage(ctypes.CDLL(library)).thread_words()
        if (place := _first_number(words)) is not None:
            words[place] = first
    except (OSError, LookupError):
        return


def _first_number(words: ctypes.Array[ctypes.c_uint64]) -> int | None:
    """Which of a thread's variables is the first of its two numbers; None where it has drawn none."""
    first, second = _drawn()
    for place in range(len(words) - 1):
        if words[place + 1] == second and words[place] - first & (1 << 64) - 1 < _MOST_TABLES:
            return place
    return None


@functools.cache
def _drawn() -> tuple[int, int]:
    """The numbers that each thread draws. Raises LookupError where these are random."""
    fixed, numbers = host_function("random.fixed"), (ctypes.c_uint64 * 2)()
    if fixed is None:
        raise LookupError("there is no machine code for this host")
    draw = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32)
    draw(fixed)(numbers, ctypes.sizeof(numbers), 0)
    return numbers[0], numbers[1]

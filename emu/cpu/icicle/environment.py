"""What icicle reads from the environment: its instruction sets, and settings of its compiler.

OPT_LEVEL is one of these, and a variable of cargo's, whose values icicle does not know: it panics. It reads the
settings whenever an engine is created, reset or freed. While one is created, the environment has the folder of the
instruction sets and no settings; at other times icicle finds no variables. Where its `getenv` cannot be replaced,
it finds the user's.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.linkage import Linkage, address, libc, writable
from emu.cpu.loongarch64 import SLEIGH_ROOT
from relink.records.locks import shared_lock

_FOR_CREATION: Final = {
    "GHIDRA_SRC": str(SLEIGH_ROOT),
    "OPT_LEVEL": None,
    "CRANELIFT_USE_EGRAPHS": None,
    "ICICLE_ENABLE_JIT_VERIFIER": None,
    "ICICLE_ALWAYS_FLUSH_VARS": None,
    "ICICLE_DISABLE_JIT_MEM": None,
}
_lock = shared_lock()


@functools.cache
def _slot(library: str) -> tuple[ctypes.c_uint64, int] | None:
    """The slot through which icicle's library reads variables, and the usual function in it; None where it cannot
    be replaced.
    """
    try:
        empty, usual = host_function("environment.empty"), address(libc(), "getenv")
        slots = list(Linkage(ctypes.CDLL(library)).of_name("getenv"))
        if empty is None or len(slots) != 1 or (slot := writable(slots[0])).value != usual:
            return None
        slot.value = empty
    except (OSError, AttributeError, LookupError):
        return None
    return slot, usual


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def kept() -> Iterator[None]:
    """The variables that icicle reads, or sets when it is imported, are the user's again afterwards."""
    with _lock:
        before = {name: os.environ.get(name) for name in _FOR_CREATION}
        try:
            yield
        finally:
            _set(before)


@contextmanager
def for_creation(library: str) -> Iterator[None]:
    """The environment in which an engine of icicle's library, the file at this path, is to be created."""
    with kept():
        slot = _slot(library)
        _set(_FOR_CREATION)
        if slot is None:
            yield
            return
        place, usual = slot
        empty, place.value = place.value, usual
        try:
            yield
        finally:
            place.value = empty

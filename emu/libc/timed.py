"""Functions with a time_t in their structures, which on some 32-bit ISAs exist twice: nanosleep, __nanosleep64."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.table import register

if TYPE_CHECKING:
    from emu.libc.library import Libc


def time_pair(libc: Libc, at: int, size: int) -> tuple[int, int]:
    """The two members, of `size` bytes each, of a struct timespec or timeval."""
    data = libc.memory.read(at, 2 * size)
    return int.from_bytes(data[:size], "little", signed=True), int.from_bytes(data[size:], "little", signed=True)


def register_timed(name: str, prototype: str, run: Callable[..., int], wide: str = "__{}64") -> None:
    """Register a function and its form with 64-bit times. `run` takes the size of time_t after the library;
    `prototype` and `wide`, the name of that form, have {} for the name.
    """

    def call(libc: Libc, *args: int) -> int:
        return run(libc, libc.isa.data.time_size, *args)

    def call64(libc: Libc, *args: int) -> int:
        return run(libc, 8, *args)

    family, wide = run.__module__.rpartition(".")[2], wide.format(name)
    register(name, prototype.format(name), call, family=family)
    register(wide, prototype.format(wide), call64, lambda isa: isa.data.time_size == 4, family=family)

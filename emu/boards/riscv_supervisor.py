"""RISC-V's supervisor mode, which boards do not have: writes that would use it are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from emu.boards.errors import NotModelled
from emu.cpu.misrun import Guest, Misrun, Outcome

_CSRS: Final = {
    0x302: "medeleg: all exceptions are taken in machine mode",
    0x303: "mideleg: all interrupts are taken in machine mode",
    0x180: "satp: addresses are physical",
}
_SYSTEM, _IMMEDIATE, _CLEARS = 0x73, 4, 3


def supervisor_writes(code: bytes, address: int) -> Iterator[Misrun]:
    """Instructions that write such a CSR."""
    halves = np.frombuffer(code, "<u2", len(code) // 2).astype(np.uint32)
    words = halves[:-1] | halves[1:] << 16
    written = ((words & 0x7F) == _SYSTEM) & ((words >> 12 & 3) != 0) & np.isin(words >> 20, list(_CSRS))
    for at in np.flatnonzero(written):
        yield Misrun(address + 2 * int(at), 4, partial(_check, int(words[at])))


def _check(word: int, guest: Guest) -> Outcome:
    """Zeros may be written: it is what start-up code does to be sure."""
    function, source = word >> 12 & 7, word >> 15 & 31
    value = source if function & _IMMEDIATE or not source else guest.read_register(f"x{source}")
    if value and function & 3 != _CLEARS:
        raise NotModelled(f"supervisor mode is not modelled: {_CSRS[word >> 20]} ({value:#x} is written)")
    return Outcome.PREPARED

"""CSRs that the engine does not have as a board wants them.

Writes that would use supervisor mode, which boards do not have, are refused by name. The counters of machine mode
can be written. mcountinhibit, which the engine lacks, is 0, as it may be (RISC-V privileged ISA, "Machine
Counter-Inhibit CSR"): the counters never stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from emu.boards.errors import NotModelled
from emu.cpu.misrun import Finder, Guest, Misrun, Outcome

#: CSR number -> what reads and what writes it.
Accesses: TypeAlias = Mapping[int, tuple[Callable[[], int], Callable[[int], object]]]

_CSRS: Final = {
    0x302: "medeleg: all exceptions are taken in machine mode",
    0x303: "mideleg: all interrupts are taken in machine mode",
    0x180: "satp: addresses are physical",
}
COUNT_INHIBIT: Final = 0x320
_SYSTEM, _IMMEDIATE, _WRITES, _CLEARS, _MACHINE = 0x73, 4, 1, 3, 3


def csr_accesses(accesses: Accesses) -> Finder:
    """Finds instructions that access `accesses`, and those that write CSRs of supervisor mode."""
    numbers = [*_CSRS, *accesses]

    def find(code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        halves = np.frombuffer(code, "<u2", len(code) // 2).astype(np.uint32)
        words = halves[:-1] | halves[1:] << 16
        found = ((words & 0x7F) == _SYSTEM) & ((words >> 12 & 3) != 0) & np.isin(words >> 20, numbers)
        found &= (words & 0xFF07F) != 0x02073  # other reads are found where the counters are
        for at in np.flatnonzero(found):
            word = int(words[at])
            access = accesses.get(word >> 20)
            run = partial(_check, word) if access is None else partial(_access, word, *access)
            yield Misrun(address + 2 * int(at), 4, run)

    return find


def _operand(word: int, guest: Guest) -> int:
    source = word >> 15 & 31
    return source if word >> 12 & _IMMEDIATE or not source else guest.read_register(f"x{source}")


def _check(word: int, guest: Guest) -> Outcome:
    """Zeros may be written: it is what start-up code does to be sure."""
    value = _operand(word, guest)
    if value and word >> 12 & 3 != _CLEARS:
        raise NotModelled(f"supervisor mode is not modelled: {_CSRS[word >> 20]} ({value:#x} is written)")
    return Outcome.PREPARED


def _access(word: int, read: Callable[[], int], write: Callable[[int], object], guest: Guest) -> Outcome:
    if guest.read_register("priv") != _MACHINE:
        return Outcome.REFUSED
    operation, value, before = word >> 12 & 3, _operand(word, guest), read()
    if operation == _WRITES:
        write(value)
    elif word >> 15 & 31:
        write(before & ~value if operation == _CLEARS else before | value)
    if target := word >> 7 & 31:
        guest.write_register(f"x{target}", before)
    return Outcome.DONE

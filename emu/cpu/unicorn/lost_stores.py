"""Stores that Unicorn loses: to a page that may not be written, where it makes them in a function of its own and
cannot leave it at once (`emu.cpu.unicorn.bad_stores`). It goes on to the next access of memory, or to the end of
the run: the store is not made. On pages that are closed because memory on them is watched, that must not pass.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

from emu.cpu.events import RawAccess
from emu.cpu.pages import PAGE_SIZE
from emu.cpu.protocol import Stop, StopReason
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import uc
from relink.errors import MachineError

_RAN: Final = frozenset({StopReason.INSTRUCTION_LIMIT, StopReason.TRAP, StopReason.SYSCALL})


def check_run(seen: api.Seen, closed: Container[int], stop: Stop) -> None:
    """Raise MachineError if a store to a closed page was recorded in a run that has not ended there."""
    kind, address = seen.fault()
    if kind == uc.UC_MEM_WRITE_PROT and address & -PAGE_SIZE in closed:
        seen.forget()
        raise _lost(address, stop.pc)


def check_step(accesses: Iterable[RawAccess], faulted_at: int, stop: Stop) -> None:
    """Raise MachineError if the access that met a closed page is none of those that the step has made since."""
    if stop.reason in _RAN and not any(one.address <= faulted_at < one.address + one.size for one in accesses):
        raise _lost(faulted_at, stop.pc)


def _lost(address: int, pc: int) -> MachineError:
    return MachineError(
        f"an instruction before {pc:#x} stores to {address:#x}, on a page with watched memory, in a way that the "
        f"engine cannot stop at (docs/events.md): the store has not been made"
    )

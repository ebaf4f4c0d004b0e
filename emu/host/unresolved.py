"""Traps for symbols that nothing defines, where a load allows them: calling one raises UnresolvedCall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from emu.errors import UnresolvedCall

if TYPE_CHECKING:
    from emu.errors import Frame
    from emu.host.stand_ins import StandIns
    from emu.run.traps import TrapTable
    from relink.module import Module


class UnresolvedTraps:
    """Makes a trap for each undefined symbol of a load, and adds its address to `made`: `LoadOptions.unresolved`.

    `caller` returns the frame that called a trap.
    """

    def __init__(
        self, traps: TrapTable, stand_ins: StandIns, caller: Callable[[], Frame], made: list[int]
    ) -> None:
        self._traps, self._stand_ins = traps, stand_ins
        self._called = partial(_called, caller)
        self._made = made

    def __call__(self, image: Module, symbol: str) -> int:
        return self.each(image, [symbol])[0]

    def each(self, image: Module, symbols: Sequence[str]) -> list[int]:
        """The traps of several symbols."""
        made: list[int] = []
        if image.decoded.is_relocatable:  # its code may refer to data at nearby addresses only
            made = self._stand_ins.add(image, "unresolved", symbols, self._called)
        if len(made) < len(symbols):
            made += self._traps.add_alike("unresolved", symbols[len(made) :], self._called)
        self._made += made
        return made


def _called(caller: Callable[[], Frame], symbol: str) -> int:
    raise UnresolvedCall(symbol, caller())

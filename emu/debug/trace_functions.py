"""Functions that are traced, and their prototypes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emu.calls.declared import check_convention, declared_prototype
from emu.calls.plan import plan_call
from emu.calls.prototypes import parse_prototype
from emu.calls.types import Prototype
from relink.errors import RelinkError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.isa.convention import CallingConvention
    from emu.run.traps import Trap
    from relink.image import Symbol


@dataclass(eq=False)
class TracedFunction:
    """A function of an image, or of the host."""

    name: str
    image: str
    start: int = 0
    end: int = 0
    symbol: Symbol | None = None  #: None for a host function
    prototype: Prototype | None = None
    looked_up: bool = False  #: whether `prototype` is known, or known to be missing


class Prototypes:
    """Finds prototypes: those `given` by name, else those of DWARF."""

    def __init__(self, rules: CallingConvention, given: Mapping[str, str | Prototype]) -> None:
        self._rules = rules
        self._given = {
            name: parse_prototype(each, rules.arch) if isinstance(each, str) else each
            for name, each in given.items()
        }

    def of(self, function: TracedFunction) -> Prototype | None:
        """The prototype of a function, looked up at its first call. None where there is none, or where the
        compiler passes arguments in another way than the ABI says: the call is shown without arguments then.
        """
        symbol = function.symbol
        if symbol is None or function.looked_up:
            return function.prototype
        function.looked_up = True
        try:
            found = self._given.get(symbol.name)
            if found is None:
                found = declared_prototype(symbol, symbol.image, function.start)
            if found is None:
                return None
            plan_call(self._rules.arch, found)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check_convention(symbol, found, symbol.image, function.start, self._rules)
        except RelinkError:
            return None
        function.prototype = found
        return found


def host_function(trap: Trap, arch: str) -> TracedFunction:
    """The host function of a trap."""
    prototype = trap.prototype
    try:
        if isinstance(prototype, str):
            prototype = parse_prototype(prototype, arch)
    except RelinkError:
        prototype = None
    known = prototype if isinstance(prototype, Prototype) else None
    return TracedFunction(trap.name.removesuffix("()"), "[host]", prototype=known)

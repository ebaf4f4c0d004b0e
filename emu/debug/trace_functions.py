"""Functions that are traced, and their prototypes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from emu.calls.declared import check_convention, declared_prototype
from emu.calls.plan import plan_call
from emu.calls.prototypes import parse_prototype
from emu.calls.types import Prototype
from emu.debug.demangle import source_name
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


#: Parts of functions that GCC places elsewhere; they are jumped to.
_PART = re.compile(r"\.cold(\.\d+)?$")


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a symbol is a whole function whose name, or source name (C++, Rust), is wanted."""
    if not name or _PART.search(name):
        return False
    if any(fnmatchcase(name, pattern) for pattern in patterns):
        return True
    source = source_name(name)
    return source is not None and any(fnmatchcase(source, pattern) for pattern in patterns)


def host_function(trap: Trap, arch: str) -> TracedFunction:
    """The host function of a trap."""
    prototype = trap.prototype() if callable(trap.prototype) else trap.prototype
    try:
        if isinstance(prototype, str):
            prototype = parse_prototype(prototype, arch)
    except RelinkError:
        prototype = None
    known = prototype if isinstance(prototype, Prototype) else None
    return TracedFunction(trap.name.removesuffix("()"), "[host]", prototype=known)

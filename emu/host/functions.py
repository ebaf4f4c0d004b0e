"""Host functions: Python callables for symbols that the guest imports.

A `HostFunction` is a callable with the C prototype that describes its arguments. The machine assigns a trap
address to each. When the guest jumps there, the arguments are read by the ABI, the callable runs outside the
engine (it may call the guest again, to any depth, or raise), and the result is returned by the ABI.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from emu.errors import CallError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.calls.plan import VarArgs
    from emu.calls.store import View
    from emu.calls.types import Prototype

#: Arguments and results of host functions: integers and pointers are ints (signed as their type is), float and
#: double are floats, structures are records, and `...` arrives as one last VarArgs.
HostValue: TypeAlias = "int | float | complex | tuple[object, ...] | View | VarArgs"
HostCallable: TypeAlias = Callable[..., object]


@dataclass(frozen=True)
class HostFunction:
    """A callable and its C prototype, e.g. ``int add(int a, int b)`` or ``double(int)``."""

    call: HostCallable
    prototype: str | Prototype


def host_function(
    value: HostCallable | HostFunction | tuple[HostCallable, str | Prototype], name: str
) -> HostFunction:
    """Convert a user's value for a symbol into a HostFunction.

    A callable without a prototype takes as many pointer-sized signed integers as it has positional parameters, and
    returns one. Raises CallError if its signature is not available (pass a prototype then).
    """
    if isinstance(value, HostFunction):
        return value
    if isinstance(value, tuple):
        call, prototype = value
        return HostFunction(call, prototype)
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError) as error:
        raise CallError(
            f"host function for {name}: give a prototype, its signature is not available ({error})"
        ) from None
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise CallError(f"host function for {name}: give a prototype, *args does not tell how many arguments")
    arity = sum(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters
    )
    return HostFunction(value, f"long({', '.join(['long'] * arity) or 'void'})")

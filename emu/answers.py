"""What a user gives for symbols, made into something the resolver understands.

A table of names, or a function that is asked for each; what is given for a symbol may be an address, a callable
(with a prototype or without), a `Function` or `Variable` of a loaded library, or its `Symbol`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, cast

from emu.errors import CallError
from emu.host import HostCallable, HostFunction
from relink.symbols import DefinedSymbols, Lookup, SymbolRequest, SymbolSource

if TYPE_CHECKING:
    from emu.machine import Machine
    from relink.image import Symbol

#: What a user may give for a symbol: a callable, a callable with its prototype, or an address.
SymbolValue: TypeAlias = "HostCallable | HostFunction | tuple[HostCallable, str] | int"
#: A table of them, or a function of a `SymbolRequest` (or a `SymbolSource`) that answers with one, or None.
Symbols: TypeAlias = "Mapping[str, SymbolValue] | Lookup | SymbolSource"


class Answers:
    """Makes definitions of what users give. A trap made on the way belongs to the load it was made for."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # The last is the load under way; the first, what is bound outside of any and stays.
        self._owners: list[tuple[list[int], dict[tuple[str, int], tuple[int, object]]]] = [([], {})]

    @contextmanager
    def owned_by(self, traps: list[int]) -> Iterator[None]:
        """Note traps made meanwhile in `traps`."""
        owner = (traps, dict[tuple[str, int], tuple[int, object]]())
        self._owners.append(owner)
        try:
            yield
        finally:
            self._owners.remove(owner)

    def source(self, symbols: Symbols, traps: list[int] | None = None) -> SymbolSource | Lookup:
        """What to ask the user's symbols through."""
        if isinstance(symbols, Mapping):
            return DefinedSymbols(self._machine.define_all(symbols, traps))
        return symbols

    def definition(self, request: SymbolRequest, value: object) -> int | Symbol:
        """The address or symbol an answer stands for (see `Resolver.host_value`). Raises CallError."""
        from emu.library import Function, Variable

        if isinstance(value, Function | Variable):
            return value.symbol
        if not callable(value) and not isinstance(value, tuple | HostFunction):
            raise CallError(f"{request.name}: {value!r} can stand for no symbol")
        if len(self._owners) == 1 and request.asking is not None:  # bound late: the trap goes with the image
            owned = self._machine.traps_of(request.asking)
            return self._machine.define(request.name, cast(SymbolValue, value), owned)
        traps, known = self._owners[-1]
        key = request.name, id(value)
        if key not in known:
            address = self._machine.define(request.name, cast(SymbolValue, value), traps)
            known[key] = address, value  # kept, so that no other object gets its id
        return known[key][0]

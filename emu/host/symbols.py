"""Conversion of a user's `symbols=` into definitions for the resolver.

Symbols are given as a table by name, or as a function that is called with each request. A symbol's value is:

- a guest address;
- a callable, with or without its C prototype; it gets a trap;
- a `Function` or `Variable` of a loaded library, or its `Symbol`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

from emu.errors import BadGuestPointer, CallError
from emu.host.functions import HostCallable, HostFunction, host_function
from emu.host.unresolved import UnresolvedTraps
from relink.errors import GuestAccessError
from relink.image import Image, Symbol, image_of
from relink.records import Assigned
from relink.resolve.sources import DefinedSymbols, Lookup, SymbolRequest, SymbolSource

if TYPE_CHECKING:
    from emu.calls.types import Prototype
    from emu.errors import Frame
    from emu.host.stand_ins import StandIns
    from emu.isa.convention import CallingConvention
    from emu.ports import HostGuest
    from emu.run.traps import TrapTable

#: A user's value for a symbol: a callable, a callable with its prototype, or an address.
SymbolValue: TypeAlias = "HostCallable | HostFunction | tuple[HostCallable, str | Prototype] | int"
#: A table of them, or a function of a `SymbolRequest` (or a `SymbolSource`) that returns one or None.
Symbols: TypeAlias = "Mapping[str, SymbolValue] | Lookup | SymbolSource"


def symbol_of(value: object) -> Symbol | None:
    """The `Symbol` of a `Function` or `Variable`, or `value` itself if it is one; None for other values."""
    symbol = value if isinstance(value, Symbol) else getattr(value, "symbol", None)
    return symbol if isinstance(symbol, Symbol) else None


#: The traps of a load, and what they were made for.
Owner: TypeAlias = "tuple[list[int], dict[tuple[str, int], tuple[int, object]]]"


class HostSymbols(Assigned):
    """Makes definitions for a user's symbols. A trap belongs to the load it was made for.

    Host functions read arguments from and return results to `guest`; `caller` returns the frame that called a
    trap.
    """

    def __init__(
        self,
        traps: TrapTable,
        stand_ins: StandIns,
        guest: HostGuest,
        convention: CallingConvention,
        caller: Callable[[], Frame],
    ) -> None:
        self._traps, self._stand_ins = traps, stand_ins
        self._guest = guest
        self._arch = convention.arch
        self._address_mask = (1 << 8 * convention.word_size) - 1
        self._caller = caller
        #: Raises ForeignObject for objects of another machine; set by who knows what this one's are.
        self.check_objects: Callable[..., object] = lambda *values: None
        # The last list is that of the current load; the first is for bindings outside of loads, which stay.
        self._owners: list[Owner] = [([], {})]
        #: Traps to remove when an image is unloaded.
        self.owned: defaultdict[Image, list[int]] = defaultdict(list)

    # ------------------------------------------------------------ traps that run Python

    def define(self, name: str, value: SymbolValue, traps: list[int] | None = None) -> int:
        """The guest address for `value`: the number itself, or a trap that runs the callable. A new trap is added
        to `traps`.
        """
        if isinstance(value, int):
            return value & self._address_mask
        self.check_objects(value)
        function = host_function(value, name)
        address = self._traps.add(name, self.handler(name, function), function.prototype)
        if traps is not None:
            traps.append(address)
        return address

    def define_all(self, symbols: Mapping[str, SymbolValue], traps: list[int] | None = None) -> dict[str, int]:
        """`define` for each symbol of a table."""
        return {name: self.define(name, value, traps) for name, value in symbols.items()}

    def handler(self, name: str, function: HostFunction) -> Callable[[], int]:
        """The trap handler that runs `function`; `name` is its name in errors."""
        from emu.calls.plan import plan_call  # with all modules for C types: few loads call anything

        guest = self._guest
        plan = plan_call(self._arch, function.prototype)
        in_memory = plan.result_in_memory

        def reached() -> int:
            at = 0
            try:
                arguments = plan.arguments(guest)
                if in_memory:
                    at = plan.result_address(guest)
            except GuestAccessError as error:  # of the caller's stack
                raise BadGuestPointer(name, error) from None
            guest.in_host = True
            value = function.call(*arguments)
            guest.in_host = False
            try:
                return plan.leave(guest, value, name, at)
            except GuestAccessError as error:
                raise BadGuestPointer(name, error) from None

        return reached

    def unresolved(self, traps: list[int]) -> UnresolvedTraps:
        """A callable that makes traps for the undefined symbols of a load; they are appended to `traps`."""
        return UnresolvedTraps(self._traps, self._stand_ins, self._caller, traps)

    # ------------------------------------------------------------ callbacks (see `emu.ports.Callbacks`)

    def callback(self, function: HostCallable, prototype: object) -> int:
        """A trap that runs a Python function as one of this prototype. `remove` frees it."""
        name = getattr(function, "__name__", type(function).__name__)
        return self.define(f"callback {name}", HostFunction(function, cast("str | Prototype", prototype)))

    def remove(self, traps: Iterable[int]) -> None:
        """Free traps."""
        for address in traps:
            self._traps.remove(address)

    def forget(self, image: Image) -> None:
        """Free the traps of an image that has been unloaded."""
        if (traps := self.owned.get(image)) is not None:
            self.remove(traps)
            self.owned.pop(image, None)

    # ------------------------------------------------------------ for the resolver

    def begin(self, owner: Owner) -> None:
        """Append traps that are created from now on to those of `owner`, until `end` is called with it."""
        self._owners += [owner]

    def end(self, owner: Owner) -> None:
        """Undo `begin`, if it has been called."""
        if self._owners and self._owners[-1] is owner:
            del self._owners[-1]
        else:
            self._owners[:] = [each for each in self._owners if each is not owner]

    def sources(self, symbols: Symbols | None, traps: list[int] | None = None) -> list[SymbolSource | Lookup]:
        """The symbol sources for a user's `symbols`; empty for None."""
        if not symbols:
            return []
        if isinstance(symbols, Mapping):
            return [DefinedSymbols(self.define_all(symbols, traps))]
        if not (callable(symbols) or hasattr(symbols, "lookup")):
            raise TypeError(f"symbols={symbols!r} is neither a table by name nor a function of a SymbolRequest")
        return [symbols]

    def definition(self, request: SymbolRequest, value: object) -> int | Symbol:
        """The address or symbol for a value that a source returned (see `Resolver.host_value`). Raises
        CallError."""
        if (symbol := symbol_of(value)) is not None:
            return symbol
        if not callable(value) and not isinstance(value, tuple | HostFunction):
            raise CallError(
                f"{request.name}: {value!r} is not an address, a callable, a Function, a Variable or a Symbol"
            )
        # bound after the load: the trap is removed with the image
        if len(self._owners) == 1 and request.asking is not None:
            return self.define(request.name, cast(SymbolValue, value), self.owned[image_of(request.asking)])
        traps, known = self._owners[-1]
        key = request.name, id(value)
        if key not in known:
            address = self.define(request.name, cast(SymbolValue, value), traps)
            known[key] = address, value  # keep a reference, so that no other object gets the same id
        return known[key][0]

"""Functions of the guest replaced or watched by a test.

An import that nothing defines, and a function provided from Python, is a trap: its handler is exchanged, which
every caller sees, also through pointers. A function in guest code is patched (see `emu.patch.functions`).
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import Mock

from emu.calls.declared import dwarf_types
from emu.calls.dwarf_types import DwarfTypes
from emu.calls.prototypes import parse_prototype
from emu.calls.store import View
from emu.calls.types import Prototype
from emu.host.functions import HostFunction, host_function
from emu.run.traps import Trap
from relink.elf import dwarf
from relink.elf.dwarf_inlined import inlined_functions
from relink.errors import DebugInfoError, MachineError, RelinkError, UnresolvedSymbol

if TYPE_CHECKING:
    from emu import Library, Machine
    from emu.patch.functions import Patch
    from emu.pytest_plugin.pool import Loaded
    from relink.image import Symbol

#: Of an unknown prototype only this is certain on every ABI: a result of 32 bits, extended with its sign.
_UNKNOWN = "long long(void)"
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1


class MockError(MachineError):
    """A function cannot be mocked, or a mock's result not be returned; the message says why."""


class Mocked:
    """A replaced function, until `undo` or the end of a `with` block.

    Attributes that are not here are those of `unittest.mock.Mock`: `call_count`, `call_args_list`,
    `assert_called_once_with`, ...
    """

    def __init__(self, name: str, mock: Mock) -> None:
        self.name = name
        self.mock = mock
        self.results: list[Any] = []  #: of each call that returned
        self._put_back: Callable[[], None] | None = None

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """The arguments of each call, in order."""
        return [call.args for call in self.mock.call_args_list]

    @property
    def returns(self) -> Any:
        """The result of the next calls."""
        return self.mock.return_value

    @returns.setter
    def returns(self, value: Any) -> None:
        self.mock.return_value = value

    @property
    def side_effect(self) -> Any:
        """As of `unittest.mock.Mock`: results in order, an exception to raise, or a function."""
        return self.mock.side_effect

    @side_effect.setter
    def side_effect(self, value: Any) -> None:
        self.mock.side_effect = value

    def undo(self) -> None:
        """Put the function back. Does nothing when that is done. Raises MockError or PatchError while a later mock
        of the function is active.
        """
        if self._put_back is not None:
            self._put_back()
            self._put_back = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.undo()

    def replace(self, place: _Place, function: HostFunction, mocks: list[Mocked]) -> Mocked:
        """Add this to `mocks`, and put `function` in its place until `undo`."""
        mocks.append(self)
        self._put_back = place.put_back  # first: a signal handler may raise at any point
        try:
            place.replace(function)
        except BaseException:
            self.undo()
            raise
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.mock, name)

    def called_with(self, arguments: tuple[Any, ...]) -> Any:
        """Note a call and return its result. Structures are copied: their memory may change after the call."""
        kept = (copy.copy(each) if isinstance(each, View) else each for each in arguments)
        result = self.mock(*kept)
        self.results.append(result)
        return result

    def __repr__(self) -> str:
        return f"<mock of {self.name}: {self.mock.call_count} calls>"


def mock(
    loaded: Loaded,
    name: str,
    prototype: str | Prototype | None,
    returns: Any,
    side_effect: Any,
    mocks: list[Mocked],
) -> Mocked:
    """See `Guest.mock`."""
    library = loaded.library
    made = Mocked(name, Mock(name=name, return_value=returns, side_effect=side_effect))
    place = _Place(loaded.machine, library, name)
    known = _prototype(loaded, name, prototype)

    def call(*arguments: Any) -> Any:
        result = made.called_with(arguments)
        if known is None and not isinstance(side_effect, Callable):  # type: ignore[arg-type]
            _check_small(name, result)
        return result

    if known is not None:
        function = HostFunction(call, known)
    elif callable(side_effect) and not isinstance(side_effect, type):
        function = HostFunction(call, host_function(side_effect, name).prototype)
    else:
        function = HostFunction(call, _UNKNOWN)
    return made.replace(place, function, mocks)


def spy(loaded: Loaded, name: str, prototype: str | Prototype | None, mocks: list[Mocked]) -> Mocked:
    """See `Guest.spy`."""
    machine, library = loaded.machine, loaded.library
    place = _Place(machine, library, name)
    known = _prototype(loaded, name, prototype)
    if known is None:
        raise MockError(f"{name}: give its prototype, to read the arguments: guest.spy({name!r}, 'int(int)')")
    if known.variadic:
        raise MockError(f"{name} is variadic: its arguments cannot be passed on by a spy")

    def call(*arguments: Any) -> Any:
        with place.original() as address:
            return machine.call(address, known, *arguments)

    made = Mocked(name, Mock(name=name, side_effect=call))
    return made.replace(place, HostFunction(lambda *arguments: made.called_with(arguments), known), mocks)


def _check_small(name: str, result: object) -> None:
    if result is None or (isinstance(result, int) and _LEAST <= result <= _MOST):
        return
    raise MockError(
        f"{name}: to return {result!r} on every architecture the mock needs the function's prototype: "
        f"guest.mock({name!r}, 'double(int)', returns=...)"
    )


def _prototype(loaded: Loaded, name: str, given: str | Prototype | None) -> Prototype | None:
    """The prototype of a function: given, declared in the marker's header, from DWARF (of a call, for an import),
    or that of the hosted C library.
    """
    machine, library = loaded.machine, loaded.library
    arch = machine.convention.arch
    if isinstance(given, str):
        return parse_prototype(given, arch, library.types.scope)
    if given is not None:
        return given
    try:
        if (found := library.declared_prototype(name)) is not None:
            return found
    except DebugInfoError as error:  # a function whose convention the compiler changed, among others
        raise MockError(f"{name}: {error}") from None
    except UnresolvedSymbol:
        pass
    with suppress(DebugInfoError):
        types = dwarf_types(library.image)
        if types is not None and (found := types.prototype(name)) is not None:
            return found
    libc = getattr(machine.os, "libc", None)
    hosted = libc.function(name) if libc is not None else None
    if hosted is not None:
        text = hosted.prototype
        return text if isinstance(text, Prototype) else parse_prototype(text, arch)
    with suppress(RelinkError):
        if (sibling := loaded.sibling()) is not None:
            return DwarfTypes(dwarf.debug_types(sibling), machine.convention.data, sibling.name).prototype(name)
    return None


class _Replacement(Trap):
    """The trap of a mock."""

    __slots__ = ()


class _Place:
    """Where calls of a function arrive: traps, or guest code. Raises MockError where there is neither."""

    def __init__(self, machine: Machine, library: Library, name: str) -> None:
        self._machine, self._name = machine, name
        self._traps = machine.traps.named(name, f"unresolved {name}")
        self._symbol: Symbol | None = None
        self._patch: Patch | None = None
        self._new: _Replacement | None = None
        self._before: dict[int, Trap] = {}  #: those that have been replaced
        self._originals: list[int] = []  #: one trap that does what they did
        self._earlier: int | None = None  #: how many patches there had been before `_patch`
        if not self._traps:
            self._symbol = _defined(machine, library, name)

    def replace(self, function: HostFunction) -> None:
        """Put a host function in its place, until `put_back`."""
        machine = self._machine
        if self._symbol is not None:
            self._earlier = machine.patcher.count
            self._patch = machine.patch(self._symbol, function)
            return
        traps, name = machine.traps, self._name
        self._new = new = _Replacement(name, machine.parts.host_symbols.handler(name, function))
        for address in self._traps:
            before = traps.get(address)
            if before is not None:
                self._before[address] = before
                traps.exchange(address, new)
        traps.add(f"replaced {name}", self._run_replaced, into=self._originals)
        if (quick := machine.cpu.heap_calls) is not None:
            quick.pause(self, True)

    def _run_replaced(self) -> int:
        return next(iter(self._before.values())).handler()

    def put_back(self) -> None:
        """Take `replace` back, or what of it has been done. It may be called again where it was interrupted."""
        machine, traps, new = self._machine, self._machine.traps, self._new
        if self._earlier is not None:
            patch = self._patch
            if patch is None:  # a signal handler has raised since
                patch = next((each for each in machine.patcher.patches if each.number > self._earlier), None)
            if patch is not None:
                patch.undo()
            return
        if any(isinstance(trap := traps.get(each), _Replacement) and trap is not new for each in self._before):
            raise MockError(f"{self._name} has been mocked again since: undo the last mock first")
        for address, before in self._before.items():
            if traps.get(address) is new:  # it is another's when the library has been unloaded
                traps.exchange(address, before)
        for address in self._originals:
            if (trap := traps.get(address)) is not None and trap.handler == self._run_replaced:
                traps.remove(address)
        if (quick := machine.cpu.heap_calls) is not None:
            quick.pause(self, False)

    @contextmanager
    def original(self) -> Iterator[int]:
        """In the block calls of the address, which it gives, run the replaced function."""
        if self._patch is None or self._symbol is None:
            yield self._originals[0]
        else:
            with self._patch.suspended():
                yield self._symbol.address


def _defined(machine: Machine, library: Library, name: str) -> Symbol:
    """The function of that name in guest code. Raises MockError, also when callers have copies of it."""
    with suppress(UnresolvedSymbol):
        symbol = library.function_symbol(name)
        if name in inlined_functions(symbol.image.decoded):
            raise MockError(
                f"{name} was inlined into callers in {symbol.image.short_name}, which a mock would not reach: "
                "compile with -fno-inline, or declare it noinline"
            )
        return symbol
    for image in machine.parts.symbolizer.host_images():
        with suppress(UnresolvedSymbol):
            return image.symbol(name)
    names = {binding.symbol for binding in library.image.bindings()} | set(library.image.exports)
    close = difflib.get_close_matches(name, sorted(names), n=3)
    hint = f"; it has {', '.join(close)}" if close else ""
    raise MockError(f"{library.name} neither calls nor defines a function {name}{hint}")

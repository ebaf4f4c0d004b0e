"""Looking for the first call of a function that ends differently on two architectures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from emu.calls.types import Prototype
from emu.differential.guest import Guest
from emu.differential.host import Host, is_native
from emu.differential.inputs import Argument, Untestable, plan, strategy
from emu.differential.values import Outcome, Plain, plain
from emu.errors import CallError, UnresolvedCall
from relink.elf.constants import SymbolType
from relink.errors import DebugInfoError, RelinkError
from relink.records import dataclass


@dataclass(frozen=True)
class Example:
    """A call and how it ended on each target."""

    arguments: dict[str, Plain]
    outcomes: dict[str, Outcome]


@dataclass(frozen=True)
class Result:
    """What was found about one function: `difference` is the smallest call that ends differently, or None.

    `examples` counts the calls tried; `skipped` tells why there are none.
    """

    function: str
    prototype: str
    examples: int
    difference: Example | None = None
    skipped: str | None = None


class _Different(AssertionError):
    """A call ended differently."""


class Comparison:
    """A library on several targets, and perhaps on the host. `examples` calls are tried for each function."""

    def __init__(self, guests: Sequence[Guest], host: Host | None, *, examples: int, number: int) -> None:
        self._guests, self._host, self._examples, self._seed = guests, host, examples, number

    def functions(self) -> list[str]:
        """The functions that the library exports on every target, in the order of their addresses."""
        sets = [{name for name, _ in _functions(guest)} for guest in self._guests]
        return [name for name, _ in _functions(self._guests[0]) if all(name in each for each in sets)]

    def check(self, function: str) -> Result:
        """Look for a difference of one function."""
        try:
            prototypes = self._prototypes(function)
            arguments = plan(prototypes)
        except (Untestable, RelinkError) as error:
            return Result(function, "", 0, skipped=str(error))
        text = str(next(iter(prototypes.values())))
        search = _Search(self._runs(function, prototypes, arguments), arguments)
        run: Callable[[], None] = seed(self._seed)(
            settings(
                max_examples=self._examples,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
                print_blob=False,
            )(given(strategy(arguments, prototypes))(search.call))
        )
        try:
            run()
        except _Different:
            return Result(function, text, search.count, search.found)
        except UnresolvedCall as error:
            return Result(function, text, 0, skipped=f"it calls {error}")
        except (CallError, Untestable) as error:
            return Result(function, text, 0, skipped=str(error))
        return Result(function, text, search.count)

    def _prototypes(self, function: str) -> dict[str, Prototype]:
        found = {}
        for guest in self._guests:
            try:
                prototype = guest.prototype(function)
            except DebugInfoError as error:
                raise Untestable(str(error)) from None
            if prototype is None:
                raise Untestable(f"there is no debug information for it on {guest.name}")
            found[guest.name] = prototype
        return found

    def _runs(
        self, function: str, prototypes: Mapping[str, Prototype], arguments: Sequence[Argument]
    ) -> dict[str, Callable[[Sequence[Any]], Outcome]]:
        """By target: a function that makes the call with given arguments."""

        def on(runner: Guest | Host, prototype: Prototype) -> Callable[[Sequence[Any]], Outcome]:
            return lambda values: runner.call(function, prototype, arguments, values)

        runs = {guest.name: on(guest, prototypes[guest.name]) for guest in self._guests}
        native = next((guest.name for guest in self._guests if is_native(guest.name)), None)
        if self._host is not None and native is not None:
            runs[self._host.name] = on(self._host, prototypes[native])
        return runs


class _Search:
    """Makes the calls that hypothesis asks for; remembers the last difference, which is the smallest."""

    def __init__(
        self, runs: Mapping[str, Callable[[Sequence[Any]], Outcome]], arguments: Sequence[Argument]
    ) -> None:
        self._runs, self._arguments = dict(runs), arguments
        self.count = 0
        self.found: Example | None = None

    def call(self, values: list[Any]) -> None:
        """Make one call everywhere. Raises _Different."""
        self.count += self.found is None
        outcomes = {}
        for name, run in list(self._runs.items()):
            try:
                outcomes[name] = run(values)
            except Untestable:
                del self._runs[name]  # the host, which cannot pass these types
        if len({outcome.compared for outcome in outcomes.values()}) > 1:
            named = zip(self._arguments, values, strict=True)
            self.found = Example({argument.name: plain(value) for argument, value in named}, outcomes)
            raise _Different


def _functions(guest: Guest) -> Iterator[tuple[str, int]]:
    image = guest.library.image
    exports = sorted(image.exports.items(), key=lambda item: item[1])
    return ((name, address) for name, address in exports if image.symbol(name).type == SymbolType.FUNC)

"""Looking for the first call of a function that ends differently on two architectures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis.errors import Flaky, Unsatisfiable

from emu.calls.types import Prototype
from emu.differential.guest import Guest
from emu.differential.host import Host, is_native
from emu.differential.inputs import Argument, Untestable, plan, strategy
from emu.differential.values import MEMORY, TIME, Outcome, Plain, plain
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

    `examples` counts the calls tried, `endless` those of them that did not end anywhere; `skipped` tells why there
    are none.
    """

    function: str
    prototype: str
    examples: int
    difference: Example | None = None
    skipped: str | None = None
    endless: int = 0


class _Different(AssertionError):
    """A call ended differently."""


class _Enough(BaseException):
    """So many calls did not end anywhere that more would tell nothing. hypothesis would repeat an Exception."""


#: Calls of a function that do not end anywhere, after which no more are tried.
_MOST_ENDLESS = 3
#: So much longer a call may take where it did not end, if it ended elsewhere: engines differ in speed.
_PATIENCE = 10
#: Calls of a function that are given more time; others that end only on some targets are not compared.
_MOST_REPEATED = 5

_Run = Callable[[Sequence[Any], float], Outcome]


class Comparison:
    """A library on several targets, and perhaps on the host.

    `examples` calls are tried for each function, each for at most `seconds`.
    """

    def __init__(
        self, guests: Sequence[Guest], host: Host | None, *, examples: int, number: int, seconds: float
    ) -> None:
        self._guests, self._host, self._examples, self._seed = guests, host, examples, number
        self._seconds = seconds

    def functions(self) -> list[str]:
        """The functions that the library exports on some target, in the order of their addresses."""
        return list(dict.fromkeys(name for guest in self._guests for name, _ in _functions(guest)))

    def check(self, function: str) -> Result:
        """Look for a difference of one function."""
        try:
            prototypes = self._prototypes(function)
            arguments = plan(prototypes)
        except (Untestable, RelinkError) as error:
            return Result(function, "", 0, skipped=str(error))
        text = str(next(iter(prototypes.values())))
        search = _Search(self._runs(function, prototypes, arguments), arguments, self._seconds)
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
        except (_Different, Flaky):  # a call whose outcome is not the same each time differs too
            return Result(function, text, search.count, search.found)
        except _Enough:
            pass
        except Unsatisfiable:
            return Result(function, text, 0, skipped="every call runs out of memory")
        except UnresolvedCall as error:
            return Result(function, text, 0, skipped=f"it calls {error}")
        except (CallError, Untestable) as error:
            return Result(function, text, 0, skipped=str(error))
        return Result(function, text, search.count, endless=search.endless)

    def _prototypes(self, function: str) -> dict[str, Prototype]:
        found = {}
        for guest in self._guests:
            if all(name != function for name, _ in _functions(guest)):
                raise Untestable(f"it is not exported on {guest.name}")
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
    ) -> dict[str, _Run]:
        """By target: a function that makes the call with given arguments, for some seconds."""

        def on(runner: Guest | Host, prototype: Prototype) -> _Run:
            return lambda values, seconds: runner.call(function, prototype, arguments, values, seconds)

        runs = {guest.name: on(guest, prototypes[guest.name]) for guest in self._guests}
        native = next((guest.name for guest in self._guests if is_native(guest.name)), None)
        if self._host is not None and native is not None:
            runs[self._host.name] = on(self._host, prototypes[native])
        return runs


class _Search:
    """Makes the calls that hypothesis asks for; remembers the last difference, which is the smallest."""

    def __init__(self, runs: Mapping[str, _Run], arguments: Sequence[Argument], seconds: float) -> None:
        self._runs, self._arguments, self._seconds = dict(runs), arguments, seconds
        self.count = self.endless = self._repeated = 0
        self.found: Example | None = None

    def call(self, values: list[Any]) -> None:
        """Make one call everywhere. Raises _Different, _Enough."""
        self.count += self.found is None
        outcomes = {}
        for name, run in list(self._runs.items()):
            try:
                outcomes[name] = run(values, self._seconds)
            except Untestable:
                del self._runs[name]  # the host, which cannot pass these types
        if any(outcome.kind == MEMORY for outcome in outcomes.values()):
            self.count -= self.found is None
            reject()  # types differ in size, so the same call needs more memory on some targets
        late = [name for name, outcome in outcomes.items() if outcome.kind == TIME]
        if late and len(late) == len(outcomes):
            self.endless += 1
            if self.endless == _MOST_ENDLESS and self.found is None:
                raise _Enough
        elif late:
            self._repeated += 1
            if self._repeated > _MOST_REPEATED:
                self.count -= self.found is None
                reject()
            outcomes |= {name: self._runs[name](values, self._seconds * _PATIENCE) for name in late}
        if len({outcome.compared for outcome in outcomes.values()}) > 1:
            named = zip(self._arguments, values, strict=True)
            self.found = Example({argument.name: plain(value) for argument, value in named}, outcomes)
            raise _Different


def _functions(guest: Guest) -> Iterator[tuple[str, int]]:
    image = guest.library.image
    exports = sorted(image.exports.items(), key=lambda item: item[1])
    return ((name, address) for name, address in exports if image.symbol(name).type == SymbolType.FUNC)

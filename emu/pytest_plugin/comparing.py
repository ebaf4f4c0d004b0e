"""`--relink-compare`: each test's calls of the guest, compared between architectures.

The calls travel with the test's report, so that they can come from xdist's workers. A test whose calls depend on
the architecture on purpose differs too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from emu.calls.types import Pointer, Prototype
from emu.differential.values import comparable, from_json, plain, shown, to_json
from emu.errors import GuestAbort, GuestFault
from emu.pytest_plugin.pool import GuestCall, Loaded

_PROPERTY = "relink-emu calls"
_MOST = 10_000  #: calls of a test that are compared


class Call(NamedTuple):
    """A call in plain values: its name, its arguments, and its result or the kind of its error."""

    function: str
    arguments: Any
    ended: str
    result: Any

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(shown, self.arguments))})"

    @property
    def outcome(self) -> str:
        """How it ended."""
        return shown(self.result) if self.ended == "returned" else self.ended


class _Calls:
    """The calls of one test so far."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.calls: list[Call] = []

    def __call__(self, made: GuestCall) -> None:
        if len(self.calls) < _MOST:
            self.calls.append(self._plain(made))

    def _plain(self, made: GuestCall) -> Call:
        machine = self._loaded.machine
        frame = machine.symbolize(made.address & machine.arch.code_address_mask, source=False)
        name = frame.symbol if frame.symbol is not None and not frame.offset else "a function"
        arguments = tuple(_argument(value, made.prototype, number) for number, value in enumerate(made.arguments))
        if made.error is not None:
            fault = isinstance(made.error, GuestFault | GuestAbort)  # which of both depends on the ISA
            return Call(name, arguments, "fault" if fault else type(made.error).__name__, None)
        return Call(name, arguments, "returned", plain(made.result))


def _argument(value: object, prototype: object, number: int) -> Any:
    """An argument in plain values; addresses and functions mean the same on all architectures by what they are."""
    if callable(value):
        return f"<{getattr(value, '__name__', type(value).__name__)}>"
    parameters = prototype.parameters if isinstance(prototype, Prototype) else ()
    if isinstance(value, int) and number < len(parameters) and isinstance(parameters[number].type, Pointer):
        return "a pointer" if value else None
    return plain(value)


def listen(loaded: Loaded) -> None:
    """Record the calls of the test that has a machine now."""
    loaded.hear[:] = [_Calls(loaded)]


def attach(item: pytest.Item, parameter: str, loaded: Loaded) -> None:
    """Let the calls of a test travel with its report. `parameter` is the one whose value is the target."""
    assert isinstance(item, pytest.Function)
    target = str(item.callspec.params[parameter])
    words = item.callspec.id.split("-")
    words[words.index(target)] = "*"
    head = item.nodeid.removesuffix(item.name) + item.originalname
    calls = next((each.calls for each in loaded.hear if isinstance(each, _Calls)), [])
    facts = {"test": f"{head}[{'-'.join(words)}]", "target": target, "calls": to_json(tuple(map(tuple, calls)))}
    item.user_properties.append((_PROPERTY, json.dumps(facts)))


class Difference(NamedTuple):
    """The first call of a test that ended, or was made, differently: by target."""

    test: str
    number: int  #: of the call, from 1
    calls: dict[str, Call | None]  #: None: the test made no such call there


class Comparison:
    """The calls of all tests: a plug-in of the process that reports."""

    def __init__(self) -> None:
        self._tests: defaultdict[str, dict[str, list[Call]]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the calls off a test's report."""
        if report.when != "call":
            return
        for name, text in report.user_properties:
            if name == _PROPERTY:
                facts = json.loads(str(text))
                self._tests[facts["test"]][facts["target"]] = [Call(*each) for each in from_json(facts["calls"])]

    def differences(self) -> list[Difference]:
        """The first difference of each test that has one."""
        return [found for test, calls in self._tests.items() if (found := _first(test, calls)) is not None]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A difference is a failure of the session."""
        if self.differences() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the differences, or that there are none."""
        terminal = terminalreporter
        found = self.differences()
        several = sum(len(calls) > 1 for calls in self._tests.values())
        for difference in found:
            terminal.section(f"differs between architectures: {difference.test}", "-")
            for line in _lines(difference):
                terminal.write_line(line)
        same = several - len(found)
        terminal.write_line(
            f"compared between architectures: {same} tests made the same calls, {len(found)} differ"
        )


def _first(test: str, calls: dict[str, list[Call]]) -> Difference | None:
    for index in range(max(map(len, calls.values()), default=0)):
        at = {target: made[index] if index < len(made) else None for target, made in calls.items()}
        if len({comparable(tuple(each)) if each is not None else None for each in at.values()}) > 1:
            return Difference(test, index + 1, at)
    return None


def _lines(difference: Difference) -> Iterator[str]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for target, call in difference.calls.items():
        groups["no such call" if call is None else f"{call} -> {call.outcome}"].append(target)
    yield f"call {difference.number} of the test:"
    for text, targets in groups.items():
        yield f"    {', '.join(targets)}: {text}"

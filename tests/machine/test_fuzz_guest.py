"""Fuzzing of guest code: what is found, that it is found again, and that nothing remains of it in the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from emu import BudgetExceeded, CallError, ForeignObject, FuzzError, GuestFault, Library, Machine, SnapshotError
from emu.cpu.protocol import StopReason
from emu.fuzz import Found, Fuzzer, arguments
from relink.errors import MachineError
from tests.fixtures import arch_of, each_target
from tests.machine.loops import build_loops

_PARSE = "int parse(const uint8_t *data, size_t size)"
_TOKENS = [b"BUG", b"LO", b"OP", b"!"]


class Guest:
    """A machine with the parser (sources/parser.c); `heard` has what it gives to its host function."""

    def __init__(self, target: str, library: Path) -> None:
        self.machine = Machine(arch_of(target))
        self.heard: list[int] = []
        self.library: Library = self.machine.load(library, symbols={"host": (self._host, "int host(int)")})
        self.parse = self.library.function("parse", _PARSE)

    def _host(self, value: int) -> int:
        self.heard.append(value)
        if value == 77:
            raise LookupError("77")
        return 1

    def fuzzer(self, seeds: tuple[bytes, ...] = (b"{12}", b""), **options: int) -> Fuzzer:
        return Fuzzer(self.machine, self.parse, seeds, dictionary=_TOKENS, max_instructions=20_000, **options)

    def calls(self) -> int:
        return self.machine.memory.read_uint(self.library.symbols["calls"].address, 4)


target = each_target()


@pytest.fixture
def path(target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp()
    made = folder / f"parser-{target}.so"
    return made if made.exists() else build_loops(target, folder, "parser")


@pytest.fixture
def guest(target: str, path: Path) -> Iterator[Guest]:
    guest = Guest(target, path)
    with guest.machine:
        yield guest


def progress(found: Found) -> tuple[object, ...]:
    return found.corpus[:], found.edges, [(crash.data, crash.key) for crash in (*found.crashes, *found.hangs)]


def test_bugs_behind_magic_bytes_are_found_and_found_again(guest: Guest, target: str, path: Path) -> None:
    fuzzer = guest.fuzzer()
    for _ in range(20):
        found = fuzzer.run(executions=500)
        if found.hangs and any(isinstance(crash.error, GuestFault) for crash in found.crashes):
            break
    faults = [crash for crash in found.crashes if isinstance(crash.error, GuestFault)]
    assert [crash.data[:4] for crash in faults] == [b"BUG!"]
    assert [hang.data[:4] for hang in found.hangs] == [b"LOOP"]
    fault, hang = faults[0], found.hangs[0]
    assert isinstance(fault.error, GuestFault)
    assert (fault.error.reason, fault.error.address) == (StopReason.WRITE_UNMAPPED, 16)
    again = fault.replay()
    assert isinstance(again, GuestFault)
    assert again.pc == fault.error.pc
    assert isinstance(hang.replay(), BudgetExceeded)
    assert found.corpus[:2] == [b"{12}", b""]
    assert len(found.corpus) > 4
    assert found.edges > 20
    assert guest.calls() == 0
    assert guest.machine.runner.max_instructions == 0
    assert guest.parse(b"{34}", 4) == 34
    assert not guest.machine.cpu.events.active

    other = Guest(target, path)
    with other.machine:
        assert progress(other.fuzzer().run(executions=found.executions)) == progress(found)
        assert other.fuzzer(seed=1).run(executions=500).corpus != found.corpus


def test_each_execution_begins_in_the_same_state(guest: Guest) -> None:
    guest.parse(b"", 0)
    seen = []

    def target(data: bytes) -> None:
        seen.append(guest.calls())
        guest.parse(data, len(data))
        assert guest.calls() == 2

    found = Fuzzer(guest.machine, target, [b"{"]).run(executions=50)
    assert (set(seen), found.crashes, guest.calls()) == ({1}, [], 1)
    assert found.edges


def test_exceptions_of_the_host_are_crashes_and_errors_of_the_user_are_not(guest: Guest) -> None:
    fuzzer = guest.fuzzer((b"  77@", b"   1@"))
    with fuzzer:
        assert [fuzzer.one(data) > 0 for data in (b"  77@", b"   1@", b"   1@")] == [True, True, False]
        assert [fuzzer.one(b"  77" + end) for end in (b"@ more", b"@")] == [0, 0]
    (crash,) = fuzzer.found.crashes
    assert isinstance(crash.error, LookupError)
    assert (crash.data, crash.count) == (b"  77@", 3)
    assert fuzzer.found.corpus == [b"  77@", b"   1@"]
    assert fuzzer.found.executions == 5
    wrong = Fuzzer(guest.machine, lambda data: guest.parse(data, "size"), [b""])
    with pytest.raises(CallError):
        wrong.run(executions=1)
    assert guest.machine.runner.max_instructions == 0
    assert guest.parse(b"1", 1) == 1
    assert not guest.machine.cpu.events.active


def test_inputs_are_passed_as_the_prototype_says(guest: Guest) -> None:
    function, machine = guest.library.function, guest.machine
    overread = Fuzzer(machine, function("overread", "int(const uint8_t *, size_t)"), [b"abc"]).run(executions=1)
    assert [crash.error.reason for crash in overread.crashes if isinstance(crash.error, GuestFault)] == [
        StopReason.READ_PROTECTED
    ]
    Fuzzer(machine, function("text", "int(const char *)"), [b"12345"], max_size=5).run(executions=1)
    assert guest.heard == [5]
    words = Fuzzer(machine, function("sum", "unsigned(const uint32_t *, uint32_t)"), [b"\1\0\0\0\2\0\0\0\3"])
    assert not words.run(executions=200).crashes


def test_hypothesis_draws_arguments_from_a_prototype(guest: Guest) -> None:
    drawn = []

    @settings(max_examples=10, deadline=None, database=None)
    @given(arguments(guest.library.function("parse", "int parse(const void *data, size_t size)")))
    def check(values: list[object]) -> None:
        data, size = values
        assert isinstance(data, bytes)
        assert len(data) == size
        drawn.append(guest.parse(*values))

    check()
    assert len(drawn) >= 5
    # Hypothesis makes the arguments of the fuzzer's bytes.
    fuzz_one_input = check.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    found = Fuzzer(guest.machine, fuzz_one_input, [bytes(64)]).run(executions=20)
    assert found.executions == 20
    assert found.edges
    with pytest.raises(FuzzError, match="variadic"):
        arguments(guest.library.function("parse", "int parse(const char *, ...)"))


def test_bad_requests_are_typed_errors(guest: Guest, target: str, path: Path) -> None:
    machine, parse = guest.machine, guest.parse
    two = guest.library.function("two", "int(int, int)")
    requests: tuple[Callable[[], object], ...] = (
        lambda: Fuzzer(machine, two, [b""]),
        lambda: Fuzzer(machine, guest.library.function("two", "int(void)"), [b""]),
        lambda: Fuzzer(machine, guest.library.function("two", "int(void (*)(void))"), [b""]),
        lambda: Fuzzer(machine, parse, []),
        lambda: Fuzzer(machine, parse, b"abc"),  # type: ignore[arg-type]
        lambda: Fuzzer(machine, parse, ["abc"]),  # type: ignore[list-item]
        lambda: Fuzzer(machine, parse, [b"abc"], max_size=2),
        lambda: Fuzzer(machine, parse, [b""], max_size=0),
        lambda: Fuzzer(machine, parse, [b""], max_instructions=0),
        lambda: Fuzzer(machine, "parse", [b""]),  # type: ignore[arg-type]
        lambda: Fuzzer(machine, parse, [b""], max_size=3).one(b"abcd"),
        lambda: Fuzzer(machine, guest.library.function("text", "int(const char *)"), [b""], max_size=3).replay(
            b"abcd"
        ),
        lambda: guest.fuzzer().run(),
        lambda: guest.fuzzer().run(executions=0),
        lambda: guest.fuzzer().run(seconds=float("nan")),
    )
    for make in requests:
        with pytest.raises(FuzzError):
            make()
    with Machine(arch_of(target)) as other, pytest.raises(ForeignObject):
        Fuzzer(other, parse, [b""])
    fuzzer, refused = guest.fuzzer(), []

    def nested(data: bytes) -> int:
        with pytest.raises(SnapshotError) as caught:
            fuzzer.run(executions=1)
        refused.append(caught.value)
        return 0

    host = machine.callback(lambda: nested(b""), "int(void)")
    assert machine.call(host, "int(void)") == 0
    assert len(refused) == 1
    machine.close()
    with pytest.raises(MachineError, match="the machine has been closed"):
        fuzzer.run(executions=1)

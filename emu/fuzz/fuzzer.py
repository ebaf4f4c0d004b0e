"""`Fuzzer`: the loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import closing, contextmanager
from os import PathLike
from random import Random
from typing import TYPE_CHECKING, Final, Self

from emu.cpu.events import Recorded
from emu.errors import BudgetExceeded, FuzzError
from emu.fuzz.findings import Finding, Found, kind_of
from emu.fuzz.minimise import smaller
from emu.fuzz.mutate import Mutator
from emu.fuzz.session import Session
from emu.fuzz.target import FunctionTarget
from emu.handles import Function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emu.cpu.events import Events, Recording
    from emu.machine import Machine

_LARGEST: Final = 1 << 28


class Fuzzer:
    """Runs a function on many inputs, each from the machine's present state, and keeps those that reach new edges.

    `target` is a guest function of a pointer, or of a pointer and a length; or a Python function of bytes that
    calls the guest as it likes, whose exceptions are crashes too. Inputs have at most `max_size` bytes. A call
    that runs more than `max_instructions`, or longer than the machine's `timeout`, is a hang. `dictionary` has
    tokens that inputs are made of. The same `seed` gives the same executions.

    `run` begins with the machine's state at that time and returns to it. In a `with` block this is done once, for
    many calls of `run` and `one`.

    Raises FuzzError for a function of other parameters, for no seeds, and for limits out of range; ForeignObject
    for a function of another machine.
    """

    def __init__(
        self,
        machine: Machine,
        target: Function | Callable[[bytes], object],
        seeds: Iterable[bytes],
        *,
        dictionary: Iterable[bytes] = (),
        max_size: int = 4096,
        max_instructions: int = 100_000,
        seed: int = 0,
    ) -> None:
        if not 1 <= max_size <= _LARGEST:
            raise FuzzError(f"max_size is {max_size}, and must be from 1 to {_LARGEST}")
        if max_instructions < 1:
            raise FuzzError(f"max_instructions is {max_instructions}, and must be at least 1")
        corpus = [bytes(one) for one in _several(seeds, "seeds")]
        if not corpus:
            raise FuzzError("there are no seeds: give at least one input, which may be empty (b'')")
        longest = max(map(len, corpus))
        if longest > max_size:
            raise FuzzError(f"a seed has {longest} bytes, more than max_size ({max_size})")
        self._machine, self._max_instructions, self._max_size = machine, max_instructions, max_size
        self._place = self._placing(target, max_size)
        self._random = Random(seed)
        self._mutator = Mutator(self._random, list(_several(dictionary, "dictionary")), max_size)
        self._untried = list(reversed(corpus))
        self._seen: set[tuple[int, ...]] = set()
        self._findings: dict[Hashable, Finding] = {}
        self._session: Session | None = None
        self.found = Found(corpus)  #: so far

    def _placing(
        self, target: Function | Callable[[bytes], object], max_size: int
    ) -> Callable[[Machine], Callable[[bytes], object]]:
        if isinstance(target, Function):
            self._machine.parts.owner.check(target)
            return FunctionTarget(target, max_size).placed
        if not callable(target):
            raise FuzzError(f"the target is neither a guest function nor callable: {target!r}")
        return lambda machine: target

    def run(self, *, seconds: float | None = None, executions: int | None = None) -> Found:
        """Fuzz for some time, or for a number of executions, or until the first of both.

        Raises FuzzError without a limit or for one that is not positive; SnapshotError when the machine is closed,
        or during a call; MachineInUse; and errors that are not the guest's, such as CallError.
        """
        if seconds is None and executions is None:
            raise FuzzError("how long? give seconds=, executions=, or both")
        for name, limit in (("seconds", seconds), ("executions", executions)):
            if limit is not None and not limit > 0:
                raise FuzzError(f"{name} is {limit}, and must be positive")
        with self._used() as session:
            begun = time.monotonic()
            deadline = None if seconds is None else begun + seconds
            last = None if executions is None else self.found.executions + executions
            try:
                while last is None or self.found.executions < last:
                    self._run_one(session, self._next())
                    if deadline is not None and time.monotonic() >= deadline:
                        break
            finally:
                self.found.seconds += time.monotonic() - begun
        return self.found

    def one(self, data: bytes) -> int:
        """Run one input of your own, and return how many new edges it has reached (then it is in the corpus).
        Other fuzzers may call this; a `with` block around them keeps it quick. Raises as `run`.
        """
        with self._used() as session:
            begun = time.monotonic()
            try:
                return self._run_one(session, bytes(data))
            finally:
                self.found.seconds += time.monotonic() - begun

    def replay(self, data: bytes) -> Exception | None:
        """Run one input without counting it; returns the error, or None. In a `with` block, edges that it is the
        first to reach are not new afterwards.
        """
        with self._replaying() as session:
            return session.execute(data)

    def minimise(self, data: bytes, *, executions: int = 1000) -> bytes:
        """A smaller input that fails in the same way (the same kind of error at the same place), found with at
        most `executions` more. Raises FuzzError when `data` does not fail, and as `run`.
        """
        if executions < 1:
            raise FuzzError(f"executions is {executions}, and must be at least 1")
        with self._replaying() as session:
            error = session.execute(data)
            if error is None:
                raise FuzzError(f"this input of {len(data)} bytes does not fail")
            kind = kind_of(error)

            def fails_alike(candidate: bytes) -> bool:
                failed = session.execute(candidate)
                return failed is not None and kind_of(failed) == kind

            return smaller(bytes(data), fails_alike, executions)

    def afl(self, file: str | PathLike[str] = "-") -> int:
        """Serve `afl-fuzz`, which has started this process, until it ends; `file` is where it writes inputs ("-":
        standard input), which is `@@` in its command. Returns 0; without `afl-fuzz`, the status of running one
        input: 0, or the number of a signal. See docs/fuzzing.md.

        Raises FuzzError without the shared memory that `__AFL_SHM_ID` names, outside of the main thread, and in a
        `with` block of this fuzzer; OSError; and as `run`.
        """
        from emu.fuzz.afl import EdgeMap, ForkServer

        if self._session is not None:
            raise FuzzError("this fuzzer is in use already")
        edges = EdgeMap.of(os.environ.get("__AFL_SHM_ID"))
        with closing(Session(self._machine, self._place, self._max_instructions, edges.record)) as session:
            return ForkServer(session, edges, os.fspath(file), self._max_size).serve()

    def __enter__(self) -> Self:
        if self._session is not None:
            raise FuzzError("this fuzzer is in use already")
        self._session = Session(self._machine, self._place, self._max_instructions, self._record_edges)
        return self

    def __exit__(self, *raised: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    @contextmanager
    def _replaying(self) -> Iterator[Session]:
        if self._session is not None:
            yield self._session
            return
        session = Session(self._machine, self._place, self._max_instructions)
        try:
            yield session
        finally:
            session.close()

    @contextmanager
    def _used(self) -> Iterator[Session]:
        if self._session is not None:
            yield self._session
            return
        with self:
            assert self._session is not None
            yield self._session

    def _record_edges(self, events: Events) -> Recording:
        what = Recorded.NEW_BLOCKS if events.single_steps else Recorded.EDGES
        columns = slice(0, 1) if events.single_steps else slice(0, 2)
        return events.record(what, lambda rows: self._seen.update(map(tuple, rows[:, columns].tolist())))

    def _next(self) -> bytes:
        """The next seed, or a changed input; the later ones of the corpus are taken more often."""
        if self._untried:
            return self._untried.pop()
        corpus, random = self.found.corpus, self._random.random
        parent = corpus[int(max(random(), random()) * len(corpus))]
        return self._mutator.mutate(parent, corpus[int(random() * len(corpus))])

    def _run_one(self, session: Session, data: bytes) -> int:
        found, before = self.found, len(self._seen)
        error = session.execute(data)
        found.executions += 1
        found.edges = len(self._seen)
        new = found.edges - before
        if error is not None:
            self._failed(data, error)
        elif new and data not in found.corpus:
            found.corpus.append(data)
        return new

    def _failed(self, data: bytes, error: Exception) -> None:
        key = kind_of(error)
        finding = self._findings.get(key)
        if finding is None:
            self._findings[key] = finding = Finding(data, error, key, self.replay)
            kept = self.found.hangs if isinstance(error, BudgetExceeded) else self.found.crashes
            kept.append(finding)
            return
        finding.count += 1
        if len(data) < len(finding.data):
            finding.data, finding.error = data, error


def _several(values: Iterable[bytes], what: str) -> Iterable[bytes]:
    """Raise FuzzError for one value in place of several, and for other types."""
    if isinstance(values, (bytes, bytearray, str)):
        raise FuzzError(f"{what}= takes a list of bytes, not {type(values).__name__}")
    for value in values:
        if not isinstance(value, (bytes, bytearray)):
            raise FuzzError(f"{what}= takes bytes, not {type(value).__name__}")
        yield value

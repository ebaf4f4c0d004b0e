"""`relink-emu fuzz`: a function of a library on many inputs, with a corpus folder and files of findings."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

from emu.cli import interrupts as own
from emu.cli.command import Exit, Usage
from emu.cli.fuzzing import USUAL_NAME
from emu.errors import BudgetExceeded, FuzzError
from emu.fuzz import Fuzzer
from emu.fuzz.files import check_writable, read_dictionary, read_inputs, save_input
from emu.handles import Function
from relink.errors import RelinkError, UnresolvedSymbol
from relink.log import Log
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.fuzzing import Fuzzing
    from emu.cli.options import Loading, Search, Target
    from emu.cli.plain import Console
    from emu.fuzz import Finding, Found
    from emu.library import Library
    from emu.machine import Machine

_log = Log(__name__)
_PERIOD = 5.0  #: seconds between two lines of progress, and between two looks for what is to be written
_INSTRUCTIONS = 100_000
_GUESS = "int {}(const unsigned char *data, size_t size)"


@dataclass(frozen=True)
class Failed:
    """An input that makes the function fail."""

    kind: str  #: "crash" or "hang"
    file: str
    size: int
    count: int  #: executions that failed so
    error: str


@dataclass(frozen=True)
class FuzzReport:
    """The result of `fuzz`."""

    schema: ClassVar[str] = "relink-emu/fuzz/1"
    arch: str
    library: str
    function: str
    seed: int
    executions: int
    seconds: float
    edges: int
    inputs: int  #: in the corpus
    failed: tuple[Failed, ...]


def report(
    target: Target,
    search: Search,
    loading: Loading,
    fuzzing: Fuzzing,
    name: str,
    function: str,
) -> FuzzReport:
    """Fuzz a function, or replay, minimise or merge inputs, or be the target of afl-fuzz, as the options say.

    Progress goes to standard error. Raises RelinkError, OSError, and Usage for a merge without inputs.
    """
    arch = target.of(name, search)
    with loading.machine(arch, search, loading.sources(name)) as machine:
        library = loading.load(machine, name, search, [function])
        try:
            called = _function(library, function, fuzzing.prototype)
        except UnresolvedSymbol:
            if function != USUAL_NAME:
                raise
            problem = f"{library.name} has no {function}: name the function to call"
            raise Usage(problem, param_hint="'FUNCTION'") from None
        fuzzer, failed = _fuzzed(machine, called, loading, fuzzing)
    found = fuzzer.found
    return FuzzReport(
        arch.name,
        library.name,
        function,
        fuzzing.seed,
        found.executions,
        round(found.seconds, 3),
        found.edges,
        len(found.corpus),
        tuple(failed),
    )


def _fuzzed(
    machine: Machine, function: Function, loading: Loading, fuzzing: Fuzzing
) -> tuple[Fuzzer, list[Failed]]:
    seeds, tokens = _inputs(fuzzing)
    fuzzer = Fuzzer(
        machine,
        function,
        seeds or [b""],
        dictionary=tokens,
        max_size=fuzzing.max_size,
        max_instructions=loading.max_instructions or _INSTRUCTIONS,
        seed=fuzzing.seed,
    )
    if fuzzing.afl is not None:
        _end_as(fuzzer.afl(fuzzing.afl))
    with fuzzer:
        return fuzzer, _done(fuzzer, fuzzing, seeds)


def _end_as(status: int) -> NoReturn:
    """End this process as AFL++'s tools expect of a program that they run once: by the signal of a crash."""
    if status:
        import resource  # not on every host

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if status != signal.SIGKILL:
            signal.signal(status, signal.SIG_DFL)
        os.kill(os.getpid(), status)
    raise Exit(0)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _inputs(fuzzing: Fuzzing) -> tuple[list[bytes], list[bytes]]:
    """The inputs of the corpus, and the tokens of the dictionary. Raises Usage, FuzzError, OSError."""
    folder, dictionary = fuzzing.corpus, fuzzing.dictionary
    seeds = read_inputs(folder) if folder is not None and folder.exists() else []
    if fuzzing.merge is not None and not seeds:
        raise Usage("there are no inputs to copy: give a folder with some", param_hint="'--corpus'")
    return seeds, [] if dictionary is None else read_dictionary(dictionary)


def _function(library: Library, function: str, prototype: str | None) -> Function:
    if prototype is None and library.declared_prototype(function) is None:
        prototype = _GUESS.format(function)
        _log.warning(
            "%s: there is no debug information for it; called as %s, which is a guess", function, prototype
        )
    return library.function(function, prototype)


def _done(fuzzer: Fuzzer, fuzzing: Fuzzing, seeds: Sequence[bytes]) -> list[Failed]:
    if fuzzing.replay:
        return _replayed(fuzzer, fuzzing.replay)
    if fuzzing.minimise is not None:
        data = fuzzer.minimise(fuzzing.minimise.read_bytes())
        return _replayed(fuzzer, [save_input(fuzzing.crashes, data, "minimised-")])
    if fuzzing.merge is None:
        return _searched(fuzzer, fuzzing, max(len(seeds), 1))
    for data in seeds:  # the shortest first: of those that reach the same edges it is taken
        if fuzzer.one(data):
            save_input(fuzzing.merge, data)
    return []


def _replayed(fuzzer: Fuzzer, files: Sequence[Path]) -> list[Failed]:
    failed = []
    for file in files:
        data = file.read_bytes()
        if (error := fuzzer.replay(data)) is not None:
            failed.append(Failed(_kind(error), str(file), len(data), 1, _text(error)))
    return failed


def _kind(error: Exception) -> str:
    return "hang" if isinstance(error, BudgetExceeded) else "crash"


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, RelinkError) else f"{type(error).__name__}: {error}"


def _searched(fuzzer: Fuzzer, fuzzing: Fuzzing, known: int) -> list[Failed]:
    """Fuzz up to a limit, or until SIGINT; write inputs of the corpus beyond the `known` ones, and findings.

    An exception that SIGINT raises in a finaliser is lost: then the search ends with its period.
    """
    check_writable(fuzzing.crashes)  # before hours of work
    written = _Written(fuzzing, known)
    begun = time.monotonic()
    handler = signal.getsignal(signal.SIGINT)
    ends_process = handler is own.interrupt
    interrupts: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    if ends_process:
        signal.signal(signal.SIGINT, interrupt)
    try:
        while not interrupts:
            left = begun + fuzzing.seconds - time.monotonic() if fuzzing.seconds else _PERIOD
            more = fuzzing.executions - fuzzer.found.executions if fuzzing.executions else None
            if left <= 0 or (more is not None and more <= 0):
                break
            found = fuzzer.run(seconds=min(left, _PERIOD), executions=more)
            written.update(found)
            _tell(str(found))
    except KeyboardInterrupt:
        interrupts.append(signal.SIGINT)
    finally:
        if ends_process:
            signal.signal(signal.SIGINT, handler)
    if interrupts:
        _tell("interrupted")
    for finding in (*fuzzer.found.crashes, *fuzzer.found.hangs):
        with suppress(FuzzError):  # a time limit is not exceeded each time
            finding.data = fuzzer.minimise(finding.data)
    written.update(fuzzer.found)
    return written.failed


class _Written:
    """The files that have been written to the folders."""

    def __init__(self, fuzzing: Fuzzing, known: int) -> None:
        self._fuzzing, self._inputs = fuzzing, known
        self._files: dict[Hashable, Path] = {}
        self.failed: list[Failed] = []

    def update(self, found: Found) -> None:
        """Write new inputs; of each kind of failure the shortest so far."""
        if self._fuzzing.corpus is not None:
            for data in found.corpus[self._inputs :]:
                save_input(self._fuzzing.corpus, data)
            self._inputs = len(found.corpus)
        self.failed = [self._failed(finding) for finding in (*found.crashes, *found.hangs)]

    def _failed(self, finding: Finding) -> Failed:
        kind, text, before = _kind(finding.error), _text(finding.error), self._files.get(finding.key)
        file = save_input(self._fuzzing.crashes, finding.data, f"{kind}-")
        self._files[finding.key] = file
        if before is None:
            _tell(f"{kind.upper()}  {file}: {text}")
        elif before != file:
            before.unlink(missing_ok=True)
        return Failed(kind, str(file), len(finding.data), finding.count, text)


def show(report: FuzzReport, console: Console) -> None:
    """Print the failures, and what was done."""
    for each in report.failed:
        console.print(f"{each.kind.upper()}  ", style="bold red", end="")
        console.print(f"{each.file} ({each.size} bytes, {each.count} times): {each.error}", soft_wrap=True)
    console.print(
        f"{report.executions} executions, {report.edges} edges, {report.inputs} inputs, "
        f"{len(report.failed)} failures (seed {report.seed})"
    )

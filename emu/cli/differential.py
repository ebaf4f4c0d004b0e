"""`relink-emu test`: build a library for every architecture, and compare what its functions do."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from emu.build.build import build
from emu.build.compilers import COMPILED, find
from emu.build.errors import BuildError
from emu.build.recipe import Recipe
from emu.build.store import Store, default_store, user_folder
from emu.build.targets import Target, targets_of
from emu.cli.command import Usage
from emu.differential.values import Outcome, shown
from relink.errors import printable
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.plain import Console
    from emu.differential.compare import Comparison, Result
    from emu.differential.guest import Guest
    from emu.differential.host import Host


@dataclass(frozen=True)
class On:
    """How a call ended on some targets, all alike."""

    targets: tuple[str, ...]
    outcome: str


@dataclass(frozen=True)
class Checked:
    """One function: how many calls were tried, and the smallest one that ended differently."""

    function: str
    prototype: str
    examples: int
    endless: int  #: calls of them that did not end on any target
    skipped: str | None  #: why it was not tested
    call: str | None  #: the call that ends differently, as C
    outcomes: tuple[On, ...]


@dataclass(frozen=True)
class TestReport:
    """All functions of a library."""

    schema: ClassVar[str] = "relink-emu/test/1"
    targets: tuple[str, ...]
    seed: int
    functions: tuple[Checked, ...]

    @property
    def differs(self) -> bool:
        """Whether a function ended differently."""
        return any(each.call is not None for each in self.functions)


@dataclass(frozen=True)
class Request:
    """The functions to test, and how."""

    sources: Sequence[str]
    arches: str
    functions: Sequence[str]
    examples: int
    seed: int
    cflags: Sequence[str]
    compiler: str
    timeout: float
    host: bool


def report(request: Request, tell: Callable[[Checked, int], None] = lambda *_: None) -> TestReport:
    """Build, load and compare; `tell` is called with each function that was tested, and the number of targets.

    Raises BuildError, RelinkError, Usage.
    """
    if "hypothesis" not in sys.modules:  # it keeps what it reads of this project, in the user's folder by default
        with suppress(BuildError):
            os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(user_folder() / "hypothesis"))
    try:
        from emu.differential.compare import Comparison
        from emu.differential.guest import Guest
        from emu.differential.host import Host, is_native
    except ModuleNotFoundError as missing:
        if missing.name is None or not missing.name.startswith("hypothesis"):
            raise
        raise BuildError("`test` needs hypothesis: pip install 'relink-emu[pytest]'") from None
    targets = targets_of(request.arches)
    sources = tuple(Path(source).absolute() for source in request.sources)
    for source in sources:
        if not source.is_file():
            raise Usage(f"{printable(str(source))} is not a file", param_hint="'SOURCE'")
        if source.suffix not in COMPILED:
            raise Usage(f"{printable(source.name)} is not a C, C++ or assembly source", param_hint="'SOURCE'")
    with ExitStack() as open_:
        guests: list[Guest] = []
        host: Host | None = None
        store = open_.enter_context(default_store())
        for target in targets:
            files = _built(request, sources, target, store)
            guest = Guest(target.name, target.arch, files, files[0].name, request.timeout)
            open_.callback(guest.close)
            guests.append(guest)
            if request.host and is_native(target.name):
                host = Host(files[0])
                open_.callback(host.close)
        names = (*(guest.name for guest in guests), *([host.name] if host is not None else []))
        comparison = Comparison(
            guests, host, examples=request.examples, number=request.seed, seconds=request.timeout
        )
        checked: list[Checked] = []
        for function in _chosen(comparison, request.functions):
            checked.append(_checked(comparison.check(function)))
            tell(checked[-1], len(names))
    return TestReport(names, request.seed, tuple(checked))


def _built(request: Request, sources: tuple[Path, ...], target: Target, store: Store) -> list[Path]:
    flags = tuple(request.cflags)
    recipe = Recipe(sources[0].stem, sources, Path.cwd(), cflags=flags)
    return build(recipe, find(target, request.compiler), store)


def _chosen(comparison: Comparison, wanted: Sequence[str]) -> list[str]:
    known = comparison.functions()
    missing = [name for name in wanted if name not in known]
    if missing:
        raise Usage(f"no function {missing[0]} is exported", param_hint="'--function'")
    return list(wanted) or known


def _checked(result: Result) -> Checked:
    found = result.difference
    if found is None:
        return Checked(
            result.function, result.prototype, result.examples, result.endless, result.skipped, None, ()
        )
    arguments = ", ".join(f"{name} = {shown(value)}" for name, value in found.arguments.items())
    alike: defaultdict[object, list[tuple[str, Outcome]]] = defaultdict(list)
    for name, outcome in found.outcomes.items():
        alike[outcome.compared].append((name, outcome))
    groups = sorted(alike.values(), key=len, reverse=True)
    outcomes = tuple(On(tuple(name for name, _ in group), str(group[0][1])) for group in groups)
    call = f"{result.function}({arguments})"
    return Checked(result.function, result.prototype, result.examples, 0, None, call, outcomes)


def show_function(each: Checked, targets: int, console: Console) -> None:
    """Print a line for a function; for one that differs the call and how it ended where."""
    for line in _lines(each, targets):
        style = "bold red" if line.startswith("DIFFERS") else ""
        console.print(line, style=style, soft_wrap=True)


def show(report: TestReport, console: Console) -> None:
    """Print the sum of it all."""
    tested = [each for each in report.functions if each.skipped is None]
    differing = [each for each in tested if each.call is not None]
    calls = sum(each.examples for each in tested)
    console.print(
        f"{len(tested)} functions tested with {calls} calls on {', '.join(report.targets)}; "
        f"{len(differing)} differ, {len(report.functions) - len(tested)} not tested (seed {report.seed})",
        soft_wrap=True,
    )


def _lines(each: Checked, targets: int) -> Iterator[str]:
    if each.skipped is not None:
        yield f"skipped  {each.function}: {each.skipped}"
    elif each.call is None:
        endless = f", of which {each.endless} did not end on any" if each.endless else ""
        yield f"same     {each.function}: {each.examples} calls on {targets} targets{endless}"
    else:
        yield f"DIFFERS  {each.call}"
        for on in each.outcomes:
            yield f"         {', '.join(on.targets)}: {on.outcome}"

"""What every test shares: `target`, the choice of architectures and compilers, and the table that ends a run.

`--arch riscv32` and `--compiler gcc` leave only the tests that are about them. What a test is about shows in
its parameters: a target (`riscv32-gcc`) or an architecture (`riscv32`).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from emu.cpu import watchdog
from emu.cpu.icicle import hot_code
from relink.search.decoded_cache import CACHE
from tests import sampling, toolcache
from tests.fixtures import TARGETS
from tests.grouping import SKIPPED
from tests.subject import subject, wanted
from toolchains.targets import COMPILERS
from toolchains.targets import TARGETS as ROWS

# Constants in the source of the modules that happen to be imported would change hypothesis' examples, and looking
# for these takes seconds.
providers._get_local_constants = Constants

if sys.dont_write_bytecode:
    # PYTHONDONTWRITEBYTECODE keeps bytecode out of the tree. Without any, each worker compiles all tests, in twice
    # the time that collecting them takes, and each process that a test starts compiles the project.
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(toolcache.bytecode())
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_ABOUT = "relink-about"
_TESTS = Path(__file__).parent
_OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal, here and in processes started meanwhile: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is decoded is kept from one load to the next."""
    monkeypatch.setattr(CACHE, "enabled", False)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """A target: an architecture, or `thumb`, with a compiler. Tests that use it run once for each.

    Those that ask for a fixture this target's toolchain cannot make skip by themselves (`targets_of`).
    """
    return str(request.param)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("relink-emu")
    group.addoption(
        "--arch",
        action="append",
        default=[],
        metavar="ARCH",
        choices=(*ROWS,),
        help=f"only tests about this target, of {', '.join(ROWS)}; may be repeated",
    )
    group.addoption(
        "--member",
        metavar="TEXT",
        help="of grouped tests (tests/grouping.py) only members whose name contains TEXT",
    )
    group.addoption(
        "--exhaustive",
        action="store_true",
        help="leave no compiler's fixtures and no member of large tables out (tests/sampling.py), as CI does",
    )
    group.addoption("--note-slow", action="store_true", help="write tests/slow.txt, what runs of a part leave out")
    group.addoption(
        "--no-tool-cache",
        action="store_true",
        help="compile and link everything anew, not only what no earlier run has (tests/toolcache.py)",
    )
    group.addoption(
        "--compiler",
        action="append",
        default=[],
        choices=COMPILERS,
        help="only tests on this compiler's fixtures; may be repeated",
    )
    group.addoption(
        "--stop-every",
        type=int,
        default=0,
        metavar="N",
        help="stop engines from outside, and go on, after every N blocks of guest code (icicle: instructions)",
    )
    jit = "LoongArch64: compile all code, or none; else what is hot"
    group.addoption("--jit", choices=("at once", "never"), help=jit)
    group.addoption(
        "--snapshots",
        type=int,
        default=0,
        metavar="N",
        help="go back to before and after the first N operations on every machine (snapshots_everywhere.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("snapshots"):
        from tests import snapshots_everywhere

        snapshots_everywhere.install(config.getoption("snapshots"))
        config.pluginmanager.register(snapshots_everywhere.Report())
    sampling.configure(config)
    # The same examples every time, and no verdict on how busy the machine is.
    settings.register_profile("suite", deadline=None, derandomize=True, max_examples=sampling.examples(60))
    settings.load_profile("suite")
    watchdog.stop_every = config.getoption("stop_every")
    hot_code.default_jit = {"at once": True, "never": False}.get(config.getoption("jit") or "")
    if config.getoption("no_tool_cache"):
        toolcache.use_fresh_folder()
    elif not hasattr(config, "workerinput"):
        toolcache.trim()


def pytest_collection() -> None:
    gc.disable()  # nothing that collection makes is garbage


def pytest_collection_finish() -> None:
    gc.enable()
    _freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is None or nextitem.path != item.path:
        _freeze()


def _freeze() -> None:
    """The collector need not look again at what the imports of tests and the caches of finished files keep, for it
    stays to the end: full collections, which some tests ask for, would take ten times as long.
    """
    gc.collect()
    gc.freeze()


def _words(item: pytest.Item) -> Iterator[object]:
    call = getattr(item, "callspec", None)
    if call is not None:
        yield from call.params.values()
        yield from call.id.split("-")


#: Where tests fetch, run other programs or take long, and single functions that do: none of theirs is quick.
_SLOW = (
    "fuzz",
    "test_hostile.py",
    "test_hostile_more.py",
    "libraries",
    "oracle",
    "scenarios",
    "toolchains",
    "pytest_plugin",
    "test_fetch.py",
    "test_new_user.py",
    "test_packaging.py",
    "test_layering.py",
    "test_docs.py",
)
_SLOW_LIST = _TESTS / "slow.txt"
_SLOW_SECONDS = 0.1


def _mark_quick(items: list[pytest.Item], slow: Container[str]) -> None:
    """One test of each function of the others, of another architecture from function to function."""
    functions: dict[tuple[Path, str], list[pytest.Item]] = {}
    areas = {path: not set(path.parts[len(_TESTS.parts) :]).isdisjoint(_SLOW) for path in {i.path for i in items}}
    for item in items:
        is_slow = areas[item.path] or _function(item.nodeid) in slow
        if not is_slow and item.get_closest_marker("real") is None:
            functions.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
    for (path, name), tests in functions.items():
        chosen = tests[crc32(f"{path.name}{name}".encode()) % len(tests)]
        chosen.add_marker("quick")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = set(_SLOW_LIST.read_text().splitlines())
    _mark_quick(items, slow)
    kept, others = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        found = subject(_words(item))
        if found is not None:
            # User properties travel from xdist's workers to the process that prints the table.
            item.user_properties.append((_ABOUT, " ".join(found)))
        grouped = found is None and hasattr(getattr(item, "function", None), "grouped")
        (kept if grouped or wanted(config, found) else others).append(item)
    if not sampling.everything(config):
        kept, left = sampling.sampled(kept, slow)
        others += left
    elif not config.getoption("compiler"):
        some = sampling.of_one_compiler(kept)
        others += set(kept).difference(some)
        kept = some
    if others:
        config.hook.pytest_deselected(items=others)
    # The longest single tests come first: a worker with none left would wait for another that has one at the end.
    items[:] = sorted(kept, key=lambda item: item.path.parent != _TESTS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Tests that follow each other go to the same worker, and one that has none left takes half of another's rest:
    what tests of a file share is made once. By xdist's own choice most files are divided among all workers.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling  # type: ignore[import-untyped]

    return WorkStealingScheduling(config, log)


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def _note_slow(reports: Iterable[pytest.TestReport]) -> None:
    """The list of slow functions, from the times of a run of everything on a machine that does nothing else."""
    slow = {_function(report.nodeid) for report in reports if report.duration > _SLOW_SECONDS}
    head = _SLOW_LIST.read_text().partition("\n")[0]
    _SLOW_LIST.write_text("\n".join([head, *sorted(slow)]) + "\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why members of grouped tests were skipped, and what ran, per target and compiler."""
    if terminalreporter.config.getoption("note_slow"):
        _note_slow(terminalreporter.stats.get("passed", ()))
    _show_skipped_members(terminalreporter)
    _show_tally(terminalreporter)


def _show_skipped_members(terminalreporter: pytest.TerminalReporter) -> None:
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            if name == SKIPPED:
                count, members, reason = value
                reasons.setdefault((_function(report.nodeid), reason), Counter()).update(
                    tests=1, skipped=count, members=members
                )
    if reasons:
        terminalreporter.section("members skipped in tests that passed")
    for (function, reason), found in sorted(reasons.items()):
        members = f"{found['skipped']} of {found['members']} members, {found['tests']} tests"
        terminalreporter.write_line(f"SKIPPED [{members}] {function}: {reason}")


def _show_tally(terminalreporter: pytest.TerminalReporter) -> None:
    tally: Counter[tuple[str, str, str]] = Counter()
    for outcome in _OUTCOMES:
        for report in terminalreporter.stats.get(outcome, ()):
            found = dict(getattr(report, "user_properties", ())).get(_ABOUT, " ")
            name, _, compiler = str(found).partition(" ")
            tally[name, compiler, outcome] += 1
    if not any(name for name, _, _ in tally):
        return
    columns = [outcome for outcome in _OUTCOMES if any(key[2] == outcome for key in tally)]
    terminalreporter.section("tests by architecture and compiler")
    terminalreporter.write_line("".join([f"{'':13}{'':10}", *(f"{column:>9}" for column in columns)]))
    for name in (*ROWS, ""):
        for compiler in (*COMPILERS, ""):
            counts = [tally[name, compiler, column] for column in columns]
            if any(counts):
                label = f"{name or 'any':13}{compiler or ('either' if name else ''):10}"
                terminalreporter.write_line(label + "".join(f"{count:9}" for count in counts))

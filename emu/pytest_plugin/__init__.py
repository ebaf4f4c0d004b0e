"""The pytest plug-in: tests of a library on emulated machines, one for each architecture.

    pytestmark = pytest.mark.relink(sources="src/*.c")

    def test_add(lib):                    # test_add[x86_64], test_add[i386], ... test_add[loongarch64]
        assert lib.add(2, 3) == 5

docs/pytest.md describes marker, options and fixtures. This file has hooks and fixtures only, and imports the rest
when a test uses them: sessions of other projects load it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from emu.pytest_plugin import options

if TYPE_CHECKING:
    from emu import Library, Machine
    from emu.pytest_plugin.control import Guest
    from emu.pytest_plugin.pool import Loaded
    from emu.pytest_plugin.power import PowerCutTest
    from emu.pytest_plugin.session import Session

#: The fixture that the others depend on; the plug-in parametrises it with targets.
TARGET = "relink_target"
#: The one that the fixture `power_cuts` depends on: which part of a sweep a test is.
SHARE = "relink_share"
_SESSION = pytest.StashKey["Session"]()
_LOADED = pytest.StashKey["Loaded"]()
_WORKERS = pytest.StashKey[list[str]]()
_PROBLEMS = pytest.StashKey[list[str]]()
_MARKER = (
    "relink(sources=..., arches='all', **options): the library that the fixtures lib, machine and guest load, and "
    "the architectures to run the test on (see docs/pytest.md of relink-emu)"
)


_POWER_MARKER = "power_cuts(parts=N): run a test with the fixture power_cuts in N parts, which xdist distributes"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    options.add(parser)
    # pytest rewrites the assertions of all that comes with a plug-in: 250 files here, which takes 2 s where the
    # result cannot be kept, and is of no use to anybody. There is no public way to decline.
    marked = getattr(getattr(pluginmanager, "rewrite_hook", None), "_must_rewrite", None)
    if isinstance(marked, set):
        marked -= {"emu", "relink"}


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> Iterator[None]:
    yield
    options.add_short(parser, args)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", _POWER_MARKER)
    options.check(config)
    if config.getoption("relink_guest_cov") and not hasattr(config, "workerinput"):
        from emu.pytest_plugin import coverage

        coverage.begin(config)
    if config.getoption("relink_compare") and not hasattr(config, "workerinput"):
        from emu.pytest_plugin.comparing import Comparison

        config.pluginmanager.register(Comparison(), "relink-emu comparison")


def _session(config: pytest.Config) -> Session:
    """What the tests of this process share, made on first use."""
    if _SESSION not in config.stash:
        from emu.pytest_plugin.session import Session

        config.stash[_SESSION] = Session(config)
    return config.stash[_SESSION]


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if TARGET in metafunc.fixturenames:
        _session(metafunc.config).parametrize(metafunc, TARGET)
    if SHARE in metafunc.fixturenames and not metafunc.config.getoption("relink_replay"):
        from emu.pytest_plugin import power

        if (parts := power.parts_of(metafunc)) > 1:
            shares = [(number, parts) for number in range(parts)]
            metafunc.parametrize(SHARE, shares, indirect=True, ids=power.share_name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _SESSION in config.stash:
        _session(config).deselect(items, TARGET)
    if config.getoption("relink_replay"):
        options.select(config, items, SHARE)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    shown = _SESSION in config.stash and config.get_verbosity() >= 0
    return _session(config).header() if shown else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    loaded = item.stash.get(_LOADED, None)
    if loaded is not None and call.when == "call" and item.config.getoption("relink_compare"):
        from emu.pytest_plugin import comparing

        comparing.attach(item, TARGET, loaded)
    if loaded is None or call.excinfo is None:
        return (yield)
    from emu.pytest_plugin import report

    report.prune(item, call)
    made: Any = yield
    report.add_sections(item, call, made, loaded)
    return made  # type: ignore[no-any-return]


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if _SESSION in config.stash:
        config.stash.setdefault(_PROBLEMS, []).extend(_session(config).finish())
    if config.stash.get(_PROBLEMS, ()) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """An xdist worker has ended: keep its header lines, which the controlling process could not print before, and
    its problems.
    """
    output = getattr(node, "workeroutput", {})
    for key, name in ((_WORKERS, options.HEADER), (_PROBLEMS, options.PROBLEMS)):
        node.config.stash.setdefault(key, []).extend(output.get(name, ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.get_verbosity() >= 0:
        for line in dict.fromkeys(config.stash.get(_WORKERS, ())):
            terminalreporter.write_line(line)
    for line in dict.fromkeys(config.stash.get(_PROBLEMS, ())):
        terminalreporter.write_line(line, red=True)


# ---------------------------------------------------------------- fixtures


@pytest.fixture
def relink_target(request: pytest.FixtureRequest) -> str:
    """The name of the target that this test is for: an architecture, or "thumb"."""
    if not hasattr(request, "param"):
        from unittest import TestCase

        if request.cls is not None and issubclass(request.cls, TestCase):
            why = "unittest.TestCase does not allow that: write a function, or a class without a base class"
        else:
            why = (
                "that is known when tests are collected: name one as an argument of the test or of its fixtures, "
                "or in usefixtures, not in getfixturevalue() or a doctest (before pytest 9 your own fixture lib "
                "that uses lib needs relink_target as a further argument)"
            )
        pytest.fail(f"the fixtures of relink-emu run a test once for each architecture, and {why}", pytrace=False)
    return str(request.param)


@pytest.fixture
def relink_loaded(request: pytest.FixtureRequest, relink_target: str) -> Iterator[Loaded]:
    """The machine of this test with the library of its marker, in the state after the load."""
    session = _session(request.config)
    with session.loaded(request.node, relink_target) as loaded:
        request.node.stash[_LOADED] = loaded
        if request.config.getoption("relink_compare"):
            from emu.pytest_plugin import comparing

            comparing.listen(loaded)
        yield loaded


@pytest.fixture
def machine(relink_loaded: Loaded) -> Machine:
    """An emulated machine of the test's architecture, with the library of the marker loaded, if it has one."""
    return relink_loaded.machine


@pytest.fixture
def lib(relink_loaded: Loaded) -> Library:
    """The library of the test's marker, loaded on `machine`."""
    return relink_loaded.library


@pytest.fixture
def guest(relink_loaded: Loaded) -> Iterator[Guest]:
    """Mocks and spies, expected faults and the output of the guest."""
    from emu.pytest_plugin.control import Guest

    guest = Guest(relink_loaded)
    try:
        yield guest
    finally:
        guest.undo()


@pytest.fixture
def relink_share(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Which part of a sweep this test is, and of how many."""
    share: tuple[int, int] = getattr(request, "param", (0, 1))
    return share


@pytest.fixture
def power_cuts(request: pytest.FixtureRequest, relink_share: tuple[int, int]) -> Iterator[PowerCutTest]:
    """Sweeps and explorations of power cuts (`emu.boards.PowerCuts`) in this test."""
    from emu.pytest_plugin.power import PowerCutTest

    test = PowerCutTest(request, relink_share)
    yield test
    test.finish()

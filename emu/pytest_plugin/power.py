"""Power cuts in tests: the fixture `power_cuts`, parts of a sweep, and `--replay`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import pytest

from emu.boards.errors import EmptyShare, NoSuchCut
from emu.boards.power import Exploration, Outcome, PowerCuts, Sweep

THEN = ", then "  #: between the cuts of a sequence, in ids
Share: TypeAlias = tuple[int, int]  #: (number from 0, of so many)


def share_name(share: Share) -> str:
    """The part in a test's name."""
    return f"{share[0] + 1}of{share[1]}"


def parts_of(metafunc: pytest.Metafunc) -> int:
    """In how many parts a test is to run: as many as its marker says, or as pytest-xdist has processes."""
    marker = metafunc.definition.get_closest_marker("power_cuts")
    processes = getattr(metafunc.config, "workerinput", {}).get("workercount", 1)
    parts = marker.kwargs.get("parts", processes) if marker is not None else processes
    if (
        not isinstance(parts, int)
        or parts < 1
        or (marker is not None and (marker.args or {*marker.kwargs} - {"parts"}))
    ):
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: the marker is power_cuts(parts=N), N at least 1")
    return parts


class PowerCutTest:
    """The fixture `power_cuts` of one test.

    `power_cuts(cuts)` sweeps, `power_cuts.explore(cuts)` explores. Each cut of the sweep, and each problem of the
    exploration, is a subtest under its replay id (pytest 9, or pytest-subtests); without subtests the test fails
    with all that is bad. With `--replay` the sequences that it names are repeated instead.
    """

    def __init__(self, request: pytest.FixtureRequest, share: Share) -> None:
        self.share = share
        self._request = request
        self._replays: Sequence[str] = request.config.getoption("relink_replay") or ()
        self._missed: dict[str, str] = {}  # replays that have not happened yet in this test, and why

    def __call__(self, cuts: PowerCuts, **options: Any) -> Sweep | None:
        """Try this part of the single cuts; `options` are those of `PowerCuts.sweep`. Returns what came of them,
        and None with `--replay`.
        """
        if self._replayed(cuts):
            return None
        try:
            sweep = cuts.sweep(share=self.share, **options)
        except EmptyShare as error:
            pytest.skip(str(error))
        self._report(sweep.outcomes)
        return sweep

    def explore(self, cuts: PowerCuts, **options: Any) -> Exploration | None:
        """Try any number of cuts; `options` are those of `PowerCuts.explore`. Where the test runs in parts, the
        first explores, and the others are skipped. Returns as for a sweep.
        """
        if self._replayed(cuts):
            return None
        if self.share[0]:
            pytest.skip("an exploration is not shared: part 1 does it (Workers gives it more processes)")
        found = cuts.explore(**options)
        self._report(found.bad)
        return found

    def _replayed(self, cuts: PowerCuts) -> bool:
        """Repeat what `--replay` asks for. A test may cut several updates, of which one has the cut."""
        outcomes = []
        for text in self._replays:
            try:
                problem = cuts.replay(text.split(THEN))
            except NoSuchCut as error:
                self._missed.setdefault(text, str(error))
            else:
                self._missed[text] = ""
                outcomes.append((text, f"{problem}: {text}" if problem is not None else None))
        self._tell(outcomes)
        return bool(self._replays)

    def finish(self) -> None:
        """Fail the test if a sequence of `--replay` has not happened in it."""
        for text in self._replays:
            if reason := self._missed.get(text, "no update is tried"):
                pytest.fail(f"--replay {shlex.quote(text)}: {reason}", pytrace=False)

    def _report(self, outcomes: Iterable[Outcome]) -> None:
        self._tell((THEN.join(map(str, each.cuts)), str(each) if each.problem else None) for each in outcomes)

    def _tell(self, outcomes: Iterable[tuple[str, str | None]]) -> None:
        """Each is a replay id and, if it is bad, what is wrong."""
        subtest, bad = self._subtests(), []
        for name, problem in outcomes:
            with subtest(name):
                if problem is not None:
                    text = f"{problem}\nagain: {self._command(name)}"
                    if self._has_subtests:
                        pytest.fail(text, pytrace=False)
                    bad.append(text)
        if bad:
            pytest.fail("\n".join(bad), pytrace=False)

    @property
    def _has_subtests(self) -> bool:
        return hasattr(pytest, "Subtests") or self._request.config.pluginmanager.hasplugin("subtests")

    def _subtests(self) -> Callable[[str], AbstractContextManager[object]]:
        if not self._has_subtests:
            return nullcontext
        subtests = self._request.getfixturevalue("subtests")
        return lambda name: subtests.test(msg=name)

    def _command(self, name: str) -> str:
        part = re.escape(share_name(self.share))
        test = re.sub(rf"(?<=\[){part}-|-{part}(?=[-\]])|\[{part}\]", "", self._request.node.nodeid)
        return f"pytest {shlex.quote(test)} --replay {shlex.quote(name)}"

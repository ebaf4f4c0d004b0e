"""A few seconds of what `python -m tests.fuzz` does for hours. RELINK_FUZZ_SECONDS lets each test go on."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.fixtures import ARCHES
from tests.fuzz import mutants
from tests.fuzz.arguments import Probe, functions, system_calls

_LONGER = float(os.environ.get("RELINK_FUZZ_SECONDS", "0"))


def seeds(few: int) -> Iterator[int]:
    """The first `few` numbers, and more for as long as is asked."""
    end = time.monotonic() + _LONGER
    yield from itertools.takewhile(lambda number: number < few or time.monotonic() < end, itertools.count())


@pytest.mark.parametrize("arch", ARCHES)
def test_no_argument_gets_more_than_a_typed_error(arch: str) -> None:
    for seed in seeds(1):
        probe = Probe(arch)
        for name, run in itertools.chain(functions(probe), system_calls(probe)):
            run(random.Random(f"{seed} {name}"))
        machine = probe.machine
        assert machine.call(machine.define("five", (lambda: 5, "int(void)")), "int(void)") == 5
        machine.close(run_destructors=False)


@pytest.mark.parametrize("level", ["parse", "load"])
def test_mutants_are_read_or_refused(level: str) -> None:
    loads = mutants.Loads()
    run = mutants.parse if level == "parse" else loads.load
    good = 0
    for seed in seeds(150):
        try:
            good += run(seed)
        except BaseException as error:
            error.add_note(f"python -m tests.fuzz {level} --count 1 --seed {seed}")
            raise
    loads.close()
    assert good

"""A few seconds of what `python -m tests.fuzz` does for hours. RELINK_FUZZ_SECONDS lets each test go on."""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import sampling
from tests.fixtures import ARCHES
from tests.fuzz.__main__ import LEVELS
from tests.fuzz.arguments import Probe, functions, system_calls

_LONGER = float(os.environ.get("RELINK_FUZZ_SECONDS", "0"))


def seeds(few: int) -> Iterator[int]:
    """The first `few` numbers, and more for as long as is asked."""
    end = time.monotonic() + _LONGER
    yield from itertools.takewhile(lambda number: number < few or time.monotonic() < end, itertools.count())


@pytest.mark.sample(1)
@pytest.mark.parametrize("arch", ARCHES)
def test_no_argument_gets_more_than_a_typed_error(arch: str) -> None:
    for seed in seeds(1):
        probe = Probe(arch)
        for name, run in itertools.chain(functions(probe), system_calls(probe)):
            run(random.Random(f"{seed} {name}"))
        machine = probe.machine
        assert machine.call(machine.define("five", (lambda: 5, "int(void)")), "int(void)") == 5
        machine.close(run_destructors=False)


#: How many mutants of a level fit the suite's time.
FEW = {"run": 25, "cli": 40, "adopt": 60, "link": 60, "snapshots": 60}


@pytest.mark.parametrize("level", LEVELS)
def test_mutants_are_read_or_refused(level: str) -> None:
    run, good = LEVELS[level](), 0
    for seed in seeds(sampling.examples(FEW.get(level, 150))):
        try:
            good += run(seed)
        except BaseException as error:
            error.add_note(f"python -m tests.fuzz {level} --count 1 --seed {seed}")
            raise
    assert good


def test_the_entry_for_libfuzzer_runs_or_says_what_it_needs(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "fuzz" / "decode.py"
    done = subprocess.run([sys.executable, script, "-runs=20"], capture_output=True, text=True, cwd=tmp_path)
    if importlib.util.find_spec("atheris") is None:
        assert done.returncode == 1
        assert done.stderr == "fuzz/decode.py needs Atheris (No module named 'atheris'): pip install atheris\n"
    else:
        assert done.returncode == 0, done.stderr

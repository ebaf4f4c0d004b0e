"""Programs of csmith print the same on every target, compiled with and without optimisation.

`tools/random_programs.py` runs as many as are asked for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

FOLDER = Path(__file__).parent / "csmith"
CHECKSUMS = dict(line.split() for line in (FOLDER / "checksums.txt").read_text().splitlines())


@pytest.mark.parametrize("target", TARGETS)
def test_random_programs_print_the_same_everywhere(target: str) -> None:
    header = (FOLDER / "csmith.h").read_text()
    for level, (name, checksum) in zip(("-O0", "-O2", "-O1", "-Os", "-O2"), CHECKSUMS.items(), strict=True):
        source = (FOLDER / f"{name}.c").read_text().replace('#include "csmith.h"', header)
        with Machine(arch_of(target)) as machine:
            library = machine.load(compiled(target, source, level, "-w", "-fno-sanitize=all"))
            assert library.function("main", "int main(void)")() == 0
            assert machine.libc.stdout.getvalue() == f"checksum = {checksum}\n".encode(), name

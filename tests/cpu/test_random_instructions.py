"""Random instructions of every group on random operands leave what a processor or QEMU left.

The file beside this is written by `tools.random_instructions.golden`; the module itself runs as many as are
asked for against the reference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import sampling
from tools.random_instructions import golden, isas

LINES = golden.by_isa(Path(__file__).with_name("random_instructions.txt").read_text())


@pytest.mark.parametrize("name", list(isas.BY_NAME))
def test_random_instructions_leave_what_the_reference_left(name: str) -> None:
    assert len(LINES[name]) == 201
    head, *rows = LINES[name]
    assert list(golden.mistakes([head, *sampling.each_or(rows[::4], rows)])) == []

"""Functions on arrays, in place of numpy's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from relink.arrays import distinct, without
from tests.elf.build_object import Sym, simple_object

LENGTHS = (0, 1, 2, 31, 32, 33, 1000)


@pytest.mark.parametrize("kind", [np.uint8, np.uint32, np.int64, np.uint64])
def test_distinct_elements_are_numpys(kind: type[np.integer]) -> None:
    generator = np.random.default_rng(1)
    lowest, highest = np.iinfo(kind).min, np.iinfo(kind).max
    for length in LENGTHS:
        for low, high in ((1, 4), (lowest, highest)):
            array = generator.integers(low, high, length, dtype=kind)
            others = np.concatenate((array[::3], generator.integers(low, high, 5, dtype=kind)))
            found, left = distinct(array), without(array, others)
            assert (found.tolist(), found.dtype) == (np.unique(array).tolist(), array.dtype)
            assert (left.tolist(), left.dtype) == (np.setdiff1d(array, others).tolist(), array.dtype)


def test_linking_objects_imports_no_masked_arrays() -> None:
    """`numpy.ma`, in 10 ms, which `np.unique` imports."""
    code = (
        "import sys; from emu import Machine\n"
        "with Machine('x86_64') as machine: machine.load(sys.stdin.buffer.read())\n"
        "sys.exit('numpy.ma' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], input=simple_object([Sym("f", bind=1, type=2, section=1)]), check=True
    )

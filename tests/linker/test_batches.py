"""Entries are grouped by type, and applied in pieces: neither changes what is written."""

from __future__ import annotations

import random

import numpy as np
import pytest

from relink.relocate import engine
from relink.relocate.batch import by_type
from tests.linker.craft import DATA, Library, Rel, Sym
from tests.linker.helpers import load
from tests.linker.numbers import SYMBOLIC
from tests.linker.reference import RELATIVE


@pytest.mark.parametrize("seed", range(3))
def test_each_entry_is_in_the_group_of_its_type(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        runs = [[rng.randrange(5)] * rng.randint(1, 4) for _ in range(rng.choice((0, 1, 3, 90, 200)))]
        head = [[rng.choice((0, 8, 9))] * rng.randint(0, 50)]
        types = np.array([number for run in head + runs for number in run], np.uint32)
        groups = by_type(types)
        numbers = [number for number, _ in groups]
        assert numbers == sorted(numbers) or len(runs) < 64
        assert len(set(numbers)) == len(numbers)
        found = {number: np.arange(len(types))[entries].tolist() for number, entries in groups}
        assert found == {n: np.flatnonzero(types == n).tolist() for n in set(types.tolist())}


def test_relative_words_in_pieces_are_those_of_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    for arch in ("x86_64", "aarch64", "riscv64", "riscv32", "i386", "arm", "loongarch64"):
        step = 8 if arch not in ("riscv32", "i386", "arm") else 4
        symbol = Sym("own", DATA + 8)
        # The last two entries are for one place: the later one counts.
        relative = [Rel(DATA + step * at, RELATIVE[arch], addend=at * 3) for at in [*range(50), 49]]
        entries = [*relative, Rel(DATA + step * 60, SYMBOLIC[arch], symbol, 4)]
        library = Library(arch, symbols=[symbol], relocations=entries)
        whole = load(library).region.buffer.tobytes()
        for size in (1, 7, 50):
            monkeypatch.setattr(engine, "_IN_CACHE", size)
            assert load(library).region.buffer.tobytes() == whole
        monkeypatch.undo()

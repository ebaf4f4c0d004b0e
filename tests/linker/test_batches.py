"""Entries are grouped by type, and applied in pieces: neither changes what is written."""

from __future__ import annotations

import random

import numpy as np
import pytest

from relink.arrays import U8
from relink.elf import relocations
from relink.errors import LinkErrors
from relink.module import Module
from relink.relocate import engine, relative_start
from relink.relocate.batch import by_type
from relink.search.decoded_cache import CACHE
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


def test_relative_entries_applied_at_the_first_look_are_those_applied_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the start has other entries for the same places behind it, or a place outside the segments."""
    monkeypatch.setattr(CACHE, "enabled", False)
    for arch in ("x86_64", "riscv64", "riscv32"):
        symbol = Sym("own", DATA + 8)
        relative = [Rel(DATA + 8 * at, RELATIVE[arch], addend=at * 3) for at in [*range(100), 99]]
        symbolic = [Rel(DATA + 8 * at, SYMBOLIC[arch], symbol, 4) for at in (110, 50)]
        outside = [Rel(0x70_0000 + 8 * at, RELATIVE[arch]) for at in range(3)]
        for entries, packed in (
            (relative, ()),
            (relative + symbolic, ()),
            (relative + symbolic * 40, ()),
            (relative + symbolic + relative[:3], ()),
            (symbolic + relative, ()),
            (relative, (DATA + 8 * 99,)),
            (relative[:40] + outside + relative[40:], ()),
        ):
            library = Library(arch, symbols=[symbol], relocations=entries, relr=packed)
            found = []
            for size, worth in ((1 << 14, 1 << 14), (1 << 14, 70), (7, 70)):
                monkeypatch.setattr(relocations, "_SWEEP", size)
                monkeypatch.setattr(relative_start, "_WORTH", worth)
                with monkeypatch.context() as counting:
                    applied = _counted(counting)
                    found.append(_outcome(library))
                assert len(applied) == 1
            begins = arch != "riscv32" and entries[0] is relative[0] and not packed
            assert bool(sum(applied)) is begins  # of the last, in small pieces
            assert found[0] == found[1] == found[2]


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The entries applied at the first look, of each image that is loaded."""
    applied, apply_start = list[int](), relative_start.apply_start

    def counting(image: Module, buffer: U8) -> int:
        applied.append(apply_start(image, buffer))
        return applied[-1]

    monkeypatch.setattr(engine, "apply_start", counting)
    return applied


def _outcome(library: Library) -> bytes | str:
    """The words of a load, or its errors."""
    try:
        return load(library).region.buffer.tobytes()
    except LinkErrors as errors:
        return str(errors)

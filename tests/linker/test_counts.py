"""What a load costs for each image stays the same however many there are: counted, not timed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relink import Linker
from relink.memory.address_space import HostMemory
from relink.relocate import few_entries
from relink.resolve import few_references, scopes
from relink.resolve import resolver as resolving
from relink.search.search_path import SearchPath
from tests.linker.craft import DATA, FUNC, Library, Rel, Sym, undefined
from tests.linker.numbers import SYMBOLIC

ARCH = "x86_64"


def chain(folder: Path, count: int) -> Path:
    """Libraries each of which needs the next, and a function and a word of it; the first."""
    for number in range(count):
        needs = [undefined(f"f{number + 1}"), undefined(f"v{number + 1}")] if number + 1 < count else []
        own = [Sym(f"f{number}", DATA, type=FUNC), Sym(f"v{number}", DATA + 8), Sym("common", DATA)]
        library = Library(
            ARCH,
            f"lib{number}.so",
            [f"lib{number + 1}.so"] if needs else [],
            symbols=[*needs, *own],
            relocations=[Rel(DATA + 16 + 8 * at, SYMBOLIC[ARCH], s) for at, s in enumerate([*needs, *own])],
        )
        (folder / f"lib{number}.so").write_bytes(library.image())
    return folder / "lib0.so"


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch, **targets: tuple[object, str]) -> Iterator[Counter[str]]:
    """Count the calls of `targets`, each an object and the name of its function."""
    calls: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for name, (owner, attribute) in targets.items():
            real: Callable[..., object] = getattr(owner, attribute)

            def counted(*args: object, _name: str = name, _real: Callable[..., object] = real, **more: object):  # type: ignore[no-untyped-def]
                calls[_name] += 1
                return _real(*args, **more)

            patch.setattr(owner, attribute, counted)
        yield calls


def test_an_image_costs_the_same_in_a_long_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stats, files opened, and questions to images, of a chain of 12 and of 48."""
    costs = []
    for count in (12, 48):
        folder = tmp_path / str(count)
        folder.mkdir()
        root = chain(folder, count)
        linker = Linker(HostMemory(ARCH), search=SearchPath(library_path=[folder]))
        targets = {
            "stat": (os, "stat"),
            "open": (os, "open"),
            "definitions": (resolving, "definitions"),
            "definition_of": (few_references, "definition_of"),
            "batches": (resolving.Resolver, "bind"),
            "tables of entries": (few_entries.Entries, "__init__"),
            "orders": (scopes, "lookup_order"),
        }
        with counting(monkeypatch, **targets) as calls:
            linker.load(root)
        assert len(linker.images) == count
        costs.append(calls)
    few, many = costs
    assert many["definition_of"] > 48, "the counters count"
    assert (many["batches"], many["orders"]) == (0, 1)
    for what in few | many:
        assert many[what] <= 5 * few[what], f"{what}: {few[what]} for 12 images, {many[what]} for 48"


class TestFiles:
    """An image is found again by its file, under any name, and no other file is taken for it."""

    def linker(self, folder: Path) -> tuple[Linker, Path]:
        path = chain(folder, 1)
        linker = Linker(HostMemory(ARCH))
        linker.load(path)
        return linker, path

    def test_by_a_link(self, tmp_path: Path) -> None:
        linker, path = self.linker(tmp_path)
        (tmp_path / "link.so").symlink_to(path)
        (tmp_path / "hard.so").hardlink_to(path)
        for name in ("lib0.so", "link.so", "hard.so"):
            assert linker.loaded_from(tmp_path / name) is linker.images[0]

    def test_a_file_that_took_over_the_inode_is_another(self, tmp_path: Path) -> None:
        linker, path = self.linker(tmp_path)
        path.rename(tmp_path / "other.so")
        path.write_bytes(b"another file")
        assert linker.loaded_from(tmp_path / "other.so") is None
        path.unlink()
        assert linker.loaded_from(tmp_path / "other.so") is None
        assert linker.loaded_from(path) is None

    def test_after_unloading_nothing_is_found(self, tmp_path: Path) -> None:
        linker, path = self.linker(tmp_path)
        linker.unload(linker.images[0])
        assert linker.loaded_from(path) is None
        assert linker.loaded("lib0.so") is None

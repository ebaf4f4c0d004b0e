"""A section, a member of an archive, a symbol and a relocation cost the same in large links as in small ones."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from relink.arch import architecture
from relink.elf.batch_relocations import BatchRelocations
from relink.elf.batch_symbols import BatchSymbols
from relink.errors import UnsupportedElf
from relink.objects.options import ObjectOptions
from relink.objects.relocation_tables import InputTables
from relink.objects.symbols import Symbols
from relink.search import open as opening
from relink.search.decoded_cache import CACHE
from relink.search.open import open_image
from tests.counting import file_calls, most_bytes, objects_left, per_item, python_calls
from tests.elf.build_archive import gnu_archive
from tests.elf.build_object import Sec, Sym, rela, simple_object

ARCH = architecture("x86_64")
SIZES = (100, 300, 900)
WARM = 20  #: loads after which all that is made once has been made


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CACHE, "enabled", False)
    monkeypatch.setattr(opening, "_small", lambda *inputs: None)  # arrays are what is counted here


def of_sections(count: int) -> bytes:
    """A function in each section, with a call of the next one's."""
    extra = [Sec(f".text.f{n}", data=bytes(16), flags=6, align=16) for n in range(count)]
    calls = [rela((0, 4, 1 + n, -4), target=4 + n, name=f".rela.text.f{n}") for n in range(count)]
    return simple_object([Sym(f"f{n}", bind=1, type=2, section=4 + n) for n in range(count)], [*extra, *calls])


def of_members(count: int) -> bytes:
    members = {f"m{n}.o": simple_object([Sym(f"f{n}", bind=1, section=1)]) for n in range(count)}
    return gnu_archive(members)


def of_symbols(count: int) -> bytes:
    """Words that refer to functions, most of them undefined."""
    symbols = [Sym(f"f{n}", bind=1, section=n % 2) for n in range(count)]
    words = rela(*[(8 * n % 16, 1, 1 + n, n) for n in range(count)])
    return simple_object(symbols, [words])


@pytest.mark.parametrize(
    ("made", "calls", "objects"),
    [(of_sections, 22, 4), (of_members, 34, 14), (of_symbols, 4, 1)],
    ids=["sections", "members", "symbols"],
)
def test_a_part_of_a_link_costs_the_same_among_many(
    made: Callable[[int], bytes], calls: int, objects: int
) -> None:
    """Calls of Python functions, and objects that the linked image keeps."""
    contents = [made(size) for size in SIZES]
    for _ in range(WARM):
        open_image(contents[0], ARCH)
    for count, most in ((python_calls, calls), (objects_left, objects)):
        counts = [count(partial(open_image, content, ARCH)) for content in contents]
        steps = zip(pairwise(counts), pairwise(SIZES), strict=True)
        per_part = [(after - before) / (more - size) for (before, after), (size, more) in steps]
        print(made.__name__, per_part)
        assert max(per_part) <= most
        assert per_part[1] <= 1.1 * per_part[0] + 0.5


@pytest.mark.parametrize("made", [of_sections, of_members, of_symbols])
def test_memory_grows_with_the_parts(made: Callable[[int], bytes]) -> None:
    contents = {size: made(size) for size in (150, 300, 600)}
    open_image(contents[600], ARCH)  # what is made once
    per_item(lambda size: most_bytes(partial(open_image, contents[size], ARCH)), 150)


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_looked_for_in_a_link(collects: bool) -> None:
    """Which would cost more the more members there are; afterwards Python does as before."""
    content, phases = of_members(1500), list[str]()
    open_image(of_members(2), ARCH)  # what is made once
    note = lambda phase, details: phases.append(phase)  # noqa: E731
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    gc.collect()
    gc.callbacks.append(note)
    try:
        open_image(content, ARCH)
        assert gc.isenabled() == collects
        with pytest.raises(UnsupportedElf):
            open_image(gnu_archive({}), ARCH)
        assert gc.isenabled() == collects
    finally:
        gc.callbacks.remove(note)
        (gc.enable if before else gc.disable)()
    assert phases.count("start") < 5, "some at the end of each"


def test_members_that_nobody_asks_for_cost_a_line_of_the_index() -> None:
    def counted(size: int, count: Callable[[Callable[[], object]], int]) -> int:
        content = gnu_archive(
            {f"m{n}.o": simple_object([Sym(f"f{n}", bind=1, section=1)]) for n in range(size)},
            {f"f{n}": n for n in range(size)},
        )
        return count(lambda: open_image(content, ARCH, options=ObjectOptions(undefined=("f1",))))

    for _ in range(WARM):
        counted(300, python_calls)  # what is made once
    for count, most in ((python_calls, 17), (objects_left, 1), (most_bytes, 500)):
        assert per_item(lambda size, of=count: counted(size, of), 300) <= most  # type: ignore[misc]


@pytest.mark.parametrize("made", [of_sections, of_members, of_symbols])
def test_no_part_is_a_question_to_the_file_system(made: Callable[[int], bytes], tmp_path: Path) -> None:
    costs = []
    for size in (1, 2, 100):
        path = tmp_path / f"{size}"
        path.write_bytes(made(size))
        costs.append(file_calls(partial(open_image, path, ARCH)))
    assert costs[1]["open"], "the counters count"
    assert costs[1] == costs[2]  # the first of all imports modules


def test_a_linked_image_keeps_nothing_that_only_linking_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of all objects take more memory than the image."""
    made: list[weakref.ref[object]] = []
    for kind in (Symbols, BatchSymbols, InputTables, BatchRelocations):
        real = kind.__init__

        def noted(self: object, *given: Any, _real: Any = real) -> None:
            made.append(weakref.ref(self))
            _real(self, *given)

        monkeypatch.setattr(kind, "__init__", noted)
    image = open_image(of_sections(9), ARCH)
    gc.collect()
    assert [ref() for ref in made] == [None] * 4
    assert image.relocations[0].origin(8)[0] == "<bytes>(.rela.text.f8)"

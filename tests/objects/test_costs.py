"""A section, a member of an archive, a symbol and a relocation cost the same in large links as in small ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest

from relink.arch import architecture
from relink.search.decoded_cache import CACHE
from relink.search.open import open_image
from tests.counting import objects_left, python_calls
from tests.elf.build_archive import gnu_archive
from tests.elf.build_object import Sec, Sym, rela, simple_object

ARCH = architecture("x86_64")
SIZES = (100, 300, 900)


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CACHE, "enabled", False)


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
    [(of_sections, 22, 4), (of_members, 28, 14), (of_symbols, 4, 1)],
    ids=["sections", "members", "symbols"],
)
def test_a_part_of_a_link_costs_the_same_among_many(
    made: Callable[[int], bytes], calls: int, objects: int
) -> None:
    """Calls of Python functions, and objects that the linked image keeps."""
    contents = [made(size) for size in SIZES]
    open_image(contents[0], ARCH)
    for count, most in ((python_calls, calls), (objects_left, objects)):
        counts = [count(partial(open_image, content, ARCH)) for content in contents]
        steps = zip(pairwise(counts), pairwise(SIZES), strict=True)
        per_part = [(after - before) / (more - size) for (before, after), (size, more) in steps]
        print(made.__name__, per_part)
        assert max(per_part) <= most
        assert per_part[1] <= 1.1 * per_part[0] + 0.5

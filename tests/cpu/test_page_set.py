"""A set of pages by ranges is the set of its pages."""

from __future__ import annotations

import random

from emu.cpu.page_set import PageSet


def test_ranges_added_and_removed_at_random_are_the_set_of_their_addresses() -> None:
    rng = random.Random(5)
    for _ in range(40):
        pages, plain = PageSet(), set[int]()
        for _ in range(60):
            low = rng.randrange(40)
            high = low + rng.randrange(1, 12)
            if rng.random() < 0.5:
                pages.add_range(low, high)
                plain.update(range(low, high))
            else:
                pages.discard_range(low, high)
                plain.difference_update(range(low, high))
            assert [at in pages for at in range(60)] == [at in plain for at in range(60)]
            assert pages.overlaps(low, high) == (not plain.isdisjoint(range(low, high)))
            assert bool(pages) == bool(plain)
            # Ranges that touch are one.
            edges = [at for at in range(60) if at in plain and at - 1 not in plain]
            assert pages._lows == edges

"""The spans of an engine with its own memory: as pages one by one, and each in the same time among many."""

from __future__ import annotations

from random import Random

import pytest

from emu.cpu.protocol import Protection
from emu.cpu.spans import Span, SpanMap
from relink.errors import GuestAccessError
from tests.counting import python_lines

PAGES = 24


def test_spans_are_those_of_pages_looked_at_one_by_one() -> None:
    random, spans = Random(5), SpanMap()
    pages: dict[int, Protection] = {}
    for _ in range(400):
        start = random.randrange(PAGES)
        end = random.randint(start + 1, PAGES)
        before, protection = spans.spans, Protection(random.randrange(8))
        kept = [*before]
        if random.random() < 0.4:
            spans.remove(start, end)
            pages = {page: one for page, one in pages.items() if not start <= page < end}
        else:
            spans.add(start, end, protection)
            pages.update(dict.fromkeys(range(start, end), protection))
        assert before == kept, "a list is replaced, not changed"
        assert spans.spans == sorted(spans.spans)
        assert {page: span.protection for span in spans.spans for page in range(span.start, span.end)} == pages
        assert sum(span.end - span.start for span in spans.spans) == len(pages)
        for low in range(PAGES):
            found = spans.find(low)
            assert (None if found is None else found.protection) == pages.get(low)
            for high in range(low + 1, PAGES + 1):
                inside = [page for page in range(low, high) if page in pages]
                overlapping = spans.overlapping(low, high)
                assert [page for span in overlapping for page in range(span.start, span.end)] == inside
                assert spans.covers(low, high) == (len(inside) == high - low)


def test_what_is_not_mapped_or_not_permitted_is_named() -> None:
    spans = SpanMap()
    spans.add(2, 4, Protection.R)
    spans.require(2, 2, Protection.R, write=False)
    for needed, at in ((Protection.R, 4), (Protection.W, 2)):
        with pytest.raises(GuestAccessError) as caught:
            spans.require(2, 3, needed, write=True)
        assert caught.value.address == at


@pytest.mark.not_taken_back("counts lines")
def test_a_change_costs_the_same_among_many() -> None:
    def cost(count: int) -> int:
        spans = SpanMap()
        spans.spans = [Span(2 * n, 2 * n + 1, Protection.R) for n in range(count)]
        middle = count // 2 * 2 + 1

        def change() -> None:
            spans.add(middle, middle + 1, Protection.W)
            assert spans.covers(middle - 1, middle + 1)
            spans.remove(middle, middle + 1)

        return python_lines(change)

    assert cost(5000) == cost(50)

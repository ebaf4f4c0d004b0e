"""Ranges of pages, split and joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from relink.memory.address_space import Pages


def split(run: Pages, low: int, high: int) -> Iterator[tuple[Pages, bool]]:
    """Split a page range at the offsets `low` and `high`: (piece, whether it is between them)."""
    edges = sorted({run.offset, run.offset + run.size, *(e for e in (low, high) if 0 < e - run.offset < run.size)})
    for start, end in pairwise(edges):
        yield Pages(start, end - start, run.protection), low <= start < high


def spans_of(pages: Sequence[Pages]) -> list[tuple[int, int]]:
    """Page ranges, in ascending order, as the offsets and sizes of those that follow each other directly."""
    spans: list[tuple[int, int]] = []
    start = end = 0
    for offset, size, _ in pages:
        if offset != end and start != end:
            spans.append((start, end - start))
        if offset != end or start == end:
            start = offset
        end = offset + size
    return [*spans, (start, end - start)] if start != end else spans

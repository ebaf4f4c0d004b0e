"""`SpanMap`: the mapped guest pages with their protection, for engines with their own memory.

The list of spans is replaced as a whole, so that it has all of a change or nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from relink.errors import GuestAccessError
from relink.memory.address_space import Protection

_BEYOND = 1 << 65  #: more than any address


class Span(NamedTuple):
    """Mapped guest addresses [start, end) of one protection."""

    start: int
    end: int
    protection: Protection


class SpanMap:
    """The mapped spans; the engine cannot be asked for them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def find(self, address: int) -> Span | None:
        index = bisect_right(self.spans, (address, _BEYOND)) - 1
        return self.spans[index] if index >= 0 and address < self.spans[index].end else None

    def _affected(self, start: int, end: int) -> slice:
        """The places of the spans that overlap [start, end)."""
        spans = self.spans
        first = last = bisect_right(spans, (start, _BEYOND))
        if first and spans[first - 1].end > start:
            first -= 1
        for span in spans[first : first + 1]:  # if there are any, it is mostly one
            if span.start < end:
                last = first + 1 if end <= span.end else bisect_left(spans, (end,))
        return slice(first, last)

    def overlapping(self, start: int, end: int) -> list[Span]:
        """The spans that overlap [start, end), cut to it."""
        return [
            Span(max(span.start, start), min(span.end, end), span.protection)
            for span in self.spans[self._affected(start, end)]
        ]

    def require(self, address: int, size: int, needed: Protection, *, write: bool) -> None:
        """Raise GuestAccessError unless all of the range is mapped with at least `needed` permissions."""
        position, end = address, address + size
        while position < end:
            span = self.find(position)
            if span is None or int.__and__(span.protection, needed) != needed:  # a flag's own is slow
                raise GuestAccessError(position, end - position, write=write, mapped=span is not None)
            position = span.end

    def covers(self, start: int, end: int) -> bool:
        return sum(span.end - span.start for span in self.overlapping(start, end)) == end - start

    def remove(self, start: int, end: int) -> None:
        self.spans = self.without(start, end)

    def without(self, start: int, end: int) -> list[Span]:
        """The spans outside of [start, end)."""
        affected, kept = self._affected(start, end), [*self.spans]
        cut: list[Span] = []
        for span in kept[affected]:
            if span.start < start:
                cut.append(span._replace(end=start))
            if end < span.end:
                cut.append(span._replace(start=end))
        kept[affected] = cut
        return kept

    def add(self, start: int, end: int, protection: Protection) -> None:
        self.spans = self.with_span(start, end, protection)

    def with_span(self, start: int, end: int, protection: Protection) -> list[Span]:
        """[start, end) with this protection, and the spans outside of it."""
        spans = self.without(start, end)
        at = bisect_left(spans, (start,))
        spans[at:at] = [Span(start, end, protection)]
        return spans

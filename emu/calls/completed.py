"""Pickling of structure types, which are completed when they are first needed."""

from __future__ import annotations

from collections.abc import Callable

_FACTS = ("members", "size", "alignment", "natural", "packed", "refused", "by_reference")


class Completed:
    """A type with a name, to which `complete` gives these facts. Where they come from, such as debug information,
    is not pickled.
    """

    __slots__ = ()
    name: str
    complete: Callable[..., None]

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name,), tuple(getattr(self, fact) for fact in _FACTS)

    def __setstate__(self, facts: tuple[object, ...]) -> None:
        self.complete(*facts)

"""The dynamic section: its tags and values, and access by tag (gABI chapter 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import overload

from relink.elf.constants import ADDRESS_TAGS, DynamicTag
from relink.records import cached_property, dataclass


@dataclass(frozen=True, eq=False)
class Dynamic:
    """The dynamic section up to DT_NULL: `tags` and `vals`, in file order."""

    tags: tuple[int, ...]
    vals: tuple[int, ...]

    @classmethod
    def empty(cls) -> Dynamic:
        """The dynamic section of an image without PT_DYNAMIC."""
        return cls((), ())

    @classmethod
    def of(
        cls, tags: Sequence[int], vals: Sequence[int], normalise: Callable[[int], int] | None = None
    ) -> Dynamic:
        """Build it from the tags and values of its entries, without DT_NULL.

        `normalise` converts an address that a loader has rebased in memory back to a link-time address.
        """
        if normalise is not None:
            entries = zip(tags, vals, strict=True)
            vals = [normalise(val) if tag in ADDRESS_TAGS else val for tag, val in entries]
        return cls(tuple(tags), tuple(vals))

    @cached_property
    def _last(self) -> dict[int, int]:
        return dict(zip(self.tags, self.vals, strict=True))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self.tags, self.vals, strict=True))

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, tag: DynamicTag | int) -> bool:
        return tag in self._last

    def has_any(self, tags: frozenset[DynamicTag]) -> bool:
        """Whether there is an entry with any of these tags."""
        return not tags.isdisjoint(self._last)

    @overload
    def value(self, tag: DynamicTag | int, default: int) -> int: ...
    @overload
    def value(self, tag: DynamicTag | int, default: None = None) -> int | None: ...
    def value(self, tag: DynamicTag | int, default: int | None = None) -> int | None:
        """The value of `tag`, of its last entry when there are several (as in glibc); `default` without one."""
        return self._last.get(tag, default)

    def values(self, tag: DynamicTag | int) -> list[int]:
        """Every value of `tag` in order."""
        if tag not in self._last:
            return []
        return [*compress(self.vals, map(int(tag).__eq__, self.tags))]

"""The dynamic section: its tags and values, and access by tag (gABI chapter 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import overload

import numpy as np

from relink.arrays import U64, AnyArray, indices_where
from relink.elf.constants import ADDRESS_TAGS, DynamicTag
from relink.elf.contents import frozen
from relink.records import cached_property, dataclass


@dataclass(frozen=True, eq=False)
class Dynamic:
    """The dynamic section up to DT_NULL: `tags` and `vals`, uint64[n] each, in file order."""

    tags: U64
    vals: U64

    @classmethod
    def empty(cls) -> Dynamic:
        """The dynamic section of an image without PT_DYNAMIC."""
        nothing = frozen(np.empty(0, np.uint64))
        return cls(nothing, nothing)

    @classmethod
    def of(cls, entries: AnyArray, normalise: Callable[[int], int] | None = None) -> Dynamic:
        """Build it from `Layout.dynamic` records, up to the first DT_NULL.

        `normalise` converts an address that a loader has rebased in memory back to a link-time address.
        """
        ends = indices_where(entries["tag"] == 0)
        if len(ends):
            entries = entries[: ends[0]]
        tags = entries["tag"].astype(np.uint64)
        vals = entries["val"].astype(np.uint64)
        if normalise is not None:
            for index, tag in enumerate(tags.tolist()):
                if tag in ADDRESS_TAGS:
                    vals[index] = normalise(int(vals[index]))
        return cls(frozen(tags), frozen(vals))

    @cached_property
    def _last(self) -> dict[int, int]:
        return dict(self)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self.tags.tolist(), self.vals.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, tag: DynamicTag | int) -> bool:
        return int(tag) in self._last

    @overload
    def value(self, tag: DynamicTag | int, default: int) -> int: ...
    @overload
    def value(self, tag: DynamicTag | int, default: None = None) -> int | None: ...
    def value(self, tag: DynamicTag | int, default: int | None = None) -> int | None:
        """The value of `tag`, of its last entry when there are several (as in glibc); `default` without one."""
        return self._last.get(int(tag), default)

    def values(self, tag: DynamicTag | int) -> list[int]:
        """Every value of `tag` in order."""
        picked: list[int] = self.vals[self.tags == np.uint64(tag)].tolist()
        return picked

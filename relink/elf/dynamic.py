"""The dynamic section: its tags and values, and access by tag (gABI chapter 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    def of(cls, entries: Sequence[tuple[int, int]], normalise: Callable[[int], int] | None = None) -> Dynamic:
        """Build it from entries (tag, value) without DT_NULL.

        `normalise` converts an address that a loader has rebased in memory back to a link-time address.
        """
        tags, vals = zip(*entries, strict=True) if entries else ((), ())
        if normalise is not None:
            vals = tuple(normalise(val) if tag in ADDRESS_TAGS else val for tag, val in entries)
        return cls(tags, vals)

    @cached_property
    def _last(self) -> dict[int, int]:
        return dict(self)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self.tags, self.vals, strict=True))

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
        wanted = int(tag)
        return [val for known, val in self if known == wanted] if wanted in self._last else []

"""`PageTree`: the contents of a region's pages in one snapshot, as a tree that snapshots share.

A tree is immutable. A changed copy shares all branches without changed pages, so snapshots take memory by what has
changed between them, and two of them are compared by looking only at what differs. No snapshot depends on another,
whatever the order in which they are freed.

A page that has not been changed since the region's memory was first saved is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

#: A branch: branches or, at the lowest level, pages; None for a branch without any page.
Branch: TypeAlias = "tuple[Branch | bytes | None, ...] | None"

_BITS = 5
_WIDTH = 1 << _BITS
_EMPTY: tuple[None, ...] = (None,) * _WIDTH


class PageTree:
    """The pages of one region, by number."""

    __slots__ = ("_depth", "_root")

    def __init__(self, pages: int, root: Branch = None) -> None:
        """For a region of at most `pages` pages."""
        self._depth = max(-(-(pages - 1).bit_length() // _BITS), 1)
        self._root = root

    def get(self, page: int) -> bytes | None:
        branch: Branch | bytes = self._root
        for level in range(self._depth - 1, -1, -1):
            if branch is None:
                return None
            branch = branch[page >> level * _BITS & _WIDTH - 1]  # type: ignore[assignment]
        return branch  # type: ignore[return-value]

    def changed(self, pages: Mapping[int, bytes]) -> PageTree:
        """A tree in which these pages have other contents."""
        made = PageTree.__new__(PageTree)
        made._depth = self._depth
        made._root = _changed(self._root, self._depth - 1, pages) if pages else self._root
        return made

    def differing(self, other: PageTree) -> Iterator[int]:
        """The numbers of the pages whose contents are not the same objects in the two trees."""
        return _differing(self._root, other._root, self._depth - 1, 0)

    def pages(self) -> Iterator[int]:
        """The numbers of all pages that have been changed."""
        return _differing(self._root, None, self._depth - 1, 0)


def _changed(branch: Branch, level: int, pages: Mapping[int, bytes]) -> Branch:
    made = list(_EMPTY if branch is None else branch)
    if not level:
        for page, content in pages.items():
            made[page & _WIDTH - 1] = content
        return tuple(made)
    below: dict[int, dict[int, bytes]] = {}
    for page, content in pages.items():
        below.setdefault(page >> level * _BITS & _WIDTH - 1, {})[page] = content
    for place, some in below.items():
        made[place] = _changed(made[place], level - 1, some)  # type: ignore[arg-type]
    return tuple(made)


def _differing(one: Branch, other: Branch, level: int, start: int) -> Iterator[int]:
    if one is other:
        return
    for place, (mine, theirs) in enumerate(zip(one or _EMPTY, other or _EMPTY, strict=True)):
        if mine is theirs:
            continue
        number = start << _BITS | place
        if level:
            yield from _differing(mine, theirs, level - 1, number)  # type: ignore[arg-type]
        else:
            yield number

"""An index of a scope: the images that may define a name, by the hash of the name.

ld.so searches each image of a scope in turn, so that loading n libraries takes n² look-ups. Here a name's hash
gives the first image that has it. The index only excludes images that cannot define a name; the resolver checks
version, visibility and type of the others as without an index, in the same order.

An image's hashes are added only after enough look-ups in it: a big library that is searched once is not indexed.
Positions are indices in the list of images.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence

from relink.arrays import U32
from relink.module import Module

#: Scopes with fewer images are not indexed.
SMALLEST_SCOPE = 4
#: Cost of one look-up in an image, in hashes added to an index.
_HASHES_A_QUESTION = 64
#: Number of scopes whose indices are kept, the last used ones.
_MOST = 8


class ScopeIndex:
    """The index of one list of images; `follow` changes it to another list with the same beginning."""

    def __init__(self) -> None:
        self.images: list[Module] = []
        self._indexed: list[bool] = []
        self._questions: list[int] = []
        self._positions: dict[int, int | list[int]] = {}  # hash -> the only position, or all positions, ascending
        self._rest: list[int] = []  # positions not indexed, ascending

    def follow(self, images: Sequence[Module]) -> None:
        """Remove images from the end and add others, so that the list is `images`."""
        common = self.common(images)
        while len(self.images) > common:
            self._remove_last()
        for image in images[common:]:
            self._rest.append(len(self.images))
            self.images.append(image)
            self._indexed.append(False)
            self._questions.append(0)
            self._consider(len(self.images) - 1)

    def common(self, images: Sequence[Module]) -> int:
        """The number of equal images at the beginning."""
        if len(images) >= len(self.images) and images[: len(self.images)] == self.images:
            return len(self.images)
        pairs = zip(self.images, images, strict=False)
        return next(
            (at for at, (mine, other) in enumerate(pairs) if mine is not other), min(len(self.images), len(images))
        )

    def ask(self, position: int) -> None:
        """Count a look-up in an image that is not indexed, and index it after enough of them."""
        if not self._indexed[position]:
            self._questions[position] += 1
            self._consider(position)

    def first(self, hash_: int, after: int = -1) -> int | None:
        """The first position after `after` among the indexed images that may define a name of this GNU hash."""
        found = self._positions.get(hash_ >> 1)
        if found is None:
            return None
        if isinstance(found, int):
            return found if found > after else None
        return _next(found, after)

    def worth_asking(self, hash_: int) -> Iterator[int]:
        """The positions, ascending, of the images that may define a name of this GNU hash. The
        generator looks one up at a time: the caller stops at the first definition, and thousands of images may
        define the name.
        """
        after = -1
        while True:
            indexed, other = self.first(hash_, after), _next(self._rest, after)
            if indexed is None or (other is not None and other < indexed):
                indexed = other
            if indexed is None:
                return
            yield (after := indexed)

    @property
    def rest(self) -> Sequence[int]:
        """The positions of images that are not indexed and must be searched."""
        return self._rest

    def _hashes(self, position: int) -> U32:
        return self.images[position].decoded.symbols.name_hashes

    def _consider(self, position: int) -> None:
        """Index an image if its number of hashes does not exceed the cost of its look-ups."""
        table = self.images[position].decoded.known_symbols
        budget = _HASHES_A_QUESTION * (self._questions[position] + 1)
        # A table that was not read yet may be damaged: the next look-up in the image reports that.
        if table is None or len(table) > budget:
            return
        positions = self._positions
        for hash_ in self._hashes(position).tolist():
            known = positions.setdefault(hash_, position)
            if isinstance(known, list):
                if known[-1] != position:
                    self._insert(known, position)
            elif known != position:
                positions[hash_] = [known, position] if known < position else [position, known]
        self._indexed[position] = True
        self._rest.remove(position)

    @staticmethod
    def _insert(positions: list[int], position: int) -> None:
        place = bisect_left(positions, position)
        if positions[place : place + 1] != [position]:
            positions.insert(place, position)

    def _remove_last(self) -> None:
        position = len(self.images) - 1
        if self._indexed[position]:
            for hash_ in self._hashes(position).tolist():
                known = self._positions.get(hash_)
                if isinstance(known, list):
                    if known[-1] == position:
                        known.pop()
                    if len(known) == 1:
                        self._positions[hash_] = known[0]
                elif known == position:
                    del self._positions[hash_]
        else:
            self._rest.remove(position)
        for each in (self.images, self._indexed, self._questions):
            each.pop()


def _next(positions: list[int], after: int) -> int | None:
    """The first of ascending positions after `after`."""
    place = bisect_right(positions, after)
    return positions[place] if place < len(positions) else None


class ScopeIndices:
    """The indices of the scopes used last. With `enabled` False each image is searched in turn."""

    def __init__(self) -> None:
        self.enabled = True
        self._kept: list[ScopeIndex] = []

    def of(self, images: Sequence[Module]) -> ScopeIndex | None:
        """The index of a scope; None for a small scope."""
        if not self.enabled or len(images) < SMALLEST_SCOPE:
            return None
        images = images if isinstance(images, list) else list(images)
        best, common = None, 0
        for index in reversed(self._kept):
            if index.images == images:
                best = index
                break
            shared = index.common(images)
            if shared > common:
                best, common = index, shared
        if best is None or best.images != images:
            # Start a new index if most of a kept one would be discarded, or another scope needs it.
            if best is None or 2 * common < max(len(best.images), len(images)):
                best = ScopeIndex()
            best.follow(images)
        if best in self._kept:
            self._kept.remove(best)
        self._kept.append(best)
        del self._kept[:-_MOST]
        return best

    def forget(self, images: Collection[Module]) -> None:
        """Remove unloaded images: the end of an index, or all of it."""
        kept = []
        for index in self._kept:
            rest = [image for image in index.images if image not in images]
            if len(rest) != len(index.images):
                if 2 * index.common(rest) < len(index.images):
                    continue
                index.follow(rest[: index.common(rest)])
            kept.append(index)
        self._kept = kept

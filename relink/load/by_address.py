"""The image at a guest address, among all that are loaded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

from relink.image import Image

_address = itemgetter(0)


class ImagesByAddress:
    """An index of a list of images by address, made anew when images have gone from the list."""

    def __init__(self) -> None:
        #: the images, the start addresses of their regions, ascending, and the image of each
        self._made: tuple[list[Image], list[int], list[Image]] = [], [], []

    def find(self, images: Sequence[Image], address: int) -> Image | None:
        """The one of `images` whose region covers an address; None without one."""
        known, starts, owners = self._made
        if known != images:  # as quick as a copy: the same objects are equal
            more = images[len(known) :] if known == images[: len(known)] else None
            known = [*images]
            opened = (image for image in (known if more is None else more) if not image.closed)
            regions = [(part.address, image) for image in opened for part in image.region.parts or (image.region,)]
            if more is not None:
                regions += zip(starts, owners, strict=True)
            regions.sort(key=_address)
            starts, owners = [start for start, _ in regions], [image for _, image in regions]
            self._made = known, starts, owners
        at = bisect_right(starts, address) - 1
        return owners[at] if at >= 0 and owners[at].contains(address) else None

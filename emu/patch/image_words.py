"""What relocations and files tell of the words of images: which are addresses, and which are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relink.memory import placement
from relink.memory.address_space import Region
from relink.memory.host_pages import host_pages

if TYPE_CHECKING:
    from relink.arrays import U8
    from relink.image import Image


class ImageWords:
    """Words of images by their guest addresses; what an image tells is found out once."""

    def __init__(self) -> None:
        self._relocated: dict[Image, set[int]] = {}
        self._files: dict[Image, U8] = {}

    def is_relocated(self, image: Image, address: int) -> bool:
        """Whether a relocation of an image has a word at a guest address, which then is an address."""
        if image not in self._relocated:
            offsets = [table.offset for table in image.decoded.relocations]
            places = np.concatenate([image.decoded.relr, *offsets]).astype(np.uint64) + image.bias_word
            self._relocated[image] = {*(places & image.address_mask).tolist()}
        return address in self._relocated[image]

    def is_constant(self, image: Image, address: int, word: bytes) -> bool:
        """Whether a word is what the file of the image has there, and no relocation: code that can be placed
        anywhere has no addresses but by relocations, so this is a number or instructions. False for executables,
        which are linked for their address, and for adopted images, whose file may not be known.
        """
        if image.decoded.is_executable or image.adopted is not None or self.is_relocated(image, address):
            return False
        if image not in self._files:
            region = image.region
            pages = host_pages(len(region.buffer))
            copy = Region(region.address, region.size, pages, region.name, mappable=True, parts=region.parts)
            placement.fill(copy, image.decoded)
            self._files[image] = copy.buffer
        at = image.runs.index(address - image.bias & image.architecture.address_mask)
        return self._files[image][at : at + len(word)].tobytes() == word

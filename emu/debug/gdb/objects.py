"""The loaded images as GDB is told of them: a list of libraries with their files and load biases.

An image that was linked from relocatable objects has no file with its addresses: one is written, with its symbols
and debug information. So is the file of an image that was given as bytes.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from relink.image import Image
from relink.records import cached_property


class ObjectList:
    """The images of a machine for GDB. `images` gives the present ones."""

    def __init__(self, images: Callable[[], Sequence[Image]], link_map: Callable[[Image], int]) -> None:
        self._images, self._link_map = images, link_map
        self._files: dict[Image, str] = {}
        self._told: list[Image] = []

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="relink-emu-gdb-")

    @property
    def changed(self) -> bool:
        """Whether images were loaded or unloaded since the list was read."""
        return self._told != list(self._images())

    def xml(self) -> str:
        """The list (GDB manual, "Library List Format for SVR4 Targets")."""
        self._told = list(self._images())
        libraries = "".join(map(self._library, (i for i in self._told if not i.decoded.is_executable)))
        program = next((self._link_map(image) for image in self._told if image.decoded.is_executable), None)
        main = "" if program is None else f' main-lm="{program:#x}"'
        return f'<library-list-svr4 version="1.0"{main}>{libraries}</library-list-svr4>'

    def _library(self, image: Image) -> str:
        dynamic = image.decoded.dynamic_segment
        where = self._link_map(image)
        at = where if dynamic is None else image.address_of(dynamic.vaddr)
        name = quoteattr(self.file(image))
        return f'<library name={name} lm="{where:#x}" l_addr="{image.bias:#x}" l_ld="{at:#x}" lmid="0x0"/>'

    def file(self, image: Image) -> str:
        """The file that has an image's symbols."""
        if image not in self._files:
            self._files[image] = self._made(image)
        return self._files[image]

    def _made(self, image: Image) -> str:
        decoded = image.decoded
        if decoded.is_relocatable:
            path = Path(self._folder.name) / f"{len(self._files)}-{image.short_name or 'objects'}.elf"
            _at_link_addresses(image).export(path, "elf")
            return str(path)
        if decoded.path is not None:
            return str(decoded.path.absolute())
        path = Path(self._folder.name) / f"{len(self._files)}-{image.short_name or 'image'}"
        path.write_bytes(decoded.data.tobytes())
        return str(path)

    def close(self) -> None:
        """Remove the files that were written."""
        if "_folder" in vars(self):
            self._folder.cleanup()


def _at_link_addresses(image: Image) -> Image:
    """The image as if it had been placed at its link-time addresses, to which its debug information refers."""
    flat = object.__new__(Image)  # images refuse `copy.copy`
    vars(flat).update(vars(image))
    flat.bias, flat.whole_bias, flat.bias_word = 0, 0, np.uint64(0)
    flat._region = copy.copy(image.region)
    flat._region.address = image.low
    return flat

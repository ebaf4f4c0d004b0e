"""The images of a linker by name and by file, with look-ups in constant time."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path

from relink.image import Image
from relink.search.graph import file_id, is_file


class LoadedImages:
    """The loaded images by SONAME, by requested names, and by file. The first of several counts."""

    def __init__(self) -> None:
        self._turns: dict[Image, int] = {}  # in load order
        self._next = 0
        self._images: dict[Hashable, dict[Image, None]] = {}  # by name, by (path,), by (device, inode)
        self._keys: dict[Image, set[Hashable]] = {}
        self._deferring: dict[Image, None] = {}

    def defers(self, image: Image) -> None:
        """An image that has been added has deferred references (`relink.relocate.deferred`)."""
        self._deferring[image] = None

    def deferring(self) -> list[Image]:
        """The loaded images that have deferred references, in load order."""
        if not self._deferring:
            return []
        waiting = [image for image in self._deferring if image.relocated.deferred and image in self._turns]
        return sorted(waiting, key=self._turns.__getitem__) if waiting[1:] else waiting

    def add(self, image: Image) -> None:
        """Add a loaded image."""
        self._turns[image] = self._next
        self._next += 1
        self._keys.setdefault(image, set())
        path = image.decoded.path
        places = () if path is None else ((str(path),), image.file or file_id(path))
        self._note(image, (*image.names, image.decoded.soname, *places))

    def name(self, image: Image, names: Iterable[str]) -> None:
        """Add further names under which an image was requested."""
        if image in self._turns:
            self._note(image, names)

    def remove(self, image: Image) -> None:
        """Remove an unloaded image; what is left of it, where a signal handler has interrupted that."""
        self._turns.pop(image, None)
        if self._deferring:
            self._deferring.pop(image, None)
        for key in self._keys.get(image, ()):
            images = self._images.get(key)
            if images is not None:
                images.pop(image, None)
                if not images:
                    self._images.pop(key, None)
        self._keys.pop(image, None)

    def named(self, name: str) -> Image | None:
        """The image with that SONAME, or that was requested under that name before."""
        images = self._images.get(name)
        return self._first(images) if images else None

    def has_soname(self, name: str) -> bool:
        """Whether an image has that SONAME."""
        images = self._images.get(name)
        return images is not None and any(image.decoded.soname == name for image in images if image in self._turns)

    def from_file(self, path: str | os.PathLike[str], file: tuple[int, int] | None = None) -> Image | None:
        """The image that was read from a file, also under another name; `file`: its device and inode, if known. An
        inode may have been reused, so the files are compared again.
        """
        if not self._turns:
            return None
        path = path if isinstance(path, Path) else Path(path)
        found = {*self._images.get((str(path),), ()), *self._images.get(file or file_id(path), ())}
        return self._first(image for image in found if is_file(image.decoded, path)) if found else None

    def _first(self, images: Iterable[Image]) -> Image | None:
        """The one that was loaded first; none whose removal a signal handler has interrupted."""
        return min(filter(self._turns.__contains__, images), key=self._turns.__getitem__, default=None)

    def _note(self, image: Image, keys: Iterable[Hashable | None]) -> None:
        known, images = self._keys[image], self._images
        for key in keys:
            if key is not None:
                known |= {key}
                if key in images:
                    images[key][image] = None
                else:
                    images[key] = {image: None}

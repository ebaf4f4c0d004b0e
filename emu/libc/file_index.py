"""An index of the guest's files by path."""

from __future__ import annotations

import posixpath
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

#: That the index is to be made anew: an exception may have left it half changed.
_UNSURE: Final = (-1, None)


class FileIndex:
    """An index of the files: absolute path -> key, and the paths in order, so that look-ups do not scan all files.

    A user may change the dictionary of files between calls; the index detects that by its size and last key.
    """

    def __init__(self, files: dict[str, bytes | bytearray]) -> None:
        self._files = files
        self._keys: dict[str, str] = {}
        self._paths: list[str] = []
        self._seen: tuple[int, str | None] = _UNSURE

    def _refresh(self) -> None:
        if self._seen != self._mark():
            # of two keys for one path, the first
            self._keys = {absolute(key): key for key in reversed(self._files)}
            self._paths = sorted(self._keys)
            self._seen = self._mark()

    def _mark(self) -> tuple[int, str | None]:
        return len(self._files), next(reversed(self._files), None)

    def key(self, full: str) -> str | None:
        """The key of the file at an absolute, normalised path."""
        self._refresh()
        return self._keys.get(full)

    def below(self, folder: str) -> Iterator[str]:
        """The absolute paths of the files below an absolute folder, in order."""
        self._refresh()
        prefix = folder.rstrip("/") + "/"
        for place in range(bisect_left(self._paths, prefix), len(self._paths)):
            if not self._paths[place].startswith(prefix):
                return
            yield self._paths[place]

    def put(self, key: str, content: bytes | bytearray) -> None:
        """Put a file into the dictionary."""
        self._refresh()
        full = absolute(key)
        self._seen = _UNSURE
        if full not in self._keys:
            self._keys[full] = key
            insort(self._paths, full)
        self._files[key] = content
        self._seen = self._mark()

    def pop(self, key: str) -> bytes | bytearray:
        """Remove a file from the dictionary."""
        self._refresh()
        full = absolute(key)
        self._seen = _UNSURE
        if self._keys.pop(full, None) is not None:
            del self._paths[bisect_left(self._paths, full)]
        content = self._files.pop(key)
        self._seen = self._mark()
        return content


def absolute(key: str) -> str:
    return posixpath.normpath(posixpath.join("/", key))

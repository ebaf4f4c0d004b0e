"""Decoded files, kept for the next load of the same file: tables, names and hashes are then read once.

An entry stands for a path, the way of reading, an inode, a size and both times of change; a file that has changed
is read again. The times have a granularity, so a file that changed in the last two seconds is not kept: it may
change again unseen. `enabled`, or the environment variable RELINK_EMU_NO_CACHE, turns the cache off. It may be
used by several threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import TypeAlias

from relink.elf import Decoded
from relink.elf.source import COPIED, FileMode, file_mode

Key: TypeAlias = tuple[str, str, FileMode | None, int, int, int, int, int]

#: Files kept, the last used ones; and of them those that are mapped, not copied.
MOST, MOST_MAPPED = 512, 8
#: Nanoseconds since its last change from which on a file is kept.
_SETTLED = 2 * 10**9


class DecodedCache:
    """The files decoded last, by what identifies their content."""

    def __init__(self) -> None:
        self.enabled = not os.environ.get("RELINK_EMU_NO_CACHE")
        self._lock = threading.Lock()
        self._files: OrderedDict[Key, Decoded] = OrderedDict()

    def key(self, path: str | os.PathLike[str], name: str | None) -> Key | None:
        """What identifies a file's content now; None where it is not to be kept."""
        if not self.enabled:
            return None
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return None
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _SETTLED:
            return None
        names = os.path.abspath(path), name or os.fspath(path), file_mode()
        return *names, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def get(self, key: Key | None) -> Decoded | None:
        """The file as it was decoded; None where it is to be read."""
        if key is None:
            return None
        with self._lock:
            decoded = self._files.get(key)
            if decoded is not None:
                self._files.move_to_end(key)
            return decoded

    def put(self, key: Key | None, decoded: Decoded) -> None:
        """Keep a file that was decoded after `key` had been made, unless it has changed meanwhile."""
        if key is None or decoded.path is None or self.key(decoded.path, key[1]) != key:
            return
        with self._lock:
            self._files[key] = decoded
            mapped = [other for other, kept in self._files.items() if len(kept.data) > COPIED]
            for oldest in mapped[: max(0, len(mapped) - MOST_MAPPED)]:
                del self._files[oldest]
            while len(self._files) > MOST:
                self._files.popitem(last=False)

    def clear(self) -> None:
        """Forget all files."""
        with self._lock:
            self._files.clear()

    def __len__(self) -> int:
        return len(self._files)


#: The cache of this process.
CACHE = DecodedCache()

"""Decoded files, kept for the next load of the same file: tables, names and hashes are then read once.

An entry stands for a path, the way of reading, an inode, a size and both times of change; a file that has changed
is read again. The times have a granularity, so a file that changed in the last two seconds is not kept: it may
change again unseen. What is given as `bytes` is identified by these. Of a relocatable object the linked image is
kept too, by the options of its link. `enabled`, or the environment variable RELINK_EMU_NO_CACHE, turns the cache
off. It may be used by several threads.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import TypeAlias

from relink.elf import Decoded
from relink.elf.source import COPIED, FileMode, file_mode
from relink.memory.once import caches_are_used, make_room
from relink.records.locks import shared_lock

#: What identifies a file's content: its path, name and state, or its bytes and name.
Key: TypeAlias = tuple[str, str, FileMode | None, int, int, int, int, int] | tuple[bytes, str | None]
#: How the content was read: () as it is, else the architecture and the options of a link.
How: TypeAlias = tuple[Hashable, ...]

#: Files kept, the last used ones; and of them those that are mapped, not copied.
MOST, MOST_MAPPED = 512, 8
#: Bytes of all that is kept by its bytes or is linked from an object; the latter counts for more than its file.
MOST_BYTES, _LINKED = 16 << 20, 4
#: Nanoseconds since its last change from which on a file is kept.
_SETTLED = 2 * 10**9


class DecodedCache:
    """The files decoded last, by what identifies their content."""

    def __init__(self) -> None:
        self.enabled = caches_are_used()
        self._lock = shared_lock()
        self._files: OrderedDict[tuple[Key, How], Decoded] = OrderedDict()
        self._bytes: OrderedDict[tuple[Key, How], int] = OrderedDict()
        self._total = 0  #: of `_bytes`, or after an interrupt more
        self._seen: dict[int, None] = {}  #: hashes of entries that were not kept, the last ones
        self._mapped: OrderedDict[tuple[Key, How], None] = OrderedDict()  #: those that are mapped

    def key(
        self, path: str | os.PathLike[str], name: str | None, status: os.stat_result | None = None
    ) -> Key | None:
        """The key of a file as it is now (`status`: its state, if known); None if it is not to be kept."""
        if not self.enabled:
            return None
        path = os.fspath(path)
        try:
            found = os.stat(path) if status is None else status
        except (OSError, ValueError):
            return None
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _SETTLED:
            return None
        names = os.path.abspath(path), name or path, file_mode()
        return *names, *_identity(found)

    @staticmethod
    def file_of(key: Key) -> tuple[int, int] | None:
        """Device and inode of the file with this key; None for other contents."""
        return (key[3], key[4]) if len(key) > 2 else None

    @staticmethod
    def size_of(key: Key | None) -> int:
        """The size in bytes of the file with this key; 0 without a key."""
        return key[5] if key is not None and len(key) > 2 else 0

    def content_key(self, content: bytes, name: str | None) -> Key | None:
        """The key of an image given as bytes; None if it is not to be kept."""
        return (content, name) if self.enabled and len(content) <= COPIED else None

    def get(self, key: Key | None, how: How = ()) -> Decoded | None:
        """The decoded file; None if it is not kept."""
        if key is None:
            return None
        entry = key, how
        with self._lock:
            decoded = self._files.get(entry)
            # Each is asked just before, for a signal handler may clear the cache after any call; but only those
            # that may have it, since each takes the hash again.
            if entry in self._files:
                self._files.move_to_end(entry)
            if (how or len(key) == 2) and entry in self._bytes:
                self._bytes.move_to_end(entry)
            if decoded is not None and len(decoded.data) > COPIED and entry in self._mapped:
                self._mapped.move_to_end(entry)
            return decoded

    def put(self, key: Key | None, decoded: Decoded, how: How = (), *, quick: bool = False) -> None:
        """Keep a file that was decoded after `key` had been made, unless it has changed meanwhile. One given as
        bytes that was `quick` to decode is kept from the second time on: of thousands of fragments that are loaded
        once each nothing stays.
        """
        if key is None:
            return
        is_content = len(key) == 2
        if not is_content and _has_changed(key):
            return
        entry = key, how
        with self._lock:
            if quick and is_content and not self._was_seen(hash(entry)):
                return
            if entry in self._files:
                self._forget(entry)
            if how or is_content:
                size = _LINKED * len(decoded.data) if how else len(key[0])
                self._total += size - self._bytes.get(entry, 0)  # first: a signal handler may raise
                self._bytes[entry] = size
            self._files[entry] = decoded
            if entry in self._bytes:
                if self._total > MOST_BYTES:
                    self._total = sum(self._bytes.values())
                while self._total > MOST_BYTES:
                    self._forget_oldest(self._bytes)
            if entry in self._files and len(decoded.data) > COPIED:
                self._mapped[entry] = None
                while len(self._mapped) > MOST_MAPPED:
                    self._forget_oldest(self._mapped)
            while len(self._files) > MOST:
                self._forget_oldest(self._files)

    def _was_seen(self, hash_: int) -> bool:
        """Whether an entry of this hash was to be kept before."""
        if hash_ in self._seen:
            return True
        make_room(self._seen, MOST)
        self._seen[hash_] = None
        return False

    def _forget_oldest(self, entries: Iterable[tuple[Key, How]]) -> None:
        """Forget the first of these entries."""
        oldest = next(iter(entries), None)
        if oldest is not None:
            self._forget(oldest)

    def _forget(self, entry: tuple[Key, How]) -> None:
        self._files.pop(entry, None)
        self._total -= self._bytes.pop(entry, 0)
        self._mapped.pop(entry, None)

    def clear(self) -> None:
        """Forget all files."""
        with self._lock:
            self._files.clear()
            self._bytes.clear()
            self._total = 0
            self._mapped.clear()
            self._seen.clear()

    def __len__(self) -> int:
        return len(self._files)


def _has_changed(key: Key) -> bool:
    """Whether a file is no longer the one that the key is of."""
    try:
        return _identity(os.stat(key[0])) != key[3:]
    except (OSError, ValueError):
        return True


def _identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """The parts of a file's state that change with its contents."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


#: The cache of this process.
CACHE = DecodedCache()

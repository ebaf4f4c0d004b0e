"""A file of the in-memory file system, besides its content: permissions and times.

All files belong to the guest's user, who is not privileged: a permission bit that is not set refuses access.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

from emu.libc.errno import Errno, FileError
from emu.libc.file_index import absolute
from relink.records import dataclass

USER_ID = 1000  #: user and group of the process, and of all files
READ, WRITE, EXECUTE = 4, 2, 1  #: bits of access's mode, and of each digit of a file's
FILE_MODE, FOLDER_MODE = 0o644, 0o755  #: of what the user gave, and of what exists at first

FIRST_FOLDERS = ("/", "/tmp")  #: that exist at first, where the user has given no files
_ENTRY_COST = 512  #: host memory in bytes for a file or folder, without its name and content


@dataclass
class Node:
    """Permissions and times of one file or folder. Times are in nanoseconds since the epoch."""

    mode: int  #: permission bits: 0 to 0o7777
    accessed: int = 0
    modified: int = 0
    changed: int = 0  #: when one of these, or the content, last changed

    def require(self, access: int) -> None:
        """Raises FileError EACCES if the owner lacks one of the bits READ, WRITE and EXECUTE."""
        if access & ~(self.mode >> 6):
            raise FileError(Errno.EACCES)

    def was_read(self, now: int) -> None:
        """Update the time of access if the content is newer (Linux's default, `relatime`)."""
        if self.accessed <= self.modified:
            self.accessed = now

    def was_written(self, now: int) -> None:
        self.modified = self.changed = now


class Nodes:
    """The nodes of files that were made, changed, read or written, by absolute path; others have default ones."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.mask = 0o022  #: the file mode creation mask
        self._by_path: dict[str, Node] = {}

    def find(self, path: str, default: int) -> Node:
        """The node of an existing file, with `default` as its mode if it has none yet."""
        return self._by_path.get(absolute(path)) or Node(default)

    def keep(self, path: str, default: int) -> Node:
        """The node of an existing file, as `find`; what is changed in it stays."""
        return self._by_path.setdefault(absolute(path), Node(default))

    def make(self, path: str, mode: int) -> Node:
        """The node of a new file or folder."""
        now = self.now()
        node = self._by_path[absolute(path)] = Node(mode & 0o7777 & ~self.mask, now, now, now)
        return node

    def remove(self, path: str) -> None:
        self._by_path.pop(absolute(path), None)

    def move(self, old: str, new: str) -> None:
        here, there = absolute(old), absolute(new)
        node = self._by_path.get(here)
        self.remove(new)
        if node is not None:
            node.changed = self.now()
            self._by_path[there] = node  # without a call from here on: no signal handler comes between
            del self._by_path[here]

    def require_search(self, path: str) -> None:
        """Raises FileError EACCES if a folder on the path must not be searched."""
        for folder in folders_above(path):
            if (node := self._by_path.get(folder)) is not None:
                node.require(EXECUTE)

    def require_change(self, path: str) -> None:
        """Raises FileError EACCES if entries of the path's folder must not be made or removed."""
        if (node := self._by_path.get(posixpath.dirname(absolute(path)))) is not None:
            node.require(WRITE | EXECUTE)


def folders_above(path: str) -> Iterator[str]:
    """Every folder on the way to an absolute path, but the root."""
    at = path.find("/", 1)
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def entry_cost(path: str) -> int:
    """The charged size of a file or folder without its content."""
    return _ENTRY_COST + 4 * len(path)

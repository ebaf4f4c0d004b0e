"""One account of the host memory used by a guest, for all purposes."""

from __future__ import annotations

DEFAULT_LIMIT = 1 << 30  #: default limit of a machine in bytes


class MemoryLimit:
    """The limit in bytes for pages, heap book-keeping, files and captured output of one machine together.

    Pages are charged from when they are first accessible until they are unmapped: a range reserved without
    permissions is free, as under Linux. The host's own data (engine, decoded files) is not counted.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.used = 0

    @property
    def left(self) -> int:
        """The remaining bytes."""
        return max(self.limit - self.used, 0)

    def take(self, size: int) -> bool:
        """Charge `size` bytes; False, without charging, when they exceed the limit."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Refund `size` bytes."""
        self.used -= size

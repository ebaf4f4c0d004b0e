"""One account of the host memory that a guest takes up, whatever it takes it for."""

from __future__ import annotations

DEFAULT_LIMIT = 1 << 30  #: bytes of a machine that is not given another limit


class MemoryLimit:
    """Bytes that pages, heap book-keeping, files and captured output of one machine may take together.

    Pages count from when they can first be accessed until they are unmapped: a range reserved without permissions
    costs nothing, as under Linux. What the host keeps for itself (the engine, decoded files) is not counted.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.used = 0

    @property
    def left(self) -> int:
        """Bytes that can still be taken."""
        return max(self.limit - self.used, 0)

    def take(self, size: int) -> bool:
        """Take `size` bytes; False, and nothing taken, where they are not left."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self.used -= size

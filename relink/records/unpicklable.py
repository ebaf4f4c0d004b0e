"""Objects that stand for memory or an engine of this process: they cannot be pickled or copied."""

from __future__ import annotations

from typing import ClassVar, NoReturn, SupportsIndex


class Unpicklable:
    """Base of classes whose objects cannot be pickled or copied. `_instead` says what to do."""

    __slots__ = ()
    _instead: ClassVar[str]

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled or copied: {self._instead}")

"""A mapping that makes each value when its key is first looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class OnDemand(Mapping[_K, _V]):
    """Rows by name, each made when it is first asked for, and kept: a process uses few of them."""

    def __init__(self, makers: Mapping[_K, Callable[[], _V]]) -> None:
        self._makers, self._made = makers, dict[_K, _V]()

    def __getitem__(self, key: _K) -> _V:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._makers[key]()
        return made

    def __iter__(self) -> Iterator[_K]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, key: object) -> bool:
        return key in self._makers

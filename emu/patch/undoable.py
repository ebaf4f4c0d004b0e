"""The common base of patches and redirections."""

from __future__ import annotations

from typing import Self


class Undoable:
    """A change that `undo`, or leaving a `with` block, takes back."""

    def undo(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.undo()

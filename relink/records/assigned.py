"""Detecting assignments to attributes of a linker's and machine's long-lived objects, for snapshots."""

from __future__ import annotations

from relink.records.locks import shared_lock


class Assignments:
    """Whether an attribute of any `Assigned` object has been assigned since an earlier time: compare `last`.

    Only noted while a snapshot has asked for it by `begin`; otherwise assignments cost nothing.
    """

    def __init__(self) -> None:
        #: Another object after each assignment: no number, which two threads could increase to the same one.
        self.last: object = object()
        self.wanted: set[int] = set()  #: the `id` of each object that has called `begin`
        self._lock = shared_lock()  # finalisers may call `end` at any time

    def begin(self, who: int) -> None:
        """Note assignments from now on, for the object of this id."""
        with self._lock:
            self.wanted.add(who)
            Assigned.__setattr__ = _assign  # type: ignore[method-assign]
            Assigned.__delattr__ = _delete  # type: ignore[method-assign]

    def end(self, who: int) -> None:
        """Undo `begin` for that object."""
        with self._lock:
            self.wanted.discard(who)
            if not self.wanted and "__setattr__" in vars(Assigned):
                del Assigned.__setattr__, Assigned.__delattr__


class Assigned:
    """Base of classes whose attributes are assigned in loads and seldom else, such as images and parts: a snapshot
    does not compare their objects as long as `ASSIGNMENTS` says that no attribute was assigned.
    """

    __slots__ = ()


ASSIGNMENTS = Assignments()


def _assign(self: object, name: str, value: object) -> None:
    object.__setattr__(self, name, value)
    ASSIGNMENTS.last = object()


def _delete(self: object, name: str) -> None:
    object.__delattr__(self, name)
    ASSIGNMENTS.last = object()

"""The kinds of objects that hold state, and how each is read, compared and restored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from operator import is_, is_not
from typing import Any

import numpy as np

_MISSING: Any = object()


class Kind:
    """How nodes of one kind are read, compared and restored. `live` is the object to compare with a content."""

    guarded = False  #: whether nodes of the kind change only with a mark
    assigned = False  #: whether nodes of the kind tell when they change (`relink.records`)

    def live(self, node: Any) -> Any:
        return node

    def content(self, node: Any) -> Any:
        raise NotImplementedError

    def same(self, node: Any, content: Any) -> bool:
        """Whether nothing has changed, by the identity of what is referred to."""
        raise NotImplementedError

    def plain(self, content: Any) -> Any:
        """A content without what only makes comparisons quick."""
        return content

    def restore(self, node: Any, content: Any) -> None:
        raise NotImplementedError

    def referred(self, content: Any) -> Iterable[object]:
        """The objects that a content refers to."""
        return content  # type: ignore[no-any-return]


class Dict(Kind):
    def content(self, node: Any) -> Any:
        return dict(node)

    def same(self, node: Any, content: Any) -> bool:
        if len(node) != len(content):
            return False
        return all(map(is_, node.values(), content.values())) and list(node) == list(content)

    def restore(self, node: Any, content: Any) -> None:
        node.clear()
        node.update(content)

    def referred(self, content: Any) -> Iterable[object]:
        return (*content, *content.values())


class List(Kind):
    def content(self, node: Any) -> Any:
        return list(node)

    def same(self, node: Any, content: Any) -> bool:
        return len(node) == len(content) and all(map(is_, node, content))

    def restore(self, node: Any, content: Any) -> None:
        node[:] = content


class Deque(List):
    def content(self, node: Any) -> Any:
        return deque(node, node.maxlen)

    def restore(self, node: Any, content: Any) -> None:
        node.clear()
        node.extend(content)


class Set(Kind):
    def content(self, node: Any) -> Any:
        return set(node)

    def same(self, node: Any, content: Any) -> bool:
        return bool(node == content)

    def restore(self, node: Any, content: Any) -> None:
        node.clear()
        node.update(content)


class Bytes(Kind):
    def content(self, node: Any) -> Any:
        return bytes(node)

    def same(self, node: Any, content: Any) -> bool:
        return bool(node == content)

    def restore(self, node: Any, content: Any) -> None:
        node[:] = content

    def referred(self, content: Any) -> Iterable[object]:
        return ()


class Compared:
    """Compares equal to a content while its node is unchanged, for kinds that have no such object."""

    __slots__ = ("_kind", "_node")

    def __init__(self, kind: Kind, node: object) -> None:
        self._kind, self._node = kind, node

    def __eq__(self, content: object) -> bool:
        return self._kind.same(self._node, content)

    __hash__ = None  # type: ignore[assignment]


class Array(Kind):
    """An array whose elements are numbers."""

    def live(self, node: Any) -> Any:
        return Compared(self, node)

    def content(self, node: Any) -> Any:
        return node.copy()

    def same(self, node: Any, content: Any) -> bool:
        return bool(np.array_equal(node, content))

    def restore(self, node: Any, content: Any) -> None:
        node[...] = content

    def referred(self, content: Any) -> Iterable[object]:
        return ()


class Attributes(Kind):
    """An instance with a `__dict__`, all of which is state."""

    def __init__(self, guarded: bool, *, assigned: bool = False) -> None:
        self.guarded, self.assigned = guarded, assigned

    def live(self, node: Any) -> Any:
        return node.__dict__

    def content(self, node: Any) -> Any:
        return dict(node.__dict__)

    def same(self, node: Any, content: Any) -> bool:
        now = node.__dict__
        same_names = now.keys() == content.keys()
        return same_names and all(map(is_, map(now.__getitem__, content), content.values()))

    def restore(self, node: Any, content: Any) -> None:
        now = node.__dict__
        for name in [name for name in now if name not in content]:
            del now[name]
        for name, value in content.items():
            if now.get(name, _MISSING) is not value:
                now[name] = value

    def referred(self, content: Any) -> Iterable[object]:
        return content.values()  # type: ignore[no-any-return]


class _Whatever:
    """Compares equal to anything, without running any code in Python."""

    __eq__ = staticmethod(partial(is_not, _MISSING))
    __hash__ = None  # type: ignore[assignment]


_WHATEVER = _Whatever()


class _Some(dict[str, Any]):
    """The content of a node of `SomeAttributes`. It compares equal to the node's `__dict__` while the
    state in that has not changed: what is no state is `_WHATEVER` here.
    """

    __slots__ = ("saved",)

    def __init__(self, saved: dict[str, Any], others: Iterable[str]) -> None:
        """`saved`: the attributes that are state; `others`: the names of those that are not."""
        super().__init__(saved)
        self.saved = saved
        self.update(dict.fromkeys(others, _WHATEVER))


class SomeAttributes(Attributes):
    """An instance with slots, or with attributes that are not state."""

    def __init__(
        self, guarded: bool, slots: Sequence[str], unsaved: frozenset[str], *, assigned: bool = False
    ) -> None:
        super().__init__(guarded, assigned=assigned)
        self._slots, self._unsaved = tuple(name for name in slots if name not in unsaved), unsaved

    def live(self, node: Any) -> Any:
        return Compared(self, node) if self._slots else node.__dict__

    def content(self, node: Any) -> Any:
        attributes = getattr(node, "__dict__", {})
        found = {name: getattr(node, name) for name in self._slots if hasattr(node, name)}
        found.update((name, value) for name, value in attributes.items() if name not in self._unsaved)
        return _Some(found, [name for name in attributes if name in self._unsaved])

    def same(self, node: Any, content: Any) -> bool:
        now, saved = self.content(node), content.saved
        if now.saved.keys() != saved.keys() or not all(map(is_, map(now.__getitem__, saved), saved.values())):
            return False
        if now.keys() != content.keys():  # attributes that are no state have come or gone: for the next comparison
            content.clear()
            content.update(now)
        return True

    def restore(self, node: Any, content: Any) -> None:
        for name in self.content(node).saved:
            if name not in content.saved:
                delattr(node, name)
        for name, value in content.saved.items():
            if getattr(node, name, _MISSING) is not value:
                setattr(node, name, value)

    def plain(self, content: Any) -> Any:
        return content.saved

    def referred(self, content: Any) -> Iterable[object]:
        return content.saved.values()  # type: ignore[no-any-return]


class Itself(Kind):
    """An object that saves itself."""

    def live(self, node: Any) -> Any:
        return Compared(self, node)

    def content(self, node: Any) -> Any:
        return node.save_state()

    def same(self, node: Any, content: Any) -> bool:
        now = node.save_state()
        return now is content or bool(now == content)

    def restore(self, node: Any, content: Any) -> None:
        node.restore_state(content)

    def referred(self, content: Any) -> Iterable[object]:
        return (content,)

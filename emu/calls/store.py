"""The memory of records and arrays: Python's memory, or a guest's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.ports import Memory


class Store:
    """Bytes in Python's memory. Pointers in them refer to `memory`, the guest's, if known."""

    __slots__ = ("data", "memory")

    def __init__(self, data: bytearray, memory: Memory | None = None) -> None:
        self.data = data
        self.memory = memory

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from offset `at`."""
        return bytes(self.data[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """Store bytes at an offset."""
        self.data[at : at + len(data)] = data

    def address(self, at: int) -> int | None:
        """The guest address of an offset; None for bytes in Python's memory."""
        return None


class GuestStore(Store):
    """Guest memory beginning at an address."""

    __slots__ = ("base",)

    def __init__(self, memory: Memory, base: int) -> None:
        self.memory: Memory = memory
        self.base = base

    def read(self, at: int, size: int) -> bytes:
        return self.memory.read(self.base + at, size)

    def write(self, at: int, data: bytes) -> None:
        self.memory.write(self.base + at, data)

    def address(self, at: int) -> int | None:
        return self.base + at


class View:
    """A part of a store viewed as one type: base class of records and arrays. Its names cannot collide with C
    members.
    """

    __slots__ = ("_at_", "_store_")
    _ctype_: Any

    def __init__(self, store: Store, at: int) -> None:
        self._store_ = store
        self._at_ = at

    @property
    def address(self) -> int | None:
        """The guest address; None for bytes in Python's memory. A member named `address` hides it: see
        `address_of`.
        """
        return self._store_.address(self._at_)

    def __bytes__(self) -> bytes:
        return self._store_.read(self._at_, self._ctype_.size or 0)


def whole_bytes(view: View) -> bytes:
    """The bytes of a view, with the elements of a flexible array at its end if they are in Python's memory."""
    store = view._store_
    if isinstance(store, GuestStore) or not has_flexible_end(view._ctype_):
        return bytes(view)
    return bytes(store.data[view._at_ :])


def has_flexible_end(ctype: Any) -> bool:
    """Whether a structure ends with an array without a bound, or with one of no elements."""
    members = getattr(ctype, "members", None) or ()
    return any(not getattr(member.type, "count", 1) for member in members[-1:]) and not ctype.is_union


def address_of(value: object) -> object:
    """The guest address of a view or other object with an address; else the value itself."""
    if isinstance(value, View):
        address = value._store_.address(value._at_)
        return value if address is None else address
    return getattr(value, "address", value)

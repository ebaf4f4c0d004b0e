"""C structures, unions, arrays and pointers as Python objects: views of Python's memory or of guest memory.

- A structure's class has its members as attributes: `Point(x=1, y=2)`, `point.x`. A record iterates over its
  members' values and compares equal to a tuple of them; assigning to a member of a view changes guest memory.
- Arrays are sequences; `numpy()` returns a numpy array of the elements.
- A pointer is an int with its target type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, overload

from emu.calls.codec import packer, store_member
from emu.calls.describe import definition
from emu.calls.marshal import decoder
from emu.calls.numpy_views import numpy_array
from emu.calls.store import GuestStore, Store, View, whole_bytes
from emu.calls.types import (
    Array,
    Complex,
    CType,
    Floating,
    FunctionType,
    Integer,
    Member,
    Pointer,
    Struct,
    VaListType,
    Vector,
    Void,
    same_type,
    sized,
)
from emu.errors import CallError
from emu.isa.convention import CallingConvention
from emu.isa.registry import convention

if TYPE_CHECKING:
    import numpy as np

    from emu.ports import Memory


def _pickled(view: Record | ArrayView) -> tuple[object, ...]:
    """For pickling: a view becomes one of Python's own memory, with the values of now."""
    return _unpickled, (view._rules_.arch, view._ctype_, whole_bytes(view))


def _unpickled(arch: str, ctype: CType, data: bytes) -> object:
    return unpacker(convention(arch), ctype)(Store(bytearray(data)), 0)


#: (memory, offset) -> the Python value: a number, bytes, or a view of the memory.
Unpacker: TypeAlias = Callable[[Store, int], object]


class _Field:
    """A member of a record as an attribute of its class."""

    def __init__(self, rules: CallingConvention, struct: Struct, member: Member) -> None:
        self.member = member
        self._read = member_unpacker(rules, member)
        self._label = f"{struct}.{member.name}"
        self._struct = struct
        self._rules = rules
        self.__doc__ = f"{member.type} at offset {member.offset}"

    def __get__(self, record: Record | None, owner: type | None = None) -> Any:
        return self if record is None else self._read(record._store_, record._at_)

    def __set__(self, record: Record, value: object) -> None:
        data = packer(self._rules, self.member.type, self._label)(value, None)
        if self.member.bits is None:
            record._store_.write(record._at_ + self.member.offset, data)
            return
        first, width = self.member.bits
        low, high = first // 8, -(-(first + width) // 8)
        image = bytearray(low) + bytearray(record._store_.read(record._at_ + low, high - low))
        store_member(image, self.member, data, value, str(self._struct))
        record._store_.write(record._at_ + low, bytes(image[low:]))


class Record(View):
    """A value of a structure or union type; each type has a subclass."""

    __slots__ = ()
    _ctype_: Struct  # of the class
    _rules_: ClassVar[CallingConvention]
    _names_: ClassVar[tuple[str, ...]]
    __hash__ = None  # type: ignore[assignment]
    __reduce__ = _pickled

    def __init__(self, *values: object, **members: object) -> None:
        """Create a record in Python's memory: members by position or by name, the rest zero. Raises CallError for
        values that do not fit.
        """
        super().__init__(Store(bytearray()), 0)
        if values and members:
            names = dict(zip(self._names_, values, strict=False))
            twice = next((name for name in members if name in names), None)
            if twice is not None or len(values) > len(self._names_):
                raise CallError(f"{self._ctype_}: {twice or 'more members than it has'} given twice")
            members, values = names | members, ()
        pack = packer(self._rules_, self._ctype_, str(self._ctype_))
        self._store_.data = bytearray(pack(values or members, None))

    @classmethod
    def _over_(cls, store: Store, at: int) -> Self:
        """The record at an offset of a store."""
        made = cls.__new__(cls)
        made._store_ = store
        made._at_ = at
        return made

    def __copy__(self) -> Self:
        """A record of Python's own with the values of now."""
        return self._over_(Store(bytearray(bytes(self)), self._store_.memory), 0)

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __iter__(self) -> Iterator[object]:
        return (getattr(self, name) for name in self._names_)

    def __len__(self) -> int:
        return len(self._names_)

    def __getitem__(self, key: int | str) -> Any:
        return getattr(self, key if isinstance(key, str) else self._names_[key])

    def __setitem__(self, key: int | str, value: object) -> None:
        setattr(self, key if isinstance(key, str) else self._names_[key], value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record):
            return same_type(other._ctype_, self._ctype_) and tuple(self) == tuple(other)
        return isinstance(other, tuple | list) and list(self) == list(other)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names_)
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(repr(self[name]))}</td></tr>"
            for name in self._names_
        )
        return f"<table><caption>{escape(str(self._ctype_))}</caption>{rows}</table>"

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._names_})


@lru_cache(maxsize=4096)
def record_class(rules: CallingConvention, ctype: Struct) -> type[Record]:
    """The class of a structure's or union's values."""
    fields = ctype.fields
    space: dict[str, object] = {name: _Field(rules, ctype, member) for name, member in fields.items()}
    space |= {
        "__slots__": (),
        "__doc__": definition(ctype, offsets=True),
        "__match_args__": tuple(fields),
        "_ctype_": ctype,
        "_rules_": rules,
        "_names_": tuple(fields),
    }
    name = ctype.name.partition(" ")[2] or ctype.name
    return type(name, (Record,), space)


class ArrayView(View, Sequence[Any]):
    """An array in memory: a mutable sequence of its elements."""

    __slots__ = ("_ctype_", "_rules_")
    __hash__ = None  # type: ignore[assignment]
    __reduce__ = _pickled

    def __init__(self, rules: CallingConvention, ctype: Array, store: Store, at: int) -> None:
        super().__init__(store, at)
        self._rules_ = rules
        self._ctype_ = ctype

    def __len__(self) -> int:
        count = self._ctype_.count or None
        if count is None and not isinstance(self._store_, GuestStore):  # what was given for a flexible array
            return (len(self._store_.data) - self._at_) // sized(self._ctype_.target).size
        return count or 0

    def _place(self, index: int) -> int:
        """The offset of an element; an array without a bound in guest memory accepts every index."""
        count = self._ctype_.count or None
        if count is None and not isinstance(self._store_, GuestStore):
            count = len(self)
        if count is not None:
            if not -count <= index < count:
                raise IndexError(f"{self._ctype_} has no element {index}")
            index %= count
        return self._at_ + index * sized(self._ctype_.target).size

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        read = unpacker(self._rules_, self._ctype_.target)
        if isinstance(index, slice):
            count = index.stop if self._ctype_.count is None else len(self)
            return [read(self._store_, self._place(number)) for number in range(*index.indices(count or 0))]
        return read(self._store_, self._place(index))

    def __setitem__(self, index: int | slice, value: object) -> None:
        pack = packer(self._rules_, self._ctype_.target, f"an element of {self._ctype_}")
        if isinstance(index, slice):
            places = [self._place(number) for number in range(*index.indices(len(self)))]
            values = list(value)  # type: ignore[call-overload]
            if len(places) != len(values):
                raise CallError(f"{self._ctype_}: {len(values)} values for {len(places)} elements")
        else:
            places, values = [self._place(index)], [value]
        for place, data in zip(places, [pack(each, None) for each in values], strict=True):
            self._store_.write(place, data)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes | bytearray):
            return bytes(self) == bytes(other)
        return isinstance(other, ArrayView | tuple | list) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    def string(self, encoding: str = "utf-8") -> str:
        """The text before the first NUL."""
        return bytes(self).partition(b"\0")[0].decode(encoding, "surrogateescape")

    def numpy(self) -> np.ndarray[Any, Any]:
        """The elements as a numpy array: a view of Python's memory, or a copy of guest memory. Raises
        CallError.
        """
        return numpy_array(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        found = numpy_array(self)
        return found if dtype is None else found.astype(dtype)


class GuestPointer(int):
    """A pointer's value: an int with the target type and the guest memory."""

    _rules: CallingConvention
    _ctype: Pointer
    _memory: Memory

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)  # without the memory that it points into

    @property
    def contents(self) -> Any:
        """The target: a number, bytes, or a view. Raises CallError for NULL and for a target without a size."""
        return self[0]

    @contents.setter
    def contents(self, value: object) -> None:
        self[0] = value

    def _at(self, index: int) -> int:
        if not self:
            raise CallError(f"a NULL {self._ctype} points at nothing")
        return int(self) + index * sized(self._ctype.target).size

    def __getitem__(self, index: int) -> Any:
        return unpacker(self._rules, self._ctype.target)(GuestStore(self._memory, self._at(index)), 0)

    def __setitem__(self, index: int, value: object) -> None:
        pack = packer(self._rules, self._ctype.target, f"what a {self._ctype} points at")
        self._memory.write(self._at(index), pack(value, None))

    def string(self, encoding: str = "utf-8", limit: int = 1 << 24) -> str:
        """The string at the pointer, up to a NUL (for `wchar_t`, four zero bytes)."""
        target = self._ctype.target
        if getattr(target, "size", 1) == 4:
            units: list[bytes] = []
            while len(units) < limit and (unit := self._memory.read(int(self) + 4 * len(units), 4)) != b"\0\0\0\0":
                units.append(unit)
            return b"".join(units).decode("utf-32-le", "replace")
        return self._memory.read_cstring(int(self), limit).decode(encoding, "surrogateescape")

    def __call__(self, *arguments: object) -> Any:
        """Call the function pointed at. Raises CallError for NULL and other pointers."""
        target, call = self._ctype.target, getattr(self._memory, "caller", None)
        if not isinstance(target, FunctionType) or call is None:
            raise CallError(f"a {self._ctype} does not point at a function")
        if not self:
            raise CallError(f"a NULL {self._ctype} points at nothing")
        return call(int(self), target.prototype, *arguments)

    def bytes(self, size: int) -> bytes:
        """`size` bytes at the pointer."""
        return self._memory.read(int(self), size)


def pointer_value(rules: CallingConvention, ctype: Pointer, value: int, memory: Memory | None) -> int:
    """A pointer as a Python value: a GuestPointer if there is guest memory and a target type to read."""
    if memory is None or isinstance(ctype.target, Void):
        return value
    made = GuestPointer(value)
    made._rules, made._ctype, made._memory = rules, ctype, memory
    return made


# ---------------------------------------------------------------- reading


@lru_cache(maxsize=4096)
def unpacker(rules: CallingConvention, ctype: CType) -> Unpacker:
    """A function that reads a C value of this type from memory."""
    match ctype:
        case Pointer():
            size = ctype.size
            return lambda store, at: pointer_value(
                rules, ctype, int.from_bytes(store.read(at, size), "little"), store.memory
            )
        case Integer() | Floating() | VaListType():
            return _read_scalar(decoder(ctype), ctype.size)
        case Complex(part=part):
            decode, size = decoder(part), part.size
            return lambda store, at: complex(
                decode(int.from_bytes(store.read(at, size), "little")),
                decode(int.from_bytes(store.read(at + size, size), "little")),
            )
        case Vector():
            one, step, count = unpacker(rules, ctype.element), ctype.element.size, ctype.count
            return lambda store, at: tuple(one(store, at + number * step) for number in range(count))
        case Array(target=Integer(is_character=True)):
            length = ctype.size
            return lambda store, at: store.read(at, length).partition(b"\0")[0]
        case Array():
            return lambda store, at: ArrayView(rules, ctype, store, at)
        case Struct() if ctype.members is not None:
            cls = record_class(rules, ctype)
            return lambda store, at: cls._over_(store, at)
    raise CallError(f"{ctype} is incomplete, or has no values")


def _read_scalar(decode: Callable[[int], object], size: int) -> Unpacker:
    return lambda store, at: decode(int.from_bytes(store.read(at, size), "little"))


def member_unpacker(rules: CallingConvention, member: Member) -> Unpacker:
    """A function that reads a member of the structure at a given offset."""
    if member.bits is None:
        inner, offset = unpacker(rules, member.type), member.offset
        return lambda store, at: inner(store, at + offset)
    first, width = member.bits
    low, high = first // 8, -(-(first + width) // 8)
    shift, mask, sign = first - 8 * low, (1 << width) - 1, 1 << width - 1
    signed = getattr(member.type, "signed", False)

    def read(store: Store, at: int) -> int:
        bits = int.from_bytes(store.read(at + low, high - low), "little") >> shift & mask
        return (bits ^ sign) - sign if signed else bits

    return read

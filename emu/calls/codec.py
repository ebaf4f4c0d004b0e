"""Conversion of Python values into C values in memory: `packer` makes a function for a type.

- structure: from a record of that type, a dictionary, a sequence of its members' values, or its bytes;
- array: from a sequence (missing elements are zero, as in C); of `char` also from bytes or a string;
- complex number: from a `complex`; vector: from a sequence.

A value that does not fit raises a CallError with its position.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from emu.calls.lender import Lender
from emu.calls.marshal import Encoder, refuse, scalar_encoder
from emu.calls.store import View, whole_bytes
from emu.calls.types import (
    Array,
    Complex,
    CType,
    Floating,
    Integer,
    Member,
    Pointer,
    Struct,
    VaListType,
    Vector,
    same_type,
    sized,
)
from emu.errors import CallError
from emu.isa.convention import BINARY32, BINARY64, CallingConvention

#: Placeholder for an element's number in labels.
_ELEMENT = ", an element"
#: (Python value, the call's Lender) -> bytes.
Packer: TypeAlias = Callable[[object, Lender | None], bytes]


def packer(rules: CallingConvention, ctype: CType, label: str) -> Packer:
    """A function that converts a Python value into the bytes of a C value; `label` is its name in errors."""
    match ctype:
        case Integer() | Floating() | Pointer() | VaListType():
            return _scalar(scalar_encoder(rules, ctype, label), ctype.size)
        case Complex(part=part):
            return _complex(scalar_encoder(rules, part, label), part.size, label, ctype)
        case Vector():
            return _sequence(packer(rules, ctype.element, label + _ELEMENT), ctype, ctype.count, label)
        case Array():
            return _array(rules, ctype, label)
        case Struct() if ctype.members is not None:
            return _StructPacker(rules, ctype, label).pack
    raise CallError(f"{label}: {ctype} is incomplete, or has no values")


def _scalar(encode: Encoder, size: int) -> Packer:
    mask = (1 << 8 * size) - 1
    return lambda value, buffers: (encode(value, buffers) & mask).to_bytes(size, "little")


def _complex(encode: Encoder, size: int, label: str, ctype: Complex) -> Packer:
    def pack(value: object, buffers: Lender | None) -> bytes:
        try:
            pair = isinstance(value, list | tuple) and len(value) == 2
            number = complex(*value) if pair else complex(value)  # type: ignore
        except (TypeError, ValueError, OverflowError):
            refuse(label, ctype, value, "does not convert to")
        return b"".join(encode(part, None).to_bytes(size, "little") for part in (number.real, number.imag))

    return pack


def _items(value: object, ctype: CType, label: str) -> Sequence[object]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        refuse(label, ctype, value, "is no sequence, and does not convert to")
    return list(value)


def _sequence(pack_one: Packer, ctype: Array | Vector, count: int | None, label: str) -> Packer:
    """The packer of elements; `count` is None for a flexible array member, which takes any number."""
    exact = isinstance(ctype, Vector)
    size = None if count is None else ctype.size
    one = (ctype.element if isinstance(ctype, Vector) else sized(ctype.target)).size

    def pack(value: object, buffers: Lender | None) -> bytes:
        if isinstance(value, View) and count is not None and same_type(value._ctype_, ctype):
            return bytes(value)
        items = _items(value, ctype, label)
        if count is not None and (len(items) > count or (exact and len(items) != count)):
            raise CallError(f"{label}: {len(items)} elements do not fit {ctype}")
        parts = []
        try:
            for item in items:
                parts.append(pack_one(item, buffers))
        except CallError as error:
            raise CallError(str(error).replace(_ELEMENT, f", element {len(parts)}", 1)) from None
        if any(len(part) != one for part in parts):
            raise CallError(f"{label}: elements with flexible arrays do not fit {ctype}")
        return b"".join(parts).ljust(size or 0, b"\0")

    return pack


def _array(rules: CallingConvention, ctype: Array, label: str) -> Packer:
    count = ctype.count or None  # an array of no elements is a flexible one in GNU C
    general = _sequence(packer(rules, ctype.target, label + _ELEMENT), ctype, count, label)
    if not (isinstance(ctype.target, Integer) and ctype.target.size == 1):
        return general

    def pack(value: object, buffers: Lender | None) -> bytes:
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if not isinstance(data, bytes | bytearray | memoryview):
            return general(value, buffers)
        if count is not None and len(data) > count:
            refuse(label, ctype, value, f"({len(data)} bytes) does not fit")
        return bytes(data).ljust(count or 0, b"\0")

    return pack


# ---------------------------------------------------------------- structures

_CODES = {(1, True): "b", (1, False): "B", (2, True): "h", (2, False): "H", (4, True): "i", (4, False): "I",
          (8, True): "q", (8, False): "Q"}  # fmt: skip


def plain_code(ctype: CType) -> str | None:
    """The letter of Python's struct module for the same type, or None."""
    if isinstance(ctype, Integer) and type(ctype) is Integer and not ctype.is_bool:
        return _CODES.get((ctype.size, ctype.signed))
    if isinstance(ctype, Floating) and ctype.format in (BINARY32, BINARY64):
        return "f" if ctype.format is BINARY32 else "d"
    return None


def _plain_struct(ctype: Struct) -> struct.Struct | None:
    """A struct format for a structure whose members are all plain numbers, in order."""
    code, at = "<", 0
    for member in ctype.members or ():
        letter = plain_code(member.type)
        if letter is None or member.bits is not None or member.offset < at or not member.name:
            return None
        code += f"{member.offset - at}x{letter}"
        at = member.offset + struct.calcsize(letter)
    return struct.Struct(f"{code}{(ctype.size or 0) - at}x")


class _StructPacker:
    """Makes the bytes of one structure or union."""

    def __init__(self, rules: CallingConvention, ctype: Struct, label: str) -> None:
        self._rules = rules
        self._ctype = ctype
        self._label = label
        self._size = sized(ctype).size
        self._fields = ctype.fields
        self._packers: dict[str, Packer] = {}
        self._plain = None if ctype.is_union else _plain_struct(ctype)
        self._last = next(reversed(self._fields.values()), None)
        self._overlaps = any(not member.name for member in ctype.members or ())
        self._virtual = any(member.name.startswith("_vptr") for member in ctype.members or ())

    def pack(self, value: object, buffers: Lender | None) -> bytes:
        kind = value.__class__
        if self._plain is not None and kind is tuple:
            try:
                return self._plain.pack(*value)  # type: ignore[misc]
            except (struct.error, OverflowError):
                pass  # reported below
        if isinstance(value, View):
            seen = value._ctype_
            if seen is not self._ctype and not same_type(seen, self._ctype):
                raise CallError(f"{self._label}: a {seen} is no {self._ctype}")
            return whole_bytes(value)
        if self._virtual:  # nothing tells its table's address
            raise CallError(f"{self._label}: {self._ctype} has virtual functions: give an object of the guest")
        if isinstance(value, Mapping):
            return self._from_mapping(value, buffers)
        if isinstance(value, bytes | bytearray) and len(value) == self._size:
            return bytes(value)
        if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
            refuse(self._label, self._ctype, value, f"({kind.__name__}) does not convert to")
        items = list(value)
        names = list(self._fields)[: 1 if self._ctype.is_union else None]
        if len(items) > len(names):
            raise CallError(f"{self._label}: {len(items)} values for {len(names)} members of {self._ctype}")
        return self._from_mapping(dict(zip(names, items, strict=False)), buffers)

    def _from_mapping(self, values: Mapping[Any, object], buffers: Lender | None) -> bytes:
        unknown = [name for name in values if name not in self._fields]
        if unknown:
            known = ", ".join(self._fields)
            raise CallError(f"{self._label}: {self._ctype} has no member {unknown[0]!r} (it has {known})")
        if self._ctype.is_union and len(values) > 1:
            raise CallError(f"{self._label}: {self._ctype} is a union: give one member, not {', '.join(values)}")
        image = bytearray(self._size)
        given: list[tuple[int, int, str]] = []
        for name, value in values.items():
            member = self._fields[name]
            if self._overlaps:
                self._check_apart(member, given)
            if name not in self._packers:
                self._packers[name] = packer(self._rules, member.type, f"{self._label}, member {name}")
            data = self._packers[name](value, buffers)
            if len(data) > sized(member.type).size and member is not self._last:
                raise CallError(f"{self._label}, member {name}: {len(data)} bytes do not fit {member.type}")
            store_member(image, member, data, value, self._label)
        return bytes(image)

    def _check_apart(self, member: Member, given: list[tuple[int, int, str]]) -> None:
        """Raise CallError for a member that shares bits with one in `given` (of an anonymous union); add it."""
        first, width = member.bits or (8 * member.offset, 8 * sized(member.type).size)
        for start, end, other in given:
            if first < end and start < first + width:
                raise CallError(
                    f"{self._label}: {other} and {member.name} of {self._ctype} are members of a union: give one"
                )
        given.append((first, first + width, member.name))


def store_member(image: bytearray, member: Member, data: bytes, value: object, label: str) -> None:
    """Store a member's bytes in its structure's bytes. Raises CallError for a value that does not fit a
    bit-field.
    """
    if member.bits is None:
        image[member.offset : member.offset + len(data)] = data
        return
    first, width = member.bits
    low, high = first // 8, -(-(first + width) // 8)
    mask = (1 << width) - 1
    number = int.from_bytes(data, "little")
    over = number >> width
    full = (1 << 8 * len(data) - width) - 1
    negative = over == full and number >> width - 1 & 1 and getattr(member.type, "signed", False)
    if over and not negative:
        raise CallError(f"{label}, member {member.name}: {value!r} does not fit {width} bits")
    place = int.from_bytes(image[low:high], "little")
    shift = first - 8 * low
    place = place & ~(mask << shift) | (number & mask) << shift
    image[low:high] = place.to_bytes(high - low, "little")

"""The scalars inside a type, and the parts of a value that have separate registers."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

from emu.calls.types import (
    Array,
    Complex,
    CType,
    Floating,
    Integer,
    Pointer,
    Struct,
    VaListType,
    Vector,
    sized,
)


class Bank(enum.Enum):
    """The kind of location for a part of a value."""

    INTEGER = enum.auto()
    FLOAT = enum.auto()
    VECTOR = enum.auto()
    X87 = enum.auto()  #: the x87 stack: only for results


class Part(NamedTuple):
    """The bytes of a value that have a separate register."""

    bank: Bank
    start: int
    size: int


class Leaf(NamedTuple):
    """A scalar inside a type."""

    type: Integer | Floating | Vector | Pointer | VaListType
    offset: int  #: bytes
    bits: tuple[int, int] | None  #: of a bit-field: (first bit, width)
    in_union: int  #: 0: not in a union; 1: in a structure in one; 2: itself a member of one


def members(ctype: CType, offset: int = 0) -> Iterator[tuple[CType, int, tuple[int, int] | None]]:
    """The members, elements or parts of an aggregate at an offset in bytes: (type, offset, (first bit, width) of a
    bit-field); nothing for other types.
    """
    match ctype:
        case Complex(part=part):
            yield from ((part, offset, None), (part, offset + part.size, None))
        case Array(target=target):
            for number in range(ctype.count or 0):
                yield target, offset + number * sized(target).size, None
        case Struct():
            for member in ctype.members or ():
                if member.bits is None:
                    yield member.type, offset + member.offset, None
                elif member.bits[1]:
                    yield member.type, offset + member.bits[0] // 8, (8 * offset + member.bits[0], member.bits[1])


def leaves(ctype: CType, offset: int = 0, in_union: int = 0) -> Iterator[Leaf]:
    """The scalars in a type with their offsets; a complex number has two."""
    if isinstance(ctype, Struct):
        in_union = 2 if ctype.is_union else min(in_union, 1)
    for inner, at, bits in members(ctype, offset):
        if bits is None:
            yield from leaves(inner, at, in_union)
        else:
            assert isinstance(inner, Integer)
            yield Leaf(inner, at, bits, in_union)
    if isinstance(ctype, Integer | Floating | Vector | Pointer | VaListType):
        yield Leaf(ctype, offset, None, in_union)

"""AMD64's classes of eightbytes (psABI 3.2.3)."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from emu.calls.scalars import Bank, Leaf, Part, members
from emu.calls.types import Array, Complex, CType, Floating, Struct, Vector, sized
from emu.errors import CallError
from emu.isa.convention import X87


class _Class(enum.Enum):
    """Classes of an eightbyte (AMD64 psABI, 3.2.3). MEMORY is signalled by an exception."""

    NONE = enum.auto()
    INTEGER = enum.auto()
    SSE = enum.auto()
    SSEUP = enum.auto()
    X87 = enum.auto()
    X87UP = enum.auto()


def eightbytes(ctype: Struct | Complex, size: int, found: tuple[Leaf, ...]) -> tuple[Part, ...]:
    """The parts of a structure by the classes of its eightbytes; none for memory (AMD64 psABI, 3.2.3)."""
    if isinstance(ctype, Complex) and ctype.part.format is X87:  # COMPLEX_X87
        return (Part(Bank.X87, 0, 10), Part(Bank.X87, ctype.part.size, 10))
    if size > 16:
        return ()
    for leaf in found:
        misaligned = leaf.offset % leaf.type.alignment
        if misaligned and leaf.bits is None:
            return ()
        if misaligned and leaf.in_union > 1:
            raise CallError(f"compilers do not agree on how AMD64 passes {ctype}: a bit-field of a packed union")
    classes = _classes(ctype, 0, -(-size // 8))
    if _has_unaligned_structure(ctype):  # of bit-fields alone: clang passes it in memory, gcc in registers
        raise CallError(f"compilers do not agree on how AMD64 passes {ctype}: unaligned bit-fields in a structure")
    return tuple(_class_parts(classes, size)) if classes else ()


def _classes(ctype: CType, offset: int, count: int) -> list[_Class] | None:
    """The classes of `count` eightbytes of an argument that has this type at an offset in bytes; None: memory.

    An inner aggregate is classified before it is merged: the result depends on the order where three classes meet.
    """
    classes = [_Class.NONE] * count
    for inner, at, bits in members(ctype, offset):
        if bits is None and isinstance(inner, Struct | Array | Complex):
            kinds = _classes(inner, at, count)
            if kinds is None:
                return None
        else:
            kinds = _scalar_classes(inner, at, bits, count)
        merged = [_merged(one, two) for one, two in zip(classes, kinds, strict=True)]
        if None in merged:
            return None
        classes = [each for each in merged if each is not None]
    for number, kind in enumerate(classes):
        before = classes[number - 1] if number else _Class.NONE
        if kind is _Class.X87UP and before is not _Class.X87:
            return None
        if kind is _Class.SSEUP and before not in (_Class.SSE, _Class.SSEUP):
            classes[number] = _Class.SSE
    return classes


def _has_unaligned_structure(ctype: CType, offset: int = 0) -> bool:
    """Whether a structure inside, at any depth, is not aligned as its type."""
    while isinstance(ctype, Array):
        ctype = ctype.target
    if not isinstance(ctype, Struct):
        return False
    if offset % ctype.alignment:
        return True
    return any(_has_unaligned_structure(member.type, offset + member.offset) for member in ctype.members or ())


def _scalar_classes(ctype: CType, offset: int, bits: tuple[int, int] | None, count: int) -> list[_Class]:
    """The classes of an argument's eightbytes where a scalar or a bit-field is its only member."""
    if bits is not None:
        covered, kinds = range(bits[0] // 64, (sum(bits) - 1) // 64 + 1), (_Class.INTEGER, _Class.INTEGER)
    else:
        covered = range(offset // 8, offset // 8 - (-sized(ctype).size // 8))
        kinds = (_Class.INTEGER, _Class.INTEGER)
        if isinstance(ctype, Floating) and ctype.format is X87:
            kinds = (_Class.X87, _Class.X87UP)
        elif isinstance(ctype, Floating | Vector):
            kinds = (_Class.SSE, _Class.SSEUP)
    classes = [_Class.NONE] * count
    for number, kind in zip(covered, kinds, strict=False):
        classes[number] = kind
    return classes


def _merged(one: _Class, two: _Class) -> _Class | None:
    """The class for two classes in one eightbyte; None: memory."""
    if one is two or two is _Class.NONE:
        return one
    if one is _Class.NONE:
        return two
    if _Class.INTEGER in (one, two):
        return _Class.INTEGER
    if {one, two} & {_Class.X87, _Class.X87UP}:
        return None
    return _Class.SSE


def _class_parts(classes: list[_Class], size: int) -> Iterator[Part]:
    for number, kind in enumerate(classes):
        start = 8 * number
        wide = classes[number + 1 : number + 2] == [_Class.SSEUP]
        if kind is _Class.INTEGER:
            yield Part(Bank.INTEGER, start, min(8, size - start))
        elif kind is _Class.SSE:
            yield Part(Bank.VECTOR, start, 16) if wide else Part(Bank.FLOAT, start, min(8, size - start))
        elif kind is _Class.X87:
            yield Part(Bank.X87, start, 10)

"""The layout of structures and unions, by GCC's rules, which clang shares, for every ABI here.

A member is at the next multiple of its alignment, a bit-field in the rest of the current unit of its type (System
V ABI, Intel386 supplement, "Bit-Fields"; AAPCS32 8.1.8; AAPCS64 10.1.8; GCC's PCC_BITFIELD_TYPE_MATTERS).
Differences between ABIs are in `DataModel`. Structures from DWARF already have a layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emu.calls.types import Array, CType, Floating, Integer, Member, Struct, sized
from emu.errors import CallError
from emu.isa.convention import DataModel
from relink.records import replace


class Declared(NamedTuple):
    """A declared member."""

    name: str  #: empty for an anonymous structure or union, or a padding bit-field
    type: CType
    width: int | None = None  #: width of a bit-field in bits
    align: int = 0  #: declared alignment in bytes (aligned, _Alignas); 0: that of its type
    packed: bool = False


def lay_out(
    struct: Struct,
    declared: Sequence[Declared],
    model: DataModel,
    *,
    packed: bool = False,
    pack: int = 0,
    align: int = 0,
) -> Struct:
    """Set the members of a structure or union (by its name) with their offsets, and return it.

    `packed` and `align` (bytes) are its attributes, `pack` is the limit of #pragma pack for its members'
    alignment. Raises CallError for members without a size.
    """
    layout = _Layout(struct, model, packed=packed, pack=pack)
    for number, member in enumerate(declared):
        layout.add(member, last=number == len(declared) - 1)
    natural = layout.alignment
    alignment = max(natural, align)
    size = -(-layout.most_bits // 8)
    size += -size % alignment
    struct.complete(tuple(layout.members), size, alignment, natural, packed or pack == 1)
    return struct


class _Layout:
    def __init__(self, struct: Struct, model: DataModel, *, packed: bool, pack: int) -> None:
        self._struct = struct
        self._model = model
        self._packed = packed
        self._pack = pack
        self._at = 0  # bits
        self.most_bits = 0
        self.alignment = 1
        self.members: list[Member] = []

    def add(self, member: Declared, *, last: bool) -> None:
        ctype = member.type
        where = f"{self._struct} member {member.name or '(unnamed)'}"
        if isinstance(ctype, Array) and ctype.count is None and not (last or self._struct.is_union):
            raise CallError(f"{where}: an array without a bound can only be the last member")
        try:
            size, natural = sized(ctype).size, sized(ctype).alignment
        except CallError as error:
            raise CallError(f"{where}: {error}") from None
        if self._struct.is_union:
            self._at = 0
        packed = self._packed or member.packed
        alignment = max(1 if packed else natural, member.align)
        if self._pack:
            alignment = min(alignment, self._pack)
        if member.width is None:
            self._raise_alignment(alignment)
            self._align(8 * alignment)
            self.members.append(Member(member.name, ctype, self._at // 8, None, member.align))
            self._advance(8 * size)
        else:
            self._bit_field(member, 8 * size, alignment, natural, packed=packed)

    def _bit_field(self, member: Declared, unit: int, alignment: int, natural: int, *, packed: bool) -> None:
        width = member.width or 0
        if width > unit:
            raise CallError(f"{self._struct} member {member.name}: {width} bits do not fit {member.type}")
        if member.name or (self._model.unnamed_fields_align and not packed):
            self._raise_alignment(alignment)
        if not width:
            self._align(8 * max(natural, member.align))
            return
        if member.align:
            self._align(8 * member.align)
        bits = 8 * alignment
        # The number of alignment units it would overlap, compared with the number in its type.
        if not packed and -(-(self._at % bits + width) // bits) > max(unit // bits, 1):
            self._align(bits)
        if member.name:
            self.members.append(Member(member.name, member.type, self._at // 8, (self._at, width), member.align))
        self._advance(width)

    def _raise_alignment(self, alignment: int) -> None:
        self.alignment = max(self.alignment, alignment)

    def _align(self, bits: int) -> None:
        self._at = -(-self._at // bits) * bits

    def _advance(self, bits: int) -> None:
        self._at += bits
        self.most_bits = max(self.most_bits, self._at)


def with_alignment(ctype: CType, alignment: int) -> CType:
    """A scalar type with another alignment; others as they are."""
    return replace(ctype, align=alignment) if isinstance(ctype, Integer | Floating) else ctype

"""Encoders and decoders of arguments and results: scalars, and values passed in pieces or by reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from emu.calls.assign import Location, Reference
from emu.calls.codec import Packer, packer
from emu.calls.lender import Lender
from emu.calls.marshal import NAN_BOX, Decoder, Encoder, decoder, result_scalar_encoder, scalar_encoder
from emu.calls.records import Unpacker, unpacker
from emu.calls.store import View, address_of, has_flexible_end
from emu.calls.types import Complex, CType, Floating, Pointer, Struct, Vector, Void, same_type, sized
from emu.errors import CallError
from emu.isa.convention import CallingConvention


class Aggregate(NamedTuple):
    """An argument that is not a scalar."""

    number: int  #: from 0
    size: int  #: bytes
    read: Unpacker
    by_reference: bool
    in_place: bool  #: whether the function gets the caller's object, not a copy


def is_aggregate(ctype: CType) -> bool:
    """Whether a type's values consist of several values."""
    return isinstance(ctype, Struct | Complex | Vector)


def argument_encoder(rules: CallingConvention, ctype: CType, location: Location, label: str) -> Encoder:
    """The encoder of one argument, for its location."""
    if isinstance(location, Reference):
        pack, alignment = packer(rules, ctype, label), sized(ctype).alignment
        if isinstance(ctype, Struct) and ctype.by_reference:
            return _object_encoder(rules, ctype, label)

        def refer(value: object, buffers: Lender | None) -> int:
            assert buffers is not None
            return buffers.lend(pack(value, buffers), alignment)

        return refer
    boxed = rules.float_boxed and len(location) == 1 and _is_float_register(rules, location)
    if not is_aggregate(ctype):
        return scalar_encoder(rules, ctype, label, box=NAN_BOX if boxed else 0)
    pack, box = _by_value(rules, ctype, label), NAN_BOX if boxed and location[0].size == 4 else 0
    return lambda value, buffers: int.from_bytes(pack(value, buffers), "little") | box


def _by_value(rules: CallingConvention, ctype: CType, label: str) -> Packer:
    """The packer of a value that is passed; a flexible array is never passed with its structure."""
    pack, size = packer(rules, ctype, label), sized(ctype).size
    if not has_flexible_end(ctype):
        return pack

    def whole(value: object, buffers: Lender | None) -> bytes:
        data = pack(value, buffers)
        if len(data) > size:
            raise CallError(f"{label}: {ctype} is passed without its flexible array, which has elements here")
        return data

    return whole


def _object_encoder(rules: CallingConvention, ctype: Struct, label: str) -> Encoder:
    """The encoder of a C++ object that is passed as its address: no constructor or destructor is run. An object of
    the guest is passed itself.
    """
    pack, alignment = packer(rules, ctype, label), sized(ctype).alignment

    def refer(value: object, buffers: Lender | None) -> int:
        assert buffers is not None
        address = address_of(value) if isinstance(value, View) and same_type(value._ctype_, ctype) else None
        if isinstance(address, int):
            return address
        return buffers.lend(pack(value, buffers), alignment)

    return refer


def _is_float_register(rules: CallingConvention, location: Location) -> bool:
    known = (*rules.float_arguments.get(4, ()), *rules.float_results.get(4, ()))
    return location[0].register in known


def argument_decoder(ctype: CType, location: Location) -> Decoder:
    """The decoder of one argument from its location; for an aggregate it returns the pattern."""
    if isinstance(location, Reference) or is_aggregate(ctype):
        return lambda bits: bits
    return decoder(ctype)


def aggregates(rules: CallingConvention, types: Sequence[CType], locations: Sequence[Location]) -> list[Aggregate]:
    """The arguments that `argument_decoder` decodes only partly."""
    return [
        Aggregate(
            number,
            sized(ctype).size,
            unpacker(rules, ctype),
            isinstance(place, Reference),
            isinstance(ctype, Struct) and ctype.by_reference,
        )
        for number, (ctype, place) in enumerate(zip(types, locations, strict=True))
        if is_aggregate(ctype) or isinstance(place, Reference)
    ]


def result_encoder(
    rules: CallingConvention, ctype: CType, location: Location | None
) -> Callable[[object, str], int]:
    """A function that converts a host function's return value (and its name, for errors) into the result's
    pattern.
    """
    if isinstance(ctype, Void):
        return lambda value, function: 0
    zero_for_none = not isinstance(ctype, Floating | Complex | Vector | Struct)
    single = location is not None and len(location) == 1
    on_x87 = bool(location and rules.x87 and location[0].register == rules.x87.top)
    box = NAN_BOX if single and location and rules.float_boxed and _is_float_register(rules, location) else 0

    def named(function: str) -> Encoder:
        label = f"result of host function {function}".rstrip()
        if location is None or is_aggregate(ctype):
            pack = packer(rules, ctype, label)
            boxed = box if single and location and location[0].size == 4 else 0
            return lambda value, buffers: int.from_bytes(pack(value, None), "little") | boxed
        return result_scalar_encoder(rules, ctype, label, box=box, on_x87=on_x87)

    encoders: dict[str, Encoder] = {}

    def encode(value: object, function: str) -> int:
        if value is None and zero_for_none:
            return 0
        if (known := encoders.get(function)) is None:
            known = encoders[function] = named(function)
        return known(value, None)

    return encode


def result_reader(rules: CallingConvention, ctype: CType, *, in_memory: bool) -> Unpacker | None:
    """The reader of a result that is not a number in registers, else None."""
    if in_memory or is_aggregate(ctype) or (isinstance(ctype, Pointer) and not isinstance(ctype.target, Void)):
        return unpacker(rules, ctype)
    return None

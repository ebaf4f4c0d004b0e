"""Conversion between Python values and bit patterns, with one function per parameter, chosen when a call is
planned.

An encoder takes the Python value and the call's `Lender` and returns the bit pattern, extended as the ABI requires
in a register. A decoder takes a pattern and returns the Python value.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from emu.calls.foreign import plain_value, pointed_at
from emu.calls.lender import Lender
from emu.calls.store import View, address_of
from emu.calls.types import (
    Complex,
    CType,
    Enumeration,
    Floating,
    FunctionType,
    Integer,
    Pointer,
    Prototype,
    Struct,
    VaListType,
    Vector,
    Void,
    same_type,
)
from emu.calls.values import WideFloat, decode_float, encode_float, extender, truncator
from emu.errors import CallError
from emu.isa.convention import BINARY32, BINARY64, X87, CallingConvention

Encoder: TypeAlias = Callable[[object, Lender | None], int]
Decoder: TypeAlias = Callable[[int], "int | float"]

#: Types of Python that no pointer of ctypes has.
_PLAIN = frozenset({type(None), int, str, bytes, bytearray, list, tuple, dict})
#: Types that one character of text converts to.
_CHARACTERS = ("char", "wchar_t", "char16_t", "char32_t")
#: Types whose arrays are text -> its encoding, and the bytes of a NUL.
_TEXT = {"wchar_t": ("utf-32-le", 4), "char32_t": ("utf-32-le", 4), "char16_t": ("utf-16-le", 2)}
#: The bits above a NaN-boxed float in a register.
NAN_BOX = 0xFFFF_FFFF_0000_0000


def scalar_encoder(rules: CallingConvention, ctype: CType, label: str, *, box: int = 0) -> Encoder:
    """The encoder of a number or pointer; `label` is its name in errors, `box` is added to floats."""
    match ctype:
        case Integer():
            return _integer_encoder(rules, ctype, label)
        case Floating():
            return _float_encoder(ctype, label, box=box if ctype.format is BINARY32 else 0)
        case Pointer(reference=True):
            return _reference_encoder(rules, ctype, label)
        case Pointer():
            return _pointer_encoder(rules, ctype, label)
        case VaListType():
            return _pointer_encoder(rules, Pointer(Void(), False, rules.word_size), label)
    raise CallError(f"{label}: a value of type {ctype} cannot be passed")


def result_scalar_encoder(
    rules: CallingConvention, ctype: CType, label: str, *, box: int, on_x87: bool
) -> Encoder:
    """The encoder of a host function's result; values that would have to be copied are refused."""
    if isinstance(ctype, Floating):
        return _float_encoder(ctype, label, box=box if ctype.format is BINARY32 else 0, on_x87=on_x87)
    if isinstance(ctype, Integer):
        return _integer_encoder(rules, ctype, label)
    return _address_encoder(rules.word_size, ctype, label)


def decoder(ctype: CType) -> Decoder:
    """The decoder of a value of this type; pointers are unsigned."""
    match ctype:
        case Integer(is_bool=True):
            return lambda bits: bits & 0xFF and 1
        case Integer():
            return truncator(ctype.size, signed=ctype.signed)
        case Floating():
            fmt = ctype.format
            return lambda bits: decode_float(bits, fmt)
        case Pointer() | VaListType():
            return truncator(ctype.size, signed=False)
    raise CallError(f"a value of type {ctype} cannot be passed")


def extra_type(rules: CallingConvention, value: object, parse: Callable[[str], CType]) -> tuple[CType, object]:
    """The C type and value of an argument that matches `...`. Raises CallError if no type fits.

    `parse` converts the text of an explicit (text, value) pair into a type.
    """
    if isinstance(value, tuple) and len(value) == 2:
        kind = getattr(value[0], "_ctype_", value[0])
        if isinstance(kind, str):
            return parse(kind), value[1]
        if isinstance(kind, Struct | Integer | Floating | Complex | Vector | Pointer):
            return kind, value[1]
    if isinstance(value, View) and isinstance(value._ctype_, Struct):
        return value._ctype_, value
    plain = plain_value(value)
    if hasattr(plain, "address") or isinstance(plain, View):
        return Pointer(Void(), False, rules.word_size), value
    if isinstance(plain, numbers.Integral) or (not isinstance(plain, numbers.Number) and _is_index(plain)):
        number = operator.index(plain)  # type: ignore[arg-type]
        return _extra_integer(rules, number), number
    if isinstance(plain, numbers.Real):
        return Floating(8, "double", BINARY64), float(plain)
    if isinstance(plain, numbers.Complex):
        part = Floating(8, "double", BINARY64, min(8, rules.data.maximum_alignment))
        return Complex(part), complex(plain)
    return Pointer(Void(), False, rules.word_size), value


def _extra_integer(rules: CallingConvention, value: int) -> Integer:
    """The type of an integer that matches `...`: int, or the first wider one that it fits."""
    if -(1 << 31) <= value < 1 << 31:
        return Integer(4, True, "int")
    if 0 <= value < 1 << 32 and rules.word_size == 4:
        return Integer(4, False, "unsigned int")
    return Integer(8, value < 0, "long long")


def refuse(label: str, ctype: CType, value: object, why: str) -> NoReturn:
    shown = repr(value)
    raise CallError(f"{label}: {shown if len(shown) <= 80 else shown[:77] + '...'} {why} {ctype}")


def _integer_encoder(rules: CallingConvention, ctype: Integer, label: str) -> Encoder:
    size, word = ctype.size, rules.word_size
    low, high = -1 << 8 * size - 1, 1 << 8 * size
    extend = extender(size, word, signed=_sign_extended(rules, ctype))
    unchanged = unchanged_below(rules, ctype)

    def slow(value: object) -> int:
        if isinstance(value, float):
            refuse(label, ctype, value, "is a float and does not convert to")
        if isinstance(value, str) and isinstance(ctype, Enumeration):
            value = _enumerator(label, ctype, value)
        if ctype.name in _CHARACTERS and isinstance(value, str | bytes) and len(value) == 1:
            value = ord(value)
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            found = address_of(plain_value(value))
            if not isinstance(found, int):
                refuse(label, ctype, value, f"({type(value).__name__}) does not convert to")
            number = found
        if ctype.is_bool:
            return int(number != 0)
        if not low <= number < high:
            refuse(label, ctype, value, "does not fit")
        return extend(number)

    if ctype.is_bool:
        return lambda value, buffers: slow(value)

    def encode(value: object, buffers: Lender | None) -> int:
        if value.__class__ is int:
            if 0 <= value < unchanged:
                return value
            if low <= value < high:
                return extend(value)
        return slow(value)

    return encode


def _sign_extended(rules: CallingConvention, ctype: Integer) -> bool:
    return ctype.signed or (rules.sign_extends_words and ctype.size == 4)


def unchanged_below(rules: CallingConvention, ctype: CType) -> int:
    """The integers from 0 to below this one are their own patterns, as an argument of this type; 0: none is."""
    match ctype:
        case Integer(is_bool=False):
            return 1 << 8 * ctype.size - _sign_extended(rules, ctype)
        case Pointer(reference=False):
            return 1 << 8 * rules.word_size
    return 0


def _enumerator(label: str, ctype: Enumeration, name: str) -> int:
    known = dict(ctype.values)
    if name not in known:
        raise CallError(f"{label}: {ctype} has no {name!r} (it has {', '.join(known)})")
    return known[name]


def _float_encoder(ctype: Floating, label: str, *, box: int = 0, on_x87: bool = False) -> Encoder:
    fmt = ctype.format

    def encode(value: object, buffers: Lender | None) -> int:
        if value.__class__ is not float and value.__class__ is not WideFloat:
            if isinstance(value, str | bytes | bytearray):
                refuse(label, ctype, value, "does not convert to")
            try:
                value = float(plain_value(value))  # type: ignore[arg-type]
            except (TypeError, ValueError, OverflowError):
                refuse(label, ctype, value, "does not convert to")
        bits = encode_float(value, fmt)
        return encode_float(decode_float(bits, fmt), X87) if on_x87 else bits | box

    return encode


def _address_encoder(word: int, ctype: CType, label: str) -> Encoder:
    """The encoder for numbers and objects with an address, without copies."""
    low, high, mask = -1 << 8 * word - 1, 1 << 8 * word, (1 << 8 * word) - 1

    def encode(value: object, buffers: Lender | None) -> int:
        if value.__class__ is int and 0 <= value <= mask:
            return value
        if value is None:
            return 0
        number: Any = address_of(value)
        if isinstance(number, float):
            refuse(label, ctype, value, "is a float and does not convert to")
        try:
            number = operator.index(number)
        except TypeError:
            refuse(label, ctype, value, f"({type(value).__name__}) does not convert to")
        if not low <= number < high:
            refuse(label, ctype, value, "does not fit")
        return int(number) & mask

    return encode


def _pointer_encoder(rules: CallingConvention, ctype: Pointer, label: str) -> Encoder:
    mask = (1 << 8 * rules.word_size) - 1
    address = _address_encoder(rules.word_size, ctype, label)
    target = ctype.target
    encoding, unit = _TEXT.get(getattr(target, "name", ""), ("utf-8", 1))
    text_like = unit > 1 or isinstance(target, Void) or (isinstance(target, Integer) and target.size == 1)

    def encode(value: object, buffers: Lender | None) -> int:
        kind = value.__class__
        if kind is int and 0 <= value <= mask:  # type: ignore[operator]
            return value  # type: ignore[return-value]
        if kind not in _PLAIN:
            value = pointed_at(value)
            kind = value.__class__
        if buffers is None or value is None:
            return address(value, None)
        if kind is str and not text_like:
            refuse(label, ctype, value, "(str) does not convert to")
        if kind is str:
            text = value.encode(encoding, "surrogatepass" if unit > 1 else "surrogateescape")  # type: ignore[attr-defined]
            return buffers.lend(text + bytes(unit))
        if kind is bytes:
            return buffers.lend(bytes(value) + b"\0")  # type: ignore[call-overload]
        if kind is not bytearray and (isinstance(address_of(value), int) or _is_index(value)):
            if isinstance(target, FunctionType):
                _check_function(label, target.prototype, value)
            return address(value, None)
        lent = buffers.lend_object(rules, ctype, label, value)
        return address(value, None) if lent is None else lent

    return encode


def _check_function(label: str, wanted: Prototype, value: object) -> None:
    """Raise CallError for a guest function whose parameters differ in number or kind from those wanted."""
    given = getattr(value, "prototype", None)
    if not isinstance(given, Prototype):
        return
    one, two = ([each.result, *(parameter.type for parameter in each.parameters)] for each in (given, wanted))
    fits = len(one) == len(two) and all(map(_same_kind, one, two))
    if not (fits and given.variadic == wanted.variadic):
        raise CallError(f"{label}: {given} is not called as {wanted}".replace("  ", " "))


def _same_kind(one: CType, two: CType) -> bool:
    """Whether two types are passed alike, as far as casts between functions are usual."""
    integers = Integer | Pointer | VaListType
    if isinstance(one, integers) and isinstance(two, integers):
        return one.size == two.size
    return same_type(one, two)


def _complex_encoder(ctype: Complex, label: str) -> Encoder:
    part, bits = _float_encoder(ctype.part, label), 8 * ctype.part.size

    def encode(value: object, buffers: Lender | None) -> int:
        number = complex(value)  # type: ignore[call-overload]
        return part(number.real, None) | part(number.imag, None) << bits

    return encode


def _reference_encoder(rules: CallingConvention, ctype: Pointer, label: str) -> Encoder:
    """The encoder of a reference: a number is copied to the guest as the target type; other values are as for a
    pointer.
    """
    pointer = _pointer_encoder(rules, ctype, label)
    target = ctype.target
    value_of: Encoder
    if isinstance(target, Integer):
        value_of = _integer_encoder(rules, target, label)
    elif isinstance(target, Floating):
        value_of = _float_encoder(target, label)
    elif isinstance(target, Complex):
        value_of = _complex_encoder(target, label)
    else:
        return pointer
    size = target.size

    def encode(value: object, buffers: Lender | None) -> int:
        value = plain_value(value)
        if buffers is None or not isinstance(value, int | float | complex) or hasattr(value, "contents"):
            return pointer(value, buffers)
        pattern = value_of(value, None) & (1 << 8 * size) - 1
        return buffers.lend(pattern.to_bytes(size, "little"))

    return encode


def _is_index(value: object) -> bool:
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True

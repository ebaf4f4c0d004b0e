"""Python objects as pointer arguments: they are copied to the guest for a call, and back after it.

- A record or array in Python's memory is copied in and back; a view of guest memory passes its address.
- A list is an array of the pointer's target type; its elements are copied back. A tuple is an array too, or a
  structure if the target is one, like a dictionary.
- A callable becomes a function with the pointer's prototype, until the call returns.
- Buffers (numpy arrays, bytearrays) are copied unchanged, if their elements have the right type.
"""

from __future__ import annotations

import inspect
import platform
import re
from collections.abc import Callable, Mapping

from emu.calls.codec import packer
from emu.calls.lender import Lender
from emu.calls.marshal import refuse
from emu.calls.records import unpacker
from emu.calls.store import Store, View, whole_bytes
from emu.calls.types import (
    Array,
    Complex,
    CType,
    Floating,
    FunctionType,
    Integer,
    Pointer,
    Prototype,
    Struct,
    Void,
    same_type,
    sized,
)
from emu.errors import CallError
from emu.isa.convention import CallingConvention
from emu.isa.registry import convention
from relink.arch import UnknownArchitecture, architecture


def lend(rules: CallingConvention, ctype: Pointer, label: str, value: object, buffers: Lender) -> int | None:
    """The guest address of the copy of `value`; None if it cannot be copied."""
    if isinstance(ctype.target, FunctionType):
        if not callable(value):
            return None
        check_arity(value, ctype.target.prototype, label)
        return buffers.lend_callback(value, ctype.target.prototype)
    if isinstance(value, View):
        return _view(ctype, label, value, buffers)
    if isinstance(value, Mapping) or (isinstance(value, tuple) and isinstance(ctype.target, Struct)):
        return buffers.lend(packer(rules, ctype.target, label)(value, buffers), sized(ctype.target).alignment)
    if isinstance(value, list | tuple):
        return _elements(rules, ctype, label, value, buffers)
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):  # no buffer, or numpy has no code for its elements
        return None
    if not view.c_contiguous:
        refuse(label, ctype, value, "is not contiguous and cannot be lent as")
    _check_elements(ctype.target, view, label)
    if view.readonly:
        return buffers.lend(view.tobytes())
    flat = view.cast("B")

    def store(data: bytes) -> None:
        flat[:] = data

    return buffers.lend_back(value, flat.tobytes(), store)


def check_arity(function: Callable[..., object], prototype: Prototype, label: str) -> None:
    """Raise CallError for a Python function that cannot take a prototype's arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have no signature
        return
    count = len(prototype.parameters) + prototype.variadic
    try:
        signature.bind(*range(count))
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise CallError(f"{label}: {name}{signature} does not take the {count} arguments of {prototype}") from None


def _view(ctype: Pointer, label: str, value: View, buffers: Lender) -> int:
    seen = value._ctype_
    target = ctype.target
    bytes_wanted = isinstance(target, Void) or (isinstance(target, Integer) and target.size == 1)
    fits = same_type(seen, target) or (isinstance(seen, Array) and same_type(seen.target, target))
    if not (fits or bytes_wanted or _incomplete(target, seen)):
        raise CallError(f"{label}: a {seen} is not what a {ctype} points at")
    alignment = sized(seen).alignment

    def store(data: bytes) -> None:
        value._store_.write(value._at_, data)

    if ctype.const:
        return buffers.lend(whole_bytes(value), alignment)
    return buffers.lend_back(value, whole_bytes(value), store, alignment)


def _incomplete(target: CType, seen: Struct | Array) -> bool:
    """Whether the pointer's structure is incomplete and has the same name."""
    return isinstance(target, Struct) and target.members is None and target.name == getattr(seen, "name", None)


def _elements(
    rules: CallingConvention,
    ctype: Pointer,
    label: str,
    value: list[object] | tuple[object, ...],
    buffers: Lender,
) -> int:
    if isinstance(ctype.target, Void):
        raise CallError(f"{label}: a {type(value).__name__} for {ctype} does not tell the type of its elements")
    array = Array(ctype.target, len(value))
    data = packer(rules, array, label)(value, buffers)
    if ctype.const or isinstance(value, tuple):
        return buffers.lend(data, array.alignment)

    def store(changed: bytes) -> None:
        if changed != data:
            read, step = unpacker(rules, ctype.target), sized(ctype.target).size
            back = Store(bytearray(changed), buffers.memory)
            value[:] = [read(back, step * number) for number in range(len(value))]

    return buffers.lend_back(value, data, store, array.alignment)


def _check_elements(target: CType, view: memoryview, label: str) -> None:
    """Raise CallError for a buffer whose elements are not of the target type; plain bytes are always accepted."""
    while isinstance(target, Array):
        target = target.target
    codes = re.sub(":[^:]*:", "", view.format)  # without the names of members
    if re.search("[&zPOX]|Z(?![fdg])", codes):
        raise CallError(f"{label}: a buffer of {view.format!r} has addresses of this process, not of the guest")
    if view.itemsize > 1 and re.search("[>!]", codes):
        raise CallError(f"{label}: a buffer of big-endian elements, {view.format!r}: the guest is little-endian")
    if view.format in ("B", "b", "c") or not isinstance(target, Integer | Floating | Complex | Pointer):
        return
    if target.size == 1:
        return
    code = codes.lstrip("<=@")
    fits = view.itemsize == target.size
    if isinstance(target, Complex):
        fits = fits and code[:1] == "Z" and _has_format(code[1:], target.part)
    elif isinstance(target, Floating):
        fits = fits and _has_format(code, target)
    else:
        fits = fits and code not in ("e", "f", "d", "g") and code[:1] != "Z"
    if not fits:
        raise CallError(f"{label}: a buffer of {view.itemsize}-byte {view.format!r} elements is none of {target}")


def _has_format(code: str, target: Floating) -> bool:
    """Whether the elements of a buffer of this code are those numbers. The long double is this host's."""
    if code != "g":
        return code in ("e", "f", "d")
    try:
        host = convention(architecture(platform.machine()).name)
    except UnknownArchitecture:
        return False
    return target.format is host.data.long_double

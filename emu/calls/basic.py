"""The basic C types of a data model, by name: `scalar(model, "unsigned long")`."""

from __future__ import annotations

from emu.calls.types import Array, Complex, CType, Enumeration, Floating, Integer, Vector, sized
from emu.errors import CallError
from emu.isa.convention import BINARY16, BINARY32, BINARY64, BINARY128, DataModel

_CHARACTERS = {("char",): None, ("char", "signed"): True, ("char", "unsigned"): False}
#: The words of an integer type, sorted and without signed, unsigned and a redundant int -> bytes (0: long).
_WIDTHS = {
    (): 4,
    ("short",): 2,
    ("long",): 0,
    ("long", "long"): 8,
    ("__int128",): 16,
}
#: Names of the interchange formats (ISO/IEC TS 18661-3), GNU's too.
_FORMATS = {"_Float16": BINARY16, "_Float32": BINARY32, "_Float64": BINARY64, "_Float32x": BINARY64,
            "_Float128": BINARY128, "__float128": BINARY128}  # fmt: skip
#: GCC's machine modes of integers -> bytes; of floating-point numbers -> types.
_INTEGER_MODES = {"byte": 1, "QI": 1, "HI": 2, "SI": 4, "DI": 8, "TI": 16}
_FLOAT_MODES = {"HF": "_Float16", "SF": "float", "DF": "double", "XF": "long double", "TF": "_Float128"}
#: Names that the parser must know; they are types if the data model has them.
FORMAT_NAMES = frozenset(_FORMATS)


def integer(model: DataModel, size: int, signed: bool, name: str) -> Integer:
    """An integer type of `size` bytes, with the alignment of this data model."""
    return Integer(size, signed, name, _alignment(model, size))


def floating(model: DataModel, name: str) -> Floating | None:
    """The floating-point type with that name, or None."""
    if name == "long double":
        return Floating(model.long_double_size, name, model.long_double, _alignment(model, model.long_double_size))
    fmt = {"float": BINARY32, "double": BINARY64, **_FORMATS}.get(name)
    if fmt is None or (name == "_Float16" and not model.has_float16):
        return None
    if fmt is BINARY128:
        # On every ISA that has it, its alignment is its size, on i386 too.
        return Floating(16, name, fmt) if model.has_float128 else None
    return Floating(fmt.size, name, fmt, _alignment(model, fmt.size))


def _alignment(model: DataModel, size: int) -> int:
    """The alignment, or 0 when it is the size."""
    return model.maximum_alignment if size > model.maximum_alignment else 0


def scalar(model: DataModel, names: list[str]) -> CType | None:
    """The arithmetic type for a list of specifier words, or None. Raises CallError for one that this data model
    does not have.
    """
    spelt = " ".join(names)
    if "_Complex" in names or "__complex__" in names:
        part = [name for name in names if name not in ("_Complex", "__complex__")]
        found = floating(model, "long double" if sorted(part) == ["double", "long"] else " ".join(part))
        return None if found is None else Complex(found)
    words = sorted(names)
    if words == ["double", "long"]:
        return floating(model, "long double")
    if (found := floating(model, spelt)) is not None:
        return found
    if spelt in FORMAT_NAMES:
        raise CallError(f"there is no {spelt} on this target")
    if words == ["_Bool"]:
        return Integer(1, False, spelt)
    if (key := tuple(words)) in _CHARACTERS:
        signed = _CHARACTERS[key]
        return Integer(1, model.char_signed if signed is None else signed, spelt)
    width = _WIDTHS.get(tuple(word for word in words if word not in ("signed", "unsigned", "int")))
    if width is None or len({"signed", "unsigned"} & set(names)) > 1:
        return None
    if width == 16 and model.pointer_size == 4:
        raise CallError(f"there is no {spelt} on a 32-bit target")
    return integer(model, width or model.pointer_size, "unsigned" not in names, spelt)


def with_mode(model: DataModel, ctype: CType, mode: str) -> CType:
    """An integer or floating-point type with the size of GCC's machine mode. Raises CallError for other types and
    modes.
    """
    if isinstance(ctype, Integer) and not isinstance(ctype, Enumeration):
        size = model.pointer_size if mode in ("word", "pointer", "unwind_word") else _INTEGER_MODES.get(mode)
        for words in _WIDTHS if size else ():
            found = scalar(model, [*words] or ["int"]) if _WIDTHS[words] == size else None
            if isinstance(found, Integer):
                return integer(
                    model, found.size, ctype.signed, f"{'' if ctype.signed else 'unsigned '}{found.name}"
                )
        if size == 1:
            return Integer(1, ctype.signed, "signed char" if ctype.signed else "unsigned char")
    elif isinstance(ctype, Floating) and (found := floating(model, _FLOAT_MODES.get(mode, ""))) is not None:
        return found
    raise CallError(f"{ctype} cannot have the mode {mode}")


def vector(model: DataModel, element: CType, size: int) -> Vector:
    """A vector type of `size` bytes. Raises CallError for an invalid element or size."""
    if not isinstance(element, Integer | Floating) or element.size > 8 or size % element.size or size & size - 1:
        raise CallError(f"there is no vector of {element} with {size} bytes")
    return Vector(
        element, size // element.size, min(size, model.vector_alignment) if model.vector_alignment else 0
    )


def array(target: CType, count: int | None) -> Array:
    """An array type. Raises CallError for an element without a size."""
    sized(target)
    return Array(target, count)

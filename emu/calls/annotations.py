"""C types as Python annotations: `Callable[[int32, pointer], double]` is a prototype.

    from collections.abc import Callable
    from emu.calls.annotations import int32

    add = library.function("add", Callable[[int32, int32], int32])

`int`, `float`, `bool`, `str`, `bytes`, `complex` and None mean long, double, _Bool, const char *, const void *,
double _Complex and void; the class of a record means its structure; a string is C text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

from emu.calls.prototypes import parse_type
from emu.calls.types import CType, FunctionType, Parameter, Pointer, Prototype
from emu.errors import CallError
from emu.isa.convention import CallingConvention

int8 = Annotated[int, "int8_t"]
int16 = Annotated[int, "int16_t"]
int32 = Annotated[int, "int32_t"]
int64 = Annotated[int, "int64_t"]
uint8 = Annotated[int, "uint8_t"]
uint16 = Annotated[int, "uint16_t"]
uint32 = Annotated[int, "uint32_t"]
uint64 = Annotated[int, "uint64_t"]
size_t = Annotated[int, "size_t"]
float32 = Annotated[float, "float"]
float64 = Annotated[float, "double"]
longdouble = Annotated[float, "long double"]
pointer = Annotated[int, "void *"]
string = Annotated[str, "const char *"]

_PLAIN: dict[object, str] = {
    int: "long", float: "double", bool: "_Bool", str: "const char *", bytes: "const void *",
    complex: "double _Complex", None: "void", type(None): "void",
}  # fmt: skip


def annotated_type(annotation: object, rules: CallingConvention) -> CType:
    """The C type for an annotation. Raises CallError for an annotation without one."""
    if isinstance(annotation, str):
        return parse_type(annotation, rules.arch)
    if get_origin(annotation) is Annotated:
        text = next((each for each in get_args(annotation)[1:] if isinstance(each, str)), None)
        if text is not None:
            return parse_type(text, rules.arch)
    if get_origin(annotation) is Callable:
        return Pointer(FunctionType(annotated_prototype("", annotation, rules)), False, rules.word_size)
    try:
        known = _PLAIN.get(annotation)
    except TypeError:
        known = None
    if known is not None:
        return parse_type(known, rules.arch)
    ctype = getattr(annotation, "_ctype_", None)
    if ctype is None:
        raise CallError(f"{annotation!r} stands for no C type")
    return ctype  # type: ignore[no-any-return]


def annotated_prototype(name: str, annotation: object, rules: CallingConvention) -> Prototype:
    """The prototype of `Callable[[...], ...]`. Raises CallError for anything else."""
    arguments: Any = get_args(annotation)
    if get_origin(annotation) is not Callable or len(arguments) != 2 or not isinstance(arguments[0], list):
        raise CallError(f"{name}: {annotation!r} is no prototype: write Callable[[int32, ...], int32]")
    parameters = tuple(Parameter("", annotated_type(each, rules)) for each in arguments[0])
    return Prototype(name, annotated_type(arguments[1], rules), parameters)

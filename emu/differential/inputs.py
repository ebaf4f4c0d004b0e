"""Arguments for a function, derived from its prototype, that mean the same on every architecture.

    integers           within the range that their type has on all architectures, their ends more often
    const char *       text without NUL
    char *, void *     a buffer
    T *                an array of T, of the length that a later parameter gives (`n`, `len`, `size`, `count`, ...)
    structures         by value: their members

A function whose arguments cannot be made so (callbacks, variadic functions, pointers to unknown structures, types
whose meaning differs such as long double) is not tested, with that reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from emu.calls.types import (
    Array,
    Complex,
    CType,
    Enumeration,
    Floating,
    FunctionType,
    Integer,
    Parameter,
    Pointer,
    Prototype,
    Struct,
    Vector,
    Void,
)
from emu.isa.convention import BINARY32, BINARY64
from relink.records import dataclass

_LENGTH = re.compile(r"(?i)^(n|nn?memb|len|length|sz|size|count|num|cnt|.*(len|length|size|count|_n|num))(_?t)?$")
MOST_ELEMENTS = 24
BUFFER = 64  #: bytes of a buffer whose length no parameter gives
_ARRAY = 16  #: elements of an array whose length no parameter gives


class Untestable(Exception):
    """A function for which no arguments can be made: why."""


@dataclass(frozen=True)
class Argument:
    """What is passed for one parameter: `kind` is "value", "text", "bytes", "array", "length", or "length in
    memory" for a pointer to a length.

    Of an array, `length` is the name of the parameter that gives its length; of a length, `of` is the array's.
    """

    name: str
    kind: str
    length: str | None = None
    of: str | None = None
    const: bool = False


def plan(prototypes: Mapping[str, Prototype]) -> list[Argument]:
    """How the arguments of a function are made, which has these prototypes, by target. Raises Untestable."""
    first = next(iter(prototypes.values()))
    shapes = {(len(each.parameters), each.variadic) for each in prototypes.values()}
    if len(shapes) > 1:
        raise Untestable("its prototype differs between architectures")
    if first.variadic:
        raise Untestable("it is variadic")
    _check_value(first.result, "its result", pointers=True)
    names = _names(first.parameters)
    return [_argument(index, first.parameters, names) for index in range(len(names))]


def _names(parameters: Sequence[Parameter]) -> list[str]:
    return [parameter.name or f"arg{number}" for number, parameter in enumerate(parameters)]


def _argument(index: int, parameters: Sequence[Parameter], names: Sequence[str]) -> Argument:
    ctype, name = parameters[index].type, names[index]
    if not isinstance(ctype, Pointer):
        _check_value(ctype, name, pointers=False)
        owner = _owner(index, parameters) if isinstance(ctype, Integer) else None
        return Argument(name, "value" if owner is None else "length", of=None if owner is None else names[owner])
    if _is_length_in_memory(index, parameters):
        return Argument(name, "length in memory", of=names[index - 1])
    length = _length_of(index, parameters)
    given = None if length is None else names[length]
    target = ctype.target
    if isinstance(target, Void) or (isinstance(target, Integer) and target.is_character):
        text = ctype.const and given is None and not isinstance(target, Void)
        return Argument(name, "text" if text else "bytes", given, const=ctype.const)
    _check_value(target, f"*{name}", pointers=False)
    return Argument(name, "array", given, const=ctype.const)


def _length_of(index: int, parameters: Sequence[Parameter]) -> int | None:
    """The parameter with the length of a pointer: the next integer with such a name, or a pointer to one that
    follows at once.
    """
    if index + 1 < len(parameters) and _is_length_in_memory(index + 1, parameters):
        return index + 1
    for later in range(index + 1, len(parameters)):
        each = parameters[later]
        if isinstance(each.type, Integer) and not isinstance(each.type, Enumeration) and _LENGTH.match(each.name):
            return later
    return None


def _is_length_in_memory(index: int, parameters: Sequence[Parameter]) -> bool:
    """Whether a parameter points to the size of the buffer before it, which the function replaces by what it used:
    `int compress(Bytef *dest, uLongf *destLen, ...)`.
    """
    ctype, name = parameters[index].type, parameters[index].name
    if not index or not isinstance(ctype, Pointer) or ctype.const or not _LENGTH.match(name):
        return False
    target, before = ctype.target, parameters[index - 1].type
    counts = isinstance(target, Integer) and target.size >= 4 and not isinstance(target, Enumeration)
    return counts and isinstance(before, Pointer) and not _is_length_in_memory(index - 1, parameters)


def _owner(index: int, parameters: Sequence[Parameter]) -> int | None:
    """The first pointer whose length a parameter gives."""
    pointers = (i for i in range(index) if isinstance(parameters[i].type, Pointer))
    return next((i for i in pointers if _length_of(i, parameters) == index), None)


def _check_value(ctype: CType, what: str, *, pointers: bool) -> None:
    """Raise Untestable for a type whose values cannot be made, or compared."""
    match ctype:
        case Void() | Integer() if not (isinstance(ctype, Void) and not pointers):
            return
        case Floating():
            if ctype.format not in (BINARY32, BINARY64):
                raise Untestable(f"{what} is {ctype}, which has another format on each architecture")
        case Complex(part=part):
            _check_value(part, what, pointers=pointers)
        case Pointer() if pointers and not isinstance(ctype.target, FunctionType):
            return
        case Array():
            _check_value(ctype.target, what, pointers=pointers)
        case Vector():
            _check_value(ctype.element, what, pointers=pointers)
        case Struct() if ctype.members is not None and not ctype.is_union:
            for member in ctype.members:
                _check_value(member.type, f"{what}.{member.name}", pointers=pointers)
        case _:
            raise Untestable(f"{what} is {ctype}")


def strategy(arguments: Sequence[Argument], prototypes: Mapping[str, Prototype]) -> st.SearchStrategy[list[Any]]:
    """Arguments for one call: a number, text, bytes, a list, or a dictionary for each parameter."""
    places = {argument.name: index for index, argument in enumerate(arguments)}
    types = [[each.parameters[index].type for each in prototypes.values()] for index in range(len(arguments))]

    @st.composite
    def draw_all(draw: st.DrawFn) -> list[Any]:
        lengths = {
            argument.length: draw(st.integers(0, _most_elements(types[places[argument.length]])))
            for argument in arguments
            if argument.length is not None
        }
        values: list[Any] = []
        for argument, ctypes in zip(arguments, types, strict=True):
            if argument.kind == "length":
                values.append(lengths[argument.name])
            elif argument.kind == "length in memory":
                values.append([lengths[argument.name]])
            elif argument.kind == "value":
                values.append(draw(value_strategy(ctypes)))
            else:
                length = None if argument.length is None else lengths[argument.length]
                values.append(draw(_memory(argument, ctypes, length)))
        return values

    return draw_all()


def _most_elements(ctypes: Sequence[CType]) -> int:
    if any(isinstance(each, Pointer) for each in ctypes):  # of a buffer that is filled
        return BUFFER
    return min(MOST_ELEMENTS, *(_range(each)[1] for each in ctypes if isinstance(each, Integer)))


def _memory(argument: Argument, ctypes: Sequence[CType], length: int | None) -> st.SearchStrategy[Any]:
    if argument.kind == "text":
        return st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=MOST_ELEMENTS).map(str.encode)
    if argument.kind == "bytes":
        size = BUFFER if length is None else length
        return st.binary(min_size=size, max_size=size)
    targets = [each.target for each in ctypes if isinstance(each, Pointer)]
    count = _ARRAY if length is None else length
    return st.lists(value_strategy(targets), min_size=count, max_size=count)


def value_strategy(ctypes: Sequence[CType]) -> st.SearchStrategy[Any]:
    """Values of a type, given as what it is on each architecture, that all of them can hold."""
    first = ctypes[0]
    match first:
        case Enumeration() if first.values:
            return st.sampled_from(sorted({value for _, value in first.values}))
        case Integer():
            ranges = [_range(each) for each in ctypes if isinstance(each, Integer)]
            low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
            ends = {low, high, low + 1, high - 1, 0, 1, -1, 2, 31, 32, 33, 63, 64}
            return st.integers(low, high) | st.sampled_from(sorted(end for end in ends if low <= end <= high))
        case Floating():
            return st.floats(width=32 if first.format is BINARY32 else 64)
        case Complex(part=part):
            number = value_strategy([part])
            return st.tuples(number, number)
        case Array():
            inner = value_strategy([each.target for each in ctypes if isinstance(each, Array)])
            return st.lists(inner, min_size=first.count or 0, max_size=first.count or 0)
        case Vector():
            inner = value_strategy([each.element for each in ctypes if isinstance(each, Vector)])
            return st.lists(inner, min_size=first.count, max_size=first.count)
        case Struct():
            others = [each for each in ctypes if isinstance(each, Struct)]
            return st.fixed_dictionaries({name: _member(name, others) for name in first.fields})
    raise Untestable(f"there are no values of {first}")


def _member(name: str, structs: Sequence[Struct]) -> st.SearchStrategy[Any]:
    members = [struct.fields[name] for struct in structs]
    bits = members[0].bits
    if bits is None or not isinstance(members[0].type, Integer):
        return value_strategy([member.type for member in members])
    low, high = _range(Integer(8, members[0].type.signed, ""))
    shift = 64 - bits[1]
    return st.integers(low >> shift, high >> shift)


def _range(ctype: Integer) -> tuple[int, int]:
    """What an integer type holds; of plain char only what is the same whether it is signed or not."""
    if ctype.is_bool:
        return 0, 1
    if ctype.is_character:
        return 0, 127
    bits = 8 * ctype.size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if ctype.signed else (0, (1 << bits) - 1)

"""The kinds of registers for the members of structures, unions, complex numbers and vectors.

`classify` splits a type into its scalars (`leaves`) and applies the rule of the convention: AMD64's classes of
eightbytes, the homogeneous aggregates of the Arm ABIs, the flattening of RISC-V and LoongArch. The result does not
depend on which registers are free; `emu.calls.assign` counts those.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from emu.calls.eightbytes import eightbytes
from emu.calls.scalars import Bank, Leaf, Part, leaves
from emu.calls.types import (
    Array,
    Complex,
    CType,
    Floating,
    FunctionType,
    Integer,
    Pointer,
    Struct,
    VaListType,
    Vector,
    Void,
    sized,
)
from emu.errors import CallError
from emu.isa.convention import BINARY128, X87, Aggregates, CallingConvention

_LARGEST = 64  #: bytes: larger types are never passed in registers (four vectors of 16 bytes)


class Shape(NamedTuple):
    """How a value is passed."""

    parts: tuple[Part, ...]  #: either all of them have a register, or none
    #: without registers, whether it is passed like an integer of that many words instead of on the stack
    words: bool
    size: int
    alignment: int  #: alignment in bytes, on the stack and for pairs of registers


@lru_cache(maxsize=4096)
def classify(rules: CallingConvention, ctype: CType, in_registers: bool = True) -> Shape:
    """How a value of this type is passed or returned; `in_registers`: floating-point registers may be used.

    Raises CallError for a type that cannot be passed.
    """
    size = sized(ctype).size if not isinstance(ctype, Void | FunctionType | Array) else 0
    data = rules.data
    match ctype:
        case Integer() | Pointer() | VaListType():
            size = max(size, rules.word_size) if isinstance(ctype, Integer) else size
            return Shape((), True, size, min(size, data.maximum_alignment))
        case Floating():
            parts = _scalar_parts(rules, ctype) if in_registers else ()
            words = not (in_registers and _has_bank(rules, ctype)) or rules.floats_spill_to_integers
            return Shape(parts, words, size, _scalar_alignment(rules, ctype))
        case Vector():
            return _vector(rules, ctype, in_registers=in_registers)
        case Struct() | Complex():
            return _aggregate(rules, ctype, size, in_registers=in_registers)
        case Array():
            raise CallError(f"an array, {ctype}, cannot be passed by value (wrap it in a struct)")
    raise CallError(f"a value of type {ctype} cannot be passed")


def _has_bank(rules: CallingConvention, ctype: Floating) -> bool:
    """Whether floats of that kind are never passed in integer registers."""
    return ctype.format is X87 or ctype.size in rules.float_arguments or _is_quad_vector(rules, ctype)


def _is_quad_vector(rules: CallingConvention, ctype: Floating) -> bool:
    """Whether the type is a binary128 that is passed like a vector, on ISAs with an x87 long double."""
    return ctype.format is BINARY128 and rules.data.long_double is X87


def _scalar_alignment(rules: CallingConvention, ctype: Floating | Vector) -> int:
    quad = isinstance(ctype, Floating) and _is_quad_vector(rules, ctype)
    if isinstance(ctype, Vector) or quad:
        return ctype.alignment
    return min(ctype.size, rules.data.maximum_alignment)


def _scalar_parts(rules: CallingConvention, ctype: Floating) -> tuple[Part, ...]:
    if ctype.format is X87:
        return (Part(Bank.X87, 0, ctype.format.size),)
    if ctype.size in rules.float_arguments:
        return (Part(Bank.FLOAT, 0, ctype.size),)
    if _is_quad_vector(rules, ctype) and rules.aggregates is Aggregates.EIGHTBYTES:
        return (Part(Bank.VECTOR, 0, ctype.size),)
    if ctype.size in rules.float_results:
        return (Part(Bank.FLOAT, 0, ctype.size),)
    if _is_quad_vector(rules, ctype):
        raise CallError(f"compilers do not agree on how {rules.arch} passes {ctype}")
    return (Part(Bank.X87, 0, X87.size),) if rules.x87 and ctype.size <= 8 else ()


def _vector(rules: CallingConvention, ctype: Vector, *, in_registers: bool) -> Shape:
    known = rules.integer_vectors | rules.vector_arguments.keys()
    if ctype.size not in known or (ctype.element.size == ctype.size and ctype.size == 16):
        raise CallError(
            f"compilers do not agree on how {rules.arch} passes {ctype}: vectors of "
            f"{' or '.join(map(str, sorted(known)))} bytes can be passed"
        )
    own = in_registers and ctype.size in rules.vector_arguments
    parts = (Part(Bank.VECTOR, 0, ctype.size),) if own else ()
    return Shape(parts, not parts, ctype.size, min(ctype.alignment, max(rules.argument_alignment, 16)))


def _aggregate(rules: CallingConvention, ctype: Struct | Complex, size: int, *, in_registers: bool) -> Shape:
    if isinstance(ctype, Struct) and ctype.members is None:
        raise CallError(f"{ctype} is incomplete: its members are not known")
    if isinstance(ctype, Struct) and ctype.refused:
        raise CallError(f"{ctype} cannot be passed by value: {ctype.refused}")
    found = tuple(leaves(ctype)) if size <= _LARGEST else ()
    if not rules.vectors_in_aggregates and has_vector(ctype):
        raise CallError(f"compilers do not agree on how {rules.arch} passes {ctype}, which has a vector in it")
    alignment = _argument_alignment(rules, ctype)
    flexible, zero = _has_array(ctype, None), _has_array(ctype, 0)
    match rules.aggregates:
        case Aggregates.STACK:
            if isinstance(ctype, Struct) and ctype.is_union and size > _largest_member(ctype):
                # clang passes what its members need, gcc the padding too.
                raise CallError(f"compilers do not agree on how {rules.arch} passes {ctype}, which is padded")
            return Shape((), False, size, alignment)
        case Aggregates.EIGHTBYTES:
            if flexible and size <= 16:  # clang passes it in memory, gcc in registers
                raise CallError(
                    f"compilers do not agree on how {rules.arch} passes {ctype}, with a flexible array"
                )
            return Shape(eightbytes(ctype, size, found), False, size, alignment)
        case Aggregates.HOMOGENEOUS:
            parts = _homogeneous(rules, size, found) if in_registers and not (flexible or zero) else ()
            odd = parts and (parts[0].size == 2 or ctype.alignment < found[0].type.alignment)
            if not rules.odd_aggregates and (odd or _has_wide_packed_field(rules, ctype, alignment)):
                raise CallError(f"compilers do not agree on how {rules.arch} passes {ctype}")
            return Shape(parts, True, size, alignment)
    parts = _flattened(rules, ctype, found) if in_registers and not flexible else ()
    return Shape(parts, True, size, alignment)


def _has_array(ctype: CType, count: int | None) -> bool:
    """Whether there is, at any depth, an array with that number of elements (None: a flexible one)."""
    if isinstance(ctype, Struct):
        return any(_has_array(member.type, count) for member in ctype.members or ())
    return isinstance(ctype, Array) and (ctype.count == count or _has_array(ctype.target, count))


def _largest_member(union: Struct) -> int:
    return max((sized(member.type).size for member in union.members or ()), default=0)


def has_vector(ctype: CType) -> bool:
    """Whether a member at any depth is a vector."""
    if isinstance(ctype, Struct):
        return any(has_vector(member.type) for member in ctype.members or ())
    if isinstance(ctype, Array):
        return has_vector(ctype.target)
    return isinstance(ctype, Vector) or (isinstance(ctype, Floating) and ctype.name.endswith("loat128"))


def _argument_alignment(rules: CallingConvention, ctype: Struct | Complex) -> int:
    natural = ctype.natural if isinstance(ctype, Struct) and rules.natural_alignment else ctype.alignment
    return min(natural, rules.argument_alignment)


# ---------------------------------------------------------------- the Arm ABIs


def _homogeneous(rules: CallingConvention, size: int, found: tuple[Leaf, ...]) -> tuple[Part, ...]:
    """The members of a homogeneous aggregate (AAPCS64 5.9.5, AAPCS32 4.3.5); none for other types."""
    if not found or any(leaf.bits is not None for leaf in found):
        return ()
    first = found[0].type
    if isinstance(first, Vector) and first.size in rules.vector_arguments:
        bank = Bank.VECTOR
    elif isinstance(first, Floating) and first.size in rules.float_arguments:
        bank = Bank.FLOAT
    else:
        return ()
    same = all(
        type(leaf.type) is type(first)
        and leaf.type.size == first.size
        and (not isinstance(leaf.type, Floating) or leaf.type.format is first.format)  # type: ignore[union-attr]
        for leaf in found
    )
    places = {leaf.offset for leaf in found}
    members = size // first.size
    if not same or members > 4 or members * first.size != size or len(places) != members:
        return ()
    return tuple(Part(bank, number * first.size, first.size) for number in range(members))


def _has_wide_packed_field(rules: CallingConvention, ctype: Struct | Complex, alignment: int) -> bool:
    """Whether a bit-field has a type that would align the structure more: gcc lets it align the argument."""
    fields = (leaf.type.alignment for leaf in leaves(ctype) if leaf.bits is not None)
    return max(fields, default=0) > max(alignment, rules.word_size)


# ---------------------------------------------------------------- RISC-V and LoongArch


def _flattened(rules: CallingConvention, ctype: CType, found: tuple[Leaf, ...]) -> tuple[Part, ...]:
    """One or two members for floating-point registers (RISC-V psABI, "Hardware Floating-point Calling Convention";
    LoongArch's, "Structures"); none when integer registers are used for the whole type.
    """
    if not 1 <= len(found) <= 2 or any(leaf.in_union for leaf in found) or not rules.float_arguments:
        return ()
    parts = []
    for leaf in found:
        if isinstance(leaf.type, Floating) and leaf.type.size in rules.float_arguments:
            parts.append(Part(Bank.FLOAT, leaf.offset, leaf.type.size))
        elif isinstance(leaf.type, Integer) and _width(leaf) <= 8 * rules.word_size:
            size = min(leaf.type.size, rules.word_size, sized(ctype).size - leaf.offset)
            parts.append(Part(Bank.INTEGER, leaf.offset, size))
        else:
            return ()
    if not any(part.bank is Bank.FLOAT for part in parts):
        return ()
    _check_storage(rules, ctype, found)
    return tuple(parts)


def _check_storage(rules: CallingConvention, ctype: CType, found: tuple[Leaf, ...]) -> None:
    """Raise CallError for a bit-field whose type reaches into the float beside it, or out of the structure: clang
    puts the float elsewhere then, gcc does not."""
    for leaf, other in zip(found, reversed(found), strict=True):
        end = leaf.offset + leaf.type.size
        if leaf.bits is not None and (leaf.offset < other.offset < end or end > sized(ctype).size):
            raise CallError(f"compilers do not agree on how {rules.arch} passes {ctype}, for its bit-field")


def _width(leaf: Leaf) -> int:
    """The width of an integer in bits; for a bit-field its own width."""
    return 8 * leaf.type.size if leaf.bits is None else leaf.bits[1]

"""The C types of a data model, made from text, headers, DWARF or annotations.

Every type has its size and alignment on the ABI. Types compare by structure: two structures are equal if their
members are, regardless of their source. `declare` prints a type as C, `emu.calls.describe` structures' members.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from emu.calls.completed import Completed
from emu.errors import CallError
from emu.isa.convention import BINARY64, FloatFormat
from relink.elf.debug_lock import READING
from relink.records import dataclass

__all__ = [
    "Array", "CType", "Complex", "Enumeration", "Floating", "FunctionType", "Integer", "Member", "Parameter",
    "Pointer", "Prototype", "Struct", "VaListType", "Vector", "Void", "declare", "same_type", "sized",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Void:
    """`void`: as a result no value; as a pointer's target any type."""

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer type (also enum and _Bool). `size` in bytes: 1, 2, 4, 8 or 16."""

    size: int
    signed: bool
    name: str  #: its spelling; part of the type, since bool and wchar_t are recognised by it
    align: int = 0  #: alignment in bytes; 0: its size

    @property
    def alignment(self) -> int:
        return self.align or self.size

    @property
    def is_bool(self) -> bool:
        """Whether every value except zero is converted to one."""
        return self.name in ("_Bool", "bool")

    @property
    def is_character(self) -> bool:
        """Whether it is plain `char`, whose arrays are text."""
        return self.name == "char"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Enumeration(Integer):
    """An enumeration: its integer type and its enumerators."""

    values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Floating:
    """A binary floating-point type. `size` in bytes is sizeof; `format` is the meaning of the bits."""

    size: int
    name: str
    format: FloatFormat = BINARY64
    align: int = 0  #: alignment in bytes; 0: its size

    @property
    def alignment(self) -> int:
        return self.align or self.size

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Complex:
    """A complex type: the real part, then the imaginary one."""

    part: Floating

    @property
    def size(self) -> int:
        return 2 * self.part.size

    @property
    def alignment(self) -> int:
        return self.part.alignment

    def __str__(self) -> str:
        return f"{self.part} _Complex"


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of GNU C (`vector_size`)."""

    element: Integer | Floating
    count: int
    align: int = 0  #: alignment in bytes; 0: its size

    @property
    def size(self) -> int:
        return self.element.size * self.count

    @property
    def alignment(self) -> int:
        return self.align or self.size

    def __str__(self) -> str:
        return f"{self.element} __attribute__((vector_size({self.size})))"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer (also an array or function parameter). `const`: the object pointed at is const.

    For a `reference`, `int &` in a prototype, the argument is the value itself, which is copied to the guest for
    the call, as Fortran passes arguments.
    """

    target: CType
    const: bool
    size: int  #: bytes of the pointer itself
    reference: bool = False

    @property
    def alignment(self) -> int:
        return self.size

    def __str__(self) -> str:
        return declare(self)


@dataclass(frozen=True, slots=True)
class Array:
    """An array (parameters are never arrays). `count` is None without a bound."""

    target: CType
    count: int | None

    @property
    def size(self) -> int:
        """Bytes; 0 for an array without a bound, such as a structure's last member."""
        return sized(self.target).size * (self.count or 0)

    @property
    def alignment(self) -> int:
        return sized(self.target).alignment

    def __str__(self) -> str:
        return declare(self)


class Member(NamedTuple):
    """A member of a structure or union; `name` is empty for an anonymous one."""

    name: str
    type: CType
    offset: int  #: offset in bytes; for a bit-field that of its first bit
    bits: tuple[int, int] | None = None  #: of a bit-field: (first bit from the structure's start, width)
    align: int = 0  #: alignment in bytes, if the declaration changes that of the type


#: What decides, beside the layout, how a structure is passed.
_PASSING = ("natural", "packed", "refused", "by_reference")


class Struct(Completed):
    """A structure or union. Without members (None) it is incomplete: only a pointer's target. Compared by name,
    members, layout and what else decides how it is passed; cycles count as equal. `fill` must `complete` it.
    """

    __slots__ = ("_fill", "alignment", "by_reference", "members", "name", "natural", "packed", "refused", "size")

    size: int | None  #: bytes, if known
    alignment: int  #: bytes
    natural: int  #: the alignment required by its members, without the attributes of the whole type
    members: tuple[Member, ...] | None
    packed: bool  #: whether its members are unaligned
    refused: str  #: why it cannot be passed by value, or empty
    by_reference: bool  #: whether C++ passes it as its address: it has a destructor or copy constructor to run

    def __init__(self, name: str, size: int | None = None, fill: Callable[[Struct], object] | None = None) -> None:
        self.name = name  #: with its keyword: "struct point"; "struct" without a tag
        self._fill = fill
        if fill is None:
            self.complete(None, size)

    def complete(
        self, members: tuple[Member, ...] | None, size: int | None, alignment: int = 1, natural: int = 1,
        packed: bool = False, refused: str = "", by_reference: bool = False,
    ) -> None:  # fmt: skip
        """Set all of these, once."""
        self.members, self.size, self.alignment, self.natural = members, size, alignment, natural
        self.packed, self.refused, self.by_reference = packed, refused, by_reference

    def __getattr__(self, name: str) -> Any:
        if name not in Struct.__slots__ or name == "_fill":
            raise AttributeError(name)
        with READING:
            fill, self._fill = self._fill, None
            try:
                if fill is not None:
                    fill(self)
            except BaseException:  # as of a signal handler: it is filled when asked for again
                self._fill = fill
                raise
            try:
                return object.__getattribute__(self, name)
            except AttributeError:  # this thread is filling it: it is incomplete until then
                return {"alignment": 1, "natural": 1, "packed": False, "refused": ""}.get(name)

    @property
    def is_union(self) -> bool:
        return self.name.startswith("union")

    @property
    def fields(self) -> dict[str, Member]:
        """All named members, including those of anonymous members, as members of this type."""
        found: dict[str, Member] = {}
        for member in self.members or ():
            if member.name:
                found[member.name] = member
            elif isinstance(member.type, Struct):
                found |= {name: _moved(inner, member.offset) for name, inner in member.type.fields.items()}
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and _equal_structs(self, other, set())

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self.name}: {'incomplete' if self.members is None else f'{self.size} bytes'}>"


def _moved(member: Member, by: int) -> Member:
    bits = None if member.bits is None else (member.bits[0] + 8 * by, member.bits[1])
    return member._replace(offset=member.offset + by, bits=bits)


@dataclass(frozen=True, slots=True)
class VaListType:
    """`va_list`. It is passed as one word on every ABI here: the list itself or its address."""

    size: int

    @property
    def alignment(self) -> int:
        return self.size

    def __str__(self) -> str:
        return "va_list"


@dataclass(frozen=True, slots=True)
class FunctionType:
    """A function type; only pointers to it can be passed."""

    prototype: Prototype

    def __str__(self) -> str:
        return str(self.prototype)


CType: TypeAlias = (
    "Void | Integer | Floating | Complex | Vector | Pointer | Array | Struct | VaListType | FunctionType"
)
Sized: TypeAlias = "Integer | Floating | Complex | Vector | Pointer | Array | VaListType | _Complete"


class _Complete(Struct):
    """For type checkers: a structure whose size is known."""

    size: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `name` may be empty."""

    name: str
    type: CType

    def __str__(self) -> str:
        return declare(self.type, self.name)


@dataclass(frozen=True)
class Prototype:
    """A function's type, and its name where the text has one (else empty)."""

    name: str
    result: CType
    parameters: tuple[Parameter, ...]
    variadic: bool = False
    base_standard: bool = False  #: floats are passed by Arm's base standard, whatever the image's float ABI

    def __post_init__(self) -> None:  # plans are looked up by it: hashing it each time costs more than a call
        object.__setattr__(self, "_hash", hash((self.name, self.result, self.parameters, self.variadic)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    def __reduce__(self) -> tuple[object, ...]:  # without the hash, which is another in each process
        return Prototype, (self.name, self.result, self.parameters, self.variadic, self.base_standard)

    def __str__(self) -> str:
        return declare(FunctionType(self), self.name or " ").replace("  (", " (")


def sized(ctype: CType) -> Sized:
    """`ctype`, if it has a size. Raises CallError for void, functions and incomplete structures."""
    if isinstance(ctype, Void | FunctionType):
        raise CallError(f"{ctype} has no size")
    if isinstance(ctype, Struct) and ctype.size is None:
        raise CallError(f"{ctype} is incomplete: its members are not known")
    return ctype  # type: ignore[return-value]


def same_type(left: CType, right: CType) -> bool:
    """Whether two types have the same structure. Names of scalars are ignored: `int32_t` equals `int`."""
    return _equal(left, right, set(), False)


def _equal(left: CType, right: CType, seen: set[tuple[int, int]], named: bool = True) -> bool:
    """Structural equality; each cycle of pointers is visited once. With `named`, names of scalars count too."""
    if isinstance(left, Struct) and isinstance(right, Struct):
        return _equal_structs(left, right, seen, named)
    if isinstance(left, Pointer) and isinstance(right, Pointer):
        facts = (left.const, left.size) == (right.const, right.size)
        return facts and _equal(left.target, right.target, seen, named)
    if isinstance(left, Array) and isinstance(right, Array):
        return left.count == right.count and _equal(left.target, right.target, seen, named)
    if isinstance(left, FunctionType) and isinstance(right, FunctionType):
        one, two = left.prototype, right.prototype
        ours, theirs = ([each.result, *(given.type for given in each.parameters)] for each in (one, two))
        return (len(ours), one.variadic) == (len(theirs), two.variadic) and all(
            _equal(a, b, seen, named) for a, b in zip(ours, theirs, strict=True)
        )
    return left == right or (not named and type(left) is not Void and _nameless(left) == _nameless(right))


def _nameless(ctype: CType) -> object:
    """A scalar without its name."""
    match ctype:
        case Integer():
            return (ctype.size, ctype.signed, ctype.alignment, ctype.is_bool)
        case Floating():
            return (ctype.size, ctype.format, ctype.alignment)
        case Complex(part=part):
            return ("complex", _nameless(part))
        case Vector(element=element):
            return (ctype.count, ctype.alignment, _nameless(element))
    return ctype


def _equal_structs(left: Struct, right: Struct, seen: set[tuple[int, int]], named: bool = True) -> bool:
    if left is right or (id(left), id(right)) in seen:
        return True
    seen.add((id(left), id(right)))
    facts = ("name", "size", "alignment", *(_PASSING if named else ()))
    if any(getattr(left, fact) != getattr(right, fact) for fact in facts):
        return False
    if left.members is None or right.members is None:
        return left.members is right.members
    return len(left.members) == len(right.members) and all(
        (one.name, one.offset, one.bits) == (two.name, two.offset, two.bits)
        and _equal(one.type, two.type, seen, named)
        for one, two in zip(left.members, right.members, strict=True)
    )


def declare(ctype: CType, name: str = "") -> str:
    """C that declares `name` (or nothing) to be of a type."""
    match ctype:
        case Pointer(target=Array() | FunctionType()):
            return declare(ctype.target, f"({'&' if ctype.reference else '*'}{name})")
        case Pointer():
            const = "const " if ctype.const and not isinstance(ctype.target, Pointer) else ""
            star = f"{'const ' if ctype.const and not const else ''}{'&' if ctype.reference else '*'}"
            return const + declare(ctype.target, f"{star}{name}")
        case Array():
            return declare(ctype.target, f"{name}[{'' if ctype.count is None else ctype.count}]")
        case FunctionType(prototype=prototype):
            parts = [str(parameter) for parameter in prototype.parameters] + ["..."] * prototype.variadic
            return declare(prototype.result, f"{name}({', '.join(parts) or 'void'})")
    return f"{ctype} {name}".rstrip()

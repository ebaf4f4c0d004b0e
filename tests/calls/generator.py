"""Prototypes by chance: types three deep, functions that take and give them, and C for both sides of each call.

For prototype n the C has a function `take_n`, which stores the bytes of its arguments in `seen` and returns what
is in `answer`, and `give_n`, which calls the host's `host_n` with arguments out of `given` and stores the result
in `seen`. Layouts are checked by the compiler: `_Static_assert` of every size and offset.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from emu.calls.basic import FORMAT_NAMES, floating, scalar, vector
from emu.calls.describe import definition
from emu.calls.layout import Declared, lay_out
from emu.calls.plan import CallPlan
from emu.calls.scalars import leaves
from emu.calls.types import (
    Array,
    Complex,
    CType,
    Floating,
    Integer,
    Parameter,
    Pointer,
    Prototype,
    Struct,
    Vector,
    Void,
    declare,
    sized,
)
from emu.calls.values import encode_float
from emu.errors import CallError
from emu.isa.convention import CallingConvention

_INTEGERS = ("char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long",
             "unsigned long", "long long", "unsigned long long", "_Bool")  # fmt: skip
_MOST = 1 << 12  #: bytes of `seen`, `given`, `answer`


@dataclass
class Case:
    """One prototype: `extras` are the types of what matches its ellipsis."""

    number: int
    prototype: Prototype
    extras: tuple[CType, ...]
    structs: list[Struct]

    @property
    def types(self) -> tuple[CType, ...]:
        return (*(parameter.type for parameter in self.prototype.parameters), *self.extras)

    @property
    def offsets(self) -> list[int]:
        """Where each argument lies in `seen` and `given`."""
        found, at = [], 0
        for ctype in self.types:
            found.append(at)
            at += -(-sized(ctype).size // 32) * 32
        return found


class Generator:
    """Makes cases for one convention; `float16`, `vectors`: whether the compiler is asked about these."""

    def __init__(self, rules: CallingConvention, dice: random.Random, *, float16: bool, vectors: bool) -> None:
        self.rules = rules
        self.model = rules.data
        self.dice = dice
        self._float16 = float16
        self._vectors = tuple(rules.integer_vectors | rules.vector_arguments.keys()) if vectors else ()
        self._structs: list[Struct] = []
        self._prefix = ""

    def case(self, number: int) -> Case:
        """A case that no compiler would call in another way than the others."""
        while True:
            found = self._any_case(number)
            try:
                extras = tuple(Parameter("", ctype) for ctype in found.extras)
                CallPlan(self.rules, found.prototype, extras)
            except CallError as error:
                if "do not agree" not in str(error):
                    raise
            else:
                return found

    def _any_case(self, number: int) -> Case:
        self._structs, self._prefix = [], f"s{number}_"
        dice = self.dice
        count = dice.choice((0, 1, 1, 2, 2, 3, 3, 4, 5, 7, 10))
        parameters = [Parameter(f"a{index}", self._parameter()) for index in range(count)]
        variadic = bool(parameters) and dice.random() < 0.15
        extras = tuple(self._extra() for _ in range(dice.randrange(1, 5))) if variadic else ()
        result = self._parameter() if dice.random() < 0.9 else Void()
        prototype = Prototype(f"take_{number}", result, tuple(parameters), variadic)
        return Case(number, prototype, extras, self._structs)

    # ------------------------------------------------------------ types

    def _parameter(self) -> CType:
        return self._scalar() if self.dice.random() < 0.4 else self._struct(3)

    def _extra(self) -> CType:
        """What can match an ellipsis: of a promoted type."""
        while True:
            found = self._parameter()
            small = (isinstance(found, Integer) and found.size < 4) or (
                isinstance(found, Floating) and found.size < 8
            )
            if not small:
                return found

    def _scalar(self, *, inside: bool = False) -> CType:
        dice = self.dice
        kind = dice.random()
        if kind < 0.45:
            return self._named(dice.choice(_INTEGERS))
        if kind < 0.75:
            return self._named(dice.choice(("float", "double")))
        if kind < 0.8:
            return self._named("long double")
        if kind < 0.83 and self.model.pointer_size == 8:
            return self._named(dice.choice(("__int128", "unsigned __int128")))
        if kind < 0.86:
            return Pointer(Void(), False, self.model.pointer_size)
        if kind < 0.91:
            part = floating(self.model, dice.choice(("float", "double", "long double")))
            assert part is not None
            return Complex(part)
        if kind < 0.95 and self._vectors and (not inside or self.rules.vectors_in_aggregates):
            return self._vector()
        if kind < 0.97 and self._float16 and (not inside or self.rules.odd_aggregates):
            return self._named("_Float16")
        return self._named("double")

    def _vector(self) -> Vector:
        size = self.dice.choice(self._vectors)
        names = ("signed char", "short", "int", "float", "long long", "double")
        known = [found for found in map(self._named, names) if sized(found).size < size]
        return vector(self.model, self.dice.choice(known), size)

    def _named(self, name: str) -> CType:
        found = scalar(self.model, [name] if name in FORMAT_NAMES else name.split())
        assert found is not None
        return found

    def _struct(self, depth: int) -> Struct:
        dice = self.dice
        keyword = "union" if dice.random() < 0.15 else "struct"
        struct = Struct(f"{keyword} {self._prefix}{len(self._structs)}")
        self._structs.append(struct)
        like = (
            self._scalar(inside=True) if dice.random() < 0.35 else None
        )  # members all alike: homogeneous aggregates
        members = []
        for number in range(dice.choice((1, 1, 2, 2, 2, 3, 3, 4, 5))):
            members.append(self._member(f"m{number}", depth, like))
        packed = dice.random() < 0.06
        if packed and keyword == "union" and any(each.width for each in members):
            packed = False  # gcc and clang do not agree on misaligned bit-fields of unions on x86-64
        if not self.rules.odd_aggregates and not any(isinstance(each.type, Integer) for each in members):
            packed = False  # where gcc and clang stack a packed homogeneous aggregate on Arm differs
        align = dice.choice((8, 16)) if dice.random() < 0.05 else 0
        lay_out(struct, members, self.model, packed=packed, align=align)
        # In the order they can be declared.
        self._structs.remove(struct)
        self._structs.append(struct)
        return struct

    def _member(self, name: str, depth: int, like: CType | None) -> Declared:
        dice = self.dice
        kind = dice.random()
        if like is not None:
            ctype = like
        elif depth > 1 and kind < 0.2:
            ctype = self._struct(depth - 1)
        elif kind < 0.3:
            while True:
                ctype = self._named(
                    dice.choice(("int", "unsigned", "short", "unsigned char", "long", "long long"))
                )
                width = dice.randrange(1, 8 * sized(ctype).size + 1)
                return Declared(name, ctype, width)
        else:
            ctype = self._scalar(inside=True)
        if dice.random() < 0.15:
            ctype = Array(ctype, dice.randrange(1, 4))
        align = 16 if dice.random() < 0.02 else 0
        return Declared(name, ctype, None, align)


# ---------------------------------------------------------------- values


def mask_of(ctype: CType) -> int:
    """The bits of a type's bytes that carry a value, as a little-endian number."""
    if isinstance(ctype, Void):
        return 0
    found = 0
    for leaf in leaves(ctype):
        if leaf.bits is not None:
            found |= (1 << leaf.bits[1]) - 1 << leaf.bits[0]
        else:
            size = leaf.type.format.size if isinstance(leaf.type, Floating) else leaf.type.size
            found |= (1 << 8 * size) - 1 << 8 * leaf.offset
    return found


def value_of(ctype: CType, dice: random.Random) -> bytes:
    """The bytes of some value: random, and where there are numbers of floating point, such as they are."""
    if isinstance(ctype, Void):
        return b""
    size = sized(ctype).size
    image = bytearray(size)
    for leaf in leaves(ctype):
        kind = leaf.type
        if leaf.bits is not None:
            whole = int.from_bytes(image, "little")
            mask = (1 << leaf.bits[1]) - 1
            whole = whole & ~(mask << leaf.bits[0]) | (dice.getrandbits(leaf.bits[1]) << leaf.bits[0])
            image[:] = whole.to_bytes(size, "little")
            continue
        image[leaf.offset : leaf.offset + kind.size] = _scalar_bytes(kind, dice)
    return bytes(image)


def _scalar_bytes(kind: CType, dice: random.Random) -> bytes:
    if isinstance(kind, Floating):
        number = dice.choice((0.0, -1.5, dice.randrange(-4000, 4000) / 8, float(dice.randrange(-99, 99))))
        return encode_float(number, kind.format).to_bytes(kind.format.size, "little").ljust(kind.size, b"\0")
    if isinstance(kind, Vector):
        return b"".join(_scalar_bytes(kind.element, dice) for _ in range(kind.count))
    if isinstance(kind, Integer) and kind.is_bool:
        return bytes([dice.randrange(2)])
    if isinstance(kind, Integer) and kind.is_character:
        return bytes([dice.randrange(1, 256)])  # text in an array ends at a zero
    return dice.randbytes(sized(kind).size)


# ---------------------------------------------------------------- C

_HEAD = f"""
typedef __builtin_va_list va_list;
unsigned char seen[{_MOST}] __attribute__((aligned(64)));
unsigned char given[{_MOST}] __attribute__((aligned(64))), answer[{_MOST}] __attribute__((aligned(64)));
static __attribute__((noinline)) void copy(void *to, const void *from, unsigned size)
{{
    unsigned char *a = to;
    const unsigned char *b = from;
    while (size--)
        *a++ = *b++;
}}
"""


def source(cases: list[Case]) -> str:
    """The C of a batch."""
    return "\n".join([_HEAD, *(text for case in cases for text in _functions(case))])


def _functions(case: Case) -> Iterator[str]:
    for struct in case.structs:
        yield definition(struct)
        yield f'_Static_assert(sizeof({struct}) == {struct.size}, "size of {struct}");'
        yield f'_Static_assert(_Alignof({struct}) == {struct.alignment}, "alignment of {struct}");'
        for member in struct.members or ():
            if member.bits is None:
                yield (
                    f"_Static_assert(__builtin_offsetof({struct}, {member.name}) == {member.offset}, "
                    f'"{struct}.{member.name}");'
                )
    yield from _take(case)
    yield from _give(case)


def _take(case: Case) -> Iterator[str]:
    prototype, named = case.prototype, len(case.prototype.parameters)
    yield f"{prototype}\n{{"
    for number, (ctype, at) in enumerate(zip(case.types, case.offsets, strict=True)):
        if number == named:
            yield f"    va_list list; __builtin_va_start(list, a{named - 1});"
        if number >= named:
            yield f"    {declare(ctype, f'a{number}')} = __builtin_va_arg(list, {ctype});"
        yield f"    copy(seen + {at}, &a{number}, sizeof a{number});"
    if case.extras:
        yield "    __builtin_va_end(list);"
    if not isinstance(prototype.result, Void):
        yield f"    {declare(prototype.result, 'result')};"
        yield "    copy(&result, answer, sizeof result);\n    return result;"
    yield "}"


def _give(case: Case) -> Iterator[str]:
    number, prototype = case.number, case.prototype
    host = Prototype(f"host_{number}", prototype.result, prototype.parameters, prototype.variadic)
    yield f"extern {host};"
    yield f"void give_{number}(void)\n{{"
    names = []
    for index, (ctype, at) in enumerate(zip(case.types, case.offsets, strict=True)):
        yield f"    {declare(ctype, f'a{index}')};\n    copy(&a{index}, given + {at}, sizeof a{index});"
        names.append(f"a{index}")
    call = f"host_{number}({', '.join(names)})"
    if isinstance(prototype.result, Void):
        yield f"    {call};"
    else:
        yield f"    {declare(prototype.result, 'result')} = {call};"
        yield "    copy(seen, &result, sizeof result);"
    yield "}"

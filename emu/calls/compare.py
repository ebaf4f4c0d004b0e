"""Differences between two versions of a C type.

Structures, unions and enumerations with a tag are compared once, by `record_changes`, elsewhere by their names.
Other types are compared by structure, without regard to the names of scalars (`int32_t` is `int`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from emu.calls.types import (
    Array,
    CType,
    Enumeration,
    FunctionType,
    Member,
    Pointer,
    Prototype,
    Struct,
    declare,
    same_type,
)
from relink.records import dataclass

_UNTAGGED = frozenset({"struct", "union", "enum"})


@dataclass(frozen=True)
class TypeChange:
    """One difference. A `compatible` one leaves the layout and meaning of existing data as they are."""

    text: str
    compatible: bool = False


def is_tagged(ctype: CType) -> bool:
    """Whether it is a structure, union or enumeration with a name of its own."""
    return isinstance(ctype, Struct | Enumeration) and ctype.name not in _UNTAGGED


def alike(old: CType, new: CType, *, const: bool = True) -> bool:
    """Whether two types are the same, where types with a tag are compared by it; `const` may be left out of it."""
    if is_tagged(old) or is_tagged(new):
        return type(old) is type(new) and str(old) == str(new)
    match old, new:
        case (Pointer(), Pointer()):
            same = old.reference == new.reference and (old.const == new.const or not const)
            return same and alike(old.target, new.target, const=const)
        case (Array(), Array()):
            return old.count == new.count and alike(old.target, new.target, const=const)
        case (FunctionType(prototype=one), FunctionType(prototype=two)):
            ours, theirs = _types_of(one), _types_of(two)
            return (len(ours), one.variadic) == (len(theirs), two.variadic) and all(
                alike(left, right, const=const) for left, right in zip(ours, theirs, strict=True)
            )
        case (Struct(), Struct()):
            return not record_changes(old, new)
    return same_type(old, new)


def _types_of(prototype: Prototype) -> list[CType]:
    return [prototype.result, *(each.type for each in prototype.parameters)]


def type_change(old: CType | Prototype, new: CType | Prototype) -> TypeChange | None:
    """The difference between the types of one function or variable; None without any. Names of parameters do not
    count; a change of `const` alone is compatible.
    """
    one, two = (FunctionType(each) if isinstance(each, Prototype) else each for each in (old, new))
    if alike(one, two):
        return None
    return TypeChange(
        f"was {declare(one, _name(old))}, is {declare(two, _name(new))}", alike(one, two, const=False)
    )


def _name(ctype: CType | Prototype) -> str:
    return ctype.name if isinstance(ctype, Prototype) else ""


def record_changes(old: CType, new: CType) -> list[TypeChange]:
    """The differences between two structures, unions or enumerations of one name, members in order."""
    if isinstance(old, Enumeration) and isinstance(new, Enumeration):
        return list(_enumeration(old, new))
    if isinstance(old, Struct) and isinstance(new, Struct):
        return list(_structure(old, new))
    return [TypeChange(f"was {declare(old)}, is {declare(new)}")]


def _enumeration(old: Enumeration, new: Enumeration) -> Iterator[TypeChange]:
    if (old.size, old.signed) != (new.size, new.signed):
        yield TypeChange(f"its size was {_bytes(old.size)}, is {_bytes(new.size)}, or its sign differs")
    before, after = dict(old.values), dict(new.values)
    for name, value in before.items():
        if name not in after:
            yield TypeChange(f"{name} (= {value}) is gone")
        elif after[name] != value:
            yield TypeChange(f"{name} was {value}, is {after[name]}")
    for name in after.keys() - before.keys():
        yield TypeChange(f"{name} = {after[name]} is new", compatible=True)


def _structure(old: Struct, new: Struct) -> Iterator[TypeChange]:
    if old.members is None or new.members is None:
        return  # one of them is only declared, and can be used only through pointers
    if old.size != new.size:
        yield TypeChange(f"its size was {_bytes(old.size)}, is {_bytes(new.size)}")
    if old.alignment != new.alignment:
        yield TypeChange(f"its alignment was {_bytes(old.alignment)}, is {_bytes(new.alignment)}")
    before, after = old.fields, new.fields
    for name, member in before.items():
        if name not in after:
            yield TypeChange(f"member {name} ({declare(member.type)}) is gone")
        else:
            yield from _member(name, member, after[name])
    for name in after:
        if name not in before:
            added = f"member {name} ({declare(after[name].type)}) is new, at offset {after[name].offset}"
            yield TypeChange(added, compatible=True)


def _member(name: str, old: Member, new: Member) -> Iterator[TypeChange]:
    if not alike(old.type, new.type):
        yield TypeChange(f"member {name} was {declare(old.type)}, is {declare(new.type)}")
    if (old.offset, old.bits) != (new.offset, new.bits):
        yield TypeChange(f"member {name} was at {_place(old)}, is at {_place(new)}")


def _place(member: Member) -> str:
    return f"offset {member.offset}" if member.bits is None else "bit {} with a width of {}".format(*member.bits)


def _bytes(size: int | None) -> str:
    return f"{size} byte{'' if size == 1 else 's'}"


class TypeUses:
    """The structures, unions and enumerations with a tag that named things refer to, and by which of them."""

    def __init__(self, roots: Mapping[str, Iterable[CType]]) -> None:
        self.types: dict[str, CType] = {}  #: by tag with its keyword; complete where any mention is
        self._users: defaultdict[str, set[str]] = defaultdict(set)  # tag -> tags and things that mention it
        self._things = dict(roots)
        pending = [(name, ctype) for name, types in roots.items() for ctype in types]
        while pending:
            user, ctype = pending.pop()
            for tagged in _mentions(ctype):
                tag = str(tagged)
                self._users[tag].add(user)
                if tag not in self.types or (_is_declared_only(self.types[tag]) and not _is_declared_only(tagged)):
                    self.types[tag] = tagged
                    pending += [(tag, each) for each in _parts(tagged)]

    def of(self, tag: str) -> list[str]:
        """The names of the things that refer to a type, directly or through others, sorted."""
        found, pending = set[str](), [tag]
        while pending:
            for user in self._users[pending.pop()] - found:
                found.add(user)
                pending.append(user)
        return sorted(found & self._things.keys())


def _mentions(ctype: CType) -> Iterator[CType]:
    """The types with a tag in a type, without those inside them."""
    pending = [ctype]
    while pending:
        each = pending.pop()
        if is_tagged(each):
            yield each
        else:
            pending += _parts(each)


def _is_declared_only(ctype: CType) -> bool:
    return isinstance(ctype, Struct) and ctype.members is None


def _parts(ctype: CType) -> list[CType]:
    """The types that a type is made of."""
    match ctype:
        case Pointer() | Array():
            return [ctype.target]
        case FunctionType(prototype=prototype):
            return _types_of(prototype)
        case Struct():
            return [member.type for member in ctype.members or ()]
    return []

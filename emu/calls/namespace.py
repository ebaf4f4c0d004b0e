"""The types of a header or of an image by name, as Python classes: `types.point(x=1, y=2)`."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emu.calls.describe import described
from emu.calls.prototypes import parse_prototype, parse_type
from emu.calls.records import record_class, unpacker
from emu.calls.scope import Scope
from emu.calls.store import GuestStore, View
from emu.calls.types import CType, Enumeration, Prototype, Struct, sized
from emu.errors import CallError
from emu.isa.convention import CallingConvention

if TYPE_CHECKING:
    from emu.ports import Memory

_KEYWORDS = ("struct", "union", "enum")


class Types(Mapping[str, Any]):
    """Types by name: a structure or union as the class of its values, an enumeration as an IntEnum, others as
    types.

    A name is a typedef or a tag, with or without its keyword: `types.point`, `types["struct point"]`. `functions`
    and `constants` are the other declarations of a header.
    """

    def __init__(self, rules: CallingConvention, scope: Scope, source: str, problems: Sequence[str] = ()) -> None:
        self._rules = rules
        self.scope = scope
        self._source = source
        self.problems = tuple(problems)  #: a sentence for each declaration that was not understood
        self._enums: dict[str, type[enum.IntEnum]] = {}
        #: Prototypes by name.
        self.functions: Mapping[str, Prototype] = scope.functions
        #: Enumerators and integer macros.
        self.constants: Mapping[str, int] = scope.constants

    @cached_property
    def _known(self) -> dict[str, CType]:
        return {**self.scope.tags, **self.scope.typedefs}

    def ctype(self, text: str) -> CType:
        """The type for C text with these types, such as "struct point *" or "point[3]". Raises CallError."""
        return parse_type(text, self._rules.arch, self.scope)

    def prototype(self, text: str) -> Prototype:
        """The prototype for C text with these types, or for the name of a declared function. Raises CallError."""
        if text in self.functions:
            return self.functions[text]
        return parse_prototype(text, self._rules.arch, self.scope)

    def key(self, name: str) -> str | None:
        """The full name of a type that may lack its keyword; None where there is no such type."""
        keys = (name, *(f"{keyword} {name}" for keyword in _KEYWORDS))
        return next((key for key in keys if key in self._known), None)

    def __getitem__(self, name: str) -> Any:
        if (key := self.key(name)) is None:
            raise KeyError(name)
        return self._python(key, self._known[key])

    def _python(self, name: str, ctype: CType) -> Any:
        if isinstance(ctype, Struct) and ctype.members is not None:
            return record_class(self._rules, ctype)
        if isinstance(ctype, Enumeration) and ctype.values:
            if name not in self._enums:
                self._enums[name] = _enum_class(name.partition(" ")[2] or name, ctype)
            return self._enums[name]
        return ctype

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.scope.constants and name not in self:
            return self.scope.constants[name]
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self._source} has no type {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __dir__(self) -> list[str]:
        plain = (name.rpartition(" ")[2] for name in self._known)
        return sorted({*object.__dir__(self), *plain, *self.scope.constants})

    def __repr__(self) -> str:
        return f"<Types of {self._source}: {len(self)} names>"

    def describe(self, name: str) -> str:
        """C for a type, with the offsets of its members. Raises CallError for an unknown name."""
        if (key := self.key(name)) is None:
            raise CallError(f"{self._source} has no type {name!r}")
        return described(key, self._known[key])


def _enum_class(name: str, ctype: Enumeration) -> type[enum.IntEnum]:
    make: Any = enum.IntEnum
    made: type[enum.IntEnum] = make(name, list(ctype.values))
    return made


def view_at(memory: Memory, rules: CallingConvention, address: int, ctype: str | CType | type[View]) -> Any:
    """The value at a guest address, read as a C type. Raises CallError."""
    if not hasattr(address, "__index__"):
        raise CallError(f"{address!r} is no address: give an int")
    if isinstance(ctype, str):
        ctype = parse_type(ctype, rules.arch)
    kind: CType = ctype._ctype_ if isinstance(ctype, type) else ctype
    return unpacker(rules, sized(kind))(GuestStore(memory, address), 0)

"""The names that C text may use: those of the C and POSIX headers, and those that other text has declared."""

from __future__ import annotations

from typing import Any

from emu.calls.basic import FORMAT_NAMES, integer, scalar
from emu.calls.typedefs import INTEGERS, POINTERS, STRUCTS, TYPEDEFS, VA_LISTS
from emu.calls.types import CType, Enumeration, Integer, Pointer, Prototype, Struct, VaListType, Void
from emu.errors import CallError
from emu.isa.convention import DataModel
from relink.records import dataclass, field


@dataclass
class Scope:
    """The names known to C text, and those it has declared. Tags include their keyword: "struct point"."""

    typedefs: dict[str, CType] = field(default_factory=dict)
    tags: dict[str, Struct | Enumeration] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    functions: dict[str, Prototype] = field(default_factory=dict)
    variables: dict[str, CType] = field(default_factory=dict)

    def add(self, name: str, ctype: CType) -> None:
        """Add a type by its tag, with the keyword, or by the name of a typedef."""
        if name.partition(" ")[0] in ("struct", "union", "enum") and isinstance(ctype, Struct | Enumeration):
            self.tags[name] = ctype
            if isinstance(ctype, Enumeration):
                self.constants |= dict(ctype.values)
        else:
            self.typedefs[name] = ctype

    def update(self, other: Scope) -> None:
        """Add the declarations of another scope, replacing the same names."""
        for mine, theirs in zip(self._tables(), other._tables(), strict=True):
            mine.update(theirs)

    def _tables(self) -> list[dict[str, Any]]:
        return [self.typedefs, self.tags, self.constants, self.functions, self.variables]

    def is_typedef(self, word: str) -> bool:
        """Whether a word names a type, and is no keyword."""
        return word in TYPEDEFS or word in FORMAT_NAMES or word in self.typedefs

    def named(self, model: DataModel, words: list[str]) -> CType:
        """The type for a list of specifier words. Raises CallError."""
        spelt = " ".join(words)
        if len(words) == 1 and (known := self._typedef(model, spelt)) is not None:
            return known
        found = Void() if words == ["void"] else scalar(model, words)
        if found is None:
            raise CallError(f"{spelt} is not a C type")
        return found

    def _typedef(self, model: DataModel, name: str) -> CType | None:
        if name in VA_LISTS:
            return VaListType(model.pointer_size)
        if name == "wchar_t":
            return Integer(4, model.wchar_signed, name)
        if (known := self.typedefs.get(name)) is not None:
            return known
        if name in INTEGERS:
            width, signed = INTEGERS[name]
            return integer(model, getattr(model, width) if isinstance(width, str) else width, signed, name)
        if name in STRUCTS:
            return Struct(name)
        if name in POINTERS:
            return Pointer(Struct(name), False, model.pointer_size)
        if name in ("float_t", "double_t"):
            return self.named(model, ["long", "double"] if model.extended_float_t else [name.removesuffix("_t")])
        return None

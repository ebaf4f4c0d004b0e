"""C text for the functions and types that DWARF describes; `relink.elf.dwarf` finds the DIEs.

Typedefs and enums are resolved to basic types, so that the text needs no other declarations. `va_list` and
`wchar_t` keep their names, because calls treat them specially. A type that C cannot express or a call cannot pass
raises a DebugInfoError that names it; it is never replaced by another type of the same size.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from relink.arch import architecture_of
from relink.elf.dwarf_info import DebugInformation, text_of
from relink.elf.dwarf_parameters import BY_REFERENCE, lengths_last, passed_by_reference
from relink.errors import DebugInfoError

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

MAX_DEPTH = 32  #: limit for nested types; deeper nesting is damaged or useless
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_C_WORDS = frozenset("char short int long signed unsigned float double __int128 _Bool".split())
_KEYWORDS = _C_WORDS | frozenset(
    """
    auto bool break case const continue default do else enum extern false for goto if inline register restrict
    return sizeof static struct switch true typedef union void volatile while
""".split()
)
#: Typedefs, and on x86-64 the structure behind va_list, that keep their names.
KEPT_TYPEDEFS = {
    "va_list": "va_list",
    "__builtin_va_list": "va_list",
    "__gnuc_va_list": "va_list",
    "wchar_t": "wchar_t",
}
VA_LIST_TAG = "__va_list_tag"  #: AMD64 psABI, 3.5.7: va_list is an array of one of these
_ADDRESS, _BOOLEAN, _FLOAT, _SIGNED, _UNSIGNED = 0x01, 0x02, 0x04, 0x05, 0x07
#: DW_ATE_* (DWARF 5, table 7.11) -> C type by size in bytes, for base types with a name that C does not have.
ENCODINGS: dict[int, dict[int, str]] = {
    _ADDRESS: {4: "void *", 8: "void *"},
    _BOOLEAN: {1: "_Bool", 2: "int16_t", 4: "int32_t", 8: "int64_t"},  # Fortran's logical kinds
    _FLOAT: {4: "float", 8: "double", 10: "long double", 12: "long double", 16: "long double"},
    _SIGNED: {1: "int8_t", 2: "int16_t", 4: "int32_t", 8: "int64_t", 16: "__int128"},
    _UNSIGNED: {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t", 16: "unsigned __int128"},
    0x06: {1: "signed char"},
    0x08: {1: "unsigned char", 2: "uint16_t", 4: "uint32_t"},  # the second and third of D
    0x10: {1: "uint8_t", 2: "uint16_t", 4: "uint32_t"},  # DW_ATE_UTF
    0x11: {4: "uint32_t"},  # DW_ATE_UCS
    0x12: {1: "char"},  # DW_ATE_ASCII
}
QUALIFIERS = {
    "DW_TAG_const_type": "const",
    "DW_TAG_volatile_type": "volatile",
    "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "",
    "DW_TAG_immutable_type": "",
    "DW_TAG_shared_type": "",
    "DW_TAG_packed_type": "",
}
POINTERS = frozenset({"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"})
AGGREGATES = {
    "DW_TAG_structure_type": "struct",
    "DW_TAG_class_type": "struct",
    "DW_TAG_interface_type": "struct",
    "DW_TAG_union_type": "union",
}
_C_LANGUAGES = frozenset({0x01, 0x02, 0x0C, 0x1D, 0x2C})  #: DW_LANG_C89, C, C99, C11, C17
_PACKS = frozenset({"DW_TAG_GNU_formal_parameter_pack"})
#: Names of binary128 where `long double` is another format (x87's, on x86).
QUADRUPLE = re.compile(r"__float128|_Float128|real\(kind=16\)|(float|real|f)128", re.IGNORECASE)
#: Types that are passed in special registers or have a format that calls do not support.
REFUSED_ENCODINGS = {
    0x03: "complex",
    0x09: "imaginary",
    0x0F: "decimal",
    0x0D: "fixed-point",
    0x0E: "fixed-point",
}


class Passing(enum.Enum):
    """How an argument arrives; the values are what C puts before the parameter's name."""

    VALUE = ""
    REFERENCE = "&"  #: a number, by its address
    POINTER = "*"  #: something larger, by its address
    TEXT = "char *"  #: the characters of a string


class Formal(NamedTuple):
    """A parameter: `type` is that of the value, or of what a pointer points at."""

    name: str
    type: DIE | None
    passing: Passing
    promoted: bool = False  #: whether a float arrives as a double


class NotCError(Exception):
    """A type that C cannot express or a call cannot pass; the message names it."""


class Writer:
    """Writes C text for DIEs of one image's debug information. Methods raise DebugInfoError."""

    def __init__(self, information: DebugInformation) -> None:
        self._information = information
        self._source = information.sections.source
        self._arch = architecture_of(information.sections.machine, information.sections.bits)

    def prototype(self, die: DIE, function: str, language: int) -> str:
        """The C prototype of the subprogram `die`, with the name `function`; `language` is DW_AT_language of its
        unit.
        """
        name = function if _IDENTIFIER.fullmatch(function) and function not in _KEYWORDS else "function"
        try:
            return self._declare(self.type_of(die), f"{name}({self._parameters(die, 0, language)})", 0)
        except NotCError as error:
            raise DebugInfoError(self._source, f"{function}: {error}") from None

    def type(self, die: DIE, variable: str) -> str:
        """The C type of a variable."""
        try:
            return self._declare(self.type_of(die), "", 0)
        except NotCError as error:
            raise DebugInfoError(self._source, f"{variable}: {error}") from None

    # ------------------------------------------------------------ attributes

    def origins(self, die: DIE) -> Iterator[DIE]:
        """The DIE, then its specifications and abstract origins (DWARF 5, 2.13.2 and 3.3.8)."""
        for _ in range(MAX_DEPTH):
            yield die
            for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
                if attribute in die.attributes:
                    die = self._information.referred(die, attribute)
                    break
            else:
                return

    def attribute(self, die: DIE, name: str) -> Any:
        """An attribute's value, from the DIE or one of its `origins`; None if absent."""
        return next((each.attributes[name].value for each in self.origins(die) if name in each.attributes), None)

    def string(self, die: DIE, name: str) -> str | None:
        for each in self.origins(die):
            if name in each.attributes:
                value = text_of(each, each.attributes[name])
                return None if value is None else value.decode("utf-8", "replace")
        return None

    def type_of(self, die: DIE) -> DIE | None:
        """The type that DW_AT_type refers to; None means void. A type unit is replaced by its type."""
        for each in self.origins(die):
            if "DW_AT_type" in each.attributes:
                return self._whole(self._information.referred(each, "DW_AT_type"))
        return None

    def _whole(self, die: DIE) -> DIE:
        """The type itself when `die` is a declaration that names a type unit (DW_AT_signature), else `die`."""
        if "DW_AT_signature" in die.attributes and "DW_AT_declaration" in die.attributes:
            return self._information.referred(die, "DW_AT_signature")
        return die

    # ------------------------------------------------------------ parameters

    def formals(self, die: DIE, language: int) -> tuple[list[Formal], bool]:
        """The parameters of a function, as they are passed, and whether others may follow. Raises NotCError."""
        declared = list(self.declared_parameters(die))
        formals = [child for child in declared if child.tag == "DW_TAG_formal_parameter"]
        if language in BY_REFERENCE:
            formals = lengths_last(formals, [self.string(child, "DW_AT_name") or "" for child in formals])
        # Defined without a prototype (K&R): float arguments are passed as double (C11, 6.5.2.2).
        promoted = language in _C_LANGUAGES and die.tag == "DW_TAG_subprogram" and not self._prototyped(die)
        found = [self._formal(die, child, language)._replace(promoted=promoted) for child in formals]
        return found, any(child.tag == "DW_TAG_unspecified_parameters" for child in declared)

    def _parameters(self, die: DIE, depth: int, language: int) -> str:
        """The parameter list, without parentheses."""
        formals, variadic = self.formals(die, language)
        parts = [
            self._declare(each.type, f"{each.passing.value}{each.name}", depth + 1)
            if each.passing is not Passing.TEXT
            else f"char *{each.name}"
            for each in formals
        ]
        if formals and formals[0].promoted:
            parts = [re.sub(r"^(const |volatile )*float\b(?! *[*\[(])", r"\1double", part) for part in parts]
        return ", ".join(parts + ["..."] * variadic) if parts else "void"

    def _prototyped(self, die: DIE) -> bool:
        return bool(self.attribute(die, "DW_AT_prototyped"))

    def declared_parameters(self, die: DIE) -> Iterator[DIE]:
        """The parameters of the DIE, or of its `origins` when it has none."""
        for each in self.origins(die):
            found = [
                child
                for child in _children(each)
                if child.tag in ("DW_TAG_formal_parameter", "DW_TAG_unspecified_parameters")
            ]
            if found:
                yield from found
                return

    def _formal(self, function: DIE, die: DIE, language: int) -> Formal:
        name = self._parameter_name(die)
        target = self.type_of(die)
        if language not in BY_REFERENCE or function.tag != "DW_TAG_subprogram":
            return Formal(name, target, Passing.VALUE)
        told = None if target is None else passed_by_reference(die, self._arch, language)
        if told is None and target is not None and _is_scalar(target):
            raise NotCError(f"its debug information does not tell how parameter {name or '?'} is passed")
        if not told or target is None:
            return Formal(name, target, Passing.VALUE)
        under = self.unqualified(target)
        if "DW_AT_data_location" in under.attributes or "DW_AT_allocated" in under.attributes:
            raise NotCError(f"parameter {name or '?'} is an array descriptor of its language")
        if under.tag == "DW_TAG_string_type":
            return Formal(name, None, Passing.TEXT)
        if under.tag == "DW_TAG_array_type":
            return Formal(name, self.type_of(under), Passing.POINTER)
        return Formal(name, target, Passing.POINTER if under.tag in AGGREGATES else Passing.REFERENCE)

    def _parameter_name(self, die: DIE) -> str:
        name = self.string(die, "DW_AT_name") or ""
        # A parameter named like a common typedef would be parsed as a type.
        fine = _IDENTIFIER.fullmatch(name) and name not in _KEYWORDS and not name.endswith("_t")
        return name if fine else ""

    # ------------------------------------------------------------ types

    def _declare(self, die: DIE | None, declarator: str, depth: int) -> str:
        """The C declaration of `declarator` with the type `die` (None: void), built from the inside out as in C's
        grammar.
        """
        if depth > MAX_DEPTH:
            raise NotCError("its type is nested too deeply")
        tag = "" if die is None else die.tag
        if die is None:
            return f"void {declarator}".rstrip()
        if tag in POINTERS:
            return self._pointer(die, declarator, depth)
        if tag in QUALIFIERS:
            return self._qualify(die, declarator, depth)
        if tag == "DW_TAG_array_type":
            if "DW_AT_GNU_vector" in die.attributes:
                element = self._declare(self.type_of(die), "", depth + 1)
                raise NotCError(f"a vector of {element} cannot be passed by value")
            return self._declare(self.type_of(die), declarator + self._bounds(die), depth + 1)
        if tag == "DW_TAG_subroutine_type":
            return self._declare(self.type_of(die), f"{declarator}({self._parameters(die, depth, 0)})", depth + 1)
        if tag == "DW_TAG_typedef":
            return self._typedef(die, declarator, depth)
        return f"{self._basic(die)} {declarator}".rstrip()

    def _pointer(self, die: DIE, declarator: str, depth: int) -> str:
        target = self.type_of(die)
        if target is not None and self.string(self.unqualified(target), "DW_AT_name") == VA_LIST_TAG:
            return f"va_list {declarator}".rstrip()
        inner = f"*{declarator}"
        if target is not None and self.unqualified(target).tag in ("DW_TAG_subroutine_type", "DW_TAG_array_type"):
            inner = f"({inner})"
        shown = self._behind_pointer(target)
        return self._declare(shown, inner if shown is target else f"*{declarator}", depth + 1)

    def _typedef(self, die: DIE, declarator: str, depth: int) -> str:
        name = self.string(die, "DW_AT_name") or ""
        if name in KEPT_TYPEDEFS:
            return f"{KEPT_TYPEDEFS[name]} {declarator}".rstrip()
        target = self.type_of(die)
        if target is not None and target.tag in AGGREGATES and not self.string(target, "DW_AT_name"):
            return f"{AGGREGATES[str(target.tag)]} {_checked(name)} {declarator}".rstrip()
        return self._declare(target, declarator, depth + 1)

    def _qualify(self, die: DIE, declarator: str, depth: int) -> str:
        """Add a qualifier: after the star of a pointer, before any other type."""
        target = self.type_of(die)
        word = QUALIFIERS[str(die.tag)]
        if target is None or self.unqualified(target).tag not in POINTERS:
            return f"{word if word != 'restrict' else ''} {self._declare(target, declarator, depth + 1)}".strip()
        return self._declare(target, f"{word} {declarator}".strip(), depth + 1)

    def unqualified(self, die: DIE) -> DIE:
        """The type under qualifiers and typedefs."""
        for _ in range(MAX_DEPTH):
            if die.tag not in QUALIFIERS and die.tag != "DW_TAG_typedef":
                break
            target = self.type_of(die)
            if target is None:
                break
            die = target
        return die

    def _behind_pointer(self, die: DIE | None) -> DIE | None:
        """The target type of a pointer; void when C cannot express it."""
        if die is None:
            return None
        under = self.unqualified(die)
        if under.tag in AGGREGATES:
            return die if _IDENTIFIER.fullmatch(self.string(under, "DW_AT_name") or "") else None
        try:
            self._declare(die, "", 1)
        except (NotCError, DebugInfoError):
            # also for a type in a file that was not found: the pointer is passed the same way
            return None
        return die

    def _basic(self, die: DIE) -> str:
        """The name of a type that C writes before the declarator."""
        tag = str(die.tag)
        name = self.string(die, "DW_AT_name") or ""
        size = self.attribute(die, "DW_AT_byte_size")
        if tag in AGGREGATES:
            return f"{AGGREGATES[tag]} {_checked(name)}"
        if tag == "DW_TAG_enumeration_type":
            return self._enumeration(die, name, size)
        if tag == "DW_TAG_subrange_type" and (under := self.type_of(die)) is not None:
            return self._declare(under, "", 1)
        if tag == "DW_TAG_unspecified_type":
            if "nullptr" in name:
                return "void *"
            raise NotCError(f"a value of type {name or 'that is not specified'} cannot be passed")
        if tag == "DW_TAG_string_type" and size == 1:
            return "char"
        if tag == "DW_TAG_base_type":
            return self._base(die, name, size)
        kind = tag.removeprefix("DW_TAG_").replace("_", " ")
        raise NotCError(f"a value of {f'type {name}' if name else f'a {kind}'} cannot be passed")

    def _base(self, die: DIE, name: str, size: object) -> str:
        encoding = self.attribute(die, "DW_AT_encoding")
        refused = REFUSED_ENCODINGS.get(encoding)
        separate = self._arch is not None and self._arch.separate_float128
        foreign = separate and encoding == _FLOAT and QUADRUPLE.fullmatch(name)
        if refused is not None or foreign or name.startswith("_BitInt") or "unsigned _BitInt" in name:
            raise NotCError(f"a value of {f'the {refused} ' if refused else ''}type {name} cannot be passed")
        if name and set(name.split()) <= _C_WORDS:
            return name
        text = ENCODINGS.get(encoding, {}).get(size) if isinstance(size, int) else None
        if text is None:
            raise NotCError(f"a value of type {name or '?'} ({size} bytes) cannot be passed")
        return text

    def _enumeration(self, die: DIE, name: str, size: object) -> str:
        """The integer type of an enumeration: its DW_AT_type, else a signed type when an enumerator is
        negative.
        """
        under = self.type_of(die)
        if under is not None:
            return self._declare(under, "", 1)
        values = [
            child.attributes["DW_AT_const_value"].value
            for child in die.iter_children()
            if "DW_AT_const_value" in child.attributes
        ]
        negative = any(isinstance(value, int) and value < 0 for value in values)
        text = ENCODINGS[_SIGNED if negative else _UNSIGNED].get(size) if isinstance(size, int) else None
        if text is None:
            raise NotCError(f"a value of type enum {name} ({size} bytes) cannot be passed")
        return text

    def _bounds(self, die: DIE) -> str:
        """`[n]` for each dimension; `[]` when the bound is not a constant."""
        text = ""
        for child in die.iter_children():
            if child.tag != "DW_TAG_subrange_type":
                continue
            count = self.attribute(child, "DW_AT_count")
            upper = self.attribute(child, "DW_AT_upper_bound")
            if count is None and isinstance(upper, int):
                count = upper + 1
            text += f"[{count}]" if isinstance(count, int) and count > 0 else "[]"
        return text or "[]"


def _children(die: DIE) -> Iterator[DIE]:
    """The DIE's children; a C++ parameter pack is replaced by its children."""
    for child in die.iter_children():
        if child.tag in _PACKS:
            yield from child.iter_children()
        else:
            yield child


def _is_scalar(die: DIE) -> bool:
    return die.tag in ("DW_TAG_base_type", "DW_TAG_enumeration_type")


def _checked(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) and name not in _KEYWORDS else "unnamed"

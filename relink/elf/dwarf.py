"""C prototypes and variable types out of DWARF.

A library built with `-g` says what its functions take. `prototype(decoded, "add")` gives that as C text
("int add(int a, double b)"), with typedefs and enums resolved to basic types, so that the text stands alone;
`va_list` and `wchar_t` keep their names, for callers treat them apart. Functions are found by the name of
their symbol: DW_AT_linkage_name where there is one (C++, Rust), else DW_AT_name.

Reading is lazy: compilation units are walked, top level only, until the name turns up. Nothing outside the
file is followed (no split or separate debug files). DWARF is a hint: when it is broken or in a form that is
not understood, the answer is None. A linked relocatable object brings debug sections that are relocated
(`Decoded.debug_sections`); of one that is not linked, pyelftools relocates those of x86 and Arm only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from relink.elf.decode import Decoded
from relink.elf.dwarf_info import debug_info
from relink.elf.objects import ObjectFile

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

__all__ = ["DebugTypes", "debug_types", "prototype", "prototypes", "variable_type"]

Source = Decoded | ObjectFile | str | os.PathLike[str]

_MAX_DEPTH = 32  #: of types within types; deeper is broken or not worth it
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_C_WORDS = frozenset({
    "char", "short", "int", "long", "signed", "unsigned", "float", "double", "__int128", "_Bool",
})  # fmt: skip
_KEYWORDS = _C_WORDS | frozenset(
    {
        "auto",
        "bool",
        "break",
        "case",
        "const",
        "continue",
        "default",
        "do",
        "else",
        "enum",
        "extern",
        "false",
        "for",
        "goto",
        "if",
        "inline",
        "register",
        "restrict",
        "return",
        "sizeof",
        "static",
        "struct",
        "switch",
        "true",
        "typedef",
        "union",
        "void",
        "volatile",
        "while",
    }
)
#: Typedefs (and, on x86-64, the structure) that keep their names.
_KEPT = {
    "va_list": "va_list",
    "__builtin_va_list": "va_list",
    "__gnuc_va_list": "va_list",
    "wchar_t": "wchar_t",
}
_VA_LIST_TAG = "__va_list_tag"  #: AMD64 psABI, 3.5.7: va_list is an array of one of these
#: DW_ATE_* (DWARF 5, table 7.11) -> C type by size in bytes, for base types whose name is not C's.
_ENCODINGS: dict[int, dict[int, str]] = {
    0x02: {1: "_Bool"},
    0x04: {4: "float", 8: "double", 10: "long double", 12: "long double", 16: "long double"},
    0x05: {1: "int8_t", 2: "int16_t", 4: "int32_t", 8: "int64_t", 16: "__int128"},
    0x07: {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t", 16: "unsigned __int128"},
    0x06: {1: "signed char"},
    0x08: {1: "unsigned char"},
    0x10: {1: "uint8_t", 2: "uint16_t", 4: "uint32_t"},
}
_QUALIFIERS = {
    "DW_TAG_const_type": "const",
    "DW_TAG_volatile_type": "volatile",
    "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "",
}
_POINTERS = frozenset({"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"})
_AGGREGATES = {
    "DW_TAG_structure_type": "struct",
    "DW_TAG_class_type": "struct",
    "DW_TAG_union_type": "union",
}


class _NotCError(Exception):
    """A type C has no words for."""


class _Place(NamedTuple):
    """A DIE found: whether it is a definition, so that it wins over declarations."""

    die: DIE
    defined: bool


def prototype(source: Source, function: str) -> str | None:
    """The C prototype of the function whose symbol is `function`, or None if DWARF does not tell."""
    return debug_types(source).prototype(function)


def variable_type(source: Source, name: str) -> str | None:
    """The C type of the variable whose symbol is `name` ("int", "double [4]"), or None if unknown."""
    return debug_types(source).variable_type(name)


def prototypes(source: Source) -> Mapping[str, str]:
    """Every function DWARF can tell the prototype of, by symbol name. Prototypes are made when asked for."""
    return debug_types(source).prototypes()


_KNOWN: WeakKeyDictionary[Decoded | ObjectFile, DebugTypes] = WeakKeyDictionary()


def debug_types(source: Source, sections: Mapping[str, bytes] | None = None) -> DebugTypes:
    """The debug information of an image; what was walked is kept as long as the `Decoded` or `ObjectFile`.

    `sections`, by name (".debug_info"), are read in place of the image's own: those of a relocatable object,
    relocated and decompressed. The result is then the caller's to keep.
    Raises OSError for a path that cannot be read.
    """
    if not isinstance(source, Decoded | ObjectFile):
        return DebugTypes(Path(source).read_bytes(), sections)
    if sections is None and source in _KNOWN:
        return _KNOWN[source]
    given = sections
    if given is None and isinstance(source, Decoded):
        given = source.debug_sections
    types = DebugTypes(memoryview(source.data), given, source.header.bits // 8)  # type: ignore[arg-type]
    if sections is None:
        _KNOWN[source] = types
    return types


class DebugTypes:
    """The functions and variables one file's DWARF describes. Methods answer None rather than raise."""

    def __init__(
        self, data: bytes | memoryview, sections: Mapping[str, bytes] | None = None, word_size: int = 8
    ) -> None:
        self._functions: dict[str, _Place] = {}
        self._variables: dict[str, _Place] = {}
        self._walk = _guarded(_units(data, sections, word_size))

    def prototype(self, function: str) -> str | None:
        """The C prototype of a function, or None."""
        place = self._find(self._functions, function)
        return None if place is None else _text(place.die, function)

    def variable_type(self, name: str) -> str | None:
        """The C type of a variable, or None."""
        place = self._find(self._variables, name)
        return None if place is None else _text(place.die, None)

    def prototypes(self) -> Mapping[str, str]:
        """All prototypes, as `prototypes` of the module has them."""
        self._find(self._functions, None)
        return _Prototypes(self._functions)

    def _find(self, table: dict[str, _Place], name: str | None) -> _Place | None:
        """Walk on until `name` is found in `table` as a definition; None walks to the end."""
        found = table.get(name) if name is not None else None
        while found is None or not found.defined:
            try:
                die = next(self._walk)
            except StopIteration:
                break
            self._enter(die)
            found = table.get(name) if name is not None else None
        return found

    def _enter(self, die: DIE) -> None:
        table = self._variables if die.tag == "DW_TAG_variable" else self._functions
        try:
            symbol = _symbol_of(die)
        except Exception:  # whatever pyelftools makes of bytes that are not DWARF
            return
        if symbol is None:
            return
        defined = "DW_AT_declaration" not in die.attributes
        if symbol not in table or (defined and not table[symbol].defined):
            table[symbol] = _Place(die, defined)


@dataclass(frozen=True)
class _Prototypes(Mapping[str, str]):
    """Prototype texts by symbol, made on demand."""

    places: Mapping[str, _Place]
    _texts: dict[str, str | None] = field(default_factory=dict)

    def __getitem__(self, function: str) -> str:
        if function not in self._texts:
            self._texts[function] = _text(self.places[function].die, function)
        if (text := self._texts[function]) is None:
            raise KeyError(function)
        return text

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.places if name in self)

    def __contains__(self, function: object) -> bool:
        return isinstance(function, str) and self.get(function) is not None

    def __len__(self) -> int:
        return sum(1 for _ in self)


# ---------------------------------------------------------------- walking


def _guarded(walk: Iterator[DIE]) -> Iterator[DIE]:
    """The same, ending where the bytes stop making sense."""
    try:
        yield from walk
    except Exception:  # pyelftools raises whatever its parsing meets: KeyError, struct errors, assertions
        return


def _units(data: bytes | memoryview, sections: Mapping[str, bytes] | None, word_size: int) -> Iterator[DIE]:
    """Functions and variables at the top level of every unit, and in namespaces."""
    info = debug_info(data, sections, word_size)
    if info is None:
        return
    for unit in info.iter_CUs():
        yield from _members(unit.get_top_DIE(), 0)


def _members(parent: DIE, depth: int) -> Iterator[DIE]:
    last = parent.offset
    for die in parent.iter_children():
        if die.offset <= last:  # DW_AT_sibling leads back: a loop
            return
        last = die.offset
        if die.tag in ("DW_TAG_subprogram", "DW_TAG_variable"):
            yield die
        elif die.tag == "DW_TAG_namespace" and depth < _MAX_DEPTH:
            yield from _members(die, depth + 1)


def _origins(die: DIE) -> Iterator[DIE]:
    """The DIE and those it completes (DWARF 5, 2.13.2 and 3.3.8)."""
    for _ in range(_MAX_DEPTH):
        yield die
        for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if attribute in die.attributes:
                die = die.get_DIE_from_attribute(attribute)
                break
        else:
            return


def _attribute(die: DIE, name: str) -> Any:
    """An attribute's value, of the DIE or what it completes; None if absent."""
    return next((each.attributes[name].value for each in _origins(die) if name in each.attributes), None)


def _string(die: DIE, name: str) -> str | None:
    value = _attribute(die, name)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def _symbol_of(die: DIE) -> str | None:
    for name in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name"):
        if symbol := _string(die, name):
            return symbol
    return None


def _type_of(die: DIE) -> DIE | None:
    """What DW_AT_type refers to; None means void."""
    for each in _origins(die):
        if "DW_AT_type" in each.attributes:
            return each.get_DIE_from_attribute("DW_AT_type")
    return None


# ---------------------------------------------------------------- writing C


def _text(die: DIE, function: str | None) -> str | None:
    """The prototype of a subprogram named `function`, or the type of a variable; None if C cannot say it."""
    try:
        if function is None:
            return _declare(_type_of(die), "", 0)
        name = function if _IDENTIFIER.fullmatch(function) and function not in _KEYWORDS else "function"
        return _declare(_type_of(die), f"{name}({_parameters(die, 0)})", 0)
    except Exception:  # _NotCError, and whatever pyelftools makes of bytes that are not DWARF
        return None


def _parameters(die: DIE, depth: int) -> str:
    """The inside of the parentheses."""
    parts = []
    variadic = False
    for child in die.iter_children():
        if child.tag == "DW_TAG_formal_parameter":
            parts.append(_declare(_type_of(child), _parameter_name(child), depth + 1))
        variadic = variadic or child.tag == "DW_TAG_unspecified_parameters"
    if not parts:  # `()` of C before C23 tells nothing of its parameters
        return "void"
    return ", ".join(parts + ["..."] * variadic)


def _parameter_name(die: DIE) -> str:
    name = _string(die, "DW_AT_name") or ""
    # A name that is also a common typedef would read as a type.
    fine = _IDENTIFIER.fullmatch(name) and name not in _KEYWORDS and not name.endswith("_t")
    return name if fine else ""


def _declare(die: DIE | None, declarator: str, depth: int) -> str:
    """C for `declarator` being of the type `die` (None: void), inside out as C's grammar has it."""
    if depth > _MAX_DEPTH:
        raise _NotCError
    tag = "" if die is None else die.tag
    if die is None:
        return f"void {declarator}".rstrip()
    if tag in _POINTERS:
        target = _type_of(die)
        if target is not None and _string(_unqualified(target), "DW_AT_name") == _VA_LIST_TAG:
            return f"va_list {declarator}".rstrip()
        inner = f"*{declarator}"
        if target is not None and _unqualified(target).tag in ("DW_TAG_subroutine_type", "DW_TAG_array_type"):
            inner = f"({inner})"
        return _declare(_behind_pointer(target), inner, depth + 1)
    if tag in _QUALIFIERS:
        return _qualify(die, declarator, depth)
    if tag == "DW_TAG_array_type":
        return _declare(_type_of(die), declarator + _bounds(die), depth + 1)
    if tag == "DW_TAG_subroutine_type":
        return _declare(_type_of(die), f"{declarator}({_parameters(die, depth)})", depth + 1)
    if tag == "DW_TAG_typedef":
        name = _string(die, "DW_AT_name") or ""
        if name in _KEPT:
            return f"{_KEPT[name]} {declarator}".rstrip()
        target = _type_of(die)
        if target is not None and target.tag in _AGGREGATES and not _string(target, "DW_AT_name"):
            return f"{_AGGREGATES[str(target.tag)]} {_checked(name)} {declarator}".rstrip()
        return _declare(target, declarator, depth + 1)
    return f"{_basic(die)} {declarator}".rstrip()


def _qualify(die: DIE, declarator: str, depth: int) -> str:
    """A qualifier goes behind the star of a pointer, and before anything else."""
    target = _type_of(die)
    word = _QUALIFIERS[str(die.tag)]
    if target is None or _unqualified(target).tag not in _POINTERS:
        return f"{word if word != 'restrict' else ''} {_declare(target, declarator, depth + 1)}".strip()
    return _declare(target, f"{word} {declarator}".strip(), depth + 1)


def _unqualified(die: DIE) -> DIE:
    """The type under qualifiers and typedefs."""
    for _ in range(_MAX_DEPTH):
        if die.tag not in _QUALIFIERS and die.tag != "DW_TAG_typedef":
            break
        target = _type_of(die)
        if target is None:
            break
        die = target
    return die


def _behind_pointer(die: DIE | None) -> DIE | None:
    """What a pointer is said to point at: void, where C has no name for it."""
    if die is None:
        return None
    under = _unqualified(die)
    if under.tag in _AGGREGATES:
        return die if _IDENTIFIER.fullmatch(_string(under, "DW_AT_name") or "") else None
    try:
        _declare(die, "", 1)
    except _NotCError:
        return None
    return die


def _basic(die: DIE) -> str:
    """A type that is written before the declarator."""
    tag = str(die.tag)
    name = _string(die, "DW_AT_name") or ""
    size = _attribute(die, "DW_AT_byte_size")
    if tag in _AGGREGATES:
        return f"{_AGGREGATES[tag]} {_checked(name)}"
    if die.tag == "DW_TAG_enumeration_type":
        under = _type_of(die)
        if under is not None:
            return _declare(under, "", 1)
        return _ENCODINGS[0x07].get(size, "") or _no_c()
    if die.tag == "DW_TAG_unspecified_type":  # decltype(nullptr)
        return "void *"
    if die.tag == "DW_TAG_base_type":
        if name and set(name.split()) <= _C_WORDS:
            return name
        return _ENCODINGS.get(_attribute(die, "DW_AT_encoding"), {}).get(size, "") or _no_c()
    return _no_c()


def _checked(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) and name not in _KEYWORDS else "unnamed"


def _no_c() -> str:
    raise _NotCError


def _bounds(die: DIE) -> str:
    """[n] for every dimension; [] where the bound is not a constant."""
    text = ""
    for child in die.iter_children():
        if child.tag != "DW_TAG_subrange_type":
            continue
        count = _attribute(child, "DW_AT_count")
        upper = _attribute(child, "DW_AT_upper_bound")
        if count is None and isinstance(upper, int):
            count = upper + 1
        text += f"[{count}]" if isinstance(count, int) and count > 0 else "[]"
    return text or "[]"

"""Types from DWARF: entries of an image's debug information as types of its data model.

A structure's members are read on first access, so that a prototype does not load all types that it refers to.
Types that cannot be passed by value (C++ classes that are passed by reference, variant parts) have a layout and
the reason. DWARF does not record `packed`; it is inferred from members that are not aligned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emu.calls.basic import floating, integer, scalar
from emu.calls.dwarf_classes import is_passed_by_reference
from emu.calls.layout import with_alignment
from emu.calls.types import (
    Array,
    Complex,
    CType,
    Enumeration,
    Floating,
    FunctionType,
    Integer,
    Member,
    Parameter,
    Pointer,
    Prototype,
    Struct,
    VaListType,
    Vector,
    Void,
    sized,
)
from emu.errors import CallError
from emu.isa.convention import BINARY32, BINARY128, DataModel
from relink.elf.debug_lock import one_thread
from relink.elf.dwarf_parameters import BY_REFERENCE
from relink.elf.dwarf_places import EntryPlaces
from relink.elf.dwarf_text import (
    AGGREGATES,
    ENCODINGS,
    KEPT_TYPEDEFS,
    MAX_DEPTH,
    POINTERS,
    QUADRUPLE,
    QUALIFIERS,
    REFUSED_ENCODINGS,
    VA_LIST_TAG,
    Formal,
    NotCError,
    Passing,
)
from relink.errors import DebugInfoError

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

    from relink.elf.dwarf import DebugTypes

_COMPLEX, _FLOAT = 0x03, 0x04  #: DW_ATE_*
_WIDE = {"wchar_t": 4, "char16_t": 2, "char32_t": 4}  #: bytes of types whose arrays are text
_WORDS = frozenset("char short int long signed unsigned float double __int128 _Bool".split())


class DwarfTypes:
    """The types of one image. Methods raise DebugInfoError for types that cannot be read or expressed."""

    def __init__(self, debug: DebugTypes, model: DataModel, source: str) -> None:
        self._debug = debug
        self._writer = debug.writer
        self._model = model
        self._source = source
        self._structs: dict[tuple[int, int], Struct] = {}
        self._named: dict[str, CType] | None = None

    def prototype(self, function: str, address: int | None = None) -> Prototype | None:
        """The prototype of a function; None when no DWARF covers it."""
        place = self._debug.function(function, address)
        if place is None:
            return None
        die, language = place.die, place.unit.language
        return self._debug.guarded(lambda: self._prototype(die, function, language))

    def entry_places(self, function: str, address: int) -> EntryPlaces | None:
        """Where the function at an address finds its parameters; None when no DWARF tells."""
        return self._debug.entry_places(function, address)

    def variable(self, name: str, address: int | None = None) -> CType | None:
        """The type of a variable; None when no DWARF covers it."""
        place = self._debug.variable(name, address)
        if place is None:
            return None
        die = place.die

        def make() -> CType:
            found: CType = self._told(name, lambda: self.ctype(self._writer.type_of(die)))
            return found

        return self._debug.guarded(make)

    @one_thread
    def named(self) -> dict[str, CType]:
        """All named types: "struct point" by its tag, `point_t` by a typedef."""
        if self._named is None:
            found: dict[str, CType] = {}
            for die in self._debug.named_types():
                name = self._writer.string(die, "DW_AT_name")
                if not name or "DW_AT_declaration" in die.attributes:
                    continue
                keyword = AGGREGATES.get(str(die.tag), "enum" if die.tag == "DW_TAG_enumeration_type" else "")
                try:
                    found.setdefault(f"{keyword} {name}".strip(), self.ctype(die))
                except (NotCError, CallError, DebugInfoError):
                    continue
            self._named = found
        return self._named

    # ------------------------------------------------------------ functions

    def _told(self, name: str, make: Any) -> Any:
        try:
            return make()
        except (NotCError, CallError) as error:
            raise DebugInfoError(self._source, f"{name}: {error}") from None

    def _prototype(self, die: DIE, function: str, language: int) -> Prototype:
        from relink.elf.dwarf import BASE_STANDARD

        def make() -> Prototype:
            made = self._signature(die, language, 0)
            told = die.attributes.get("DW_AT_calling_convention")
            base = told is not None and told.value == BASE_STANDARD
            return Prototype(function, made.result, made.parameters, made.variadic, base)

        return self._told(function, make)  # type: ignore[no-any-return]

    def _signature(self, die: DIE, language: int, depth: int) -> Prototype:
        formals, variadic = self._writer.formals(die, language)
        parameters = tuple(Parameter(each.name, self._parameter(each, depth, language)) for each in formals)
        return Prototype("", self.ctype(self._writer.type_of(die), depth + 1), parameters, variadic)

    def _parameter(self, formal: Formal, depth: int, language: int) -> CType:
        word = self._model.pointer_size
        if formal.passing is Passing.TEXT:
            return Pointer(Integer(1, self._model.char_signed, "char"), False, word)
        ctype = self.ctype(formal.type, depth + 1)
        if formal.passing is not Passing.VALUE:
            return Pointer(ctype, False, word, reference=formal.passing is Passing.REFERENCE)
        if formal.promoted and isinstance(ctype, Floating) and ctype.format is BINARY32:
            return floating(self._model, "double") or ctype
        if isinstance(ctype, Array):
            if language not in BY_REFERENCE:
                raise NotCError(f"parameter {formal.name or '?'} is an array by value")
            return Pointer(ctype.target, False, word)
        return ctype

    # ------------------------------------------------------------ types

    def ctype(self, die: DIE | None, depth: int = 0) -> CType:
        """The type that an entry describes; None is void. Raises NotCError, CallError."""
        if depth > MAX_DEPTH:
            raise NotCError("its type is nested too deeply")
        if die is None:
            return Void()
        tag = str(die.tag)
        under = self._writer.type_of
        if tag in POINTERS:
            return self._pointer(die, depth)
        if tag in QUALIFIERS or tag == "DW_TAG_subrange_type":
            return self.ctype(under(die), depth + 1)
        if tag == "DW_TAG_typedef":
            return self._typedef(die, depth)
        if tag == "DW_TAG_array_type":
            return self._array(die, depth)
        if tag == "DW_TAG_subroutine_type":
            return FunctionType(self._signature(die, 0, depth + 1))
        if tag in AGGREGATES:
            return self._struct(die)
        if tag == "DW_TAG_enumeration_type":
            return self._enumeration(die, depth)
        if tag == "DW_TAG_base_type":
            return self._base(die)
        return self._other(die, tag)

    def _other(self, die: DIE, tag: str) -> CType:
        name = self._writer.string(die, "DW_AT_name") or ""
        if tag == "DW_TAG_unspecified_type" and "nullptr" in name:
            return Pointer(Void(), False, self._model.pointer_size)
        if tag == "DW_TAG_string_type" and self._writer.attribute(die, "DW_AT_byte_size") == 1:
            return Integer(1, self._model.char_signed, "char")
        if tag == "DW_TAG_unspecified_type":
            raise NotCError(f"a value of type {name or 'that is not specified'} cannot be passed")
        kind = tag.removeprefix("DW_TAG_").replace("_", " ")
        raise NotCError(f"a value of {f'type {name}' if name else f'a {kind}'} cannot be passed")

    def _pointer(self, die: DIE, depth: int) -> CType:
        target, word = self._writer.type_of(die), self._model.pointer_size
        if target is None:
            return Pointer(Void(), False, word)
        if self._writer.string(self._writer.unqualified(target), "DW_AT_name") == VA_LIST_TAG:
            return VaListType(word)
        const = False
        behind: DIE | None = target
        while behind is not None and str(behind.tag) in QUALIFIERS:
            const = const or behind.tag == "DW_TAG_const_type"
            behind = self._writer.type_of(behind)
        try:
            found = self.ctype(behind, depth + 1)
        except (NotCError, CallError, DebugInfoError):  # a pointer is passed in the same way for every target type
            found = Void()
        return Pointer(found, const, word, reference="reference" in str(die.tag))

    def _typedef(self, die: DIE, depth: int) -> CType:
        name = self._writer.string(die, "DW_AT_name") or ""
        if name in _WIDE:
            return self._character(name, _WIDE[name])
        if name in KEPT_TYPEDEFS:
            return VaListType(self._model.pointer_size)
        found = self.ctype(self._writer.type_of(die), depth + 1)
        if isinstance(found, Struct) and found.name in ("struct", "union"):
            found.name = f"{found.name} {name}"
        alignment = self._writer.attribute(die, "DW_AT_alignment")
        return with_alignment(found, alignment) if isinstance(alignment, int) else found

    def _array(self, die: DIE, depth: int) -> CType:
        element = self.ctype(self._writer.type_of(die), depth + 1)
        sized(element)
        counts = list(self._counts(die))
        if "DW_AT_GNU_vector" in die.attributes:
            if not isinstance(element, Integer | Floating) or not counts or not counts[0]:
                raise NotCError(f"a vector of {element} cannot be passed")
            size = element.size * counts[0]
            return Vector(element, counts[0], min(size, self._model.vector_alignment))
        for count in reversed(counts or [None]):
            element = Array(element, count)
        return element

    def _counts(self, die: DIE) -> Iterator[int | None]:
        """The number of elements of each dimension; None when the bound is missing or not a constant."""
        for child in die.iter_children():
            if child.tag != "DW_TAG_subrange_type":
                continue
            count = self._writer.attribute(child, "DW_AT_count")
            upper = self._writer.attribute(child, "DW_AT_upper_bound")
            lower = self._writer.attribute(child, "DW_AT_lower_bound") or 0
            if count is None and isinstance(upper, int) and isinstance(lower, int):
                count = upper + 1 - lower if upper < 1 << 48 else None  # an upper bound of -1 means no elements
            yield count if isinstance(count, int) and count >= 0 else None

    def _base(self, die: DIE) -> CType:
        writer, model = self._writer, self._model
        name = writer.string(die, "DW_AT_name") or ""
        encoding, size = writer.attribute(die, "DW_AT_encoding"), writer.attribute(die, "DW_AT_byte_size")
        if _WIDE.get(name) == size:
            return self._character(name, size)
        if encoding == _COMPLEX and isinstance(size, int):
            part = {2 * model.long_double_size: "long double", 16: "double", 8: "float"}.get(size)
            if part is not None and (found := floating(model, part)) is not None:
                return Complex(found)
        refused = REFUSED_ENCODINGS.get(encoding)
        if refused is not None or "_BitInt" in name:
            raise NotCError(f"a value of {f'the {refused} ' if refused else ''}type {name} cannot be passed")
        if encoding == _FLOAT and size == 2:
            return Floating(2, "_Float16", (floating(model, "_Float16") or Floating(2, "")).format)
        if encoding == _FLOAT and QUADRUPLE.fullmatch(name) and model.long_double is not BINARY128:
            return floating(model, "__float128") or Void()
        text = name if name and set(name.split()) <= _WORDS else None
        if text is None and isinstance(size, int):
            text = ENCODINGS.get(encoding, {}).get(size)
        if text is None:
            raise NotCError(f"a value of type {name or '?'} ({size} bytes) cannot be passed")
        if text.startswith(("int", "uint")) and text.endswith("_t"):
            return integer(model, int(size or 4), text[0] == "i", text)
        if text == "void *":
            return Pointer(Void(), False, model.pointer_size)
        return scalar(model, text.split()) or Void()

    def _character(self, name: str, size: int) -> Integer:
        return Integer(size, name == "wchar_t" and self._model.wchar_signed, name)

    def _enumeration(self, die: DIE, depth: int) -> CType:
        """The integer type in DW_AT_type, else one of its size, signed if an enumerator is negative."""
        name = self._writer.string(die, "DW_AT_name") or ""
        tag = f"enum {name}".strip()
        values = tuple(
            (self._writer.string(child, "DW_AT_name") or "", int(child.attributes["DW_AT_const_value"].value))
            for child in die.iter_children()
            if "DW_AT_const_value" in child.attributes
            and isinstance(child.attributes["DW_AT_const_value"].value, int)
        )
        under = self._writer.type_of(die)
        size = self._writer.attribute(die, "DW_AT_byte_size")
        if under is not None and isinstance(base := self.ctype(under, depth + 1), Integer):
            return Enumeration(base.size, base.signed, tag, base.align, values)
        if size not in (1, 2, 4, 8):
            raise NotCError(f"a value of type {tag} ({size} bytes) cannot be passed")
        signed = any(value < 0 for _, value in values)
        return Enumeration(size, signed, tag, integer(self._model, size, signed, tag).align, values)

    # ------------------------------------------------------------ structures

    def _struct(self, die: DIE) -> Struct:
        key = id(die.dwarfinfo), die.offset
        if key not in self._structs:
            name = self._writer.string(die, "DW_AT_name") or ""
            keyword = AGGREGATES[str(die.tag)]
            declared = "DW_AT_declaration" in die.attributes
            fill = None if declared else lambda struct: self._fill(struct, die)
            self._structs[key] = Struct(f"{keyword} {name}".strip(), None, fill)
        return self._structs[key]

    def _fill(self, struct: Struct, die: DIE) -> None:
        size = self._writer.attribute(die, "DW_AT_byte_size")
        if not isinstance(size, int):
            struct.complete(None, None)
            return
        refused = ""
        members: list[Member] = []
        for child in die.iter_children():
            if child.tag == "DW_TAG_variant_part":
                refused = "it has a variant part"
            if child.tag not in ("DW_TAG_member", "DW_TAG_inheritance") or self._is_static(child):
                continue
            try:
                members.append(self._member(child))
            except (NotCError, CallError, DebugInfoError) as error:
                refused = refused or str(error)
        inner = [found for each in members if isinstance(found := _element(each.type), Struct)]
        refused = refused or next((each.refused for each in inner if each.refused), "")
        placed = [member for member in members if member.bits is None]
        natural = max((max(_alignment(each.type), each.align) for each in members), default=1)
        packed = any(each.offset % (each.align or _alignment(each.type)) for each in placed) or size % natural != 0
        natural = 1 if packed else natural
        given = self._writer.attribute(die, "DW_AT_alignment")
        alignment = max(natural, given if isinstance(given, int) else 1)
        by_reference = is_passed_by_reference(self._writer, die) or any(each.by_reference for each in inner)
        struct.complete(tuple(members), size, alignment, natural, packed, refused, by_reference)

    def _is_static(self, die: DIE) -> bool:
        return "DW_AT_external" in die.attributes or "DW_AT_declaration" in die.attributes

    def _member(self, die: DIE) -> Member:
        name = "" if die.tag == "DW_TAG_inheritance" else self._writer.string(die, "DW_AT_name") or ""
        ctype = self.ctype(self._writer.type_of(die), 1)
        size = sized(ctype).size
        attributes = die.attributes
        offset = (
            attributes["DW_AT_data_member_location"].value if "DW_AT_data_member_location" in attributes else 0
        )
        if not isinstance(offset, int):
            offset = _constant(offset)
        width = self._writer.attribute(die, "DW_AT_bit_size")
        align = self._writer.attribute(die, "DW_AT_alignment")
        align = align if isinstance(align, int) else 0
        if width is None:
            return Member(name, ctype, offset, None, align)
        first = self._writer.attribute(die, "DW_AT_data_bit_offset")
        if first is None:  # counted from the most significant bit of the storage unit (DWARF 3, 5.6.6)
            storage = self._writer.attribute(die, "DW_AT_byte_size") or size
            first = 8 * (offset + storage) - (self._writer.attribute(die, "DW_AT_bit_offset") or 0) - width
        else:
            first += 8 * offset
        return Member(name, ctype, first // 8, (first, width), align)


def _element(ctype: CType) -> CType:
    while isinstance(ctype, Array):
        ctype = ctype.target
    return ctype


def _alignment(ctype: CType) -> int:
    return sized(ctype).alignment


def _constant(expression: Any) -> int:
    """The value of DW_OP_plus_uconst n, a member's offset in DWARF 2. Raises NotCError for a computed offset."""
    data = bytes(expression)
    if data[:1] != b"\x23":
        raise NotCError("a member's offset is computed (a virtual base class)")
    value = 0
    for number, byte in enumerate(data[1:]):
        value |= (byte & 0x7F) << 7 * number
    return value

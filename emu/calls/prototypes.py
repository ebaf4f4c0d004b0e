"""C types and prototypes, from text.

`parse_prototype("int add(int a, double b)", "arm")` gives the `Prototype` that `emu.calls.plan` passes arguments
by; names may be left out (`int(int, double)`). The text is parsed by pycparser; the types of the C and
POSIX headers (size_t, int32_t, FILE, va_list, …) are known beforehand, each with its size in the
architecture's data model. An unknown name is an error.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from emu.calls.typedefs import INTEGERS, POINTERS, STRUCTS, TYPEDEFS, VA_LISTS
from emu.errors import CallError
from emu.isa.convention import BINARY32, BINARY64, DataModel, FloatFormat
from emu.isa.registry import convention
from relink.records import dataclass

if TYPE_CHECKING:
    from pycparser import c_ast

__all__ = [
    "Array", "CType", "Floating", "FunctionType", "Integer", "Parameter", "Pointer", "Prototype", "Struct",
    "VaListType", "Void", "parse_prototype", "parse_type",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Void:
    """`void`: as a result, nothing; behind a pointer, anything."""

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer type (also enum and _Bool). `size` in bytes: 1, 2, 4, 8 or 16."""

    size: int
    signed: bool
    name: str  #: as it was spelt; part of the type, since bool and wchar_t are recognised by it

    @property
    def is_bool(self) -> bool:
        """Whether any value but zero becomes one."""
        return self.name in ("_Bool", "bool")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Floating:
    """A binary floating-point type. `size` in bytes is sizeof; `format` what the bits mean."""

    size: int
    name: str
    format: FloatFormat = BINARY64

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer (also an array or function parameter). `const`: the object pointed at is const.

    A `reference`, `int &` in a prototype, is given the value itself, which is lent to the guest for the call: how
    Fortran passes arguments.
    """

    target: CType
    const: bool
    size: int  #: bytes of the pointer itself
    reference: bool = False

    def __str__(self) -> str:
        return f"{'const ' if self.const else ''}{self.target} {'&' if self.reference else '*'}"


@dataclass(frozen=True, slots=True)
class Array:
    """An array object, which a parameter never is. `count` is None where the bound is not given."""

    target: CType
    count: int | None

    def __str__(self) -> str:
        return f"{self.target}[{'' if self.count is None else self.count}]"


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct or union, known by name only; fine behind a pointer. `size` in bytes, if known."""

    name: str
    size: int | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class VaListType:
    """`va_list`. On every ABI here it is passed as one word: the list itself or its address."""

    size: int

    def __str__(self) -> str:
        return "va_list"


@dataclass(frozen=True, slots=True)
class FunctionType:
    """A function type; only pointers to it can be passed."""

    prototype: Prototype

    def __str__(self) -> str:
        return str(self.prototype)


CType: TypeAlias = "Void | Integer | Floating | Pointer | Array | Struct | VaListType | FunctionType"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `name` is empty where the text has none."""

    name: str
    type: CType

    def __str__(self) -> str:
        return f"{self.type}{'' if str(self.type).endswith(('*', '&')) else ' '}{self.name}".rstrip()


@dataclass(frozen=True)
class Prototype:
    """A function's type, and its name where the text has one (else empty)."""

    name: str
    result: CType
    parameters: tuple[Parameter, ...]
    variadic: bool = False

    def __post_init__(self) -> None:
        # Plans are looked up by prototype; hashing nested types each time would cost more than the call.
        object.__setattr__(self, "_hash", hash((self.name, self.result, self.parameters, self.variadic)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    def __str__(self) -> str:
        parts = [str(parameter) for parameter in self.parameters] + ["..."] * self.variadic
        return f"{self.result} {self.name}({', '.join(parts) or 'void'})"


@lru_cache(maxsize=4096)
def parse_prototype(text: str, arch: str) -> Prototype:
    """The prototype `text` declares, e.g. ``int add(int a, double b)`` or ``int(int, char *)``.

    `arch` (canonical name or alias) fixes sizes and signedness. ``()`` means no parameters, as in C23.
    Raises CallError if the text is not a function declaration in C or names an unknown type.
    """
    resolver = _Resolver(text, convention(arch).data)
    ctype, name = resolver.parse()
    if not isinstance(ctype, FunctionType):
        raise CallError(f"prototype {text!r}: this declares a value of type {ctype}, not a function")
    found = ctype.prototype
    return Prototype(name, found.result, found.parameters, found.variadic)


@lru_cache(maxsize=4096)
def parse_type(text: str, arch: str) -> CType:
    """The type `text` names, e.g. ``int``, ``const char *``, ``double[4]``, ``int (*)(int)``.

    Raises CallError if it is not a C type or names an unknown one.
    """
    return _Resolver(text, convention(arch).data).parse()[0]


# ---------------------------------------------------------------- known names

_CHARACTERS = {("char",): None, ("char", "signed"): True, ("char", "unsigned"): False}
#: The words of an integer type, sorted and without signed, unsigned and a redundant int -> bytes (0: long).
_WIDTHS = {
    (): 4,
    ("short",): 2,
    ("long",): 0,
    ("long", "long"): 8,
    ("__int128",): 16,
}


_KEYWORDS = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while _Bool _Complex _Thread_local _Static_assert _Atomic _Alignof _Alignas __int128
""".split()
)
#: GNU spellings that mean a standard one, or nothing here.
_SPELLINGS = {
    "__restrict": "restrict", "__restrict__": "restrict", "__const": "const", "__const__": "const",
    "__volatile": "volatile", "__volatile__": "volatile", "__inline": "inline", "__inline__": "inline",
    "__signed": "signed", "__signed__": "signed", "__extension__": "", "noreturn": "", "_Noreturn": "",
    "__int128_t": "__int128", "__uint128_t": "unsigned __int128",
}  # fmt: skip
_REFERENCE = "_Atomic"
_WORD = re.compile(r"[A-Za-z_]\w*")
_TOKEN = re.compile(r"[A-Za-z_]\w*|\.\.\.|\S")
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_MAX_TEXT = 16_384  #: characters; prototypes that people write, and those from DWARF, are far shorter


class _Resolver:
    """Parses one text and turns pycparser's tree into CTypes of one data model."""

    def __init__(self, text: str, model: DataModel) -> None:
        self.text = text
        self.model = model

    def parse(self) -> tuple[CType, str]:
        """The type and the declared name (empty if there is none)."""
        from pycparser import c_parser

        source = self._clean()
        used = sorted({word for word in _WORD.findall(source) if word in TYPEDEFS})
        prelude = "".join(f"typedef int {name};" for name in used)
        # `int(size_t)` is a function type as a type name, but a variable as a declaration: type names first.
        for attempt in (f"int _ = sizeof({source});", f"{source};"):
            try:
                declared: list[Any] = c_parser.CParser().parse(prelude + attempt).ext[len(used) :]
            except c_parser.ParseError:
                continue
            except (RecursionError, AssertionError, AttributeError, IndexError, TypeError):
                break
            if not declared:
                continue
            if len(declared) > 1:
                raise CallError(f"prototype {self.text!r}: give one declaration, not {len(declared)}")
            node = declared[0]
            if attempt.startswith("int _ = sizeof"):
                expression: Any = getattr(node.init, "expr", None)
                if type(expression).__name__ != "Typename":
                    continue
                return self.ctype(expression.type), ""
            return self.ctype(node.type), node.name or ""
        raise CallError(f"prototype {self.text!r}: {self._diagnosis(source)}")

    def _clean(self) -> str:
        if len(self.text) > _MAX_TEXT:
            raise CallError(f"a prototype of {len(self.text)} characters is too long (at most {_MAX_TEXT})")
        source = _ATTRIBUTE.sub(" ", self.text).strip().rstrip(";")
        source = _WORD.sub(lambda match: _SPELLINGS.get(match[0], match[0]), source)
        if bad := re.search(r"[;{}#=\"'\\@$]|//|/\*", source):
            raise CallError(f"prototype {self.text!r}: {bad[0]!r} has no place in a prototype")
        if "&" in source and _REFERENCE in source:
            raise CallError(f"prototype {self.text!r}: references and {_REFERENCE} together are not supported")
        # C's parser knows no references: a pointer with a qualifier that nothing else here has means one.
        return source.replace("&", f"* {_REFERENCE} ")

    def _diagnosis(self, source: str) -> str:
        """What is wrong with a text that does not parse: most often an unknown type name."""
        before = "("
        tokens = _TOKEN.findall(source)
        for token, after in zip(tokens, [*tokens[1:], ""], strict=False):
            known = token in _KEYWORDS or token in TYPEDEFS or not _WORD.fullmatch(token)
            starts = before in ("(", ",", "const", "volatile", "restrict", "extern", "static")
            if not known and starts and (after in ("*", ")", ",", "") or _WORD.fullmatch(after)):
                return f"unknown type name {token!r}"
            before = token
        return "not a C declaration of a function or type"

    def ctype(self, node: c_ast.Node) -> CType:
        """The CType of a pycparser type node."""
        kind = type(node).__name__
        match kind:
            case "TypeDecl":
                return self.ctype(node.type)
            case "IdentifierType":
                return self._named(node.names)
            case "PtrDecl":
                quals = getattr(node.type, "quals", None) or []
                reference = "&" in self.text and _REFERENCE in node.quals
                return Pointer(self.ctype(node.type), "const" in quals, self.model.pointer_size, reference)
            case "ArrayDecl":
                return Array(self.ctype(node.type), self._bound(node.dim))
            case "Enum":
                return Integer(4, False, f"enum {node.name or ''}".strip())
            case "Struct" | "Union":
                return Struct(f"{kind.lower()} {node.name or ''}".strip())
            case "FuncDecl":
                return FunctionType(self._function(node))
        raise CallError(f"prototype {self.text!r}: {kind} is not supported")

    def _bound(self, node: c_ast.Node | None) -> int | None:
        if node is None:
            return None
        try:
            return int(node.value.rstrip("uUlL"), 0)
        except (AttributeError, ValueError):
            return None

    def _function(self, node: c_ast.Node) -> Prototype:
        parameters: list[Parameter] = []
        variadic = False
        declared: list[Any] = node.args.params if node.args else []
        for child in declared:
            kind = type(child).__name__
            if kind == "EllipsisParam":
                variadic = True
                continue
            if kind == "ID":
                raise CallError(f"prototype {self.text!r}: unknown type name {child.name!r}")
            ctype = self._decayed(self.ctype(child.type), child)
            if isinstance(ctype, Void):
                if len(declared) > 1 or child.name:
                    raise CallError(f"prototype {self.text!r}: a parameter cannot have type void")
                continue
            parameters.append(Parameter(child.name or "", ctype))
        result = self.ctype(node.type)
        if isinstance(result, Array | FunctionType):
            raise CallError(f"prototype {self.text!r}: a function cannot return {result}")
        return Prototype("", result, tuple(parameters), variadic)

    def _decayed(self, ctype: CType, declaration: c_ast.Node) -> CType:
        """A parameter's type: arrays and functions become pointers (C11 6.7.6.3)."""
        if isinstance(ctype, Array):
            quals = getattr(declaration.type.type, "quals", None) or []
            return Pointer(ctype.target, "const" in quals, self.model.pointer_size)
        if isinstance(ctype, FunctionType):
            return Pointer(ctype, False, self.model.pointer_size)
        return ctype

    def _named(self, names: list[str]) -> CType:
        """The type a list of specifier words names."""
        spelt = " ".join(names)
        if len(names) == 1 and (known := self._typedef(spelt)) is not None:
            return known
        if "_Complex" in names:
            raise CallError(f"prototype {self.text!r}: {spelt} is not supported")
        words = sorted(names)
        if words == ["void"]:
            return Void()
        if words in (["float"], ["double"]):
            return Floating(4, spelt, BINARY32) if words == ["float"] else Floating(8, spelt)
        if words == ["double", "long"]:
            return Floating(self.model.long_double_size, spelt, self.model.long_double)
        if (key := tuple(words)) in _CHARACTERS:
            signed = _CHARACTERS[key]
            return Integer(1, self.model.char_signed if signed is None else signed, spelt)
        width = _WIDTHS.get(tuple(word for word in words if word not in ("signed", "unsigned", "int")))
        if width is None or len({"signed", "unsigned"} & set(names)) > 1:
            raise CallError(f"prototype {self.text!r}: {spelt} is not a C type")
        if width == 16 and self.model.pointer_size == 4:
            raise CallError(f"prototype {self.text!r}: there is no {spelt} on a 32-bit target")
        return Integer(width or self.model.pointer_size, "unsigned" not in names, spelt)

    def _typedef(self, name: str) -> CType | None:
        model = self.model
        if name in INTEGERS:
            width, signed = INTEGERS[name]
            return Integer(getattr(model, width) if isinstance(width, str) else width, signed, name)
        if name == "wchar_t":
            return Integer(4, model.wchar_signed, name)
        if name in VA_LISTS:
            return VaListType(model.pointer_size)
        if name in STRUCTS:
            return Struct(name)
        if name in POINTERS:
            return Pointer(Struct(name), False, model.pointer_size)
        if name in ("float_t", "double_t"):
            return self._named(["long", "double"] if model.extended_float_t else [name.removesuffix("_t")])
        return None

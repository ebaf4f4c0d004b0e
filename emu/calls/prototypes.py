"""C types and prototypes, from text.

`parse_prototype("int add(int a, double b)", "arm")` returns the `Prototype` that `emu.calls.plan` uses; names may
be omitted (`int(int, double)`). Text that is not plain (`emu.calls.plain_text`) is parsed by pycparser. The types
of the C and POSIX headers (size_t, int32_t, FILE, va_list, …) are known beforehand, each with its size in the
architecture's data model, and so are those of a `Scope` (of a header, or an image's debug information). An unknown
name is an error.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from emu.calls.plain_text import KEYWORDS, read
from emu.calls.scope import Scope
from emu.calls.types import (
    Array,
    CType,
    Floating,
    FunctionType,
    Integer,
    Parameter,
    Pointer,
    Prototype,
    Struct,
    VaListType,
    Void,
)
from emu.errors import CallError
from emu.isa.convention import DataModel
from emu.isa.registry import convention

__all__ = [
    "Array", "CType", "Floating", "FunctionType", "Integer", "Parameter", "Pointer", "Prototype", "Struct",
    "VaListType", "Void", "parse_prototype", "parse_type",
]  # fmt: skip


def parse_prototype(text: str, arch: str, scope: Scope | None = None) -> Prototype:
    """The prototype `text` declares, e.g. ``int add(int a, double b)`` or ``int(int, char *)``.

    `arch` (canonical name or alias) fixes sizes and signedness, `scope` has further types. ``()`` means no
    parameters, as in C23. Raises CallError if the text is not a function declaration in C or names an unknown
    type.
    """
    ctype, name = _parse(text, arch) if scope is None else _parse_in(text, arch, scope)
    if not isinstance(ctype, FunctionType):
        raise CallError(f"prototype {text!r}: this declares a value of type {ctype}, not a function")
    found = ctype.prototype
    return Prototype(name, found.result, found.parameters, found.variadic)


def parse_type(text: str, arch: str, scope: Scope | None = None) -> CType:
    """The type `text` names, e.g. ``int``, ``const char *``, ``double[4]``, ``int (*)(int)``.

    Raises CallError if it is not a C type or names an unknown one.
    """
    return (_parse(text, arch) if scope is None else _parse_in(text, arch, scope))[0]


def _parse_in(text: str, arch: str, scope: Scope) -> tuple[CType, str]:
    return _Text(text, convention(arch).data, scope).parse()


@lru_cache(maxsize=4096)
def _parse(text: str, arch: str) -> tuple[CType, str]:
    return _parse_in(text, arch, Scope())


#: GNU spellings with their standard equivalents, or empty.
_SPELLINGS = {
    "__restrict": "restrict", "__restrict__": "restrict", "__const": "const", "__const__": "const",
    "__volatile": "volatile", "__volatile__": "volatile", "__inline": "inline", "__inline__": "inline",
    "__signed": "signed", "__signed__": "signed", "__extension__": "", "noreturn": "", "_Noreturn": "",
    "__int128_t": "__int128", "__uint128_t": "unsigned __int128", "__complex__": "_Complex", "__asm__": "asm",
    "__alignof__": "_Alignof", "_Thread_local": "", "__thread": "",
}  # fmt: skip
_REFERENCE = "_Atomic"
_WORD = re.compile(r"[A-Za-z_]\w*")
_TOKEN = re.compile(r"[A-Za-z_]\w*|\.\.\.|\S")
_TAGS = frozenset({"struct", "union", "enum"})
_MAX_TEXT = 16_384  #: limit in characters; real prototypes are much shorter


def spelt(source: str) -> str:
    """The text with GNU spellings replaced by standard ones."""
    return _WORD.sub(lambda match: _SPELLINGS.get(match[0], match[0]), source)


class _Text:
    """Makes a type of one data model of one text."""

    def __init__(self, text: str, model: DataModel, scope: Scope) -> None:
        self.text = text
        self.model = model
        self.scope = scope

    def parse(self) -> tuple[CType, str]:
        """The type and the declared name (empty if there is none)."""
        source = self._clean()
        if (plain := read(source, self.model, self.scope)) is not None:
            return plain
        from pycparser import c_parser

        from emu.calls.attributes import move_attributes, unmarked
        from emu.calls.declarations import Builder

        source, attributes = move_attributes(source)
        builder = Builder(
            self.model, self.scope, f"prototype {self.text!r}", attributes, references="&" in self.text
        )
        used = sorted({word for word in _WORD.findall(source) if self.scope.is_typedef(word)})
        prelude = "".join(f"typedef int {name};" for name in used)
        # `int(size_t)` is a function type as a type name, but a variable as a declaration: type names first. What
        # names a function is no type name.
        attempts = f"int _ = sizeof({source});", f"{source};"
        for attempt in attempts[::-1] if self._names_a_function(source) else attempts:
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
                return builder.declared(expression), ""
            return builder.declared(node), unmarked(node.name)[0]
        raise CallError(f"prototype {self.text!r}: {self._diagnosis(source)}")

    def _names_a_function(self, source: str) -> bool:
        """Whether the first parenthesis follows a name that is no type's: so most prototypes begin."""
        *types, name = _TOKEN.findall(source.partition("(")[0]) or [""]
        is_name = bool(_WORD.fullmatch(name)) and name not in KEYWORDS and not self.scope.is_typedef(name)
        return is_name and bool(types) and types[-1] not in _TAGS

    def _clean(self) -> str:
        if len(self.text) > _MAX_TEXT:
            raise CallError(f"a prototype of {len(self.text)} characters is too long (at most {_MAX_TEXT})")
        source = spelt(self.text).strip().rstrip(";")
        if bad := re.search(r"[;{}#=\"'\\@$]|//|/\*", source):
            raise CallError(f"prototype {self.text!r}: {bad[0]!r} has no place in a prototype")
        if "&" in source and _REFERENCE in source:
            raise CallError(f"prototype {self.text!r}: references and {_REFERENCE} together are not supported")
        # The C parser does not support references: they are encoded as pointers with an otherwise unused
        # qualifier.
        return source.replace("&", f"* {_REFERENCE} ")

    def _diagnosis(self, source: str) -> str:
        """The problem with text that does not parse: usually an unknown type name."""
        before = "("
        tokens = _TOKEN.findall(source)
        for token, after in zip(tokens, [*tokens[1:], ""], strict=False):
            known = token in KEYWORDS or self.scope.is_typedef(token) or not _WORD.fullmatch(token)
            starts = before in ("(", ",", "const", "volatile", "restrict", "extern", "static")
            if not known and starts and (after in ("*", ")", ",", "") or _WORD.fullmatch(after)):
                return f"unknown type name {token!r}"
            before = token
        return "not a C declaration of a function or type"

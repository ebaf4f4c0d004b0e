"""Plain types and prototypes, read without the C parser, whose import takes longer than a small library's load.

A plain text has arithmetic types, typedefs, pointers and qualifiers only: `unsigned long`, `const char *const *`,
`int printf(const char *format, ...)`. Nearly all prototypes that people write are plain, and all of the hosted C
library. Every other text, and every wrong one, is left to the parser (`emu.calls.prototypes`).
"""

from __future__ import annotations

import re
from typing import Final

from emu.calls.basic import FORMAT_NAMES
from emu.calls.scope import Scope
from emu.calls.types import Array, CType, FunctionType, Parameter, Pointer, Prototype, Void
from emu.errors import CallError
from emu.isa.convention import DataModel

KEYWORDS: Final = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while _Bool _Complex _Thread_local _Static_assert _Atomic _Alignof _Alignas __int128
""".split()
)
_SPECIFIERS: Final = FORMAT_NAMES.union(
    "void char short int long float double signed unsigned _Bool __int128".split()
)
_QUALIFIERS: Final = frozenset({"const", "volatile", "restrict"})
#: Names that the parser takes for operators or specifiers, and keywords.
_NO_NAMES: Final = KEYWORDS | {"offsetof", "asm", "_Generic", "_Noreturn", "_Pragma", "__builtin_va_arg"}
_SHAPE: Final = re.compile(r"([\w \t\n*]+)(?:\(([\w \t\n*,]*(?:,[ \t\n]*(\.\.\.)[ \t\n]*)?)\)[ \t\n]*)?", re.ASCII)
_TOKEN: Final = re.compile(r"\w+|\*", re.ASCII)
_MOST_STARS: Final = 50  #: functions that walk over a type recurse as deep
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def read(source: str, model: DataModel, scope: Scope) -> tuple[CType, str] | None:
    """The type that a text declares, and the name (empty if there is none); None if the text is not plain."""
    shape = _SHAPE.fullmatch(source)
    if shape is None or "__attribute" in source or source.count("*") > _MOST_STARS:
        return None
    try:
        declared = _declared(shape[1], model, scope)
        if declared is None or shape[2] is None:
            return declared
        result, name = declared
        if isinstance(result, Array | FunctionType):
            return None
        parameters = _parameters(shape, model, scope)
    except CallError:
        return None
    return None if parameters is None else (FunctionType(Prototype("", result, parameters, bool(shape[3]))), name)


def _parameters(shape: re.Match[str], model: DataModel, scope: Scope) -> tuple[Parameter, ...] | None:
    """The parameters between the parentheses. Raises CallError."""
    if not shape[2].strip():
        return ()
    texts = shape[2].split(",")[: -1 if shape[3] else None]
    found = []
    for text in texts:
        declared = _declared(text, model, scope)
        if declared is None or isinstance(declared[0], Array | FunctionType):
            return None
        ctype, name = declared
        if isinstance(ctype, Void):
            return () if len(texts) == 1 and not name and not shape[3] else None
        found.append(Parameter(name, ctype))
    return tuple(found)


def _declared(text: str, model: DataModel, scope: Scope) -> tuple[CType, str] | None:
    """Type and name of specifiers, stars and perhaps a name. Raises CallError."""
    tokens = [*_TOKEN.findall(text), ""]
    words: list[str] = []
    const, at = False, 0
    while (word := tokens[at]) in _QUALIFIERS or word in _SPECIFIERS or (not words and scope.is_typedef(word)):
        if word in _QUALIFIERS:
            const |= word == "const"
        else:
            words.append(word)
        at += 1
    if not words:
        return None
    ctype = scope.named(model, words)
    while tokens[at] == "*":
        ctype, const = Pointer(ctype, const, model.pointer_size), False
        at += 1
        while (word := tokens[at]) in _QUALIFIERS:
            const |= word == "const"
            at += 1
    name, *rest = tokens[at:]
    if not name:
        return ctype, ""
    plain = rest == [""] and _NAME.fullmatch(name) and name not in _NO_NAMES and not scope.is_typedef(name)
    return (ctype, name) if plain else None

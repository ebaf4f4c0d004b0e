"""Parsing a call as written in a shell: `crc32(0, "123456789", 9)`, `double cos(1.0)`.

    call       [result type] name(arguments)
               prototype(arguments)              e.g. int add(int, int)(2, 3)
    argument   42  -7  0x2a  052  0b101  10UL  'c'  1.5  1.5f  0x1p-3  "text\\n"  L"wide"  b"bytes"
               NULL  None  true  false  name  &name  {1, 2}  {.x = 1, .q = {1, 2}}

Literals are those of C. Without a prototype the spelling of an argument gives its type, as in C, but integers are
long and strings const char *.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from relink.records import dataclass


class ExpressionError(ValueError):
    """A text that is not a call; the message shows the position."""


@dataclass(frozen=True)
class SymbolAddress:
    """The address of a symbol of the library."""

    name: str
    version: str | None = None


BRACES = "{...}"  #: the type of an initialiser, which its spelling does not tell
#: What an argument may be; a list or dictionary is an initialiser in braces.
Value: TypeAlias = "int | float | str | bytes | SymbolAddress | list[Value] | dict[str, Value] | None"


@dataclass(frozen=True)
class Argument:
    """An argument: its value, and the C type of its spelling ("int" for a plain integer of any width)."""

    value: Value
    ctype: str


@dataclass(frozen=True)
class Call:
    """A parsed call. `result` is the C type written before the name, `prototype` a whole prototype; or neither."""

    text: str
    name: str
    version: str | None
    arguments: tuple[Argument, ...]
    result: str | None = None
    prototype: str | None = None


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<string>(?:u8|[bBL])?"(?:[^"\\]|\\.)*")
    | (?P<char>'(?:[^'\\]|\\.)*')
    | (?P<hexfloat>0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*[pP][+-]?\d+[fFlL]?)
    | (?P<float>(?:\d+\.\d*|\.\d+|\d+(?=[eE][+-]?\d))(?:[eE][+-]?\d+)?[fFlL]?)
    | (?P<int>(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|\d+)[uUlL]*)
    | (?P<word>[A-Za-z_$][\w.$]*(?:@@?[\w.]+)?)
    | (?P<punctuation>\.\.\.|\.(?=[A-Za-z_])|[()\[\]{}*,&=+-])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]+|[0-7]{1,3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_SIMPLE_ESCAPES = {
    b"n": 10, b"t": 9, b"r": 13, b"0": 0, b"a": 7, b"b": 8, b"f": 12, b"v": 11, b"e": 27, b"\\": 92, b"'": 39,
    b'"': 34, b"?": 63,
}  # fmt: skip
_INTEGER_TYPES = {
    "": "int", "u": "unsigned", "l": "long", "ul": "unsigned long", "lu": "unsigned long", "ll": "long long",
    "ull": "unsigned long long", "llu": "unsigned long long",
}  # fmt: skip
_FLOAT_TYPES = {"": "double", "f": "float", "l": "long double"}
_CONSTANTS: dict[str, Argument] = {
    "NULL": Argument(None, "void *"), "None": Argument(None, "void *"), "nullptr": Argument(None, "void *"),
    "true": Argument(1, "int"), "True": Argument(1, "int"),
    "false": Argument(0, "int"), "False": Argument(0, "int"),
    "INFINITY": Argument(float("inf"), "double"), "inf": Argument(float("inf"), "double"),
    "NAN": Argument(float("nan"), "double"), "nan": Argument(float("nan"), "double"),
}  # fmt: skip


def parse_call(text: str) -> Call:
    """Parse a call. Raises ExpressionError."""
    tokens = list(_tokens(text))
    if not tokens or tokens[-1].text != ")":
        raise _error(text, len(text.rstrip()), "a call ends with its arguments in parentheses")
    opening = _opening(text, tokens)
    head, inside = tokens[:opening], tokens[opening + 1 : -1]
    arguments = tuple(_arguments(text, inside, tokens[-1].start))
    if not head:
        raise _error(text, tokens[opening].start, "the name of the function is missing")
    before = text[head[0].start : head[-1].end]
    if head[-1].text == ")":
        name = _declared_name(text, head)
        return Call(text, *_versioned(name.text), arguments, prototype=before)
    name = head[-1]
    if name.kind != "word":
        raise _error(text, name.start, f"{name.text!r} is not a function name")
    result = text[head[0].start : name.start].strip() or None
    return Call(text, *_versioned(name.text), arguments, result=result)


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            problem = "this has no end" if text[position] in "\"'" else f"{text[position]!r} is not allowed here"
            raise _error(text, position, problem)
        token = _Token(match.lastgroup, match[0], position, match.end())
        position = match.end()
        if token.kind in ("int", "float", "hexfloat") and re.match(r"[\w.]", text[position:]):
            raise _error(text, token.start, "not a C number")
        if token.kind != "space":
            yield token


def _opening(text: str, tokens: Sequence[_Token]) -> int:
    """The index of the parenthesis that the last token closes."""
    depth = 0
    for index in range(len(tokens) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(tokens[index].text, 0)
        if depth == 0:
            return index
    raise _error(text, tokens[-1].start, "this closing parenthesis has no opening one")


def _declared_name(text: str, head: Sequence[_Token]) -> _Token:
    """The name in a prototype: the word before its list of parameters."""
    opening = _opening(text, head)
    if opening == 0 or head[opening - 1].kind != "word":
        raise _error(text, head[opening].start, "a prototype before the arguments needs the function's name")
    return head[opening - 1]


def _versioned(name: str) -> tuple[str, str | None]:
    bare, _, version = name.partition("@")
    return bare, version.lstrip("@") or None


def _arguments(text: str, tokens: Sequence[_Token], end: int) -> Iterator[Argument]:
    """The arguments between the parentheses; the closing one is the token `end`."""
    if not tokens:
        return
    piece: list[_Token] = []
    depth = 0
    for token in [*tokens, _Token("punctuation", ",", end, end)]:
        depth += {"{": 1, "}": -1}.get(token.text, 0)
        if token.text != "," or (depth > 0 and token.start < end):
            piece.append(token)
            continue
        if not piece:
            raise _error(text, token.start, "an argument is missing")
        yield _argument(text, piece)
        piece = []


def _argument(text: str, tokens: Sequence[_Token]) -> Argument:
    first, rest = tokens[0], tokens[1:]
    if first.kind == "string":
        return _string(text, tokens)
    if first.text == "{":
        return Argument(_braces(text, tokens), BRACES)
    if first.text in ("-", "+") and len(rest) == 1:
        operand = _argument(text, rest)
        if isinstance(operand.value, int | float) and rest[0].text not in ("-", "+"):
            return Argument(-operand.value if first.text == "-" else operand.value, operand.ctype)
    if first.text == "&" and len(rest) == 1 and rest[0].kind == "word":
        return Argument(SymbolAddress(*_versioned(rest[0].text)), "void *")
    if rest:
        raise _error(text, rest[0].start, "a comma or a parenthesis is missing here")
    match first.kind:
        case "int":
            return _integer(text, first)
        case "float" | "hexfloat":
            return _floating(first)
        case "char":
            return _character(text, first)
        case "word":
            return _CONSTANTS.get(first.text) or Argument(SymbolAddress(*_versioned(first.text)), "void *")
    raise _error(text, first.start, f"{first.text!r} is not an argument")


def _braces(text: str, tokens: Sequence[_Token]) -> Value:
    """What an initialiser in braces holds: a list, or a dictionary where members are named, as `.x = 1`."""
    if tokens[-1].text != "}":
        raise _error(text, tokens[-1].end, "a brace is missing here")
    inside, end = list(tokens[1:-1]), tokens[-1].start
    if inside and inside[-1].text == ",":
        inside.pop()
    if not inside or inside[0].text != ".":
        return [argument.value for argument in _arguments(text, inside, end)]
    members: dict[str, Value] = {}
    for piece in _pieces(inside):
        named = [token.text for token in piece[:1]] == ["."] and len(piece) > 3
        if not named or piece[1].kind != "word" or piece[2].text != "=":
            raise _error(text, piece[0].start if piece else end, "a member is missing: .name = value")
        members[piece[1].text] = _argument(text, piece[3:]).value
    return members


def _pieces(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """The tokens between commas outside of braces."""
    found: list[list[_Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"{": 1, "}": -1}.get(token.text, 0)
        if token.text == "," and not depth:
            found.append([])
        else:
            found[-1].append(token)
    return found


def _integer(text: str, token: _Token) -> Argument:
    digits = token.text.rstrip("uUlL")
    suffix = token.text[len(digits) :].lower()
    if suffix not in _INTEGER_TYPES:
        raise _error(text, token.start, "not a C number")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    try:
        value = int(digits, 8 if octal else 0)
    except ValueError:
        raise _error(text, token.start, "not a C number") from None
    return Argument(value, _INTEGER_TYPES[suffix])


def _floating(token: _Token) -> Argument:
    hexadecimal = token.kind == "hexfloat"
    suffix = token.text[-1].lower() if token.text[-1] in "fFlL" else ""
    digits = token.text[: len(token.text) - len(suffix)]
    return Argument(float.fromhex(digits) if hexadecimal else float(digits), _FLOAT_TYPES[suffix])


def _character(text: str, token: _Token) -> Argument:
    value = _unescaped(text, token, token.text[1:-1])
    if len(value) == 1:
        return Argument(value[0], "int")
    decoded = value.decode(errors="replace")
    if len(decoded) != 1:
        raise _error(text, token.start, "apostrophes enclose one character; use quotation marks for strings")
    return Argument(ord(decoded), "int")


def _string(text: str, tokens: Sequence[_Token]) -> Argument:
    """One string literal, or several side by side, which C joins."""
    prefixes = set()
    value = b""
    for token in tokens:
        if token.kind != "string":
            raise _error(text, token.start, "a comma or a parenthesis is missing here")
        prefix, _, rest = token.text.partition('"')
        prefixes.add(prefix.lower() if prefix != "u8" else "")
        value += _unescaped(text, token, rest[:-1])
    if len(prefixes) != 1:
        raise _error(text, tokens[0].start, "strings of different kinds cannot be joined")
    kind = prefixes.pop()
    if kind == "b":
        return Argument(value, "const void *")
    try:
        return Argument(value.decode(), "const wchar_t *" if kind == "l" else "const char *")
    except UnicodeDecodeError:
        if kind == "l":
            raise _error(text, tokens[0].start, "a wide string whose bytes are not UTF-8") from None
        return Argument(value, "const char *")


def _unescaped(text: str, token: _Token, body: str) -> bytes:
    """The bytes of a literal's body (UTF-8; C11 6.4.4.4 escapes)."""

    def replace(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if escape[:1] == b"x" and len(escape) > 1:
            return bytes([_code(text, token, escape, int(escape[1:], 16), 0xFF)])
        if escape.isdigit():
            return bytes([_code(text, token, escape, int(escape, 8), 0xFF)])
        if escape[:1] in b"uU" and len(escape) > 1:
            return chr(_code(text, token, escape, int(escape[1:], 16), 0x10FFFF)).encode("utf-8", "surrogatepass")
        if escape not in _SIMPLE_ESCAPES:
            raise _error(text, token.start, f"\\{escape.decode(errors='replace')} is not a C escape sequence")
        return bytes([_SIMPLE_ESCAPES[escape]])

    return _ESCAPE.sub(replace, body.encode("utf-8", "surrogateescape"))


def _code(text: str, token: _Token, escape: bytes, value: int, most: int) -> int:
    if value > most:
        raise _error(text, token.start, f"\\{escape.decode()} is beyond \\x{most:x}")
    return value


def _error(text: str, position: int, problem: str) -> ExpressionError:
    return ExpressionError(f"{problem}\n  {text}\n  {' ' * position}^")

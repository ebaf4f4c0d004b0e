"""GNU attributes in C text, which pycparser does not parse: attributes that affect types are encoded in names.

`__attribute__((aligned(8)))` and similar become a suffix of the declared name, or a first member of the structure;
`Attributes` finds them in the tree. Attributes for calling conventions are refused; all others do not affect types
and are removed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from emu.errors import CallError

_TOKEN = re.compile(
    r"""
      "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [A-Za-z_]\w* | \d[\w.]* | \.\.\. | \s+
    | << | >> | && | \|\| | [=!<>]= | -> | .
    """,
    re.DOTALL | re.VERBOSE,
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_MARK = "__attributes_"
_MARKED = re.compile(rf"(\w*?){_MARK}(\d+)$")
_ENDS = frozenset(";,)={:[")
_CONVENTIONS = frozenset("regparm fastcall stdcall thiscall ms_abi sysv_abi pcs vectorcall preserve_most".split())
_TYPE_WORDS = frozenset(
    """
    char const double enum extern float inline int long register restrict return short signed static struct typedef
    union unsigned void volatile _Bool _Complex _Atomic __int128
""".split()
)


class Attributes(NamedTuple):
    """The values of attributes; numbers are C text."""

    packed: bool = False
    aligned: str | None = None
    vector_size: str | None = None
    mode: str | None = None  #: the name of a machine mode, without underscores


_NONE = Attributes()


def move_attributes(source: str) -> tuple[str, list[Attributes]]:
    """The text without attributes, and the attributes that affect types: a name with mark n has the nth.

    Raises CallError for an attribute that changes the calling convention.
    """
    if "__attribute" not in source:
        return source, []
    tokens = [token for token in _TOKEN.findall(source) if not token.isspace()]
    found: list[Attributes] = []
    out: list[str] = []
    pending: list[int] = []  # attributes of the structure whose brace comes next
    forward: list[int] = []  # attributes of the name that comes next
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token in ("__attribute__", "__attribute"):
            end = _closing(tokens, position + 1)
            attributes = _read(tokens[position + 1 : end])
            position = end
            if attributes == _NONE:
                continue
            found.append(attributes)
            number = len(found) - 1
            after = tokens[position] if position < len(tokens) else ";"
            if not _attach(out, after, number, pending):
                forward.append(number)
            continue
        position += 1
        after = tokens[position] if position < len(tokens) else ";"
        out.append(token)
        if token == "{" and pending:
            out += [_member(number) for number in pending]
            pending = []
        if (
            forward
            and _WORD.fullmatch(token)
            and token not in _TYPE_WORDS
            and after in _ENDS | {"(", "__attribute__"}
        ):
            out[-1] += "".join(f"{_MARK}{number}" for number in forward[:1])
            forward = []
        elif forward and after in (",", ")", ";"):
            out.append(f"{_MARK}{forward.pop()}")
    return " ".join(out), found


def _member(number: int) -> str:
    return f"char {_MARK}{number};"


def _attach(out: list[str], after: str, number: int, pending: list[int]) -> bool:
    """Put a mark at the preceding name or structure, if the attributes just read belong to it; else return
    False.
    """
    if not out:
        return False
    last = out[-1]
    if last in ("struct", "union"):
        pending.append(number)
        return True
    if last == "}":
        start = len(out) - 1
        out.insert(start, _member(number) if "enum" not in out[max(_opening(out, start) - 2, 0) :][:2] else "")
        return True
    if after not in _ENDS and after != "__attribute__":
        return False
    at = len(out) - 1
    while at >= 0 and out[at] in ("]", ")"):
        at = _opening(out, at) - 1
    if at >= 0 and _WORD.fullmatch(out[at]) and out[at] not in _TYPE_WORDS:
        out[at] += f"{_MARK}{number}"
        return True
    if at == len(out) - 1 and after in (",", ")", ";"):
        out.append(f"{_MARK}{number}")
        return True
    return False


def _opening(tokens: list[str], end: int) -> int:
    """The index of the bracket that the one at `end` closes."""
    pairs = {")": "(", "]": "[", "}": "{"}
    close, depth = tokens[end], 0
    for at in range(end, -1, -1):
        depth += (tokens[at] == close) - (tokens[at] == pairs[close])
        if not depth:
            return at
    raise CallError(f"a {close!r} closes nothing")


def _closing(tokens: list[str], start: int) -> int:
    """The index after the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at] == "(") - (tokens[at] == ")")
        if not depth:
            return at + 1
    raise CallError("an __attribute__ has no end")


def _read(tokens: list[str]) -> Attributes:
    """The attributes of one `((...))`."""
    packed, aligned, vector, mode = False, None, None, None
    at = 0
    while at < len(tokens):
        name = tokens[at].strip("_")
        argument = ""
        if _WORD.fullmatch(tokens[at]) and tokens[at + 1 : at + 2] == ["("]:
            end = _closing(tokens, at + 1)
            argument = " ".join(tokens[at + 2 : end - 1])
            at = end - 1
        at += 1
        if name in _CONVENTIONS:
            raise CallError(f"functions of the calling convention {name} are not supported")
        packed = packed or name == "packed"
        aligned = (argument or "16") if name == "aligned" else aligned
        vector = argument if name == "vector_size" else vector
        mode = argument.strip("_") if name == "mode" else mode
    return Attributes(packed, aligned, vector, mode)


def unmarked(name: str | None) -> tuple[str, int | None]:
    """A name without its mark, and the number of its attributes."""
    match = _MARKED.fullmatch(name or "")
    return (match[1], int(match[2])) if match else (name or "", None)

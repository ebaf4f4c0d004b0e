"""Names of C++ and Rust as their source has them, and functions by such names."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Each back-reference of a mangled name may double the length of the result (250 hostile characters can make half
#: a gigabyte), so longer names, or names with more back-references, are not demangled.
_LONGEST_NAME = 2048
_MOST_REFERENCES = 14
_REFERENCE = r"[ST][0-9A-Z]*_|B[0-9A-Za-z]*_"
_ANONYMOUS = "(anonymous namespace)"


def demangled(name: str) -> str | None:
    """The source form of a mangled C++ or Rust name; None for any other name."""
    if not name.startswith(("_Z", "_R", "__Z")):
        return None
    if len(name) > _LONGEST_NAME or not name.isascii() or len(re.findall(_REFERENCE, name)) > _MOST_REFERENCES:
        return None
    from pydemumble import demangle

    return demangle(name) or None


def source_name(name: str) -> str | None:
    """The source form of a mangled name without parameters; None for any other name."""
    text = demangled(name)
    if text is None or ")" not in text:
        return text
    depth, start = 0, 0
    for place in range(text.rindex(")"), -1, -1):
        depth += (text[place] == ")") - (text[place] == "(")
        if not depth:
            start = place
            break
    return text[:start] or text


def with_source_name(names: Iterable[str], wanted: str) -> dict[str, str]:
    """Those of `names` that are `wanted` in the source, with or without parameters, and their source forms."""
    spaceless = wanted.replace(" ", "")
    found = {}
    for name in names:
        text = demangled(name)
        if text is None:
            continue
        plain = text.replace(_ANONYMOUS, _ANONYMOUS[1:-1]).partition("(")[0]
        if text.replace(" ", "") == spaceless or plain == wanted or plain.endswith(f" {wanted}"):
            found[name] = text
    return found

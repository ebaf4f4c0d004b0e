"""Names of C++ and Rust as their source has them, and functions by such names."""

from __future__ import annotations

import re
from collections import defaultdict

from relink.elf import Decoded
from relink.image import exported_rows
from relink.memory.once import once_per_file
from relink.records.tuples import NamedTuple

#: Each back-reference of a mangled name may double the length of the result (250 hostile characters can make half
#: a gigabyte), so longer names, or names with more back-references, are not demangled.
_LONGEST_NAME = 2048
_MOST_REFERENCES = 14
_REFERENCE = r"[ST][0-9A-Z]*_|B[0-9A-Za-z]*_"
_ANONYMOUS = "(anonymous namespace)"
#: Source forms with more bytes, or more words without their parameters, are made again for each name looked up.
_LONGEST_KEPT, _MOST_WORDS = 512, 16
_PREFIXES = "_Z", "_R", "__Z"  #: of mangled names


def demangled(name: str) -> str | None:
    """The source form of a mangled C++ or Rust name; None for any other name."""
    if not name.startswith(_PREFIXES):
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


class _SourceNames(NamedTuple):
    """Mangled names by what they are in the source."""

    whole: dict[str, list[str]]  #: with parameters, without spaces
    plain: dict[str, list[str]]  #: without parameters; what begins after a space may be without its result type
    long: list[str]  #: those with too much text to keep


@once_per_file
def _source_names(decoded: Decoded) -> _SourceNames:
    """The source names of a file's exports."""
    whole, plain, long = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list), list[str]()
    for name in dict.fromkeys(decoded.symbols.names.take(exported_rows(decoded)).texts()):
        text = demangled(name) if name.startswith(_PREFIXES) else None
        if text is None:
            continue
        words = _plain(text).split(" ", _MOST_WORDS)
        if len(text) > _LONGEST_KEPT or len(words) > _MOST_WORDS:
            long.append(name)
            continue
        whole[text.replace(" ", "")].append(name)
        for first in range(len(words)):
            plain[" ".join(words[first:])].append(name)
    return _SourceNames(dict(whole), dict(plain), long)


def _plain(text: str) -> str:
    """A source form without parameters."""
    return text.replace(_ANONYMOUS, _ANONYMOUS[1:-1]).partition("(")[0]


def with_source_name(decoded: Decoded, wanted: str) -> dict[str, str]:
    """The mangled names that a file exports and that are `wanted` in the source, with or without parameters, and
    their source forms.
    """
    known, spaceless = _source_names(decoded), wanted.replace(" ", "")
    names = *known.plain.get(wanted, ()), *known.whole.get(spaceless, ()), *known.long
    return {
        name: text
        for name in names
        if (text := demangled(name))
        and (text.replace(" ", "") == spaceless or f" {_plain(text)}".endswith(f" {wanted}"))
    }

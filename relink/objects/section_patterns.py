"""Patterns of input sections, as in linker scripts: ".text.*", "*startup.o(.text)".

Most are a section's whole name, or its beginning and `*`. These are found in tables by the name, so that a section
costs the same among few patterns and among many; others are tried one after the other, once for each name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from relink.objects.input_sections import InputSection

_WITH_FILE = re.compile(r"(.*)\((.+)\)")
_SPECIAL = re.compile(r"[*?\[]")


class SectionPatterns:
    """Patterns in order, each with a number of its own: its place."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._beginnings: dict[str, list[int]] = {}
        self._others: list[tuple[int, re.Pattern[str]]] = []
        self._files: dict[int, Callable[[str], object]] = {}  #: of patterns that say which file
        self._by_name: dict[str, list[int]] = {}
        for number, pattern in enumerate(patterns):
            found = _WITH_FILE.fullmatch(pattern)
            self._add(number, found[2] if found else pattern)
            if found is not None:
                self._files[number] = re.compile(translate(found[1].strip() or "*")).match

    def _add(self, number: int, name: str) -> None:
        special = _SPECIAL.search(name)
        if special is None:
            self._exact.setdefault(name, []).append(number)
        elif special.start() == len(name) - 1 and name[-1] == "*":
            self._beginnings.setdefault(name[:-1], []).append(number)
        else:
            self._others.append((number, re.compile(translate(name))))

    def first(self, section: InputSection) -> int | None:
        """The number of the first pattern that selects a section; None: none does."""
        return next((number for number in self._of(section.name) if self._is_of(number, section)), None)

    def _of(self, name: str) -> list[int]:
        """The patterns that select a section of this name, in one file or all."""
        found = self._by_name.get(name)
        if found is None:
            found = [*self._exact.get(name, ())]
            for end in range(len(name) + 1):
                found += self._beginnings.get(name[:end], ())
            found += [number for number, matcher in self._others if matcher.match(name)]
            self._by_name[name] = found = sorted(found)
        return found

    def _is_of(self, number: int, section: InputSection) -> bool:
        matches = self._files.get(number)
        name = section.file.name
        return matches is None or any(matches(text) for text in (name, name.rpartition("/")[2]))

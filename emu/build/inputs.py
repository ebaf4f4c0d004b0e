"""What a compilation has read: headers, and the places where others would have been found first."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from relink.records import dataclass

_INCLUDED = re.compile(rb'(?:include|include_next|embed|import)\W*?[<"]([^>"\n]+)[>"]')
_WORD = re.compile(r"((?:[^\\\s]|\\.)+)", re.DOTALL)


@dataclass(frozen=True)
class Inputs:
    """The files of a compilation with their digests, and the existing files among all that an #include could mean.

    `repeatable` is False when the digests do not tell all: text that includes data (.incbin), or a file that
    changed during the build.
    """

    files: Mapping[str, str]
    names: tuple[str, ...]
    folders: tuple[str, ...]
    found: tuple[str, ...]
    repeatable: bool = True

    @property
    def current(self) -> bool:
        """Whether a compilation would read the same now."""
        if not self.repeatable or any(digest_of(path) != digest for path, digest in self.files.items()):
            return False
        return _existing(self.names, self.folders) == self.found


def digest_of(path: str) -> str:
    """The digest of a file's content; "" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def listed(text: str) -> list[str]:
    """The files of a make rule, as compilers write them with -MMD."""
    _, _, rest = text.replace("\\\r\n", " ").replace("\\\n", " ").partition(": ")
    return [re.sub(r"\\([ #\\])", r"\1", word).replace("$$", "$") for word in _WORD.findall(rest)]


def inputs_of(dependencies: Iterable[str], include: Sequence[Path], base: Path, began: int) -> Inputs:
    """The inputs of compilations that read these files. `began` is when they began, in nanoseconds."""
    paths = sorted({os.path.join(base, path) for path in dependencies})
    names: set[str] = set()
    repeatable = True
    for path in paths:
        try:
            content, changed = Path(path).read_bytes(), os.stat(path).st_mtime_ns
        except OSError:
            content, changed = b"", began
        repeatable &= changed < began and b"incbin" not in content
        names.update(os.fsdecode(name) for name in _INCLUDED.findall(content))
    folders = tuple(dict.fromkeys((*(os.path.dirname(path) for path in paths), *map(str, include))))
    ordered = tuple(sorted(names))
    files = {path: digest_of(path) for path in paths}
    return Inputs(files, ordered, folders, _existing(ordered, folders), repeatable)


def _existing(names: Sequence[str], folders: Sequence[str]) -> tuple[str, ...]:
    candidates = (os.path.join(folder, name) for folder in folders for name in names)
    return tuple(path for path in candidates if os.path.exists(path))

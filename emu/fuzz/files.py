"""Inputs in files, named and written as by libFuzzer and AFL++: corpus folders, findings, dictionaries."""

from __future__ import annotations

import errno
import os
import re
from hashlib import sha1
from pathlib import Path
from typing import Final

from emu.errors import FuzzError
from relink.export.whole_file import write_whole

_TOKEN: Final = re.compile(r'^(?:[\w@.-]+\s*=\s*)?"((?:[^"\\]|\\.)*)"$')
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_PLAIN: Final = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t", "0": "\0"}


def read_inputs(folder: Path) -> list[bytes]:
    """The inputs in a corpus folder, the shortest first. Files whose names begin with a dot are left out. Raises
    OSError.
    """
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted((path.read_bytes() for path in files), key=lambda data: (len(data), data))


def save_input(folder: Path, data: bytes, prefix: str = "") -> Path:
    """Write an input under the name of its contents; returns the file. Raises OSError."""
    path = folder / (prefix + sha1(data, usedforsecurity=False).hexdigest())
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    return path


def check_writable(folder: Path) -> None:
    """Raises OSError when no input can be written to a folder, which need not be there yet."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def read_dictionary(path: Path) -> list[bytes]:
    r"""The tokens of a file with lines `"token"` or `name="to\x6ben"`. Raises FuzzError (other lines), OSError."""
    tokens = []
    for number, line in enumerate(path.read_bytes().decode("latin-1").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _TOKEN.match(line)
        if match is None:
            raise FuzzError(f'{path}:{number}: no token in double quotes, such as name="token"')
        try:
            tokens.append(_ESCAPE.sub(_unescaped, match[1]).encode("latin-1"))
        except KeyError as error:
            raise FuzzError(f"{path}:{number}: unknown escape sequence \\{error.args[0]}") from None
    return tokens


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _PLAIN[escape[2]]

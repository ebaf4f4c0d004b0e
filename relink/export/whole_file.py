"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file for the content of `path`, which takes its place, with its permissions, at the end of the block.

    When the block raises, or a signal handler does anywhere, what was there is there still. A device or a pipe is
    written to, as is a file in a folder that cannot be; where a link leads is replaced, not the link.
    Raises OSError with `path` as its file name.
    """
    target = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.part")
    before = os.stat(path) if os.path.exists(path) else None  # not of `target`: that of a pipe's link is none
    beside = before is None or (stat.S_ISREG(before.st_mode) and os.access(os.path.dirname(target), os.W_OK))
    placed = not beside
    try:
        with open(temporary, "xb") if beside else open(path, "wb") as file:
            if beside and before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            yield file
        if beside:
            os.replace(temporary, target)
            placed = True
    except OSError as error:
        if error.filename in (None, temporary):  # none where the disk is full
            error.filename = os.fspath(path)
        raise
    finally:
        if not placed:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file of this content, as `whole_file`. Raises OSError."""
    with whole_file(path) as file:
        file.write(content)

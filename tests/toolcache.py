"""`made(command, inputs)`: the file that a compiler or linker writes, run once for the same words and contents.

Results lie in a folder of the cache that outlives the run and is shared by its processes, so a second run compiles
nothing. Delete it at will; `pytest --no-tool-cache` uses a fresh one. Nobody may write to a file that is in it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from emu.fetch.debian import cache_folder

#: The word of a command that stands for the file it writes.
OUTPUT = "{output}"
_MOST_BYTES = 512 << 20
_IN_USE_SECONDS = 3600
_fresh = False


class ToolFailed(AssertionError):
    """The tool ended with an error; the message is what it printed."""


def use_fresh_folder() -> None:
    """Make everything anew in this run."""
    global _fresh
    _fresh = True
    folder.cache_clear()


@functools.cache
def folder() -> Path:
    """Where results lie: beside the fetched libraries, or a temporary folder where that cannot be written to."""
    place = cache_folder().parent / "compiled"
    if not _fresh:
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
        if os.access(place, os.W_OK):
            return place
    place = Path(tempfile.mkdtemp(prefix="relink-compiled-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def bytecode() -> Path:
    """Where Python keeps bytecode when it may keep none in the tree."""
    return folder() / "bytecode"


def trim() -> None:
    """When the folder has grown large, remove what no run has used for an hour: others may be under way.

    It is measured once an hour: that takes a second of each run otherwise. What bytecode is missing is made anew.
    """
    measured = folder() / "measured"
    with contextlib.suppress(OSError):
        if measured.exists() and measured.stat().st_mtime > time.time() - _IN_USE_SECONDS:
            return
        measured.touch()
        with os.scandir(folder()) as entries:
            files = [(entry.path, entry.stat()) for entry in entries if entry.is_file()]
        if sum(found.st_size for _, found in files) > _MOST_BYTES:
            for path, found in files:
                if found.st_mtime < time.time() - _IN_USE_SECONDS:
                    Path(path).unlink(missing_ok=True)
        if sum(file.stat().st_size for file in bytecode().rglob("*.pyc")) > _MOST_BYTES // 4:
            shutil.rmtree(bytecode(), ignore_errors=True)


def _is_there(place: Path) -> bool:
    """Whether a result is there; if so it counts as used now."""
    try:
        os.utime(place)
    except OSError:
        return False
    return True


def text_file(text: str | bytes, suffix: str) -> Path:
    """A file that holds `text`; its name is made of its content."""
    content = text.encode() if isinstance(text, str) else text
    place = folder() / (hashlib.sha256(content).hexdigest()[:20] + suffix)
    if not _is_there(place):
        _replace(place, lambda part: part.write_bytes(content))
    return place


def made(command: Sequence[str | Path], inputs: Sequence[Path], name: str = "{}.o") -> Path:
    """The file `command` writes in place of its word OUTPUT; `{}` in `name` becomes a digest.

    `inputs` are all the files it reads, beside those of the toolchain. Raises ToolFailed.
    """
    digests = {str(path): _digest(path) for path in inputs}
    words = []
    for word in map(str, command):
        for path, digest in digests.items():
            word = word.replace(path, digest)
        words.append((word, _tool(word)))
    key = hashlib.sha256(repr((str(folder()), name, words, sorted(digests.values()))).encode()).hexdigest()[:20]
    place = folder() / name.format(key)
    if not _is_there(place):
        _replace(place, lambda part: _run([str(word).replace(OUTPUT, str(part)) for word in command]))
    return place


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolFailed(done.stderr)


def _replace(place: Path, write: Callable[[Path], object]) -> None:
    """Other processes see the whole file or none."""
    part = place.with_name(f"{os.getpid()}.{place.name}")
    try:
        write(part)
        part.chmod(part.stat().st_mode & ~0o222)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


@functools.cache
def _tool(word: str) -> tuple[int, int] | None:
    """What tells one version of a program from another, for words that name one."""
    if not word.startswith("/"):
        return None
    try:
        status = Path(word).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

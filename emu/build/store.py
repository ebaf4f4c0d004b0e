"""The cache of builds: folders named by what went into them, each written once.

A result is built in a folder of its own and renamed when it is complete, under a lock: a build that was killed
leaves a folder that nobody uses, which the next build removes, and the kernel frees its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from emu.build.errors import BuildError
from emu.build.inputs import Inputs

_INPUTS = "inputs.json"
_PART = "part-"
_DAYS_KEPT = 30
_MOST_KEPT = 8  #: results of the same sources with other headers


def user_folder() -> Path:
    """This project's folder among the user's caches: in $XDG_CACHE_HOME, which the XDG specification ignores
    unless it is absolute, or in ~/.cache. Raises BuildError where there is neither.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "relink-emu"
    try:
        return Path.home() / ".cache" / "relink-emu"
    except RuntimeError:  # a user whom the system does not know, without $HOME
        raise BuildError("no folder for caches is known: set HOME or XDG_CACHE_HOME") from None


def default_folder() -> Path:
    """The user's cache folder for builds. Raises BuildError as `user_folder`."""
    return user_folder() / "builds"


@contextlib.contextmanager
def default_store() -> Iterator[Store]:
    """The user's build cache; where that cannot be written, one for this block."""
    try:
        store = Store(default_folder())
    except BuildError:
        with tempfile.TemporaryDirectory(prefix="relink-emu-builds-") as place:
            yield Store(Path(place))
        return
    yield store


class Store:
    """A folder of results. Raises BuildError when the folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                file.write(bytes(4096))  # a full disk accepts an empty file
        except OSError as error:
            raise BuildError(f"the build cache {folder} cannot be written: {error.strerror}") from None

    def get(self, key: str, build: Callable[[Path], Inputs], *, rebuild: bool = False) -> Path:
        """The folder of the result for `key` whose inputs are as they are now.

        Otherwise `build` is called with an empty folder to fill, by one process at a time. Its exceptions are
        raised, and nothing is kept then. Raises BuildError when the folder cannot be used.
        """
        try:
            return self._get(key, build, rebuild=rebuild)
        except OSError as error:
            raise BuildError(f"the build cache {self.folder} cannot be used: {error}") from error

    def _get(self, key: str, build: Callable[[Path], Inputs], *, rebuild: bool) -> Path:
        place = self.folder / key[:2] / key
        if not rebuild and (found := self._current(place)) is not None:
            return found
        place.mkdir(parents=True, exist_ok=True)
        with locked(place / "lock"):
            if not rebuild and (found := self._current(place)) is not None:
                return found
            return self._build(place, build)

    def _build(self, place: Path, build: Callable[[Path], Inputs]) -> Path:
        for killed in place.glob(f"{_PART}*"):  # who holds the lock is the only one that builds
            shutil.rmtree(killed, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=_PART, dir=place))
        try:
            inputs = build(part)
            (part / _INPUTS).write_text(json.dumps(asdict(inputs)), encoding="utf-8", errors="surrogateescape")
            result = place / uuid.uuid4().hex
            part.rename(result)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        old = sorted(self._results(place), key=lambda path: path.stat().st_mtime)
        for path in old[:-_MOST_KEPT]:
            shutil.rmtree(path, ignore_errors=True)
        return result

    @staticmethod
    def _results(place: Path) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from (path for path in place.iterdir() if path.is_dir() and not path.name.startswith(_PART))

    def _current(self, place: Path) -> Path | None:
        for result in self._results(place):
            try:
                facts = json.loads((result / _INPUTS).read_text(encoding="utf-8", errors="surrogateescape"))
                inputs = Inputs(
                    facts["files"],
                    tuple(facts["names"]),
                    tuple(facts["folders"]),
                    tuple(facts["found"]),
                    facts["repeatable"],
                )
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if inputs.current:
                with contextlib.suppress(OSError):
                    os.utime(place)
                return result
        return None

    def trim(self) -> None:
        """Remove what nobody has used for a month, at most once a day."""
        stamp, now = self.folder / "trimmed", time.time()
        with contextlib.suppress(OSError):
            if now - stamp.stat().st_mtime < 24 * 3600:
                return
        with contextlib.suppress(OSError):
            stamp.touch()
            for place in self.folder.glob("??/*"):
                if now - place.stat().st_mtime > _DAYS_KEPT * 24 * 3600:
                    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is made, during the block. The kernel frees it when the process ends."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""littlefs's C sources, from the source distribution of littlefs-python: fetched once, never committed."""

from __future__ import annotations

import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

from emu.fetch.apt import run
from emu.fetch.debian import cache_folder
from emu.fetch.errors import FetchError

VERSION = "0.19.0"
_SHA256 = "4ce8c6eeeb2703abaf8cb60f2dab624b17af42b13df3dbc6c42d4142bad79a59"
_FILES = ("lfs.c", "lfs.h", "lfs_util.c", "lfs_util.h")


def sources(version: str = VERSION, sha256: str = _SHA256) -> Path:
    """The folder with littlefs's sources, fetched with pip on first use. Raises FetchError."""
    folder = cache_folder().parent / "littlefs" / version
    if not (folder / _FILES[-1]).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            _unpack(_download(version, sha256, Path(place)), Path(place), folder)
    return folder


def _download(version: str, sha256: str, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "0"]
    run([*pip, "--no-deps", "--no-binary", "littlefs-python", "--dest", into, f"littlefs-python=={version}"])
    (archive,) = into.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise FetchError(f"{archive.name} is not the one that this example was written for: its SHA-256 differs")
    return archive


def _unpack(archive: Path, place: Path, into: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    for name in _FILES:
        (found,) = place.glob(f"*/littlefs/{name}")
        found.replace(into / name)

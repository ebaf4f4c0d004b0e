"""Which code has written a snapshot's file: files hold objects as its classes have them, also between releases."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from functools import cache
from pathlib import Path

import relink


@cache
def project_version() -> str:
    """The version of relink-emu, with a digest of its source."""
    try:
        version = importlib.metadata.version("relink-emu")
    except importlib.metadata.PackageNotFoundError:
        version = "source"
    return f"{version} ({digest(Path(__file__).parents[1], Path(relink.__path__[0]))})"


def digest(*packages: Path) -> str:
    """A digest of the names and contents of the Python files in these folders."""
    found = hashlib.sha256()
    for package in packages:
        for folder, folders, names in os.walk(package):  # `rglob` takes twice the time
            folders.sort()
            for name in sorted(names):
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    content = Path(path).read_bytes()
                    found.update(f"{path.removeprefix(str(package))} {len(content)} ".encode() + content)
    return found.hexdigest()[:12]

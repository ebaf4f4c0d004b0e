"""Debian's programs for comparison in tests, in the cache, when the host's are missing or too old.

Nothing is installed: a package for this host's architecture is unpacked, and its program runs from there. So it
must be one without dependencies, as Debian 13's qemu-user is (it is linked statically).
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from emu.fetch.apt import PrivateApt, require, run
from emu.fetch.debian import STABLE, cache_folder
from emu.fetch.errors import FetchError

PACKAGE_OF: Mapping[str, str] = dict.fromkeys(
    ("qemu-x86_64", "qemu-i386", "qemu-aarch64", "qemu-arm", "qemu-riscv64", "qemu-riscv32", "qemu-loongarch64"),
    "qemu-user",
)
"""The package that holds each program."""


def program(name: str, cache: Path | None = None) -> Path:
    """Debian's program `name`, fetched on first use. Safe to call from several processes. Raises `FetchError`."""
    if name not in PACKAGE_OF:
        raise FetchError(f"no package is known to hold {name}; known are {', '.join(PACKAGE_OF)}")
    folder = (cache or cache_folder()) / "programs"
    path = folder / "bin" / name
    if path.is_file():
        return path
    require("apt-get", "dpkg-deb", "dpkg")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            _fetch(name, folder)
    return path


def _fetch(name: str, folder: Path) -> None:
    apt = PrivateApt(folder / "apt", run(["dpkg", "--print-architecture"]).strip(), STABLE)
    with tempfile.TemporaryDirectory(prefix="relink-debs-", dir=folder) as place:
        for deb in apt.download([PACKAGE_OF[name]], Path(place)):
            run(["dpkg-deb", "-x", deb, Path(place) / "tree"])
        (folder / "bin").mkdir(exist_ok=True)
        # The package's other programs are kept too: it is downloaded once for all of them.
        for other in (other for other, package in PACKAGE_OF.items() if package == PACKAGE_OF[name]):
            found = Path(place) / "tree/usr/bin" / other
            if not found.is_file():
                raise FetchError(f"{PACKAGE_OF[name]} was unpacked, but holds no {other}")
            shutil.copy2(found, folder / "bin" / f"{other}.new")
            (folder / "bin" / f"{other}.new").replace(folder / "bin" / other)

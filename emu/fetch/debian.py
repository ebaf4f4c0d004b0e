"""Real libraries, from Debian: fetched into a cache, never committed.

Each architecture has a tree like a sysroot (`<cache>/<arch>/root`) and `packages.json`: the unpacked packages with
version, sha256, and the sha256 of each shared object. Debian 13 has five of the architectures; LoongArch comes
from unstable, which is not pinned; RISC-V 32 has no port, so its few libraries are compiled from Debian's sources
(`emu.fetch.source`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from emu.build.errors import BuildError
from emu.build.store import locked, user_folder
from emu.build.targets import TARGETS
from emu.fetch import source
from emu.fetch.apt import PrivateApt, require, run
from emu.fetch.errors import FetchError
from relink import decode

#: No architecture: its packages of compilers and libraries for bare metal are those of any host.
BARE_METAL = "bare-metal"
#: Debian's names of the architectures that it has ports for.
PORTS: Mapping[str, str] = {
    "x86_64": "amd64",
    "i386": "i386",
    "aarch64": "arm64",
    "arm": "armhf",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
    BARE_METAL: "amd64",
}
CACHE_VARIABLE = "RELINK_EMU_CACHE"
STABLE = "trixie"
UNSTABLE = "sid"
DEFAULT_PACKAGES = (
    "zlib1g",
    "libc6",
    "liblzma5",
    "libpng16-16t64",
    "libsqlite3-0",
    "libgcc-s1",
    "libssl3t64",
    "libzstd1",
)
"""What is fetched when nothing is named, wherever Debian has a port."""

PACKAGE_OF: Mapping[str, str] = {
    "libz.so.1": "zlib1g",
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "liblzma.so.5": "liblzma5",
    "libpng16.so.16": "libpng16-16t64",
    "libsqlite3.so.0": "libsqlite3-0",
    "libgcc_s.so.1": "libgcc-s1",
    "libcrypto.so.3": "libssl3t64",
    "libssl.so.3": "libssl3t64",
    "libstdc++.so.6": "libstdc++6",
    "libexpat.so.1": "libexpat1",
    "libzstd.so.1": "libzstd1",
    "libbz2.so.1.0": "libbz2-1.0",
}
"""The package that holds each library tests and examples ask for by SONAME."""


@dataclass(frozen=True)
class Package:
    """One unpacked package: `origin` is the .deb's (or source archive's) name, `sha256` its hash;
    `libraries` maps each shared object, relative to the root, to its sha256."""

    version: str
    origin: str
    sha256: str
    libraries: Mapping[str, str]


def cache_folder() -> Path:
    """$RELINK_EMU_CACHE, or `relink-emu/debian` in `user_folder`. Raises BuildError where there is none."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    return user_folder() / "debian"


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Sysroot:
    """The fetched libraries of one architecture. Safe to use from several processes at once."""

    def __init__(self, arch: str, cache: Path | None = None) -> None:
        """`arch` is the name of a target (see `emu.build.targets`), or `BARE_METAL`. Raises `FetchError` for
        another.
        """
        if arch not in TARGETS and arch != BARE_METAL:
            raise FetchError(f"no architecture {arch}; there are {', '.join(TARGETS)}")
        self.name = TARGETS[arch].arch if arch in TARGETS else arch
        self.port = PORTS.get(self.name)  #: Debian's name of the architecture; None without a port
        self.folder = (cache or cache_folder()) / self.name
        self.root = self.folder / "root"
        self._record = self.folder / "packages.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            yield

    def packages(self) -> dict[str, Package]:
        """The unpacked packages, by name."""
        if not self._record.is_file():
            return {}
        return {name: Package(**row) for name, row in json.loads(self._record.read_text()).items()}

    @property
    def default_packages(self) -> tuple[str, ...]:
        """The packages that `fetch` fetches by default."""
        return DEFAULT_PACKAGES if self.port else tuple(source.SOURCES)

    def fetch(self, packages: Sequence[str] = ()) -> dict[str, Package]:
        """Makes sure `packages` (none: the default ones) are unpacked, and returns their entries. Packages that
        are already there are not fetched again. Raises `FetchError`; packages unpacked before it are kept.
        """
        names = tuple(packages) or self.default_packages
        for name in names:  # before apt-get takes one for an option, a file or a version
            if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):  # Debian Policy, 5.6.1
                raise FetchError(f"{name!r} is not the name of a Debian package")
        if self.port is None and (unknown := [name for name in names if name not in source.SOURCES]):
            raise FetchError(
                f"Debian has no {self.name} port; built from source for it are only "
                f"{', '.join(source.SOURCES)}, not {', '.join(unknown)}"
            )
        with self._locked():
            known = self.packages()
            wanted = [name for name in dict.fromkeys(names) if name not in known]
            if wanted:
                get = self._download if self.port else self._compile
                for name, package in get(wanted):
                    known[name] = package
                    self._write(known)
        return {name: known[name] for name in names if name in known}

    def _write(self, packages: Mapping[str, Package]) -> None:
        text = json.dumps({name: asdict(packages[name]) for name in sorted(packages)}, indent=1)
        draft = self._record.with_suffix(".new")
        draft.write_text(text + "\n")
        draft.replace(self._record)

    def _download(self, names: Sequence[str]) -> Iterator[tuple[str, Package]]:
        require("apt-get", "dpkg-deb")
        debian = str(self.port)
        apt = PrivateApt(self.folder / "apt", debian, UNSTABLE if debian == "loong64" else STABLE)
        with tempfile.TemporaryDirectory(prefix="relink-debs-", dir=self.folder) as place:
            for deb in apt.download(names, Path(place)):
                name, version = (run(["dpkg-deb", "-f", deb, key]) for key in ("Package", "Version"))
                tree = Path(place) / "tree"
                run(["dpkg-deb", "-x", deb, tree])
                yield name.strip(), self._adopt(tree, version.strip(), deb.name, sha256_of(deb))
        self._link_merged_folders()

    def _compile(self, names: Sequence[str]) -> Iterator[tuple[str, Package]]:
        # Source packages are the same for every architecture, but apt requires one.
        apt = PrivateApt(self.folder / "apt", "amd64", STABLE, sources=True)
        for name in source.in_order(names):
            if name in self.packages():
                continue
            with tempfile.TemporaryDirectory(prefix="relink-source-", dir=self.folder) as place:
                try:
                    made = source.make(name, TARGETS[self.name], apt, Path(place), self.root)
                except BuildError as error:
                    raise FetchError(f"{name} cannot be built: {error}") from None
                yield name, self._adopt(made.tree, made.version, made.archive.name, sha256_of(made.archive))

    def _adopt(self, tree: Path, version: str, origin: str, digest: str) -> Package:
        """Moves an unpacked tree into the root, and records its shared objects."""
        libraries = {
            str(path.relative_to(tree)): sha256_of(path)
            for path in sorted(tree.rglob("*"))
            if ".so" in path.name and path.is_file() and not path.is_symlink()
        }
        shutil.copytree(tree, self.root, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(tree)
        return Package(version, origin, digest, libraries)

    def _link_merged_folders(self) -> None:
        """Debian's packages no longer carry the /lib -> usr/lib links; a sysroot needs them."""
        for name in ("lib", "lib64"):
            link = self.root / name
            if (self.root / "usr" / name).is_dir() and not link.exists():
                link.symlink_to(f"usr/{name}")

    def library(self, soname: str) -> Path:
        """The file that `soname` names. Its package is fetched on first use, and those of the libraries it needs
        (of `PACKAGE_OF`). Raises `FetchError`, `LinkError`.
        """
        files, waiting = dict[str, Path](), [soname]
        while waiting:
            name = waiting.pop()
            files[name] = self._one(name)
            needed = [need for need in decode(files[name]).needed if need not in files and need in PACKAGE_OF]
            waiting += [need for need in needed if self.port or PACKAGE_OF[need] in source.SOURCES]
        return files[soname]

    def _one(self, soname: str) -> Path:
        if (found := self._find(soname)) is not None:
            return found
        if soname not in PACKAGE_OF:
            raise FetchError(f"no package is known to hold {soname}; known are {', '.join(PACKAGE_OF)}")
        package = PACKAGE_OF[soname]
        self.fetch([package])
        found = self._find(soname)
        if found is None:
            raise FetchError(f"{package} for {self.name} was unpacked, but holds no {soname}")
        return found

    def _find(self, soname: str) -> Path | None:
        recorded = [self.root / name for package in self.packages().values() for name in package.libraries]
        for folder in sorted({path.parent for path in recorded}):
            path = folder / soname
            file = path.resolve()  # one that is not recorded is still being copied by another process
            if any(known.name == file.name and known.resolve() == file for known in recorded):
                return path
        return None

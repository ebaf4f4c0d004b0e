"""Real libraries under the oracle: fetched, never committed, so each has only a hash in the golden file.

`arch_fixtures/golden/real.json`: by architecture and SONAME, the file's sha256, how many relocated words there
are, and the sha256 over all of them in words. Where the file is the same, the hash must be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from emu.fetch.debian import Sysroot
from toolchains.manifest import FIXTURES, sha256_of
from toolchains.oracle.run import Oracle
from toolchains.targets import TARGETS, VARIANTS

REAL_GOLDEN = FIXTURES / "golden" / "real.json"
LIBRARIES = (
    "libz.so.1", "liblzma.so.5", "libpng16.so.16", "libsqlite3.so.0", "libm.so.6", "libcrypto.so.3", "libssl.so.3",
    "libgcc_s.so.1", "libstdc++.so.6",
)  # fmt: skip
#: Those whose own definitions another library interposes on where the oracle runs.
INTERPOSED = {
    ("i386", "libgcc_s.so.1"): "i386's glibc defines libgcc's old frame registry itself, and comes first",
}
ARCHES = tuple(name for name, target in TARGETS.items() if target.debian is not None)


@dataclass(frozen=True)
class Digest:
    """The golden data of a library: `file` and `digest` are sha256, `words` is a count."""

    file: str
    words: int
    digest: str


def library(arch: str, soname: str) -> Path:
    """The library, with what it needs. Raises `FetchError`."""
    return Sysroot(arch).library(soname).resolve()


def digest(path: Path, words: Mapping[int, str]) -> Digest:
    """The digest of `words`, an observation of the library at `path`."""
    # An import is told by its name and the rest by the file's own name, which a symlink does not change.
    text = "\n".join(f"{address:x}={told}" for address, told in sorted(words.items()))
    return Digest(sha256_of(path), len(words), hashlib.sha256(text.encode()).hexdigest())


def read() -> dict[str, dict[str, Digest]]:
    """The golden file, by architecture and SONAME; empty when there is none."""
    if not REAL_GOLDEN.is_file():
        return {}
    rows = json.loads(REAL_GOLDEN.read_text())
    return {arch: {name: Digest(**row) for name, row in each.items()} for arch, each in rows.items()}


def make(arch: str) -> dict[str, Digest]:
    """Asks the oracle about every library of `arch`. Raises `ToolchainError`."""
    found = {}
    with Oracle(VARIANTS[f"{arch}-clang"], fetched=True) as oracle:
        for soname in LIBRARIES:
            if (arch, soname) in INTERPOSED:
                continue
            path = library(arch, soname)
            found[soname] = digest(path, oracle.observe_library(path))
    return found


def write(found: Mapping[str, Mapping[str, Digest]]) -> None:
    """Puts `found` into the golden file; architectures it does not name stay."""
    rows = {
        arch: {name: asdict(row) for name, row in each.items()} for arch, each in (read() | dict(found)).items()
    }
    REAL_GOLDEN.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")

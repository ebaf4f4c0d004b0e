"""The manifest of built files: `arch_fixtures/manifest/<variant>.json`, one line per file.

A line has the size, sha256 and relocations by type, and `origin`, a digest of all inputs: sources, needed
fixtures, commands, flags and the compiler's version. Data that can be derived from a recipe, such as commands, is
not stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "arch_fixtures"
MANIFEST = FIXTURES / "manifest"
_FORMAT = 3


@dataclass(frozen=True)
class Entry:
    """One built file. `compiler` is its version, `relocations` counts by psABI name, `origin` and `sha256` hex."""

    compiler: str
    origin: str
    size: int
    sha256: str
    relocations: Mapping[str, int]


#: By file name relative to `built/`.
Manifest = dict[str, Entry]


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest(folder: Path = MANIFEST) -> Manifest:
    """All variants' entries; empty when there are none yet."""
    manifest: Manifest = {}
    for path in sorted(folder.glob("*.json")):
        variant = json.loads(path.read_text())
        for name, row in variant["files"].items():
            manifest[f"{path.stem}/{name}"] = Entry(variant["compiler"], **row)
    return manifest


def write_manifest(manifest: Manifest, folder: Path = MANIFEST) -> None:
    """Writes a file for each variant, sorted, an entry on one line so that diffs are small; no others are left."""
    folder.mkdir(parents=True, exist_ok=True)
    variants: dict[str, Manifest] = {}
    for name in sorted(manifest):
        variant, _, file = name.partition("/")
        variants.setdefault(variant, {})[file] = manifest[name]
    for path in folder.glob("*.json"):
        if path.stem not in variants:
            path.unlink()
    for variant, entries in variants.items():
        (folder / f"{variant}.json").write_text(_text(entries))


def _text(entries: Manifest) -> str:
    (compiler,) = {entry.compiler for entry in entries.values()}
    lines = [f"  {json.dumps(name)}: {json.dumps(_row(entry))}" for name, entry in entries.items()]
    head = f'{{\n "format": {_FORMAT},\n "compiler": {json.dumps(compiler)},\n "files": {{\n'
    return head + ",\n".join(lines) + "\n }\n}\n"


def _row(entry: Entry) -> dict[str, object]:
    fields = ("origin", "size", "sha256", "relocations")
    return {name: getattr(entry, name) for name in fields}

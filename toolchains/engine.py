"""What builds: a compiler and a linker, as command templates.

A command is a tuple of words in which `{zig}`, `{work}` and `{built}` stand for places, so that the same
words go into the manifest and to the machine, and no manifest knows where anybody's files lie. `{compile}`
and `{link}` stand for the flags every command shares, which the manifest says once. Commands run inside
`arch_fixtures/src`; sources are named relative to it.

`Engine` is the seam: the clang and lld inside the `ziglang` wheel are one, a cross gcc in a container can be
another, with the same recipes and targets.
"""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from toolchains.errors import BuildFailed, CompilerMissing
from toolchains.targets import Target

Command = tuple[str, ...]
Places = Mapping[str, str | tuple[str, ...]]

# Freestanding and reproducible: no build paths, no producer note.
_COMPILE = (
    "-nostdinc", "-ffreestanding", "-O2", "-fno-ident", "-fdebug-compilation-dir=.", "-fno-stack-protector",
    "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables", "-fno-threadsafe-statics", "-Wall",
    "-Wno-unused-parameter", "-Wno-builtin-requires-header", "-Wno-deprecated-non-prototype",
    "-Wno-incompatible-library-redeclaration", "-Wno-infinite-recursion", "-I.",
)
_LINK = ("-z", "max-page-size=4096", "--no-undefined-version", "--build-id=none")


class Engine(Protocol):
    """A compiler and linker pair."""

    @property
    def version(self) -> str:
        """What the manifest records; two engines of one version build the same bytes."""

    @property
    def flags(self) -> Mapping[str, tuple[str, ...]]:
        """What the placeholders `{compile}` and `{link}` stand for."""

    def compile(self, target: Target, source: str, output: str, cflags: Sequence[str]) -> Command:
        """The command that compiles `source` into the object `output`."""

    def link(self, target: Target, inputs: Sequence[str], output: str, ldflags: Sequence[str]) -> Command:
        """The command that links `inputs` (objects, then libraries) into `output`."""

    def run(self, fixture: str, command: Command, places: Places, cwd: Path) -> None:
        """Runs one command with its placeholders filled in. Raises `BuildFailed`."""


def find_zig() -> Path:
    """The binary inside the `ziglang` wheel of this interpreter. Raises `CompilerMissing`."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise CompilerMissing(
            "fixtures are built with the clang and lld inside the ziglang wheel, which is not installed: "
            "pip install 'relink-emu[fixtures]'"
        )
    zig = Path(spec.submodule_search_locations[0]) / "zig"
    if not zig.is_file():
        raise CompilerMissing(f"the ziglang package is installed but holds no compiler at {zig}")
    return zig


class Zig:
    """clang and lld of the `ziglang` wheel, called directly: `zig cc` refuses much of what is needed here
    (RELR, packed relocations, `-init`, `-fno-pic`) and changes the rest."""

    @cached_property
    def path(self) -> Path:
        """The wheel's binary."""
        return find_zig()

    @cached_property
    def version(self) -> str:
        clang, lld = (self._first_line(tool, "--version") for tool in ("clang", "ld.lld"))
        return f"{clang}; {lld.split(' (')[0]}"

    def _first_line(self, *words: str) -> str:
        done = subprocess.run([self.path, *words], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0].strip()

    @property
    def flags(self) -> Mapping[str, tuple[str, ...]]:
        return {"compile": _COMPILE, "link": _LINK}

    def compile(self, target: Target, source: str, output: str, cflags: Sequence[str]) -> Command:
        return (
            "{zig}", "clang", "-target", target.triple, *target.cflags, "{compile}", *cflags, "-c", source,
            "-o", output,
        )

    def link(self, target: Target, inputs: Sequence[str], output: str, ldflags: Sequence[str]) -> Command:
        return ("{zig}", "ld.lld", "-m", target.emulation, "{link}", *ldflags, *inputs, "-o", output)

    def run(self, fixture: str, command: Command, places: Places, cwd: Path) -> None:
        argv = fill(command, {**places, **self.flags, "zig": str(self.path)})
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
        if done.returncode or done.stderr:
            raise BuildFailed(fixture, shlex.join(command), done.stderr)


def fill(command: Command, places: Places) -> list[str]:
    """`command` with `{name}` replaced by `places[name]`: within a word by a string, and a whole word by
    several. Other braces are left alone."""
    argv: list[str] = []
    for word in command:
        several = places.get(word[1:-1]) if word[:1] == "{" else None
        if isinstance(several, tuple):
            argv += several
            continue
        for name, place in places.items():
            if isinstance(place, str):
                word = word.replace("{" + name + "}", place)
        argv.append(word)
    return argv

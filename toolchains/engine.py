"""Build engines: a compiler, a linker and an archiver, as command templates.

A command is a tuple of words in which `{zig}`, `{work}`, `{built}` and `{sources}` are placeholders for paths, so
that the digest of a file's build does not depend on paths. `{compile}`, `{cxx}` and `{link}` are placeholders for
the common flags of a compiler. Commands run inside `arch_fixtures/src`; sources are relative to it.

`Engine` is the interface. There are three engines for two compilers: clang and lld inside the `ziglang` wheel
(`Zig`), gcc with GNU ld and clang with lld as Debian installs them (`Gnu`, `Llvm`). Containers (`image.py`) run
the latter two inside. Recipes and targets are the same for all.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

from emu.build import compilers
from toolchains.errors import BuildFailed, CompilerMissing, CompilerTooOld
from toolchains.targets import Target

Command = tuple[str, ...]
Places = Mapping[str, str | tuple[str, ...]]

# Freestanding and reproducible: no build paths, no producer note.
_COMPILE = (
    "-nostdinc",
    "-ffreestanding",
    "-O2",
    "-fno-ident",
    "-fno-stack-protector",
    "-fno-exceptions",
    "-fno-asynchronous-unwind-tables",
    "-Wall",
    "-Wno-unused-parameter",
    "-Wno-infinite-recursion",
    "-I.",
)
_CXX = ("-fno-rtti", "-fno-threadsafe-statics")
_CLANG = (
    "-fdebug-compilation-dir=.",
    "-Wno-builtin-requires-header",
    "-Wno-incompatible-library-redeclaration",
    "-Wno-deprecated-non-prototype",
)
_GCC = (
    "-ffile-prefix-map={sources}=.",
    "-Wno-builtin-declaration-mismatch",
)
_LINK = ("-z", "max-page-size=4096", "--no-undefined-version", "--build-id=none")


def _cxx(source: str) -> Command:
    return ("{cxx}",) if source.endswith(".cpp") else ()


class Engine(Protocol):
    """A compiler, linker and archiver that belong together."""

    @property
    def compiler(self) -> str:
        """`clang` or `gcc`: which variants it builds."""

    def version(self, target: Target) -> str:
        """The version recorded in the manifest; two engines with the same version build the same bytes.

        Raises `CompilerMissing`, `CompilerTooOld`.
        """

    @property
    def flags(self) -> Mapping[str, tuple[str, ...]]:
        """The values of the placeholders `{compile}`, `{cxx}` (C++ only) and `{link}`."""

    def compile(self, target: Target, source: str, output: str, cflags: Sequence[str]) -> Command:
        """The command that compiles `source` into the object `output`."""

    def link(self, target: Target, inputs: Sequence[str], output: str, ldflags: Sequence[str]) -> Command:
        """The command that links `inputs` (objects, then libraries) into `output`."""

    def archive(self, target: Target, members: Sequence[str], output: str) -> Command:
        """The command that puts `members` into the new archive `output`, in that order."""

    def run(self, fixture: str, command: Command, places: Places, cwd: Path) -> None:
        """Runs one command with its placeholders filled in. Raises `BuildFailed`."""


def run_command(fixture: str, command: Command, places: Places, cwd: Path) -> None:
    """Runs `command` with its placeholders filled in.

    Raises `BuildFailed` when it fails or prints a warning: GNU ld only warns about options that it ignores, and
    the fixture would lack its feature.
    """
    argv = fill(command, places)
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise BuildFailed(fixture, shlex.join(command), done.stderr)


@cache
def first_line(*argv: str) -> str:
    """The first line that a tool prints, cached per process. Raises `CompilerMissing` when it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CompilerMissing(f"{Path(argv[0]).name} cannot be run: {error}") from None
    return done.stdout.splitlines()[0].strip()


def require_version(tool: str, line: str, least: tuple[int, int]) -> None:
    """Raises `CompilerTooOld` unless the version that ends `line` is `least` or later."""
    found = re.search(r"(\d+)\.(\d+)[.\d]*$", line)
    if found is None or (int(found[1]), int(found[2])) < least:
        raise CompilerTooOld(tool, line, least)


def find_zig() -> Path:
    """The binary inside the `ziglang` wheel of this interpreter. Raises `CompilerMissing`."""
    if (zig := compilers.find_zig()) is None:
        raise CompilerMissing(
            "fixtures are built with the clang and lld inside the ziglang wheel, which is not installed: "
            "pip install 'relink-emu[fixtures]'"
        )
    return zig


class Clang:
    """clang, lld and llvm-ar; subclasses give the commands."""

    compiler = "clang"
    _clang: Command
    _lld: Command
    _ar: Command

    @property
    def flags(self) -> Mapping[str, tuple[str, ...]]:
        return {"compile": (*_COMPILE, *_CLANG), "cxx": _CXX, "link": _LINK}

    def compile(self, target: Target, source: str, output: str, cflags: Sequence[str]) -> Command:
        return (
            *self._clang,
            "-target",
            target.triple,
            *target.cflags,
            "{compile}",
            *_cxx(source),
            *cflags,
            "-c",
            source,
            "-o",
            output,
        )

    def link(self, target: Target, inputs: Sequence[str], output: str, ldflags: Sequence[str]) -> Command:
        return (*self._lld, "-m", target.emulation, "{link}", *ldflags, *inputs, "-o", output)

    def archive(self, target: Target, members: Sequence[str], output: str) -> Command:
        return (*self._ar, "rcsD", output, *members)

    def run(self, fixture: str, command: Command, places: Places, cwd: Path) -> None:
        run_command(fixture, command, {**places, **self.flags}, cwd)


class Zig(Clang):
    """clang and lld of the `ziglang` wheel, called directly: `zig cc` refuses much of what is needed here
    (RELR, packed relocations, `-init`, `-fno-pic`) and changes the rest."""

    _clang = ("{zig}", "clang")
    _lld = ("{zig}", "ld.lld")
    _ar = ("{zig}", "ar")

    @cached_property
    def path(self) -> Path:
        """The wheel's binary."""
        return find_zig()

    def version(self, target: Target | None = None) -> str:
        clang, lld = (first_line(str(self.path), tool, "--version") for tool in ("clang", "ld.lld"))
        return f"{clang}; {lld.split(' (')[0]}"

    def run(self, fixture: str, command: Command, places: Places, cwd: Path) -> None:
        super().run(fixture, command, {**places, "zig": str(self.path)}, cwd)


_ELSEWHERE = "or build in a container: --engine docker, --engine buildah"


class Llvm(Clang):
    """clang and lld as Debian packages them, the release in their names."""

    RELEASE = 19
    _clang = (f"clang-{RELEASE}",)
    _lld = (f"ld.lld-{RELEASE}",)
    _ar = (f"llvm-ar-{RELEASE}",)

    def version(self, target: Target) -> str:
        if missing := [tool for (tool,) in (self._clang, self._lld, self._ar) if shutil.which(tool) is None]:
            packages = f"clang-{self.RELEASE} lld-{self.RELEASE} llvm-{self.RELEASE}"
            raise CompilerMissing(
                f"{', '.join(missing)}: not installed here. Install {packages} (Debian 13), {_ELSEWHERE}, or "
                "use the ziglang wheel: --engine zig"
            )
        return f"{first_line(*self._clang, '--version')}; {first_line(*self._lld, '--version').split(' (')[0]}"


class Gnu:
    """gcc, GNU ld and GNU ar as Debian's cross toolchains name them.

    Older gcc has no TLS descriptors for RISC-V and LoongArch, older binutils no `-z nosectionheader`.
    """

    compiler = "gcc"
    LEAST_GCC, LEAST_BINUTILS = (14, 1), (2, 43)

    def version(self, target: Target) -> str:
        tools = [f"{target.gnu}-{tool}" for tool in ("gcc", "g++", "ld", "ar")]
        if missing := [tool for tool in tools if shutil.which(tool) is None]:
            package = target.gnu.replace("_", "-")
            raise CompilerMissing(
                f"{', '.join(missing)}: not installed here. Install gcc-{package} and g++-{package} (Debian 13), "
                f"{_ELSEWHERE}"
            )
        gcc, linker = first_line(tools[0], "--version"), first_line(tools[2], "--version")
        require_version(tools[0], gcc, self.LEAST_GCC)
        require_version(tools[2], linker, self.LEAST_BINUTILS)
        return f"{gcc.partition(' ')[2]}; {linker}"

    @property
    def flags(self) -> Mapping[str, tuple[str, ...]]:
        return {"compile": (*_COMPILE, *_GCC), "cxx": _CXX, "link": _LINK}

    def compile(self, target: Target, source: str, output: str, cflags: Sequence[str]) -> Command:
        driver = "g++" if _cxx(source) else "gcc"
        return (
            f"{target.gnu}-{driver}",
            *target.cflags,
            *target.gnu_cflags,
            "{compile}",
            *_cxx(source),
            *cflags,
            "-c",
            source,
            "-o",
            output,
        )

    def link(self, target: Target, inputs: Sequence[str], output: str, ldflags: Sequence[str]) -> Command:
        return (
            f"{target.gnu}-ld",
            "-m",
            target.emulation,
            "{link}",
            *target.gnu_ldflags,
            *ldflags,
            *inputs,
            "-o",
            output,
        )

    def archive(self, target: Target, members: Sequence[str], output: str) -> Command:
        return (f"{target.gnu}-ar", "rcsD", output, *members)

    def run(self, fixture: str, command: Command, places: Places, cwd: Path) -> None:
        run_command(fixture, command, {**places, **self.flags}, cwd)


def fill(command: Command, places: Places) -> list[str]:
    """`command` with `{name}` replaced by `places[name]`: within a word by a string, and a whole word by
    several. Other braces are left alone."""
    argv: list[str] = []
    for word in command:
        several = places.get(word[1:-1]) if word[:1] == "{" else None
        if isinstance(several, tuple):
            argv += fill(several, places)
            continue
        for name, place in places.items():
            if isinstance(place, str):
                word = word.replace("{" + name + "}", place)
        argv.append(word)
    return argv

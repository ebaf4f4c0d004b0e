"""Compilers: what is installed for a target, and their commands.

clang and lld of the ziglang wheel are called directly, as `zig clang` and `zig ld.lld`. `zig cc` is not: without
-O it traps undefined behaviour and protects the stack, with -O it defines NDEBUG, so that a test's assertions
vanish. Only the folders of its headers are asked of it, once for each target and kept in the build cache.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from emu.build.errors import BuildError, CompilerFailed, CompilerMissing
from emu.build.targets import Target
from emu.build.words import split

CXX: Final = frozenset({".cc", ".cpp", ".cxx", ".C", ".c++"})
COMPILED: Final = frozenset({".c", ".s", ".S", *CXX})
_TIMEOUT: Final = 600.0  #: of one command, in seconds
_GET_ONE: Final = (
    "pip install 'relink-emu[pytest]' brings one for every architecture (clang of the ziglang wheel); "
    "a cross gcc or clang on PATH will do"
)


def run(target: str, command: Sequence[str], cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command of a build; what it printed. Raises CompilerFailed, CompilerMissing."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise CompilerMissing(f"{command[0]} is not installed ({_GET_ONE})") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerFailed(target, command, str(error)) from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise CompilerFailed(target, command, said or f"exit status {done.returncode}")
    return said


class Compiler:
    """A driver in the manner of gcc; subclasses differ in how they find headers and link."""

    kind = "gcc"
    #: Beginnings of the paths of headers that belong to the system, and do not change with a project.
    own_headers: tuple[str, ...] = ("/usr/include/", "/usr/lib/")

    def __init__(self, target: Target, driver: Sequence[str]) -> None:
        self.target = target
        self.driver = tuple(driver)

    @property
    def name(self) -> str:
        """Its name in messages."""
        return shlex.join(self.driver)

    @property
    def identity(self) -> str:
        """Changes with the compiler: the command, and size and time of the program."""
        path = shutil.which(self.driver[0]) or self.driver[0]
        try:
            state = os.stat(path)
        except OSError:
            raise CompilerMissing(f"{self.driver[0]} is not installed ({_GET_ONE})") from None
        return f"{self.driver} {os.path.realpath(path)} {state.st_size} {state.st_mtime_ns}"

    def compile(self, source: Path, flags: Sequence[str], output: Path, scratch: Path) -> list[str]:
        """The command that compiles a source; `scratch` is the build cache's folder."""
        return [*self.driver, *self._machine, *flags, "-c", str(source), "-o", str(output)]

    def link(self, inputs: Sequence[Path], flags: Sequence[str], output: Path) -> list[str]:
        """The command that links a shared object."""
        files = map(str, inputs)
        return [*self.driver, *self._machine, "-shared", "-nostdlib", *files, *flags, "-o", str(output)]

    @property
    def _machine(self) -> tuple[str, ...]:
        return (*self.target.cflags, *self.target.gnu_cflags)


class Clang(Compiler):
    """clang on PATH. Of the headers of a C library it sees what a cross gcc has installed, if any."""

    kind = "clang"

    def __init__(self, target: Target, path: str) -> None:
        super().__init__(target, (path, f"--target={target.triple}"))

    @property
    def _machine(self) -> tuple[str, ...]:
        return self.target.cflags

    def link(self, inputs: Sequence[Path], flags: Sequence[str], output: Path) -> list[str]:
        lld = ("-fuse-ld=lld",) if shutil.which("ld.lld") else ()
        return super().link(inputs, (*lld, *flags), output)


class Zig(Compiler):
    """clang and lld of the ziglang wheel, with the headers of glibc and libc++ in it, for every target."""

    kind = "zig"

    def __init__(self, target: Target, path: Path) -> None:
        super().__init__(target, (str(path), "clang", "-target", target.triple))
        self.path = path
        self.own_headers = (f"{path.parent}/",)

    @property
    def name(self) -> str:
        return "clang of the ziglang wheel"

    def compile(self, source: Path, flags: Sequence[str], output: Path, scratch: Path) -> list[str]:
        language = "c++" if source.suffix in CXX else "c"
        headers = _headers(self.path, self.target.zig, language, scratch)
        command = [*self.driver, *self.target.cflags, *flags, *headers, "-fdebug-compilation-dir=."]
        return [*command, "-c", str(source), "-o", str(output)]

    def link(self, inputs: Sequence[Path], flags: Sequence[str], output: Path) -> list[str]:
        words = [piece for flag in flags for piece in _of_linker(flag)]
        linker = [str(self.path), "ld.lld", "-m", self.target.emulation, "-shared", "--eh-frame-hdr"]
        return [*linker, *map(str, inputs), *words, "-o", str(output)]


def _of_linker(flag: str) -> list[str]:
    """A driver's option for the linker as the linker's own."""
    if flag.startswith("-Wl,"):
        return flag.split(",")[1:]
    return [] if flag in ("-nostdlib", "-shared") else [flag]


@cache
def _headers(zig: Path, triple: str, language: str, scratch: Path) -> tuple[str, ...]:
    """The options for the folders of headers that `zig cc` would use, and its macros for libc++."""
    own = scratch / "zig"  # zig insists on a folder to write to, and the home may be read-only
    command = [str(zig), "c++" if language == "c++" else "cc", "-target", triple, "-E", "-v", "-x", language]
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(own), "ZIG_LOCAL_CACHE_DIR": str(own)}
    said = run(triple, [*command, os.devnull], scratch, environment)
    folders = re.findall(r"^ (/.*)$", said.partition("search starts here:")[2].partition("End of search")[0], re.M)
    macros = re.findall(r" -D (_LIBC\S+)", said)
    options = ["-nostdinc", *(["-nostdinc++"] if language == "c++" else [])]
    for folder in folders:
        options += ["-isystem", folder]
    return (*options, *(f"-D{macro}" for macro in dict.fromkeys(macros)))


def find_zig() -> Path | None:
    """The program in the ziglang wheel of this interpreter."""
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (path := Path(folder) / "zig").is_file():
            return path
    return None


def _installed(target: Target) -> Iterator[Compiler]:
    if (zig := find_zig()) is not None:
        yield Zig(target, zig)
    if shutil.which(f"{target.gnu}-gcc") is not None:
        yield Compiler(target, (f"{target.gnu}-gcc",))
    host, word = platform.machine(), {"x86_64": "-m64", "i386": "-m32"}
    if shutil.which("gcc") is not None:
        if host == "x86_64" and target.arch in word:
            yield Compiler(target, ("gcc", word[target.arch]))
        elif host == target.arch:
            yield Compiler(target, ("gcc",))
    if (clang := shutil.which("clang")) is not None:
        yield Clang(target, clang)


def find(target: Target, choice: str = "") -> Compiler:
    """The compiler for a target.

    `choice` is "zig", "gcc" or "clang", or a command in which {arch} and {triple} are replaced; "" means the first
    of the three that is installed. Raises CompilerMissing, BuildError.
    """
    if choice in ("", "auto", "zig", "gcc", "clang"):
        for compiler in _installed(target):
            if choice in ("", "auto", compiler.kind):
                return compiler
        which = {"": "", "auto": ""}.get(choice, f" of the kind {choice!r}")
        raise CompilerMissing(f"no compiler{which} for {target.name} is installed: {_GET_ONE}")
    try:
        words = [word.format(arch=target.arch, triple=target.gnu) for word in split(choice)]
    except (LookupError, ValueError):
        raise BuildError(f"the compiler {choice!r} has braces that are neither {{arch}} nor {{triple}}") from None
    if not words:
        raise BuildError(f"the compiler {choice!r} is no command")
    if shutil.which(words[0]) is None:
        raise CompilerMissing(f"the compiler {words[0]!r} is not installed ({_GET_ONE})")
    return Compiler(target, words)

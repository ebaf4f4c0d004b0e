"""What is built: the sources and flags of a library."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from emu.build.compilers import COMPILED, Compiler
from emu.build.errors import BuildError
from relink.records import dataclass

#: Without these a source line or a backtrace is missing from a fault, a mock is not reached, or it is no library.
DEFAULT_FLAGS = ("-g", "-O1", "-fPIC", "-fsemantic-interposition", "-fasynchronous-unwind-tables")
#: Variables of the environment that change what compilers do.
_VARIABLES = (
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX",
    "CCC_OVERRIDE_OPTIONS", "SOURCE_DATE_EPOCH",
)  # fmt: skip
_NAMED = re.compile(r"[=,]")
#: Options and variables that name folders of headers.
_FOLDERS = re.compile(r"(-I|-isystem|-iquote|-idirafter|-cxx-isystem)(.*)", re.DOTALL)
_FOLDER_VARIABLES = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH")


@dataclass(frozen=True)
class Recipe:
    """A library's sources, and how to build it.

    `kind` is "so" for a shared object, "o" for relocatable objects. Words of flags are the compiler driver's;
    commands run in `base`. Sources that are no C, C++ or assembly (.o, .a) are linked as they are.
    """

    name: str
    sources: tuple[Path, ...]
    base: Path
    kind: str = "so"
    cflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    defines: tuple[tuple[str, str | None], ...] = ()
    include: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("so", "o"):
            raise BuildError(f"kind={self.kind!r} is neither 'so' (a shared object) nor 'o' (relocatable objects)")

    @property
    def flags(self) -> tuple[str, ...]:
        """Options of every compilation."""
        macros = (f"-D{name}" if value is None else f"-D{name}={value}" for name, value in self.defines)
        return (*DEFAULT_FLAGS, *macros, *(f"-I{folder}" for folder in self.include), *self.cflags)

    @property
    def header_folders(self) -> list[Path]:
        """The folders that these flags and the environment have compilers search for headers."""
        words = [*self.flags, ""]
        found = [
            match[2] or following
            for word, following in pairwise(words)
            if (match := _FOLDERS.fullmatch(word)) is not None
        ]
        for name in _FOLDER_VARIABLES:
            found += os.environ.get(name, "").split(os.pathsep)
        return [self.base / folder for folder in found if folder]

    @property
    def compiled(self) -> list[Path]:
        """The sources a compiler is run for."""
        return [source for source in self.sources if source.suffix in COMPILED]

    def key(self, compiler: Compiler) -> str:
        """Changes with all that is known before the build: sources, flags, files that flags name, compiler."""
        digest = hashlib.sha256()
        environment = [(name, os.environ.get(name)) for name in _VARIABLES]
        flags = (self.flags, compiler.link((), self.ldflags, self.base), environment)
        for fact in (self.name, self.kind, str(self.base), flags, compiler.target, compiler.identity):
            digest.update(repr(fact).encode(errors="surrogateescape"))
        for path in (*self.sources, *named_files((*self.flags, *self.ldflags), self.base)):
            digest.update(os.fsencode(path) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:32]


def named_files(flags: Sequence[str], base: Path) -> Iterator[Path]:
    """The files that options name: linker scripts, version scripts, prebuilt objects, specs."""
    for flag in flags:
        for word in {flag, flag.removeprefix("@"), *_NAMED.split(flag)}:
            path = base / word
            try:
                if word and path.is_file():
                    yield path
            except OSError:  # too long for a file's name
                continue

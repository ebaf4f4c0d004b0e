"""Objects compiled while the tests run, by the clang of the ziglang wheel: each source once, ever."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.fixtures import variant_of
from tests.toolcache import OUTPUT, made, text_file
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing

SOURCES = Path(__file__).with_name("sources")
#: One of each target: what clang compiles for.
TARGETS = ("x86_64", "i386", "aarch64", "arm", "thumb", "riscv64", "riscv32", "loongarch64")

_SUFFIXES = {"c": ".c", "c++": ".cpp", "assembler": ".s"}
_FLAGS = ("-O2", "-ffreestanding", "-nostdinc", "-fno-ident", "-fno-stack-protector", "-Wall", "-Werror")


def compiled(target: str, source: str, *flags: str, language: str = "c") -> Path:
    """The object of `source`: a file of `sources`, or text in `language`. Skips without the wheel."""
    text = source if "\n" in source or " " in source else (SOURCES / source).read_text()
    if text is not source:
        language = {suffix: name for name, suffix in _SUFFIXES.items()}[Path(source).suffix]
    return _compiled(target, text, flags, language)


@cache
def _compiled(target: str, text: str, flags: tuple[str, ...], language: str) -> Path:
    row = variant_of(target).target
    source = text_file(text, _SUFFIXES[language])
    plain = () if language == "assembler" else _FLAGS
    wanted = ("-fno-pic",) if not any("pic" in flag.lower() for flag in flags) else ()
    flags = (*row.cflags, *plain, *wanted, *flags)
    return made([zig(), "clang", "-target", row.triple, *flags, "-c", source, "-o", OUTPUT], [source])


def linked(target: str, objects: list[Path], *flags: str) -> Path:
    """A shared object of `objects`, by lld; files that `flags` name are read too."""
    return _linked(target, tuple(objects), flags)


@cache
def _linked(target: str, objects: tuple[Path, ...], flags: tuple[str, ...]) -> Path:
    emulation = variant_of(target).target.emulation
    command = [zig(), "ld.lld", "-m", emulation, "-shared", "-z", "max-page-size=4096", *flags]
    return made([*command, *objects, "-o", OUTPUT], [*objects, *_files_of(flags)], "lib{}.so")


def program(target: str, objects: list[Path], *flags: str | Path) -> Path:
    """An executable of `objects`, by lld; flags say which kind."""
    return _program(target, tuple(objects), flags)


@cache
def _program(target: str, objects: tuple[Path, ...], flags: tuple[str | Path, ...]) -> Path:
    emulation = variant_of(target).target.emulation
    command = [zig(), "ld.lld", "-m", emulation, "-z", "max-page-size=4096", *objects, *flags, "-o", OUTPUT]
    return made(command, [*objects, *_files_of(flags)], "{}")


def _files_of(flags: Sequence[str | Path]) -> list[Path]:
    """Files that flags name, by themselves or behind an equals sign."""
    named = (Path(str(flag).rpartition("=")[2]) for flag in flags)
    return [path for path in named if path.is_absolute() and path.is_file()]


def archived(path: Path, members: list[Path], flags: str = "rcsD") -> Path:
    """An archive at `path`; with T among the flags a thin one."""
    run([zig(), "ar", flags, path, *members])
    return path


@cache
def zig() -> str:
    """The wheel's binary. Skips without it."""
    try:
        return str(find_zig())
    except CompilerMissing as missing:
        pytest.skip(str(missing))


def run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

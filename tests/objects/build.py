"""Objects compiled while the tests run, by the clang of the ziglang wheel; each source once a process."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fixtures import variant_of
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing

SOURCES = Path(__file__).with_name("sources")
#: One of each target: what clang compiles for.
TARGETS = ("x86_64", "i386", "aarch64", "arm", "thumb", "riscv64", "riscv32", "loongarch64")

_FOLDER = TemporaryDirectory(prefix="relink-objects-")
_FLAGS = (
    "-O2", "-ffreestanding", "-nostdinc", "-fno-ident", "-fno-stack-protector", "-Wall", "-Werror",
    f"-I{SOURCES}",
)  # fmt: skip
_SUFFIXES = {"c": ".c", "c++": ".cpp", "assembler": ".s"}


def compiled(target: str, source: str, *flags: str, language: str = "c") -> Path:
    """The object of `source`: a file of `sources`, or text in `language`. Skips without the wheel."""
    text = source if "\n" in source or " " in source else (SOURCES / source).read_text()
    if text is not source:
        language = {suffix: name for name, suffix in _SUFFIXES.items()}[Path(source).suffix]
    return _compiled(target, text, flags, language)


@cache
def _compiled(target: str, text: str, flags: tuple[str, ...], language: str) -> Path:
    row = variant_of(target).target
    key = hashlib.sha256(repr((target, text, flags)).encode()).hexdigest()[:16]
    source = Path(_FOLDER.name, f"{key}{_SUFFIXES[language]}")
    source.write_text(text)
    plain = () if language == "assembler" else _FLAGS
    wanted = ("-fno-pic",) if not any("pic" in flag.lower() for flag in flags) else ()
    command = [zig(), "clang", "-target", row.triple, *row.cflags, *plain, *wanted, *flags, "-c", source]
    output = source.with_suffix(".o")
    run([*command, "-o", output])
    return output


def linked(target: str, objects: list[Path], *flags: str) -> Path:
    """A shared object of `objects`, by lld."""
    return _linked(target, tuple(objects), flags)


@cache
def _linked(target: str, objects: tuple[Path, ...], flags: tuple[str, ...]) -> Path:
    row = variant_of(target).target
    key = hashlib.sha256(repr((target, objects, flags)).encode()).hexdigest()[:16]
    output = Path(_FOLDER.name, f"lib{key}.so")
    command = [zig(), "ld.lld", "-m", row.emulation, "-shared", "-z", "max-page-size=4096", *flags]
    run([*command, *objects, "-o", output])
    return output


def program(target: str, objects: list[Path], *flags: str | Path) -> Path:
    """An executable of `objects`, by lld; flags say which kind."""
    return _program(target, tuple(objects), flags)


@cache
def _program(target: str, objects: tuple[Path, ...], flags: tuple[str | Path, ...]) -> Path:
    row = variant_of(target).target
    output = Path(_FOLDER.name, hashlib.sha256(repr((target, objects, flags)).encode()).hexdigest()[:16])
    command = [zig(), "ld.lld", "-m", row.emulation, "-z", "max-page-size=4096", *objects, *flags]
    run([*command, "-o", output])
    return output


def archived(path: Path, members: list[Path], flags: str = "rcsD") -> Path:
    """An archive at `path`; with T among the flags a thin one."""
    run([zig(), "ar", flags, path, *members])
    return path


def zig() -> str:
    """The wheel's binary. Skips without it."""
    try:
        return str(find_zig())
    except CompilerMissing as missing:
        pytest.skip(str(missing))


def run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

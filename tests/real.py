"""Real libraries for tests: `real_library("aarch64", "libz.so.1")` is a path, fetched on first use.
`real_program("qemu-loongarch64", (8, 2))` likewise is a program of at least that version.

Where they cannot be had (no apt, no network, no compiler for what must be compiled) the test is skipped, and
says why. One process that failed is enough: the others of the same run are told by a note in the cache.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.fetch.debian import PACKAGE_OF, Sysroot, cache_folder
from emu.fetch.errors import FetchError
from toolchains.archives import FLAVOURS, archives
from toolchains.errors import ToolchainError
from toolchains.programs import program

_SECONDS_A_FAILURE_IS_REMEMBERED = 120


def real_library(arch: str, soname: str) -> Path:
    """The library `soname` of Debian for `arch`; skips the test, with the reason, when there is none."""
    sysroot = Sysroot(arch)
    note = sysroot.folder / f"{PACKAGE_OF.get(soname, soname)}.unavailable"
    if note.is_file() and time.time() - note.stat().st_mtime < _SECONDS_A_FAILURE_IS_REMEMBERED:
        pytest.skip(f"{soname} for {arch} is not to be had: {note.read_text()}")
    try:
        return sysroot.library(soname)
    except (ToolchainError, FetchError) as error:
        sysroot.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(str(error))
        pytest.skip(f"{soname} for {arch} is not to be had: {error}")


def real_archives(flavour: str, name: str) -> tuple[Path, ...]:
    """The static library `name` of a flavour (see `toolchains.archives`); without it the test is skipped."""
    note = cache_folder() / f"{FLAVOURS[flavour].files[name][0]}-{flavour}.unavailable"
    if note.is_file() and time.time() - note.stat().st_mtime < _SECONDS_A_FAILURE_IS_REMEMBERED:
        pytest.skip(f"{name} for {flavour} is not to be had: {note.read_text()}")
    try:
        return archives(flavour, name)
    except (ToolchainError, FetchError) as error:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(error))
        pytest.skip(f"{name} for {flavour} is not to be had: {error}")


def available(command: Callable[[str], list[str]], target: str) -> list[str]:
    """The command of `toolchains.linkers` for a target; skips the test, with the reason, without it."""
    try:
        return command(target)
    except (ToolchainError, FetchError) as error:
        pytest.skip(f"no such linker for {target}: {error}")


def real_root(arch: str) -> Path:
    """The sysroot-like tree real libraries of `arch` lie in, for `sysroot=` and library paths."""
    return Sysroot(arch).root


def real_program(name: str, at_least: tuple[int, ...]) -> str:
    """The installed program `name` if its `--version` is new enough, else Debian's; or skips, with the reason."""
    if (installed := shutil.which(name)) is not None:
        told = subprocess.run([installed, "--version"], capture_output=True, text=True, check=False).stdout
        numbers = re.search(r"\d+(\.\d+)+", told)
        if numbers and tuple(int(part) for part in numbers[0].split(".")) >= at_least:
            return installed
    note = cache_folder() / f"{name}.unavailable"
    wanted = f"{name} of version {'.'.join(map(str, at_least))} or later"
    if note.is_file() and time.time() - note.stat().st_mtime < _SECONDS_A_FAILURE_IS_REMEMBERED:
        pytest.skip(f"{wanted} is not to be had: {note.read_text()}")
    try:
        return str(program(name))
    except (ToolchainError, FetchError) as error:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(error))
        pytest.skip(f"{wanted} is not to be had: {error}")

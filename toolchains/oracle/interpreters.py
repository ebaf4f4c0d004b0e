"""The dynamic linkers that are asked, and what runs them: Debian's, musl's for RISC-V 32, and qemu-user."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from emu.fetch.apt import PrivateApt
from emu.fetch.debian import STABLE, Sysroot, cache_folder
from toolchains.engine import first_line
from toolchains.errors import ToolchainError
from toolchains.oracle import musl
from toolchains.programs import program
from toolchains.targets import TARGETS, Target

LEAST_QEMU = (8, 0)


class OracleFailed(ToolchainError):
    """The oracle ended in an unexpected way."""


@dataclass(frozen=True)
class Interpreter:
    """A dynamic linker, `path`, and its C library, `library`, whose folder it searches; goldens name `version`."""

    path: Path
    library: Path
    mathematics: Path | None
    version: str


def musl_path(target: Target) -> Path:
    """Where musl's dynamic linker for `target` is, once it has been built. Not in the sysroot: libraries there are
    loaded in tests, and the hosted C library stands in for this one."""
    return Sysroot(target.name).folder / "musl" / "libc.so"


def is_native(target: Target) -> bool:
    """Whether this host runs programs of `target` itself."""
    return platform.machine() == target.arch and platform.system() == "Linux"


@functools.cache
def _musl(target: Target) -> Interpreter:
    path = musl_path(target)
    note = path.with_suffix(".version")
    if not note.is_file():
        apt = PrivateApt(path.parents[1] / "apt", "amd64", STABLE, sources=True)
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="relink-musl-", dir=cache_folder()) as work:
            note.write_text(musl.build(target, apt, Path(work), path))
    return Interpreter(path, path, None, f"musl {note.read_text()}, built from Debian's source")


def installed(target: Target) -> Interpreter | None:
    """The dynamic linker of Debian's cross packages, where they are installed, as in the container image."""
    if target.cross is None:
        return None
    folder = Path("/usr", target.cross, "lib")
    found, library = sorted(folder.glob("ld-linux*.so.*")), folder / "libc.so.6"
    if not found or not library.is_file():
        return None
    return Interpreter(found[0], library, folder / "libm.so.6", f"glibc of {folder}")


@functools.cache
def interpreter(target: Target, *, fetched: bool = False) -> Interpreter:
    """The dynamic linker of `target`: installed, fetched, or built on first use. Raises `FetchError`,
    `CompilerMissing`.

    `fetched` passes over an installed one: libraries fetched from Debian want the C library of their own release.
    """
    target = TARGETS[target.arch]
    if not fetched and (found_installed := installed(target)) is not None:
        return found_installed
    if target.debian is None:
        return _musl(target)
    sysroot = Sysroot(target.arch)
    library = sysroot.library("libc.so.6")
    found = sorted(library.parent.glob("ld-linux*.so.*"))
    if not found:
        raise OracleFailed(f"{library.parent} holds a libc.so.6 but no dynamic linker")
    package = sysroot.packages()["libc6"]
    return Interpreter(found[0], library, library.parent / "libm.so.6", f"glibc {package.version}")


@functools.cache
def emulator(target: Target) -> tuple[str, ...]:
    """The words before a program of `target`: none where it is this host's own, else qemu-user of at least
    version 8, the host's or a fetched one. Raises `FetchError`."""
    if is_native(target):
        return ()
    name = f"qemu-{target.qemu}"
    if (installed := shutil.which(name)) is not None:
        numbers = re.search(r"(\d+)\.(\d+)", first_line(installed, "--version"))
        if numbers and (int(numbers[1]), int(numbers[2])) >= LEAST_QEMU:
            return (installed,)
    return (str(program(name)),)


def emulator_version(target: Target) -> str:
    """The emulator's version for golden files."""
    words = emulator(target)
    return re.sub(r" \(.*| version", "", first_line(words[0], "--version")) if words else "native"

"""Peers: other programs that do the same work. One that is absent has a reason, which is printed in its place.

`python -m benchmarks --install-peers` makes the virtual environment with the peers in Python.
"""

from __future__ import annotations

import functools
import platform
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Absent, Contender, PeerFailed, printed_figures, process
from emu.build.compilers import find_zig
from toolchains.targets import TARGETS

_PROGRAM = Path(__file__).with_name("peer_child.py")
#: Each peer with what it needs beside what it declares: Qiling an older bitstring, and pkg_resources.
PACKAGES = (("lief",), ("cle",), ("qiling", "bitstring<4.4", "setuptools<81"))


def install(folder: Path) -> None:
    """Make the environment of the peers in Python."""
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in PACKAGES:  # one that does not install leaves the others
        if subprocess.run([*pip, *packages], check=False).returncode:
            print(f"{packages[0]} does not install", file=sys.stderr)


def native() -> str:
    """Why the host's own dynamic linker cannot take part in comparisons on x86-64; nothing if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"this host is {sys.platform} on {platform.machine()}, not Linux on x86_64"
    return ""


def ld_so(kind: str, path: Path, needed: Sequence[str] = ()) -> Contender:
    """The host's dynamic linker in a fresh process: milliseconds of one dlopen, dlmopen, or dlopen and dlclose."""
    if reason := native():
        return Absent(reason)
    return lambda: _milliseconds([sys.executable, str(_PROGRAM), kind, str(path), *needed])


def under(qemu: Path, kind: str, path: Path) -> Contender:
    """`ld_so`, as a guest of qemu-user."""
    command = [str(qemu), sys.executable, str(_PROGRAM), kind, str(path)]
    return lambda: _milliseconds(command)


def in_python(folder: Path, package: str, *arguments: object) -> Contender:
    """A peer in Python, in its own environment and a fresh process; imports are not counted."""
    python = folder / "bin/python"
    if not python.exists():
        return Absent("not installed (python -m benchmarks --install-peers)")
    if not _imports(python, package):
        return Absent("does not import in its environment")
    return lambda: _milliseconds([str(python), str(_PROGRAM), package, *map(str, arguments)])


@functools.cache
def _imports(python: Path, package: str) -> bool:
    return not subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False).returncode


def qemu(target: str) -> Path | Absent:
    """qemu-user for a target."""
    name = {"thumb": "arm"}.get(target, target)
    found = shutil.which(f"qemu-{name}")
    return Path(found) if found else Absent(f"qemu-{name} is not on PATH")


@functools.cache
def lld(target: str = "x86_64") -> tuple[str, ...] | Absent:
    """An installed lld, or the one of the ziglang wheel, whose start-up takes about as long."""
    names = ("ld.lld", *(f"ld.lld-{version}" for version in range(22, 13, -1)))
    for name in names:
        if (found := shutil.which(name)) is not None:
            return (found, "-m", TARGETS[target].emulation)
    if (zig := find_zig()) is not None:
        return (str(zig), "ld.lld", "-m", TARGETS[target].emulation)
    return Absent("neither ld.lld nor the ziglang wheel is installed")


@functools.cache
def jitlink() -> str | Absent:
    """llvm-jitlink, of any version."""
    for name in ("llvm-jitlink", *(f"llvm-jitlink-{version}" for version in range(22, 12, -1))):
        if (found := shutil.which(name)) is not None:
            return found
    return Absent("llvm-jitlink is not on PATH")


def version_of(command: Sequence[str]) -> str:
    """The first number with points that `command --version` prints."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found else "of unknown version"


def _milliseconds(command: Sequence[str]) -> float:
    try:
        return printed_figures(command)["ms"]
    except subprocess.CalledProcessError as error:
        raise PeerFailed(_last_line(error)) from None


def run(command: Sequence[str | Path], accepted: Sequence[int] = (0,)) -> float:
    """Processor time of a peer's whole process, in milliseconds."""
    try:
        return process(command, accepted=accepted)
    except subprocess.CalledProcessError as error:
        raise PeerFailed(_last_line(error)) from None


def _last_line(error: subprocess.CalledProcessError) -> str:
    lines = [line for line in f"{error.stdout}\n{error.stderr}".splitlines() if line.strip()]
    return lines[-1].strip()[:120] if lines else f"exit status {error.returncode}"

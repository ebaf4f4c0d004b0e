"""Other linkers as commands: lld of the pip-installed toolchain, and Debian's GNU ld.

Debian's cross binutils are programs for x86-64; they run with their own C library from the cache, independent of
this host's. Nothing is installed.
"""

from __future__ import annotations

import platform
from pathlib import Path

from emu.fetch.debian import Sysroot
from emu.fetch.errors import ToolMissing
from toolchains.engine import find_zig
from toolchains.targets import TARGETS

_HOST = "x86_64"
_LIBRARIES = ("libc6", "libbinutils", "libsframe1", "libzstd1", "zlib1g", "libjansson4")
_TRIPLET = {"i386": "x86-64-linux-gnu", "x86_64": "x86-64-linux-gnu"}


def lld(target: str) -> list[str]:
    """The command that links for `target`. Raises `CompilerMissing`."""
    return [str(find_zig()), "ld.lld", "-m", TARGETS[target].emulation]


def gnu_ld(target: str, cache: Path | None = None) -> list[str]:
    """The command that links for `target`, its package fetched on first use. Raises `FetchError`."""
    if platform.machine() != _HOST:
        raise ToolMissing(f"Debian's cross linkers are x86-64 programs; this host is {platform.machine()}")
    sysroot = Sysroot(_HOST, cache)
    triplet = _TRIPLET.get(target, TARGETS[target].gnu)
    sysroot.fetch([f"binutils-{triplet}", *_LIBRARIES])
    program = sysroot.root / "usr/bin" / f"{triplet.replace('x86-64', 'x86_64')}-ld.bfd"
    loader = sysroot.root / "usr/lib64/ld-linux-x86-64.so.2"
    libraries = sysroot.root / "usr/lib/x86_64-linux-gnu"
    return [str(loader), "--library-path", str(libraries), str(program), "-m", TARGETS[target].emulation]

"""Static libraries of real distributions: `archives("riscv64", "libm.a")` are files, fetched on first use.

Debian's cross packages have those of glibc, musl and other libraries; for bare metal there is picolibc, from
packages that are the same for every host. glibc's libm.a is an ld script on some targets; it is replaced by the
files it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emu.fetch.debian import BARE_METAL, Sysroot
from emu.fetch.errors import FetchError
from toolchains.targets import TARGETS

_SCRIPT = b"/* GNU ld script"


@dataclass(frozen=True)
class Flavour:
    """Libraries of one flavour of an architecture. `files` maps a name to (package, path below the root); `*`
    matches a version. `sysroot` is where packages are unpacked: an architecture, or "bare-metal".
    """

    arch: str
    sysroot: str
    files: Mapping[str, tuple[str, str]]


def _debian(arch: str, gcc: int) -> Flavour:
    multiarch = {"i386": "i386-linux-gnu"}.get(arch, TARGETS[arch].gnu)
    musl = {"i386": "i386-linux-musl", "arm": "arm-linux-musleabihf"}.get(arch, f"{arch}-linux-musl")
    plain = {
        "libc.a": "libc6-dev",
        "libm.a": "libc6-dev",
        "libz.a": "zlib1g-dev",
        "libsqlite3.a": "libsqlite3-dev",
        "libcrypto.a": "libssl-dev",
    }
    compiler = {
        "libgcc.a": f"libgcc-{gcc}-dev",
        "libgcc_eh.a": f"libgcc-{gcc}-dev",
        "libstdc++.a": f"libstdc++-{gcc}-dev",
    }
    files = {name: (package, f"usr/lib/{multiarch}/{name}") for name, package in plain.items()}
    files |= {name: (package, f"usr/lib/gcc/*/{gcc}/{name}") for name, package in compiler.items()}
    files["musl libc.a"] = ("musl-dev", f"usr/lib/{musl}/libc.a")
    return Flavour(arch, arch, files)


def _picolibc(arch: str, triple: str, compiler: str, multilib: str) -> Flavour:
    files = {
        name: (f"picolibc-{triple}", f"usr/lib/picolibc/{triple}/lib/release/{multilib}/{name}")
        for name in ("libc.a", "libm.a")
    }
    files["libgcc.a"] = (compiler, f"usr/lib/gcc/{triple}/*/{multilib}/libgcc.a")
    if triple == "arm-none-eabi":
        folder = f"usr/lib/arm-none-eabi/newlib/{multilib}"
        files |= {
            "newlib libc.a": ("libnewlib-arm-none-eabi", f"{folder}/libc.a"),
            "newlib libm.a": ("libnewlib-arm-none-eabi", f"{folder}/libm.a"),
        }
    return Flavour(arch, BARE_METAL, files)


def _arm(multilib: str) -> Flavour:
    return _picolibc("arm", "arm-none-eabi", "gcc-arm-none-eabi", multilib)


def _riscv32(multilib: str) -> Flavour:
    return _picolibc("riscv32", "riscv64-unknown-elf", "gcc-riscv64-unknown-elf", multilib)


FLAVOURS: Mapping[str, Flavour] = {
    **{arch: _debian(arch, 14) for arch in ("x86_64", "i386", "aarch64", "arm", "riscv64")},
    "loongarch64": _debian("loongarch64", 15),
    "thumb-v6m": _arm("thumb/v6-m/nofp"),
    "thumb-v7m": _arm("thumb/v7-m/nofp"),
    "thumb-v7em": _arm("thumb/v7e-m+dp/hard"),
    "riscv32": _riscv32("rv32imafdc/ilp32d"),
    "riscv32-imac": _riscv32("rv32imac/ilp32"),
}
"""By flavour: the architecture's name, and what is particular where it is not the usual one."""


def archives(flavour: str, name: str, cache: Path | None = None) -> tuple[Path, ...]:
    """The files of library `name` of `flavour`: one, or those an ld script names. Raises `FetchError`."""
    row = FLAVOURS[flavour]
    package, pattern = row.files[name]
    sysroot = Sysroot(row.sysroot, cache)
    if package not in sysroot.packages():
        sysroot.fetch([package])
    found = next(iter(sorted(sysroot.root.glob(pattern))), None)
    if found is None:
        raise FetchError(f"{package} was unpacked, but holds no {pattern}")
    return _named_by_script(found, sysroot.root) if found.read_bytes()[: len(_SCRIPT)] == _SCRIPT else (found,)


def _named_by_script(script: Path, root: Path) -> tuple[Path, ...]:
    named = re.findall(r"/\S+\.a\b", script.read_text().partition("GROUP")[2])
    return tuple(root / path.lstrip("/") for path in named)

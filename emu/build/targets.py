"""The targets that libraries are built for: one row each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emu.build.errors import BuildError
from emu.isa.registry import ISAS
from relink.arch import UnknownArchitecture, architecture
from relink.records import dataclass


@dataclass(frozen=True)
class Target:
    """What to compile for. Two targets may have one architecture: arm and thumb.

    `gnu` is the prefix of GNU's tools, `triple` clang's, `emulation` the linkers' -m.
    """

    name: str
    arch: str
    gnu: str
    triple: str
    emulation: str
    cflags: tuple[str, ...] = ()
    gnu_cflags: tuple[str, ...] = ()  #: what clang's triple implies, for gcc

    @property
    def zig(self) -> str:
        """zig's name of the triple."""
        return ISAS[self.arch].triples[1]


def _row(name: str, triple: str, emulation: str, *cflags: str, **more: object) -> Target:
    arch = str(more.pop("arch", name))
    gnu = str(more.pop("gnu", triple))
    return Target(name, arch, gnu, triple, emulation, cflags, **more)  # type: ignore[arg-type]


_ARM = ("-march=armv7-a", "-mfloat-abi=hard", "-mfpu=vfpv3-d16")
_ARM_TRIPLE = "arm-linux-gnueabihf"

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _row("x86_64", "x86_64-linux-gnu", "elf_x86_64"),
        _row("i386", "i686-linux-gnu", "elf_i386"),
        _row("aarch64", "aarch64-linux-gnu", "aarch64linux"),
        _row("arm", _ARM_TRIPLE, "armelf_linux_eabi", *_ARM, gnu_cflags=("-marm",)),
        _row("thumb", _ARM_TRIPLE, "armelf_linux_eabi", *_ARM, "-mthumb", arch="arm"),
        _row("riscv64", "riscv64-linux-gnu", "elf64lriscv", "-march=rv64gc", "-mabi=lp64d"),
        # GNU's 64-bit compiler builds for both. Debian has no 32-bit libc headers: add -ffreestanding for those.
        _row(
            "riscv32", "riscv32-linux-gnu", "elf32lriscv", "-march=rv32gc", "-mabi=ilp32d", gnu="riscv64-linux-gnu"
        ),
        _row("loongarch64", "loongarch64-linux-gnu", "elf64loongarch", "-mno-lsx", "-mno-lasx"),
    )
}
#: Targets for which clang does not describe the functions that a file calls (LLVM 22), each with one for which it
#: does and whose types have the same sizes.
SIBLINGS: Mapping[str, str] = {"loongarch64": "riscv64", "thumb": "arm"}
#: What "all" means: each architecture once.
ALL: tuple[str, ...] = tuple(name for name, target in TARGETS.items() if name == target.arch)


def targets_of(names: str | Iterable[str]) -> tuple[Target, ...]:
    """The targets for names: "all", names or other names of architectures, "thumb"; text is split at commas and
    blanks. Raises BuildError for an unknown name.
    """
    words = names.replace(",", " ").split() if isinstance(names, str) else [str(name) for name in names]
    found: dict[str, Target] = {}
    for word in words:
        if word == "all":
            found |= {name: TARGETS[name] for name in ALL}
            continue
        if (target := TARGETS.get(word)) is None:
            try:
                target = TARGETS[architecture(word).name]
            except (UnknownArchitecture, KeyError):
                known = ", ".join(("all", *TARGETS))
                raise BuildError(f"unknown architecture {word!r}; known are {known}") from None
        found[target.name] = target
    return tuple(found.values())

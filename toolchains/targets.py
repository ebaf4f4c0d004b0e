"""The targets of the fixtures, one row each, and the dynamic relocations that each linker writes.

The relocation numbers are from the psABIs and not imported from `relink.arch`, so that the manifest is independent
of the code under test.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from emu.build import targets
from emu.fetch.debian import PORTS


class Role(enum.StrEnum):
    """The purpose of a dynamic relocation, independent of the architecture's name for it."""

    RELATIVE = "relative"
    SYMBOLIC = "symbolic"
    GLOB_DAT = "glob_dat"
    JUMP_SLOT = "jump_slot"
    IRELATIVE = "irelative"
    COPY = "copy"
    TLS_MODULE = "tls_module"
    TLS_OFFSET = "tls_offset"
    TLS_STATIC = "tls_static"
    TLS_DESC = "tls_desc"
    PC_RELATIVE = "pc_relative"
    SIZE = "size"
    RELR = "relr"
    APS2 = "aps2"


@dataclass(frozen=True)
class RelocationType:
    """A dynamic relocation type: the psABI's name and number."""

    name: str
    number: int


# DT_RELR words and Android's packed stream carry no type of their own.
PACKED: Mapping[Role, RelocationType] = {
    Role.RELR: RelocationType("RELR", -1),
    Role.APS2: RelocationType("APS2", -2),
}


def _types(prefix: str, **rows: tuple[str, int]) -> Mapping[Role, RelocationType]:
    named = {Role(role): RelocationType(f"{prefix}_{name}", number) for role, (name, number) in rows.items()}
    return {**named, **PACKED}


def _riscv(bits: int, dtpmod: int, dtprel: int, tprel: int, symbolic: int) -> Mapping[Role, RelocationType]:
    word = (str(bits), symbolic)
    return _types(
        "R_RISCV",
        relative=("RELATIVE", 3),
        symbolic=word,
        glob_dat=word,
        jump_slot=("JUMP_SLOT", 5),
        irelative=("IRELATIVE", 58),
        copy=("COPY", 4),
        tls_module=(f"TLS_DTPMOD{bits}", dtpmod),
        tls_offset=(f"TLS_DTPREL{bits}", dtprel),
        tls_static=(f"TLS_TPREL{bits}", tprel),
        tls_desc=("TLSDESC", 12),
    )


RELOCATIONS: Mapping[str, Mapping[Role, RelocationType]] = {
    "x86_64": _types(
        "R_X86_64",
        relative=("RELATIVE", 8),
        symbolic=("64", 1),
        glob_dat=("GLOB_DAT", 6),
        jump_slot=("JUMP_SLOT", 7),
        irelative=("IRELATIVE", 37),
        copy=("COPY", 5),
        tls_module=("DTPMOD64", 16),
        tls_offset=("DTPOFF64", 17),
        tls_static=("TPOFF64", 18),
        tls_desc=("TLSDESC", 36),
        pc_relative=("PC64", 24),
        size=("SIZE64", 33),
    ),
    "i386": _types(
        "R_386",
        relative=("RELATIVE", 8),
        symbolic=("32", 1),
        glob_dat=("GLOB_DAT", 6),
        jump_slot=("JUMP_SLOT", 7),
        irelative=("IRELATIVE", 42),
        copy=("COPY", 5),
        tls_module=("TLS_DTPMOD32", 35),
        tls_offset=("TLS_DTPOFF32", 36),
        tls_static=("TLS_TPOFF", 14),
        tls_desc=("TLS_DESC", 41),
        pc_relative=("PC32", 2),
    ),
    "aarch64": _types(
        "R_AARCH64",
        relative=("RELATIVE", 1027),
        symbolic=("ABS64", 257),
        glob_dat=("GLOB_DAT", 1025),
        jump_slot=("JUMP_SLOT", 1026),
        irelative=("IRELATIVE", 1032),
        copy=("COPY", 1024),
        tls_module=("TLS_DTPMOD", 1028),
        tls_offset=("TLS_DTPREL", 1029),
        tls_static=("TLS_TPREL", 1030),
        tls_desc=("TLSDESC", 1031),
    ),
    "arm": _types(
        "R_ARM",
        relative=("RELATIVE", 23),
        symbolic=("ABS32", 2),
        glob_dat=("GLOB_DAT", 21),
        jump_slot=("JUMP_SLOT", 22),
        irelative=("IRELATIVE", 160),
        copy=("COPY", 20),
        tls_module=("TLS_DTPMOD32", 17),
        tls_offset=("TLS_DTPOFF32", 18),
        tls_static=("TLS_TPOFF32", 19),
        tls_desc=("TLS_DESC", 13),
    ),
    "riscv64": _riscv(64, dtpmod=7, dtprel=9, tprel=11, symbolic=2),
    "riscv32": _riscv(32, dtpmod=6, dtprel=8, tprel=10, symbolic=1),
    "loongarch64": _types(
        "R_LARCH",
        relative=("RELATIVE", 3),
        symbolic=("64", 2),
        glob_dat=("64", 2),
        jump_slot=("JUMP_SLOT", 5),
        irelative=("IRELATIVE", 12),
        copy=("COPY", 4),
        tls_module=("TLS_DTPMOD64", 7),
        tls_offset=("TLS_DTPREL64", 9),
        tls_static=("TLS_TPREL64", 11),
        tls_desc=("TLS_DESC64", 14),
    ),
}


PREFIX: Mapping[str, str] = {
    "x86_64": "R_X86_64",
    "i386": "R_386",
    "aarch64": "R_AARCH64",
    "arm": "R_ARM",
    "riscv64": "R_RISCV",
    "riscv32": "R_RISCV",
    "loongarch64": "R_LARCH",
}
"""How each architecture's psABI begins the names of its relocation types."""


@dataclass(frozen=True)
class Target:
    """One thing to compile for: what `emu.build.targets` has of it, and more for fixtures.

    `arch` is the architecture's canonical name, which two targets may share (arm and thumb); `triple` is clang's,
    `gnu` the prefix of the GNU tools; `emulation` is either linker's `-m`; `gnu_cflags` are flags for gcc that
    clang's triple implies, `gnu_ldflags` keep the files small. `qemu` is qemu-user's name for the architecture,
    `debian` Debian's, and `cross` the multiarch name under which Debian keeps the target's libc (`/usr/<cross>`):
    without one, Debian has none.
    """

    name: str
    arch: str
    triple: str
    emulation: str
    bits: int
    cflags: tuple[str, ...]
    debian: str | None
    gnu: str
    gnu_cflags: tuple[str, ...]
    gnu_ldflags: tuple[str, ...]
    qemu: str
    cross: str | None

    @property
    def relocations(self) -> Mapping[Role, RelocationType]:
        """The psABI's type for each role; roles the target's linker never writes are absent."""
        return RELOCATIONS[self.arch]


def _target(row: targets.Target) -> Target:
    return Target(
        row.name,
        row.arch,
        row.triple,
        row.emulation,
        32 if row.arch in ("i386", "arm", "riscv32") else 64,
        row.cflags,
        PORTS.get(row.name),
        row.gnu,
        row.gnu_cflags,
        # Otherwise GNU ld puts x86 code on separate pages, three pages more per file.
        ("-z", "noseparate-code") if row.arch in ("x86_64", "i386") else (),
        qemu=row.arch,
        # riscv32: the 64-bit compiler builds for both; there is no 32-bit libc in Debian.
        cross=None if row.arch == "riscv32" else row.gnu,
    )


TARGETS: Mapping[str, Target] = {name: _target(row) for name, row in targets.TARGETS.items()}

COMPILERS = ("clang", "gcc")


@dataclass(frozen=True)
class Variant:
    """A target as one compiler builds for it: one folder under `arch_fixtures/built`."""

    target: Target
    compiler: str

    @property
    def name(self) -> str:
        """The folder's name, also used in test ids: `riscv32-gcc`."""
        return f"{self.target.name}-{self.compiler}"

    @property
    def keys(self) -> tuple[str, str, str]:
        """The keys of this variant in a recipe's mappings, the most general first."""
        return (self.compiler, self.target.name, self.name)


VARIANTS: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (Variant(target, compiler) for target in TARGETS.values() for compiler in COMPILERS)
}

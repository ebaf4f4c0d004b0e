"""Builds the compiled part of the hosted C library: `emu/libc/compiled/built` from `emu/libc/compiled/src`.

There is one shared object per group of sources and variant, unless the sources have nothing for the variant, and
an index of the names that each defines. The machine links them when a guest first needs one (`emu.libc.compiled`).
The compiler and the linker are clang and lld of the `ziglang` wheel, as for fixtures.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from toolchains.engine import Zig, run_command

ROOT = Path(__file__).parent.parent / "emu" / "libc" / "compiled"
SOURCES = ROOT / "src"
BUILT = ROOT / "built"
INDEX = "index.txt"

_FLAGS = (
    "-ffreestanding", "-nostdinc", "-fno-builtin", "-O2", "-std=gnu11", "-fno-ident", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-exceptions", "-fPIC",
    "-fno-strict-aliasing", "-fno-jump-tables", "-fno-vectorize", "-fno-slp-vectorize",
    "-fomit-frame-pointer", "-fdebug-compilation-dir=.", "-Wall", "-Wextra", "-Werror", "-I.",
)  # fmt: skip
_LINK = (
    "-shared", "-Bsymbolic", "--strip-all", "--hash-style=gnu", "--build-id=none", "-z", "max-page-size=4096",
    "-z", "norelro", "-z", "noseparate-code", "--no-rosegment",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One variant: an ISA with one way to pass floating-point values. `emulation` is lld's -m; `plain` are the
    flags of sources that do not depend on that way, where they differ."""

    triple: str
    emulation: str
    flags: tuple[str, ...]
    plain: tuple[str, ...] = ()


_PLAIN_RISCV = ("-mno-relax",)
_PLAIN_LOONGARCH = ("-mno-lsx", "-mno-lasx", "-mno-relax")
#: Thumb code of the smallest profile runs on every Arm there is since v6.
_SMALLEST_ARM = ("-march=armv6-m", "-mthumb", "-mfloat-abi=soft")
VARIANTS: Mapping[str, Row] = {
    "x86_64": Row("x86_64-linux-gnu", "elf_x86_64", ()),
    "i386": Row("i686-linux-gnu", "elf_i386", ("-msse2",)),
    "aarch64": Row("aarch64-linux-gnu", "aarch64linux", ("-mno-outline-atomics",)),
    "arm": Row(
        "arm-linux-gnueabihf",
        "armelf_linux_eabi",
        ("-march=armv7-a", "-mfpu=vfpv3-d16", "-mfloat-abi=hard", "-marm"),
        _SMALLEST_ARM,
    ),
    "arm.soft-float": Row("arm-linux-gnueabi", "armelf_linux_eabi", _SMALLEST_ARM),
    "riscv64": Row("riscv64-linux-gnu", "elf64lriscv", ("-march=rv64gc", "-mabi=lp64d", *_PLAIN_RISCV)),
    "riscv64.single-float": Row(
        "riscv64-linux-gnu", "elf64lriscv", ("-march=rv64imafc", "-mabi=lp64f", *_PLAIN_RISCV)
    ),
    "riscv64.soft-float": Row(
        "riscv64-linux-gnu", "elf64lriscv", ("-march=rv64imac", "-mabi=lp64", *_PLAIN_RISCV)
    ),
    "riscv32": Row("riscv32-linux-gnu", "elf32lriscv", ("-march=rv32gc", "-mabi=ilp32d", *_PLAIN_RISCV)),
    "riscv32.single-float": Row(
        "riscv32-linux-gnu", "elf32lriscv", ("-march=rv32imafc", "-mabi=ilp32f", *_PLAIN_RISCV)
    ),
    "riscv32.soft-float": Row(
        "riscv32-linux-gnu", "elf32lriscv", ("-march=rv32imac", "-mabi=ilp32", *_PLAIN_RISCV)
    ),
    "loongarch64": Row("loongarch64-linux-gnu", "elf64loongarch", _PLAIN_LOONGARCH),
    "loongarch64.soft-float": Row(
        "loongarch64-linux-gnu", "elf64loongarch", ("-mabi=lp64s", "-msoft-float", *_PLAIN_LOONGARCH)
    ),
}
#: Sources that are linked together, by the first's name.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "strings": ("strings", "memory", "allocation"),
    "regex": ("regex", "regex_parse", "regex_sets", "regex_posix", "regex_gnu"),
}
#: Sources none of whose functions passes a floating-point value in a register of its own on Arm.
_PLAIN_SOURCES = frozenset(
    """
    allocation memory strings integers soft_float half patterns trees regex regex_parse regex_sets regex_posix
    regex_gnu strptime glob wordexp folders division
""".split()
)


def _defined(path: Path) -> list[str]:
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        return sorted(symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] != "SHN_UNDEF")


def _groups() -> Mapping[str, tuple[str, ...]]:
    grouped = {name for group in _GROUPS.values() for name in group}
    single = {path.stem: (path.stem,) for path in SOURCES.glob("*.c") if path.stem not in grouped}
    return dict(sorted({**single, **_GROUPS}.items()))


def _build_one(zig: Zig, variant: str, group: str, output: Path) -> list[str]:
    """Build one shared object; the names it defines. None is left where there are none."""
    row = VARIANTS[variant]
    places = {"zig": str(zig.path)}
    with tempfile.TemporaryDirectory(prefix="relink-compiled-") as work:
        objects = []
        for source in _groups()[group]:
            flags = row.plain if row.plain and source in _PLAIN_SOURCES else row.flags
            objects.append(f"{work}/{source}.o")
            command = (
                "{zig}",
                "clang",
                "-target",
                row.triple,
                *_FLAGS,
                *flags,
                "-c",
                f"{source}.c",
                "-o",
                objects[-1],
            )
            run_command(f"{variant}/{source}.o", command, places, SOURCES)
        link = ("{zig}", "ld.lld", "-m", row.emulation, *_LINK, *objects, "-o", str(output))
        run_command(f"{variant}/{output.name}", link, places, SOURCES)
    names = _defined(output)
    output.chmod(0o644)
    if not names:
        output.unlink()
    return names


def build(output: Path = BUILT) -> dict[str, str]:
    """Build every shared object and index under `output`; the digest of each file by its name there.

    Raises CompilerMissing, BuildFailed.
    """
    zig = Zig()
    digests: dict[str, str] = {}
    for variant in VARIANTS:
        folder = output / variant
        folder.mkdir(parents=True, exist_ok=True)
        rows = {group: _build_one(zig, variant, group, folder / f"{group}.so") for group in _groups()}
        index = "".join(f"{group}: {' '.join(names)}\n" for group, names in rows.items() if names)
        (folder / INDEX).write_text(index)
        for path in sorted(folder.iterdir()):
            digests[f"{variant}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def differences(output: Path = BUILT) -> list[str]:
    """The differences between a rebuild and `output`, as sentences."""
    with tempfile.TemporaryDirectory(prefix="relink-compiled-") as place:
        fresh = build(Path(place))
    present = {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.rglob("*")
        if path.is_file()
    }
    return [
        f"emu/libc/compiled/built/{name}: differs from what its source gives"
        for name in sorted(fresh.keys() | present.keys())
        if fresh.get(name) != present.get(name)
    ]

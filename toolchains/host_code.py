"""Builds the machine code for the host: `emu/cpu/hooks/native/HOST.bin`, from the C beside it.

A file is the offsets of what is in it (32 bits each, from 64 KiB before the file's beginning on, then 0), their
names (each ends with 0, the last with two), and code that is position independent with regard to the numbers in
the 64 KiB before it. The compiler and the linker are clang and lld of the `ziglang` wheel, as for fixtures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from toolchains.engine import Zig, run_command

ROOT = Path(__file__).parent.parent / "emu" / "cpu" / "hooks" / "native"
_FLAGS = (
    "-ffreestanding", "-nostdinc", "-fno-builtin", "-O2", "-std=gnu11", "-fno-ident", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-exceptions", "-fPIC", "-fno-strict-aliasing",
    "-fno-jump-tables", "-fno-vectorize", "-fno-slp-vectorize", "-fomit-frame-pointer", "-fno-math-errno",
    "-fdebug-compilation-dir=.", "-Wall", "-Wextra", "-Werror", "-I.",
)  # fmt: skip
_SCRIPT = """
SECTIONS {
    .state 0x40 (NOLOAD) : { *(.bss*) }
    .text 0x10000 : { *(.entries) LONG(0) *(.names) BYTE(0) . = ALIGN(16); *(.text*) *(.rodata*) }
    /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) *(.llvm_addrsig) }
}
"""
#: What `uname -m` says -> lld's -m, and flags.
HOSTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("elf_x86_64", ()),
    "aarch64": ("aarch64linux", ("-mno-outline-atomics",)),
}


def build(output: Path = ROOT) -> None:
    """Build the file of each host under `output`. Raises CompilerMissing, BuildFailed."""
    zig = Zig()
    places = {"zig": str(zig.path)}
    with tempfile.TemporaryDirectory(prefix="relink-host-") as work:
        script = Path(work, "script")
        script.write_text(_SCRIPT)
        for host, (emulation, flags) in HOSTS.items():
            objects, file = list[str](), output / f"{host}.bin"
            for source in sorted(ROOT.glob("*.c")):
                objects.append(f"{work}/{host}-{source.stem}.o")
                target = ("-target", f"{host}-linux-gnu")
                compile_ = ("{zig}", "clang", *target, *_FLAGS, *flags, "-c", source.name, "-o", objects[-1])
                run_command(f"{host}/{source.stem}.o", compile_, places, ROOT)
            link = ("{zig}", "ld.lld", "-m", emulation, "-T", str(script), "--oformat", "binary")
            run_command(file.name, (*link, *objects, "-o", str(file)), places, ROOT)
            file.chmod(0o644)


def differences() -> list[str]:
    """The differences between a rebuild and the present files, as sentences."""
    with tempfile.TemporaryDirectory(prefix="relink-host-") as place:
        build(Path(place))
        return [
            f"emu/cpu/hooks/native/{name}: differs from what its source gives"
            for name in (f"{host}.bin" for host in HOSTS)
            if not (ROOT / name).is_file() or Path(place, name).read_bytes() != (ROOT / name).read_bytes()
        ]

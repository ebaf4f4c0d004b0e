"""`static_program("riscv32")` is a program with musl linked into it, built beforehand: zig compiles musl anew for
every target, which takes half a minute each. `python -m tests.machine.static_programs` builds them all again."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from toolchains.engine import find_zig, first_line
from toolchains.targets import TARGETS

SOURCE = Path(__file__).with_name("sources") / "hosted.c"
FOLDER = Path(__file__).with_name("musl")
NOTE = FOLDER / "built.json"
_TRIPLES = {
    "x86_64": "x86_64-linux-musl", "i386": "x86-linux-musl", "aarch64": "aarch64-linux-musl",
    "arm": "arm-linux-musleabihf", "thumb": "thumb-linux-musleabihf", "riscv64": "riscv64-linux-musl",
    "riscv32": "riscv32-linux-musl", "loongarch64": "loongarch64-linux-musl",
}  # fmt: skip
_FLAGS = ("-static", "-Os", "-s", "-fno-sanitize=all", "-Wl,--gc-sections", "-Wl,-z,max-page-size=4096")


def static_program(target: str) -> Path:
    """The program for a target of `toolchains.targets`."""
    return FOLDER / f"{target}.elf"


def source_digest() -> str:
    """sha256 of the source the programs are to be built from."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def build() -> None:
    zig = str(find_zig())
    for target in TARGETS:
        command = [zig, "cc", "-target", _TRIPLES[target], *_FLAGS, str(SOURCE), "-o", str(static_program(target))]
        subprocess.run(command, check=True)
    NOTE.write_text(json.dumps({"source": source_digest(), "zig": first_line(zig, "version")}, indent=1) + "\n")


if __name__ == "__main__":
    build()

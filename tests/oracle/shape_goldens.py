"""What the real dynamic linkers make of odd headers: `python -m tests.oracle.shape_goldens [ARCH...]`.

Writes arch_fixtures/golden/shapes.json: by architecture, the dynamic linker and the answers for each shape, or
null where it refuses the file or faults. RISC-V 32 is asked with musl, the others with glibc; x86-64 is asked in
each test run where the host is one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.objects.build import compiled, linked
from tests.oracle.shapes import REFUSED, TAKEN, Edit, Shape
from toolchains.manifest import FIXTURES
from toolchains.oracle.run import Oracle
from toolchains.targets import VARIANTS

GOLDEN = FIXTURES / "golden" / "shapes.json"
ARCHES = ("i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64")
SOURCE = """
    static int one(void) { return 1; } static int two(void) { return 2; }
    int (*const table[600])(void) = {one, two};
    int data[4] = {3, 4, 5, 6}; int *pointer = &data[2]; int bss[3000]; int later = 9;
    int get(void) { return table[0]() + 10 * table[1]() + 100 * *pointer + data[3]; }
    int zero(void) { int sum = 0; for (int i = 0; i < 3000; i++) sum += bss[i]; return sum; }
    int other(void) { return later + data[0]; }
    static int ran; __attribute__((constructor)) static void run(void) { ran = 42; }
    int constructed(void) { return ran; }
    """
FUNCTIONS = ("get", "zero", "other", "constructed")
ANSWERS = "527 0 12 42"
EDITS: Mapping[str, Edit] = {**TAKEN, **{name: edit for name, (edit, _) in REFUSED.items()}}


def shaped(arch: str, folder: Path, edit: Edit, name: str = "libshape.so") -> Path:
    """The library of `SOURCE` with its headers edited."""
    flags = ("--hash-style=both", "-z", "separate-code", "-z", "relro", "-z", "now", "-soname", "libshape.so")
    content = linked(arch, [compiled(arch, SOURCE, "-fPIC")], *flags).read_bytes()
    path = folder / name
    path.write_bytes(edit(Shape(content)).content)
    return path


def asked(oracle: Oracle, arch: str, folder: Path, edit: Edit) -> str | None:
    """What the dynamic linker makes of one shape."""
    found = oracle.results(shaped(arch, folder, edit), FUNCTIONS)
    return None if found is None else " ".join(map(str, found))


def read() -> dict[str, dict[str, dict[str, str | None]]]:
    """The golden file."""
    found: dict[str, dict[str, dict[str, str | None]]] = json.loads(GOLDEN.read_text())
    return found


def main() -> None:
    known = read() if GOLDEN.is_file() else {}
    for arch in sys.argv[1:] or ARCHES:
        with Oracle(VARIANTS[f"{arch}-clang"]) as oracle, tempfile.TemporaryDirectory() as folder:
            answers = {name: asked(oracle, arch, Path(folder), edit) for name, edit in EDITS.items()}
            known[arch] = {"answers": answers, "linker": {"version": oracle.interpreter.version}}
        print(arch, oracle.interpreter.version, {k: v for k, v in answers.items() if v != ANSWERS}, flush=True)
    GOLDEN.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()

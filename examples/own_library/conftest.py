"""Compiles the library for each target, as a shared object and as a relocatable object, and loads it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emu import Library, Machine

HERE = Path(__file__).parent
#: Target -> the machine it runs on.
TARGETS = {
    "x86_64-linux-gnu": "x86_64",
    "x86-linux-gnu": "i386",
    "aarch64-linux-gnu": "aarch64",
    "arm-linux-gnueabihf": "arm",
    "thumb-linux-gnueabihf": "arm",
    "riscv64-linux-gnu": "riscv64",
    "riscv32-linux-gnu": "riscv32",
    "loongarch64-linux-gnu": "loongarch64",
}
FLAGS = ("-g", "-O1", "-ffreestanding", "-fno-sanitize=all", "-fno-stack-protector", "-Wall")


def build(folder: Path, target: str, suffix: str) -> Path:
    """The library for a target, compiled once for each state of its sources."""
    sources = [HERE / "own.c", HERE / "own.h"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources) + repr(FLAGS).encode()).hexdigest()
    path = folder / f"own-{target}-{digest[:12]}{suffix}"
    if not path.exists():
        kind = ("-shared", "-nostdlib", "-fPIC") if suffix == ".so" else ("-c",)
        part = path.with_suffix(f".{id(path)}{suffix}")
        compiler = (sys.executable, "-m", "ziglang", "cc", "-target", target)
        subprocess.run([*compiler, *FLAGS, *kind, str(sources[0]), "-o", str(part)], check=True)
        part.replace(path)
    return path


@pytest.fixture(
    scope="session", params=[(target, suffix) for suffix in (".so", ".o") for target in TARGETS], ids="".join
)
def target(request: pytest.FixtureRequest) -> tuple[str, str]:
    pytest.importorskip("ziglang", reason="clang of the ziglang wheel compiles the library")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def lib(
    target: tuple[str, str], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    triple, suffix = target
    cache: Any = getattr(request.config, "cache", None)
    folder = tmp_path_factory.getbasetemp() if cache is None else cache.mkdir("own-library")
    path = build(folder, triple, suffix)

    def ask(origin: Any, z: Any, n: int) -> tuple[int, int]:
        return origin.x + n, origin.y + int(z.re * z.im)

    with Machine(TARGETS[triple]) as machine:
        types = machine.types(HERE / "own.h")
        prototype = types.prototype("struct point ask(struct point, complex_t, int)")
        yield machine.load(path, symbols={"ask": (ask, prototype)})

"""Random C programs by csmith, run here and by the host: every checksum must agree.

    python -m tools.random_programs --seeds 20 --minutes 20

Each program is compiled by the clang of the ziglang wheel for each target and level, and runs here as a
relocatable object and as a shared object, with the hosted C library, and as a static program with musl; the host's
gcc says what is right, since csmith's programs print the same on every machine of two's complement whose `long` is
as wide. Needs csmith with its headers, and GCC for i386 (Debian: csmith, libcsmith-dev, gcc-i686-linux-gnu).

Prints a table of targets and kinds: how many agree, were refused with a typed error, differ, were left out; and
the seed of each that does not agree.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

#: Target -> clang's triple, lld's emulation.
TARGETS = {
    "x86_64": ("x86_64-linux-musl", "elf_x86_64"),
    "i386": ("x86-linux-musl", "elf_i386"),
    "aarch64": ("aarch64-linux-musl", "aarch64linux"),
    "arm": ("arm-linux-musleabihf", "armelf_linux_eabi"),
    "thumb": ("thumb-linux-musleabihf", "armelf_linux_eabi"),
    "riscv64": ("riscv64-linux-musl", "elf64lriscv"),
    "riscv32": ("riscv32-linux-musl", "elf32lriscv"),
    "loongarch64": ("loongarch64-linux-musl", "elf64loongarch"),
}
LEVELS = ("-O0", "-O2")
KINDS = ("object", "shared", "program")
VERDICTS = ("agree", "refused", "differ", "left out")
_SECONDS = 60  #: for each command; what takes longer is left out
_CPUS = {"loongarch64": ("-mcpu=generic_la64-lsx",)}
#: Targets whose `long` has 32 bits, on which some programs depend, and the host's compilers for both.
_NARROW = frozenset({"i386", "arm", "thumb", "riscv32"})
_GCC, _GCC_32 = "gcc", "i686-linux-gnu-gcc"
_FLAGS = ("-w", "-fPIC", "-fno-sanitize=all", "-fno-stack-protector")


def run(command: list[str], folder: str | None = None) -> tuple[int, str]:
    """The status of a command and its output; -1 if it takes too long."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return -1, "timeout"
    return done.returncode, done.stdout + ("" if done.returncode == 0 else done.stderr)


def built(source: Path, target: str, level: str, include: str) -> dict[str, Path]:
    """Files by kind; none where the compiler refuses."""
    zig = [sys.executable, "-m", "ziglang"]
    triple, emulation = TARGETS[target]
    relocatable = source.with_suffix(f".{target}{level}.o")
    shared = relocatable.with_suffix(".so")
    command = [*zig, "cc", "-target", triple, level, *_FLAGS, f"-I{include}", "-c", str(source)]
    if run([*command, "-o", str(relocatable)])[0] != 0:
        return {}
    link = [*zig, "ld.lld", "-m", emulation, "-shared", "-z", "max-page-size=4096", str(relocatable)]
    found = {"object": relocatable}
    if run([*link, "-o", str(shared)])[0] == 0:
        found["shared"] = shared
    program = source.with_suffix(f".{target}{level}")
    static = [*zig, "cc", "-target", triple, *_CPUS.get(target, ()), level, *_FLAGS, f"-I{include}", "-static"]
    if run([*static, str(source), "-o", str(program)])[0] == 0:
        found["program"] = program
    return found


def command(kind: str, file: Path) -> list[str]:
    """How it runs here."""
    own = [sys.executable, "-m", "emu.cli"]
    return [*own, "run", str(file)] if kind == "program" else [*own, "call", str(file), "int main(void)()"]


def checksum(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("checksum")), "")


def expected(source: Path, include: str, compiler: str) -> str:
    """The output of the host's program; empty if it takes too long."""
    program = source.with_suffix(f".{compiler}")
    run([compiler, "-w", "-O1", "-static", f"-I{include}", str(source), "-o", str(program)])
    return checksum(run([str(program)])[1]) if program.exists() else ""


def compare(source: Path, seed: int, include: str, counts: Counter[tuple[str, str, str]], until: float) -> None:
    """Compare one program on every target, at every level, of every kind."""
    sums = {compiler: expected(source, include, compiler) for compiler in (_GCC, _GCC_32)}
    for target in TARGETS:
        right = sums[_GCC_32 if target in _NARROW else _GCC]
        if not right:
            continue
        for level in LEVELS:
            if time.monotonic() > until:
                return
            files = built(source, target, level, include)
            for kind in KINDS:
                verdict, text = "left out", ""
                if kind in files:
                    status, text = run(command(kind, files[kind]))
                    found = checksum(text)
                    verdict = "agree" if found == right else "refused" if status == 1 and not found else "differ"
                    verdict = "left out" if status == -1 else verdict
                counts[target, f"{kind} {level}", verdict] += 1
                if verdict in ("refused", "differ"):
                    print(f"seed {seed} {target} {level} {kind}: {verdict}: {text.strip()[-300:]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Random programs by csmith, run here and by the host.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--include", default="/usr/include/csmith")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    counts: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.seeds):
            if time.monotonic() > until:
                break
            source = Path(folder, f"seed{seed}.c")
            # It leaves a file about the host, platform.info, where it runs.
            run(["csmith", "--seed", str(seed), "--max-funcs", "4", "--output", str(source)], folder)
            if source.exists():
                compare(source, seed, options.include, counts, until)
    for target in TARGETS:
        for kind, level in itertools.product(KINDS, LEVELS):
            row = "  ".join(f"{verdict} {counts[target, f'{kind} {level}', verdict]}" for verdict in VERDICTS)
            print(f"{target:12} {kind:8} {level} {row}")


if __name__ == "__main__":
    main()

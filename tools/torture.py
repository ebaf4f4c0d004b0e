"""GCC's torture tests (gcc.c-torture/execute), which end with 0 or abort: here as objects, and by qemu-user.

    python -m tools.torture FOLDER --arch aarch64 --every 4

FOLDER holds the tests of GCC's sources (Debian: in gcc-12-source), which are not part of this project. Each is
compiled by the cross gcc of Debian (gcc-aarch64-linux-gnu, gcc-riscv64-linux-gnu) at -O0 and -O2, as an object,
which runs here with the hosted C library, and as a static program, which runs by qemu-user (x86-64: by itself)
and says whether the test is one that ought to pass, and which runs here as well.

Prints how many of those pass here, are refused with a typed error, or fail; and each that does not pass.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from emu import Machine
from emu.errors import GuestExit
from relink.errors import RelinkError

#: ISA -> compiler, what runs its programs.
TARGETS = {
    "x86_64": ("gcc", ()),
    "aarch64": ("aarch64-linux-gnu-gcc", ("qemu-aarch64",)),
    "riscv64": ("riscv64-linux-gnu-gcc", ("qemu-riscv64",)),
}
LEVELS = ("-O0", "-O2")
_FLAGS = ("-w", "-fPIC", "-fno-stack-protector", "-std=gnu11")
_SECONDS = 20
VERDICTS = ("pass", "refused", "fail", "not compiled", "does not pass there")


def succeeds(command: list[str]) -> bool:
    try:
        return not subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return False


def here(arch: str, file: Path, program: bool) -> str:
    """The verdict on one file, with the reason if it is not "pass". In a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.write(writer, _judged(arch, file, program).encode()[:3000])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as said:
        text = said.read().decode(errors="replace")
    os.waitpid(child, 0)
    return text or "fail: the process ended"


def _judged(arch: str, file: Path, program: bool) -> str:
    try:
        with Machine(arch) as machine:
            if program:
                status = machine.run(file, timeout=_SECONDS)
            else:
                status = machine.load(file).function("main", "int main(void)")(timeout=_SECONDS)
    except GuestExit as exit_:
        status = exit_.status
    except RelinkError as error:
        first = " ".join(str(error).split())[:200]
        return (
            f"{'fail' if 'abort' in type(error).__name__.lower() else 'refused'}: {type(error).__name__}: {first}"
        )
    except Exception as error:  # anything else is a mistake here
        return f"fail: {type(error).__name__}: {error}"
    return "pass" if not status else f"fail: status {status}"


def warm_up(arch: str, folder: Path) -> None:
    """Make here what is made once per process, so that it is not made again in each child."""
    source, program = folder / "first.c", folder / "first"
    source.write_text("#include <stdlib.h>\nint main(void) { exit(0); }\n")
    succeeds([TARGETS[arch][0], str(source), "-static", "-o", str(program)])
    succeeds([TARGETS[arch][0], str(source), "-fPIC", "-c", "-o", str(folder / "first.o")])
    _judged(arch, folder / "first.o", False)
    _judged(arch, program, True)


def compare(source: Path, arch: str, folder: Path, counts: Counter[tuple[str, str, str]]) -> None:
    """Compare one test at every level."""
    compiler, emulator = TARGETS[arch]
    options = re.findall(r'dg-(?:additional-)?options "([^"]*)"', source.read_text(errors="replace"))
    flags = [*_FLAGS, *(flag for option in options for flag in option.split())]
    for level in LEVELS:
        relocatable, program = folder / "test.o", folder / "test"
        made = succeeds([compiler, level, *flags, str(source), "-c", "-o", str(relocatable)])
        if not made or not succeeds([compiler, str(relocatable), "-static", "-o", str(program), "-lm"]):
            verdicts = {"object": "not compiled", "program": "not compiled"}
        elif not succeeds([*emulator, str(program)]):
            verdicts = {"object": "does not pass there", "program": "does not pass there"}
        else:
            verdicts = {"object": here(arch, relocatable, False), "program": here(arch, program, True)}
        for kind, verdict in verdicts.items():
            name, _, reason = verdict.partition(": ")
            counts[kind, level, name] += 1
            if name in ("fail", "refused"):
                print(f"{source.name} {arch} {level} {kind}: {name}: {reason}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="GCC's torture tests, run here and by qemu-user.")
    parser.add_argument("folder", type=Path, help="gcc.c-torture/execute of GCC's sources")
    parser.add_argument("--arch", choices=list(TARGETS), action="append")
    parser.add_argument("--every", type=int, default=1, help="only each n-th test")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--most", type=int, help="only so many tests")
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    sources = sorted(options.folder.glob("*.c"))[options.first :: options.every][: options.most]
    until = time.monotonic() + 60 * options.minutes
    for arch in options.arch or TARGETS:
        counts: Counter[tuple[str, str, str]] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            warm_up(arch, Path(folder))
            for source in sources:
                if time.monotonic() < until:
                    compare(source, arch, Path(folder), counts)
        for kind in ("object", "program"):
            for level in LEVELS:
                row = "  ".join(f"{verdict} {counts[kind, level, verdict]}" for verdict in VERDICTS)
                print(f"{arch:8} {kind:8} {level} {row}", flush=True)


if __name__ == "__main__":
    main()

"""Run a static program of another architecture, from its entry to its exit, on files that exist in Python alone.

python examples/program.py [ARCHITECTURE]
"""

import sys
from pathlib import Path

from emu import Machine

PROGRAMS = Path(__file__).resolve().parent.parent / "tests" / "machine" / "musl"


def main(architecture: str = "riscv32") -> None:
    with Machine(architecture, stdin=b"pear\nfig\n", timeout=60.0) as machine:
        status = machine.run(PROGRAMS / f"{architecture}.elf", ["hosted", "one"], {"HOME": "/root"})
        print(machine.libc.stdout.getvalue().decode(), end="")
        print("exit status", status)


if __name__ == "__main__":
    main(*sys.argv[1:])

# Prints:
#   ...
#   atexit
#   destructor
#   exit status 42

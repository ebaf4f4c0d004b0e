"""Load a RISC-V library with the libraries it needs, call it, and look at what the link made of it.

python examples/load.py [ARCHITECTURE]
"""

import sys
from pathlib import Path

from emu import Machine

BUILT = Path(__file__).resolve().parent.parent / "arch_fixtures" / "built"


def main(architecture: str = "riscv64") -> None:
    folder = BUILT / f"{architecture}-clang" / "deps"
    with Machine(architecture, library_path=[folder]) as machine:
        library = machine.load("libtop.so")  # which needs libmid, libside and, through them, libleaf
        for image in machine.linker.images:
            needed = ", ".join(image.decoded.needed) or "nothing"
            print(f"{image.name.rpartition('/')[2]} needs {needed}")
        print("top(5) =", library.function("top", "int(int)")(5))
        print("leaf_value =", library.symbols["leaf_value"].read("int"))


if __name__ == "__main__":
    main(*sys.argv[1:])

# Prints:
#   libtop.so needs libmid.so, libside.so
#   libmid.so needs libleaf.so
#   libside.so needs libleaf.so
#   libleaf.so needs nothing
#   top(5) = 75
#   leaf_value = 10

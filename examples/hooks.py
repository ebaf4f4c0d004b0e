"""Answer every import of a library from Python, and watch what its load binds.

python examples/hooks.py [ARCHITECTURE]
"""

import sys
from pathlib import Path

from emu import Machine
from relink import SymbolRequest, SymbolsBound, on

BUILT = Path(__file__).resolve().parent.parent / "arch_fixtures" / "built"


def main(architecture: str = "aarch64") -> None:
    asked = []

    def look_up(request: SymbolRequest) -> object:
        """Called for each symbol before the images are asked; None passes the question on."""
        asked.append(request.name)
        return (lambda value: value * 2) if request.name == "my_host_function" else None

    with Machine(architecture) as machine:
        machine.linker.resolver.before.append(look_up)
        machine.linker.observers.append(
            on(SymbolsBound, lambda event: print("bound:", *sorted({b.symbol for b in event if b.kind == "host"})))
        )
        library = machine.load(BUILT / f"{architecture}-clang" / "basic.so")
        print("asked for my_host_function:", "my_host_function" in asked)
        print("awesome_func(42) =", library.function("awesome_func", "int(int)")(42))
        with library.redirect("my_host_function", lambda value: -value):
            print("redirected:", library.function("awesome_func", "int(int)")(42))


if __name__ == "__main__":
    main(*sys.argv[1:])

# Prints:
#   bound: my_host_function
#   asked for my_host_function: True
#   awesome_func(42) = 84
#   redirected: -42

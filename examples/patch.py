"""Replace a function of a loaded library, so that every caller reaches the new one, and undo it.

python examples/patch.py [ARCHITECTURE]
"""

import sys
from pathlib import Path

from emu import Machine, Patch

BUILT = Path(__file__).resolve().parent.parent / "arch_fixtures" / "built"


def main(architecture: str = "loongarch64") -> None:
    path = BUILT / f"{architecture}-clang" / "basic.so"
    with Machine(architecture) as machine:
        library = machine.load(path, symbols={"my_host_function": lambda value: value})
        add = library.function("add", "int(int, int)")
        apply = library.function("apply", "int(int, int, int)")  # calls add through a table of its own
        print("before:", add(6, 7), apply(0, 6, 7))

        patch: Patch

        def logged(left: int, right: int) -> int:
            with patch.suspended():  # the original, while the patch stays in place
                result = add(left, right)
            print(f"add({left}, {right}) is {result}; say {result + 100}")
            return int(result) + 100

        patch = library.replace("add", logged)
        print("patched:", add(6, 7), apply(0, 6, 7))
        patch.undo()
        print("after:", add(6, 7), apply(0, 6, 7))


if __name__ == "__main__":
    main(*sys.argv[1:])

# Prints:
#   before: 13 13
#   add(6, 7) is 13; say 113
#   add(6, 7) is 13; say 113
#   patched: 113 113
#   after: 13 13

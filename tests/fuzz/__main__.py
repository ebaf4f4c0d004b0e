"""`python -m tests.fuzz LEVEL`: mutants by count or time; exit status 1 at the first that is not handled."""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from collections.abc import Callable

from tests.fuzz import mutants

_LEVELS: dict[str, Callable[[], Callable[[int], bool]]] = {
    "parse": lambda: mutants.parse,
    "load": lambda: mutants.Loads().load,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("level", choices=_LEVELS)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    run, end, good, done = _LEVELS[chosen.level](), time.monotonic() + chosen.seconds, 0, 0
    while done < chosen.count and time.monotonic() < end:
        seed = chosen.seed + done
        try:
            good += run(seed)
        except BaseException:
            traceback.print_exc()
            print(f"{chosen.level}: seed {seed} is not handled", file=sys.stderr)
            return 1
        done += 1
        if done % 10_000 == 0 or done == chosen.count:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{chosen.level}: {done} mutants, {good} good, {resident} MB at most", flush=True)
    print(f"{chosen.level}: {done} mutants, {good} of them read or loaded, none unhandled", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

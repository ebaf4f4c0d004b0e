"""`python -m tests.fuzz LEVEL`: mutants by count or time; exit status 1 at the first that is not handled."""

from __future__ import annotations

import argparse
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import forged, levels, mutants

LEVELS: dict[str, Callable[[], Callable[[int], bool]]] = {
    "parse": lambda: mutants.parse,
    "load": mutants.Loads,
    "objects": lambda: levels.objects,
    "archives": lambda: levels.archives,
    "link": levels.Links,
    "run": levels.Runs,
    "adopt": levels.Adoptions,
    "cores": lambda: levels.cores,
    "cli": levels.Commands,
    "snapshots": forged.Snapshots,
}
#: MB by which the resident memory of a run may grow after its first thousand mutants.
GROWTH = 600


def resident() -> int:
    """MB of memory this process has at the moment; where the system does not say, that it has had at most."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("level", choices=LEVELS)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    run, end, good, done, settled = LEVELS[chosen.level](), time.monotonic() + chosen.seconds, 0, 0, 0
    while done < chosen.count and time.monotonic() < end:
        seed = chosen.seed + done
        try:
            good += run(seed)
        except BaseException:
            traceback.print_exc()
            print(f"{chosen.level}: seed {seed} is not handled", file=sys.stderr)
            return 1
        done += 1
        if done % 1000 == 0:
            settled = settled or resident()
            if resident() > settled + GROWTH:
                print(f"{chosen.level}: {resident()} MB after seed {seed}, {settled} at first", file=sys.stderr)
                return 1
        if done % 10_000 == 0:
            print(f"{chosen.level}: {done} mutants, {good} good, {resident()} MB", flush=True)
    print(f"{chosen.level}: {done} mutants from seed {chosen.seed}, {good} of use, none unhandled", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

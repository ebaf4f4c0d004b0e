"""Random instructions on random operands, here and on a reference: every bit they leave must agree.

    python -m tools.random_instructions --isa x86_64 --tests 20000

The reference of x86-64 and i386 is this machine's processor, that of the others qemu-user. Prints, for each group
of instructions, how many were right, refused, faulted on both, ran only here or gave another answer.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

from tools.random_instructions import isas
from tools.random_instructions.compare import VERDICTS, Bench, Tally, Test, judge
from tools.random_instructions.layout import SLOT

_BATCH = 500


#: By ISA, a jump to the next instruction.
_JUMPS = {"aarch64": "01000014", "arm": "ffffffea", "thumb": "ffe7", "riscv64": "6f004000", "riscv32": "6f004000"}


def _pairs(tests: list[tuple[str, bytes]], jump: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Each instruction with the next one, in a block of its own; and the latter."""
    for (group, first), (_, second) in pairwise(tests):
        if len(code := first + jump + second) <= SLOT:
            yield group, code, second


def run(name: str, count: int, seed: int, only: str = "", pairs: bool = False) -> Tally:
    """`count` tests of one ISA."""
    isa, rng, tally = isas.BY_NAME[name], Random(seed), Tally()
    jump = bytes.fromhex(_JUMPS.get(name, "eb00"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(isa.layout, Path(folder))
        for done in range(0, count, _BATCH):
            tests, single = [], list(isa.codes(rng, bench, min(_BATCH, count - done), only))
            codes = _pairs(single, jump) if pairs else ((*each, b"") for each in single)
            for group, code, second in codes:
                data = bytearray(0x2000)
                isa.layout.fill(rng, data, code)
                tests.append(Test(group, code, bytes(data), second))
            judge(bench, tests, tally, isa.ignored)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", choices=list(isas.BY_NAME), action="append")
    parser.add_argument("--tests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="groups whose name contains this")
    parser.add_argument("--pairs", action="store_true", help="two instructions, in a block each")
    options = parser.parse_args()
    for name in options.isa or isas.BY_NAME:
        tally = run(name, options.tests, options.seed, options.only, options.pairs)
        groups = sorted({group for group, _, _ in tally.counts})
        print(f"{name:28} " + " ".join(f"{verdict:>13}" for verdict in VERDICTS))
        for group in groups:
            sums = [
                sum(n for (g, _, v), n in tally.counts.items() if (g, v) == (group, verdict))
                for verdict in VERDICTS
            ]
            print(f"  {group:26} " + " ".join(f"{n:13}" for n in sums))
        for verdict in VERDICTS[1:]:
            names = sorted({(g, m) for g, m, v in tally.counts if v == verdict})
            if names and verdict != "both fault":
                print(f"  {verdict}: " + ", ".join(f"{m} ({g}) {tally.counts[g, m, verdict]}" for g, m in names))
        for (_, _, verdict), lines in sorted(tally.examples.items()):
            if verdict in ("wrong", "faults differ", "only here", "kills"):
                print(*(f"    {verdict}: {line}" for line in lines), sep="\n", flush=True)


if __name__ == "__main__":
    main()

"""A sample of instructions with what the reference made of them, to be compared where there is no reference.

    python -m tools.random_instructions.golden tests/cpu/random_instructions.txt

A line "ISA stub SLOT CODE" gives the code that loads and stores registers; the others, "ISA NUMBER CODE SUM",
an instruction and a sum of the registers and memory it leaves. The registers it begins with are random, by its
number.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random

from tools.random_instructions import isas
from tools.random_instructions.compare import Bench, Here, Test
from tools.random_instructions.layout import KEPT

_COUNT = 200


def beginning(name: str, number: int, code: bytes) -> Test:
    """The test in a line."""
    data = bytearray(KEPT)
    isas.BY_NAME[name].layout.fill(Random(f"{name} {number}"), data, code)
    return Test("", code, bytes(data))


def total(here: Here, code: bytes, data: bytes, mask: Mapping[str, int]) -> str:
    """The sum of what is compared."""
    kept = bytearray() if mask.get("memory") else bytearray(data[0x1000:])
    for field in here.layout.fields:
        value = int.from_bytes(data[field.offset : field.offset + field.size], "little")
        care = (1 << 8 * field.size) - 1 & ~(field.ignored | mask.get(field.name, 0))
        kept += (value & care).to_bytes(field.size, "little")
    return hashlib.sha256(kept).hexdigest()[:8]


def recorded(name: str) -> Iterator[str]:
    """Lines of one ISA: instructions that are right here."""
    isa, rng = isas.BY_NAME[name], Random(name)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(isa.layout, Path(folder))
        yield f"{name} stub {bench.slot:#x} {bench.stub.rstrip(bytes(1)).hex()}"
        codes = [code for _, code in isa.codes(rng, bench, 4 * _COUNT, "")]
        tests = [beginning(name, number, code) for number, code in enumerate(codes)]
        left = _COUNT
        pairs = zip(bench.reference(tests), bench.all_here(tests), strict=True)
        for number, ((there, right), (signal, data)) in enumerate(pairs):
            mask = isa.ignored(bench, codes[number])
            sum_ = total(bench, codes[number], right, mask)
            if left and not there and not signal and total(bench, codes[number], data, mask) == sum_:
                yield f"{name} {number} {codes[number].hex()} {sum_}"
                left -= 1


def mistakes(lines: Iterable[str]) -> Iterator[str]:
    """Lines of one ISA that do not hold here."""
    (name, _, slot, stub), *rows = (line.split() for line in lines)
    isa = isas.BY_NAME[name]
    here = Here(isa.layout, bytes.fromhex(stub), int(slot, 0))
    for _, number, text, sum_ in rows:
        code = bytes.fromhex(text)
        found, data = here.here(beginning(name, int(number), code))
        if found or total(here, code, data, isa.ignored(here, code)) != sum_:
            yield f"{name} {text} {here.decoded(code)[2]}: signal {found}"


def by_isa(text: str) -> dict[str, list[str]]:
    """The lines of a file by ISA."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        found[line.split()[0]].append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a sample of random instructions.")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    options.file.write_text("".join(f"{line}\n" for name in isas.BY_NAME for line in recorded(name)))


if __name__ == "__main__":
    main()

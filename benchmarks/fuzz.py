"""Executions per second of a small parser under `emu.fuzz`, beside bare Unicorn in the same run.

    python -m benchmarks.fuzz [--seconds 5] [TARGET...]

The parser is tests/machine/sources/parser.c. The loops in bare Unicorn write the same inputs (the corpus that the
fuzzer found, in turns) and registers and run the function, without mutation: once with nothing else, once as
programs written with Unicorn often do it, with a hook of Python for blocks and the last page written back.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from unicorn import unicorn_const as u

from benchmarks.bare_unicorn import engine as bare_engine
from benchmarks.bare_unicorn import register_number
from emu import Machine
from emu.fuzz import Found, Fuzzer
from tests.machine.loops import build_loops

_SEEDS = [b'{"abc": 123, {"def": 45}}', b"{}", b"12"]
_INPUT, _STACK, _END = 0x1000_0000, 0x2000_0000, 0x3000_0000


def _per_second(count: int, wall: float, cpu: float) -> str:
    return f"{count / wall:,.0f}/s, {count / cpu:,.0f} for each second of CPU time"


def fuzzed(target: str, path: Path, seconds: float) -> tuple[Found, str, int, bytes, int]:
    """What was found, how fast; for bare Unicorn the library's address, its bytes as loaded, and the function."""
    with Machine(target) as machine:
        library = machine.load(path, symbols={"host": (lambda value: value, "int host(int)")})
        parse = library.function("parse", "int parse(const uint8_t *data, size_t size)")
        region = library.image.region
        loaded = machine.memory.read(region.address, region.size)
        fuzzer = Fuzzer(machine, parse, _SEEDS)
        with fuzzer:
            fuzzer.run(seconds=1)
            executions, spent, cpu = fuzzer.found.executions, fuzzer.found.seconds, time.process_time()
            found = fuzzer.run(seconds=seconds)
            cpu = time.process_time() - cpu
        found.executions -= executions
        found.seconds -= spent
        rates = _per_second(found.executions, found.seconds, cpu)
        return found, rates, region.address, loaded, parse.address


def bare(
    target: str, base: int, image: bytes, function: int, inputs: Sequence[bytes], seconds: float, *, full: bool
) -> str:
    """Executions per second in bare Unicorn; `full`: with edges, and memory as before."""
    aarch64 = target == "aarch64"
    engine = bare_engine(target)
    engine.mem_map(base, -(-len(image) // 4096) * 4096)
    for address in (_INPUT, _STACK, _END):
        engine.mem_map(address, 0x2000)
    engine.mem_write(base, image)
    seen: set[tuple[int, int]] = set()
    last = 0

    def block(_engine: object, address: int, _size: int, _data: object) -> None:
        nonlocal last
        seen.add((last, address))
        last = address

    if full:
        engine.hook_add(u.UC_HOOK_BLOCK, block)
    names = ("x0", "x1", "sp", "lr") if aarch64 else ("rdi", "rsi", "rsp")
    registers = [register_number(target, name) for name in names]
    if not aarch64:
        engine.mem_write(_STACK + 0xFF8, _END.to_bytes(8, "little"))
    writable = len(image) - 4096
    begun, cpu, count = time.perf_counter(), time.process_time(), 0
    for data in itertools.cycle(inputs):
        values = (_INPUT, len(data), _STACK + (0x1000 if aarch64 else 0xFF8), _END)
        engine.mem_write(_INPUT, data)
        engine.reg_write_batch(list(zip(registers, values, strict=False)))
        engine.emu_start(function, _END)
        if full:
            engine.mem_write(base + writable, image[writable:])
        count += 1
        if not count % 256 and time.perf_counter() - begun > seconds:
            break
    return _per_second(count, time.perf_counter() - begun, time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("targets", nargs="*", default=["x86_64", "aarch64"])
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    for target in arguments.targets:
        library = build_loops(target, folder, "parser")
        found, rates, base, image, function = fuzzed(target, library, arguments.seconds)
        print(f"{target}: {found}\n    Fuzzer.run: {rates}")
        if target not in ("x86_64", "aarch64"):
            continue
        inputs = [data for data in found.corpus if b"@" not in data]  # without the host function
        for full, what in ((False, "calls only"), (True, "with edges in Python, and memory written back")):
            rates = bare(target, base, image, function, inputs, arguments.seconds / 2, full=full)
            print(f"    bare Unicorn, {what}: {rates}")


if __name__ == "__main__":
    main()

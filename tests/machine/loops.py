"""A library of long loops (sources/loops.c), compiled when tests run, and what each must answer."""

from __future__ import annotations

import functools
import hashlib
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Library, Machine
from toolchains.engine import Zig, find_zig
from toolchains.errors import CompilerMissing
from toolchains.targets import TARGETS

_SOURCES = Path(__file__).parent / "sources"
_FLAGS = ("-O2", "-fPIC", "-fno-builtin", "-ffreestanding", "-fno-vectorize", "-fno-slp-vectorize")
#: Atomic instructions, not calls of the compiler's library, which the host would answer.
_MORE_FLAGS = {"aarch64": ("-mno-outline-atomics",)}
_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1


def build_loops(target: str, folder: Path, name: str = "loops") -> Path:
    """The library for a target, or that of another source; skips the test where there is no compiler."""
    try:
        find_zig()
    except CompilerMissing as error:
        pytest.skip(str(error))
    library = folder / f"{name}-{target}.so"
    engine, row, compiled = Zig(), TARGETS[target], f"{name}-{target}.o"
    flags = (*_FLAGS, *_MORE_FLAGS.get(target, ()))
    source = str(_SOURCES / f"{name}.c")
    engine.run(name, engine.compile(row, source, str(folder / compiled), flags), {}, folder)
    engine.run(name, engine.link(row, [compiled], library.name, ["-shared"]), {}, folder)
    return library


def load_loops(machine: Machine, library: Path, host: Callable[[int], int] = lambda value: value) -> Library:
    """The library in a machine; its imported function is `host`."""
    return machine.load(library, symbols={"host": (host, "int host(int)")})


class Loops:
    """The functions that end by themselves: what they compute, beside what they should have.

    `size` is how many bytes are summed and hashed, `rounds` how often the others go round.
    """

    def __init__(self, machine: Machine, library: Library, size: int = 1 << 13, rounds: int = 5000) -> None:
        self._library, self._rounds = library, rounds
        self._memory, self._heap = machine.memory, machine.heap
        self._data = bytes((n * n >> 3) & 255 for n in range(size))
        self._address = self._place(self._data)

    def _place(self, data: bytes) -> int:
        address = self._heap.malloc(len(data))
        self._memory.write(address, data)
        return address

    def computed(self) -> dict[str, object]:
        """What the guest says."""
        call, address, size, rounds = self._library.function, self._address, len(self._data), self._rounds
        return {
            "adler32": call("adler32", "uint32_t(uint32_t, const void *, uint32_t)")(1, address, size),
            "crc32": call("crc32", "uint32_t(uint32_t, const void *, uint32_t)")(0, address, size),
            "sha256": self._sha256(),
            "fibonacci": call("call_deeply", "uint32_t(uint32_t)")(17),
            "count": call("count", "uint32_t(uint32_t)")(rounds),
            "count_atomically": call("count_atomically", "uint32_t(uint32_t)")(rounds),
            "follow": call("follow", "uint32_t(uint32_t)")(rounds),
            "wide": call("wide", "uint64_t(uint32_t)")(rounds),
        }

    def expected(self) -> dict[str, object]:
        """What the host says."""
        return {
            "adler32": zlib.adler32(self._data),
            "crc32": zlib.crc32(self._data),
            "sha256": hashlib.sha256(self._data).digest(),
            "fibonacci": 1597,
            "count": self._rounds,
            "count_atomically": self._rounds,
            "follow": followed(self._rounds),
            "wide": _wide(self._rounds),
        }

    def _sha256(self) -> bytes:
        initial, constants = _sha256_constants()
        size = len(self._data)
        padding = b"\x80" + bytes(-(size + 9) % 64) + (8 * size).to_bytes(8, "big")
        state, data = self._place(initial), self._place(self._data + padding)
        transform = self._library.function("sha256", "void(void *, const void *, const void *, uint32_t)")
        transform(state, self._place(constants), data, (size + len(padding)) // 64)
        return struct.pack(">8I", *struct.unpack("<8I", self._memory.read(state, 32)))


def followed(rounds: int) -> int:
    """What `follow` answers."""
    total = node = 0
    for _ in range(rounds):
        total = (31 * total + node * node + 1) & _MASK32
        node = (37 * node + 11) % 64
    return total


def _wide(rounds: int) -> int:
    total = 1
    for _ in range(rounds):
        total = ((total << 1) + 0x123456789 if total >> 63 else total * 3 + 0xFEDCBA987) & _MASK64
    return total


@functools.cache
def _sha256_constants() -> tuple[bytes, bytes]:
    """Initial state and round constants: fractions of roots of primes (FIPS 180-4, sections 4.2.2 and 5.3.3)."""
    primes = [n for n in range(2, 312) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    roots = [round((p << 96) ** (1 / 3)) for p in primes]
    for number, prime in enumerate(primes):  # floating point is near; from there to the exact whole root
        while roots[number] ** 3 > prime << 96:
            roots[number] -= 1
        while (roots[number] + 1) ** 3 <= prime << 96:
            roots[number] += 1
    squares = [math.isqrt(prime << 64) & _MASK32 for prime in primes[:8]]
    return struct.pack("<8I", *squares), struct.pack("<64I", *(root & _MASK32 for root in roots))


def check(machine: Machine, library: Library) -> None:
    """The machine still computes what it should."""
    loops = Loops(machine, library, 256, 100)
    assert loops.computed() == loops.expected()

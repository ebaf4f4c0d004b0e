"""RISC-V, 32 and 64 bits, by the opcodes of the unprivileged manual."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tools.random_instructions.compare import Bench
from tools.random_instructions.layout import (
    DATA,
    GENERAL,
    MEMORY,
    STACK,
    VECTORS,
    Field,
    Fill,
    Layout,
    fill_memory,
    integer,
    number,
    put,
)
from tools.random_instructions.patterns import rows, width, words

#: x31 holds the data page while registers are loaded; x9 and x2 are addresses; x3 and x4 are the system's.
_FREE = [0, 1, *range(5, 31)]
_POOLS = {
    "g": _FREE,
    "b": [9],
    "t": [0, 1, *range(5, 9), *range(10, 31)],
    "q": [1],
    "r": [0, 2, 3, 4, 5, 6, 7],
    "p": [2],
}
_FCSR = GENERAL + 0x110
TABLE = rows("""
base                    | 0 . 00000 g5 g5 ... g5 0110011
base                    | .*12 g5 ... g5 0010011
base                    | .*20 g5 0 . 10111
base, words             | 0 . 00000 g5 g5 ... g5 0111011
base, words             | .*12 g5 ... g5 0011011
multiply                | 0000001 g5 g5 ... g5 0110011
multiply                | 0000001 g5 g5 ... g5 0111011
bit manipulation, other | .*7 g5 g5 ... g5 0110011
bit manipulation, other | .*7 g5 g5 ... g5 0111011
bit manipulation, other | 0.1.*4 .*5 g5 .01 g5 0010011
load, store             | 0000 .*8 b5 ... t5 0000011
load, store             | 0000 .*3 t5 b5 ... .*5 0100011
fp load, store          | 0000 .*8 b5 ... .*5 0000111
fp load, store          | 0000 .*3 .*5 b5 ... .*5 0100111
fma                     | .*5 0 . .*5 .*5 ... .*5 100 .. 11
fma                     | .*5 0 . .*5 .*5 111 .*5 100 .. 11
fp arithmetic           | 000 .. 0 . .*5 .*5 ... .*5 1010011
fp arithmetic           | 000 .. 0 . .*5 .*5 111 .*5 1010011
fp sqrt, sign, minimum  | 0 . 011 0 . 00000 .*5 ... .*5 1010011
fp sqrt, sign, minimum  | 0010 . 0 . .*5 .*5 ... .*5 1010011
fp compare, convert     | 1010000 .*5 .*5 ... g5 1010011
fp compare, convert     | 1010001 .*5 .*5 ... g5 1010011
fp compare, convert     | 1100000 000.. .*5 ... g5 1010011
fp compare, convert     | 1100001 000.. .*5 ... g5 1010011
fp compare, convert     | 110100 . 000.. g5 ... .*5 1010011
fp compare, convert     | 010000 . 0000. .*5 ... .*5 1010011
fp move, class          | 1110 00 . 00000 .*5 00. g5 1010011
fp move, class          | 111100 . 00000 g5 000 .*5 1010011
half, extra fp          | .*5 10 .*5 .*5 ... g5 1010011
half, extra fp          | .*5 0. .*5 .*5 ... g5 1010011
atomics                 | .*5 .. t5 b5 01. t5 0101111
atomics                 | .*5 .. t5 b5 01. t5 0101111
atomics, bytes          | .*5 .. t5 b5 ... t5 0101111
fp status               | 000000000001 g5 ..1 g5 1110011
fp status               | 000000000010 g5 ..1 g5 1110011
fp status               | 000000000011 g5 ..1 g5 1110011
fence, hint             | .*12 00000 00. 00000 0001111
vector                  | .*25 1010111
vector                  | .*12 b5 ... .*5 0000111
conditional, crypto     | 0000111 g5 g5 1.1 g5 0110011
maybe, wait             | 1...00 .*6 g5 100 g5 1110011
compressed              | 000 .*3 .*5 r3 00
compressed              | 0 1. ... q3 .. r3 00
compressed              | 1 .. ... q3 .. r3 00
compressed              | 0.1 ... q3 .. r3 00
compressed              | 0.0 . g5 .*5 01
compressed              | 0.1 . g5 .*5 01
compressed              | 100 . .. r3 .. r3 01
compressed              | 011 . p5 .*5 01
compressed              | 000 . g5 .*5 10
compressed              | 0.. . g5 0 .*4 10
compressed              | 100 . g5 g5 10
compressed              | 1.1 0 .*5 g5 10
compressed              | 110 0 .*5 g5 10
""")


def _stub(word: int) -> str:
    load, store = ("ld", "sd") if word == 8 else ("lw", "sw")
    page = f" lui x31, {DATA >> 12:#x}"
    kept = [n for n in range(1, 31) if n not in (3, 4)]
    # The instruction is in a block of its own: what it leaves is complete there.
    into = [f" lw x1, {_FCSR}(x31)", " fscsr x1"]
    into += [f" {load} x{n}, {GENERAL + word * n}(x31)" for n in kept]
    into += [f" fld f{n}, {VECTORS + 8 * n}(x31)" for n in range(32)]
    out = [f" fsd f{n}, {VECTORS + 8 * n}(x31)" for n in range(32)]
    out += [f" {store} x{n}, {GENERAL + word * n}(x31)" for n in kept] + [" frcsr x1", f" sw x1, {_FCSR}(x31)"]
    leave = [f" lui sp, {STACK >> 12:#x}", f" {load} x5, (x31)", " jr x5"]
    return "\n".join(
        (
            ".option rvc\n.globl slot",
            page,
            *into,
            "slot: .rept 8\n c.nop\n .endr",
            " j 1f",
            "1:",
            page,
            *out,
            *leave,
            "",
        )
    )


def _fill(word: int) -> Fill:
    def fill(rng: Random, data: bytearray, code: bytes) -> None:
        # Singles that are boxed and doubles, which an instruction of the other precision takes for NaNs.
        doubles = rng.choice((0.1, 0.5, 0.9))
        for n in range(31):
            put(data, GENERAL + word * n, word, integer(rng, 8 * word))
        put(data, GENERAL + word * 9, word, MEMORY)
        put(data, GENERAL + word * 2, word, MEMORY)
        put(data, _FCSR, 4, rng.randrange(5) << 5 | rng.choice((0, 0, 31)))
        for n in range(32):
            put(
                data,
                VECTORS + 8 * n,
                8,
                number(rng, 64) if rng.random() < doubles else number(rng, 32) | 0xFFFFFFFF << 32,
            )
        fill_memory(rng, data)

    return fill


def _layout(bits: int) -> Layout:
    word = bits // 8
    fields = (
        *(Field(f"x{n}", GENERAL + word * n, word) for n in range(1, 31) if n not in (3, 4)),
        Field("fcsr", _FCSR, 4),
        *(Field(f"f{n}", VECTORS + 8 * n, 8) for n in range(32)),
    )
    return Layout(
        f"riscv{bits}",
        f"riscv{bits}",
        f"riscv{bits}-linux-musl",
        (f"qemu-riscv{bits}",),
        fields,
        _stub(word),
        _fill(word),
        ("RISCV", (f"RISCV{bits}", "RISCVC")),
        bytes.fromhex("0100"),
    )


LAYOUTS = (_layout(64), _layout(32))


def tests(rng: Random, bench: Bench, count: int, only: str) -> Iterator[tuple[str, bytes]]:
    rows = [row for row in TABLE if only in row[0]]
    for row in rng.choices(rows, k=count):
        group, word = next(words([row], _POOLS, rng, 1, ""))
        jumps = (0xA001, 0x2001) if bench.layout.arch == "riscv32" else (0xA001,)
        if width(row[1]) == 16 and (word & 0xE003 in jumps or word & 0xF07F in (0x8002, 0x9002)):
            continue
        yield group, word.to_bytes(width(row[1]) // 8, "little")

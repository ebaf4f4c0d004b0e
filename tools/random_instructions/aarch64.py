"""AArch64, by the encoding groups of the Arm ARM, C4.1."""

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
    Layout,
    fill_memory,
    integer,
    put,
    vector,
)
from tools.random_instructions.patterns import rows, words

#: x28 holds the data page while registers are loaded; x1 and x2 an address and an index.
_POOLS = {
    "g": [*range(28), 29, 30, 31],
    "b": [1],
    "x": [2],
    "t": [0, *range(3, 28), 29, 30],
    "s": [31, 2],
}
_FLAGS, _CONTROL, _STATUS, _SP = GENERAL + 0x100, GENERAL + 0x108, GENERAL + 0x110, GENERAL + 0x118

TABLE = rows("""
add and logical          | .*3 100010 .*13 g5 g5
add and logical          | .*3 100100 .*13 g5 g5
add and logical          | .*3 01010 .*3 g5 .*6 g5 g5
add and logical          | .*3 01011 .*3 g5 .*6 g5 g5
add and logical          | .*3 11010000 g5 .*6 g5 g5
move wide, bitfield      | .*3 100101 .*18 g5
move wide, bitfield      | .*3 100110 .*13 g5 g5
move wide, bitfield      | .*3 100111 . 0 g5 .*6 g5 g5
select, multiply, divide | .*3 11010010 g5 .*6 g5 .*5
select, multiply, divide | .*3 11010100 g5 .*6 g5 g5
select, multiply, divide | .*3 11011 .*3 g5 . g5 g5 g5
select, multiply, divide | . 0 . 11010110 g5 .*6 g5 g5
one source               | . 1 0 11010110 00000 000 ... g5 g5
crc32                    | . 0 0 11010110 g5 010 ... g5 g5
fp convert               | . 0 0 11110 .. 1 .*5 000000 g5 g5
fp convert               | . 0 0 11110 .. 0 .*5 .*6 g5 g5
fp 1 source              | 0 0 0 11110 .. 1 .*6 10000 .*5 .*5
fp 2 source              | 0 0 0 11110 .. 1 .*5 .*4 10 .*10
fp compare               | 0 0 0 11110 .. 1 .*5 001000 .*5 .*5
fp compare               | 0 0 0 11110 .. 1 .*5 .*4 01 .*10
fp select, immediate     | 0 0 0 11110 .. 1 .*5 .*4 11 .*10
fp select, immediate     | 0 0 0 11110 .. 1 .*8 100 00000 .*5
fp 3 source              | 0 0 0 11111 .. .*22
simd three same          | 0 . . 01110 .. 1 .*5 .*5 1 .*10
simd three different     | 0 . . 01110 .. 1 .*5 .*4 00 .*10
simd two misc            | 0 . . 01110 .. 10000 .*5 10 .*10
simd across lanes        | 0 . . 01110 .. 11000 .*5 10 .*10
simd half                | 0 . . 01110 . 10 .*5 00 ... 1 .*10
simd half                | 0 . . 01110 . 111100 .*5 10 .*10
simd three extra         | 0 . . 01110 .. 0 .*5 1 .*4 1 .*10
simd copy                | 0 . . 01110000 .*5 0 .*4 1 g5 g5
simd permute             | 0 . 001110 .. 0 .*5 0 ... 10 .*10
simd extract, table      | 0 . 10 1110 .. 0 .*5 0 .*4 0 .*10
simd extract, table      | 0 . 001110 00 0 .*5 0 ... 00 .*10
simd by element          | 0 . . 01111 .*2 .*6 .*4 . 0 .*10
simd shift, immediate    | 0 . . 011110 .*7 .*5 1 .*10
simd scalar              | 01 . 11110 .. 1 .*5 .*5 1 .*10
simd scalar              | 01 . 11110 .. 10000 .*5 10 .*10
simd scalar              | 01 . 11110 .. 11000 .*5 10 .*10
simd scalar              | 01 . 11110 .. 1 .*5 .*4 00 .*10
simd scalar              | 01 . 111110 .*7 .*5 1 .*10
simd scalar              | 01 . 11111 .. .*6 .*4 . 0 .*10
simd scalar half         | 01 . 11110 . 10 .*5 00 ... 1 .*10
simd scalar half         | 01 . 11110 . 111100 .*5 10 .*10
simd scalar extra        | 01 . 11110 .. 0 .*5 1 .*4 1 .*10
aes, sha                 | 0 1 001110 00 10100 .*5 10 .*10
aes, sha                 | 01011110 00 0 .*5 0 ... 00 .*10
aes, sha                 | 01011110 00 10100 .*5 10 .*10
sha3, sha512, sm3, sm4   | 11001110 .*24
load, store              | .. 111 . 01 .. 0000000 .*5 b5 t5
load, store              | .. 111 . 00 .. 0 .*9 .. b5 t5
load, store              | .. 111 . 00 .. 1 x5 .*4 10 b5 t5
load, store pair         | .. 101 . 0.. . .*7 t5 b5 t5
atomics                  | .. 111 0 00 .. 1 t5 .*4 00 b5 t5
exclusive, ordered       | .. 001000 ... t5 . t5 b5 t5
exclusive, ordered       | .. 011001 .. 0 .*9 00 b5 t5
structures               | 0 . 0011000 . 000000 .*6 b5 .*5
structures               | 0 . 0011001 . 0 s5 .*6 b5 .*5
structures               | 0 . 0011010 .. 00000 .*6 b5 .*5
structures               | 0 . 0011011 .. s5 .*6 b5 .*5
flags                    | 1101010100000000010000000 .. 11111
flags                    | 101 11010000 .*6 00001 g5 0 .*4
flags                    | 0 0 1 11010000 00000 0 . 0010 g5 0 1101
bf16, i8mm               | 0 . . 01110 .. 0 .*5 1 .*4 1 .*10
bf16, i8mm               | 0 . . 01111 .. .*6 1111 . 0 .*10
mte                      | 1 . . 11010110 g5 000 ... g5 g5
mte                      | 11011001 .. 1 .*9 .. b5 g5
mte                      | 1 . 0 100011 .*13 g5 g5
sve                      | ... 0010 .*25
sve                      | 011 00101 .*24
sme                      | 11000000 .*24
reserved                 | ... 0000 .*25
mops, cssc               | .. 0110 .*2 .*2 0 g5 .*4 01 g5 g5
mops, cssc               | . 1 0 11010110 00000 00 .*4 g5 g5
""")


def _stub() -> str:
    page = [f" movz x28, #{DATA >> 16:#x}, lsl 16"]
    registers = [n for n in range(31) if n != 28]
    load = [f" ldr q{n}, [x28, #{VECTORS + 16 * n}]" for n in range(32)]
    load += [f" ldr x0, [x28, #{_SP}]", " mov sp, x0"]
    controls = (("nzcv", _FLAGS), ("fpcr", _CONTROL), ("fpsr", _STATUS))
    for name, place in controls:
        load += [f" ldr x0, [x28, #{place}]", f" msr {name}, x0"]
    load += [f" ldr x{n}, [x28, #{GENERAL + 8 * n}]" for n in registers]
    store = [f" str x{n}, [x28, #{GENERAL + 8 * n}]" for n in registers]
    for name, place in controls:
        store += [f" mrs x0, {name}", f" str x0, [x28, #{place}]"]
    store += [" msr fpcr, xzr", " mov x0, sp", f" str x0, [x28, #{_SP}]"]
    store += [f" str q{n}, [x28, #{VECTORS + 16 * n}]" for n in range(32)]
    leave = [
        f" movz x0, #{STACK & 0xFFFF:#x}",
        f" movk x0, #{STACK >> 16:#x}, lsl 16",
        " mov sp, x0",
        " ldr x0, [x28]",
        " br x0",
    ]
    return "\n".join((".globl slot", *page, *load, "slot: .rept 4\n nop\n .endr", *page, *store, *leave, ""))


def _fill(rng: Random, data: bytearray, code: bytes) -> None:
    for n in range(31):
        put(data, GENERAL + 8 * n, 8, integer(rng, 64))
    put(data, GENERAL + 8, 8, MEMORY)
    put(data, GENERAL + 16, 8, rng.randrange(-4, 5) * 16)
    put(data, _SP, 8, MEMORY)
    put(data, _FLAGS, 8, rng.getrandbits(4) << 28)
    put(data, _CONTROL, 8, rng.choice((0, 0, 1 << 24, 1 << 25, 1 << 19, 3 << 24)) | rng.randrange(4) << 22)
    put(data, _STATUS, 8, rng.choice((0, 0, 0x9F, 1 << 27)))
    for n in range(32):
        data[VECTORS + 16 * n : VECTORS + 16 * n + 16] = vector(rng, 16, halves=True)
    fill_memory(rng, data, halves=True)


_FIELDS = (
    *(Field(f"x{n}", GENERAL + 8 * n, 8) for n in range(31) if n != 28),
    Field("nzcv", _FLAGS, 8),
    Field("fpcr", _CONTROL, 8),
    Field("fpsr", _STATUS, 8),
    Field("sp", _SP, 8),
    *(Field(f"v{n}", VECTORS + 16 * n, 16) for n in range(32)),
)
LAYOUT = Layout(
    "aarch64",
    "aarch64",
    "aarch64-linux-musl",
    ("qemu-aarch64", "-cpu", "max"),
    _FIELDS,
    _stub(),
    _fill,
    ("ARM64", ("ARM",)),
    bytes.fromhex("1f2003d5"),
)
#: Codes of keys that differ from machine to machine.
_KEYED = ("pac", "aut", "xpac", "ldraa", "ldrab", "irg", "braa", "retaa")


def tests(rng: Random, bench: Bench, count: int, only: str) -> Iterator[tuple[str, bytes]]:
    for group, word in words(TABLE, _POOLS, rng, count, only):
        code = word.to_bytes(4, "little")
        if not bench.decoded(code)[1].startswith(_KEYED):
            yield group, code
